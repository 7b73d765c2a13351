# SPDX-License-Identifier: GPL-2.0-or-later
"""An application as there are many: it decides who may download what, and leaves sending it to somebody else.

With X-Accel-Redirect it answers with headers and a reference. HAProxy takes the body from the node that owns it; what
crosses this process is the same few hundred bytes for every file.
"""
from urllib.parse import quote

from flask import Flask, Response, request

application = Flask(__name__)

PAGE = """<!DOCTYPE html><title>DiSC</title>
<p>Straight from the nodes: <a href="/files/1KB.bin">1 KB</a> <a href="/files/1MB.bin">1 MB</a> <a href="/files/100MB.bin">100 MB</a>
<p>By way of this application: <a href="/download/1KB.bin">1 KB</a> <a href="/download/1MB.bin">1 MB</a> <a href="/download/100MB.bin">100 MB</a>
"""


@application.get("/")
def page():
    return PAGE


@application.route("/download/<name>", methods=["GET", "POST"])
def download(name):
    # Here a real one would look at the session and at its database. What was posted is read first: an answer that comes
    # before the whole request cannot be followed.
    while request.stream.read(65536):
        pass
    answer = Response(content_type="application/octet-stream")
    answer.headers["X-Accel-Redirect"] = "/internal/" + quote(name)
    answer.headers["Content-Disposition"] = "attachment; filename*=UTF-8''" + quote(name)
    answer.set_cookie("downloads", "1", secure=True, httponly=True, samesite="Lax")
    return answer


@application.get("/health")
def health():
    return Response("ok\n", content_type="text/plain")
