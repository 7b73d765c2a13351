# SPDX-License-Identifier: GPL-2.0-or-later
"""Proofs of the fetch hop (doc/protocol.md, section 4), and the keys of them that the proof recorder wrote."""
import hashlib
import hmac
import re

DIGITS = 32


def prove(key, text):
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:DIGITS]


def prove_bytes(key, text):
    """The same as bytes, as grants and their answers have it."""
    return hmac.new(key, text, hashlib.sha256).digest()[: DIGITS // 2]


def field(head, name):
    """The value of a request's field, empty if it is absent."""
    found = re.search(rb"(?im)^" + name + rb":[ \t]*(.*?)[ \t]*\r?$", head)
    return found.group(1) if found else b""


def request_text(head):
    """What the proof of the request with that head is about."""
    method, target = head.split(b" ", 2)[:2]
    lines = [b"disc-request-2", field(head, b"disc-ticket").split(b";")[0], method, target]
    lines += [field(head, name) for name in (b"range", b"if-range", b"if-match")]
    return b"".join(line + b"\n" for line in lines)


def request_proof(head):
    return field(head, b"disc-ticket").rpartition(b"proof=")[2].decode()


def announcement_text(value):
    """The same of an announcement: <value> without its proof."""
    return b"disc-body-2\n" + value.encode("latin-1")


class Keys:
    """Those of all leases that HAProxy has taken so far, from the file at <path>."""

    def __init__(self, path):
        self.path = path

    def all(self):
        """The newest first."""
        with open(self.path, encoding="ascii") as file:
            return [bytes.fromhex(line) for line in reversed(file.read().splitlines())]

    def of_request(self, head):
        """The key under which the request with that head is proven, or None."""
        text, proof = request_text(head), request_proof(head)
        return next((key for key in self.all() if prove(key, text) == proof), None)

    def other_than(self, wanted):
        """The newest one that is another."""
        return next((key for key in self.all() if key != wanted), bytes(16))
