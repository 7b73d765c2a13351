# SPDX-License-Identifier: GPL-2.0-or-later
"""An application as people write them, with Flask: it decides and names the body, and never reads it.

    DISC_APP_FILES=FOLDER gunicorn --chdir tests/lab/apps flask_app:application

GET  /flask/file/NAME     headers of its own, and where the body is: X-Accel-Redirect
GET  /flask/body/NAME     the same without DiSC: the body comes from here, out of DISC_APP_FILES
POST /flask/report/NAME   reads what the client sends, tells size and SHA-256 of it in headers, and answers with a reference
GET  /flask/page          a small page
"""
import hashlib
import os

from flask import Flask, Response, request, send_from_directory

INTERNAL = "/internal/"  # the prefix that the load balancer allows

application = Flask(__name__)


def decorate(response, name):
    """What only the application knows about a download."""
    response.headers["Content-Type"] = "application/x-lab"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, max-age=60"
    response.headers["X-Application"] = "flask"
    response.set_cookie("session", "of-flask", httponly=True)
    response.set_cookie("downloads", name)
    return response


def refer_to(name):
    response = Response(status=200)
    # The query belongs to the lab: it makes a fake node misbehave.
    query = request.query_string.decode("ascii")
    response.headers["X-Accel-Redirect"] = INTERNAL + name + ("?" + query if query else "")
    return decorate(response, name)


@application.get("/flask/file/<name>")
def file(name):
    return refer_to(name)


@application.get("/flask/body/<name>")
def body(name):
    return decorate(send_from_directory(os.environ["DISC_APP_FILES"], name), name)


@application.post("/flask/report/<name>")
def report(name):
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
    response = refer_to(name)
    response.headers["X-Report-Size"] = str(size)
    response.headers["X-Report-Sum"] = digest.hexdigest()
    return response


@application.get("/flask/page")
def page():
    return Response("a small page\n", mimetype="text/plain")
