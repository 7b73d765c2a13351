# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to grants, and to what a node says of them, on the fetch hop (doc/protocol.md, section 6).

Each fault is called in the query by its function's name, with _ for -. Those of ON_GRANT are functions of a grant of 64 bytes, those of
ON_MESSAGE of a message, and both of the relay that passes them on; they return what is passed on in place of it, a list of bytes. The
names in LIARS are a node's that has the key and proves its lies, all others an attacker's on the way.
"""
import re

from proofs import prove_bytes

ON_GRANT = {}
ON_MESSAGE = {}
LIARS = set()
HEAD = 40
ANSWER, REPORT = 1, 2


def on_grant(function):
    ON_GRANT[function.__name__.replace("_", "-")] = function
    return function


def on_message(function):
    ON_MESSAGE[function.__name__.replace("_", "-")] = function
    return function


def lie(function):
    LIARS.add(function.__name__.replace("_", "-"))
    return on_message(function)


class Message:
    """A message of the node: its head of 40 bytes, and the payload."""

    def __init__(self, data):
        self.head, self.payload = bytearray(data[:HEAD]), data[HEAD:]

    def number(self):
        return int.from_bytes(self.head[8:16], "big")

    def put(self, at, size, value):
        self.head[at : at + size] = value.to_bytes(size, "big")
        return self

    def proven(self, relay):
        self.head[24:40] = prove_bytes(relay.key, b"disc-ready-2\n" + relay.ticket + b"\n" + bytes(self.head[:24]))
        return self

    def encode(self):
        data = bytes(self.head) + self.payload
        return b"%x\r\n" % len(data) + data + b"\r\n"


class Relay:
    """The grants and messages of one body, as they pass by."""

    def __init__(self, name, key, ticket):
        self.on_grant, self.on_message = ON_GRANT.get(name), ON_MESSAGE.get(name)
        self.key, self.ticket = key, ticket.encode()
        self.grants = self.messages = 0
        self.first = None  # the first grant
        self.clear = 0  # bytes of the newest one that are not sealed
        self.input = b""

    def take_grants(self, data):
        """<data> came from HAProxy. Returns what the node gets."""
        self.input += data
        out = b""
        while len(self.input) >= 64:
            grant, self.input = self.input[:64], self.input[64:]
            self.grants += 1
            self.first = self.first or grant
            self.clear = int.from_bytes(grant[36:40], "big")
            out += b"".join(self.on_grant(grant, self) if self.on_grant else [grant])
        return out

    def take_message(self, data):
        """<data> is the content of a chunk that came from the node. Returns what HAProxy gets."""
        self.messages += 1
        message = Message(data)
        return b"".join(self.on_message(message, self) if self.on_message else [message.encode()])


def begins_grants(response):
    return (response.get("Disc-Body") or "").startswith("grants;")


# --- an attacker without the key ---


def altered_grant(name, at):
    def attack(grant, relay):
        grant = bytearray(grant)
        if relay.grants == 2:
            grant[at] ^= 1
        return [bytes(grant)]

    ON_GRANT[f"alters-grant-{name}"] = attack


for field, place in (("flags", 1), ("stream", 7), ("number", 15), ("slot", 23), ("first", 31), ("bytes", 35), ("clear", 39), ("proof", 63)):
    altered_grant(field, place)


@on_grant
def replays_grant(grant, relay):
    """The first one comes again in place of the third."""
    return [relay.first if relay.grants == 3 else grant]


@on_grant
def repeats_grant(grant, relay):
    return [grant, grant] if relay.grants == 2 else [grant]


@on_grant
def drops_grant(grant, relay):
    return [] if relay.grants == 2 else [grant]


@on_grant
def invents_grant(grant, relay):
    return [grant, b"\x01" + bytes(63)] if relay.grants == 2 else [grant]


def altered_message(name, at):
    def attack(message, relay):
        if relay.messages == 2:
            message.head[at] ^= 1
        return [message.encode()]

    ON_MESSAGE[f"alters-message-{name}"] = attack


for field, place in (("type", 0), ("payload", 7), ("number", 15), ("ready", 23), ("proof", 39)):
    altered_message(field, place)


@on_message
def replays_answer(message, relay):
    """The node's second answer comes twice."""
    return [message.encode()] * (2 if relay.messages == 2 else 1)


@on_message
def invents_report(message, relay):
    report = Message(bytes([REPORT]) + bytes(HEAD - 1))
    return [message.encode(), report.encode()] if relay.messages == 2 else [message.encode()]


@on_message
def drops_answer(message, relay):
    return [] if relay.messages == 2 else [message.encode()]


@on_message
def cuts_answer(message, relay):
    """The second one has only half of its bytes, and the body ends."""
    if relay.messages != 2:
        return [message.encode()]
    message.payload = message.payload[: len(message.payload) // 2]
    return [message.encode(), b"0\r\n\r\n"]


@on_message
def alters_record(message, relay):
    """A bit of what was sealed: the client notices."""
    if relay.messages == 2:
        message.payload = message.payload[:-1] + bytes([message.payload[-1] ^ 1])
    return [message.encode()]


# --- a node that lies, with valid proofs ---


def lied_message(name, change):
    def tell(message, relay):
        if relay.messages == 2:
            change(message)
            message.proven(relay)
        return [message.encode()]

    LIARS.add(f"proves-{name}")
    ON_MESSAGE[f"proves-{name}"] = tell


lied_message("other-type", lambda message: message.put(0, 1, 3))
lied_message("reserved", lambda message: message.put(1, 1, 1))
lied_message("other-number", lambda message: message.put(8, 8, message.number() + 1))
lied_message("number-before", lambda message: message.put(8, 8, message.number() - 1))
lied_message("long-payload", lambda message: message.put(4, 4, len(message.payload) + 1))
lied_message("ready-that-falls", lambda message: message.put(16, 8, 1))
lied_message("ready-beyond-the-end", lambda message: message.put(16, 8, 1 << 60))


@lie
def answers_less(message, relay):
    """One byte of an answer is missing, and its head says so."""
    if relay.messages == 2:
        message.payload = message.payload[:-1]
        message.put(4, 4, len(message.payload)).proven(relay)
    return [message.encode()]


@lie
def answers_twice(message, relay):
    return [message.encode()] * (2 if relay.messages == 2 else 1)


@lie
def answers_garbage(message, relay):
    """Records that are none."""
    if relay.messages == 2:
        message.payload = message.payload[: relay.clear] + bytes(len(message.payload) - relay.clear)
    return [message.encode()]


@lie
def reports_with_payload(message, relay):
    report = Message(bytes(message.head) + b"x").put(0, 1, REPORT).put(4, 4, 1).proven(relay)
    return [message.encode(), report.encode()] if relay.messages == 2 else [message.encode()]


@lie
def floods_with_reports(message, relay):
    report = Message(bytes(message.head)).put(0, 1, REPORT).put(4, 4, 0).proven(relay)
    return [message.encode()] + ([report.encode()] * 20000 if relay.messages == 2 else [])


@lie
def ends_early(message, relay):
    """The last chunk comes in the middle of the body."""
    return [message.encode()] + ([b"0\r\n\r\n"] if relay.messages == 2 else [])


# --- in the announcement, by a node that lies ---

ON_ANNOUNCEMENT = {}


def announced(name, **changes):
    LIARS.add(f"announces-{name}")

    def tell(response):
        value = response.announcement()
        for parameter, change in changes.items():
            old = re.search(rf"; {parameter}=([^;]*)", value).group(1)
            new = change(old)
            value = value.replace(f"; {parameter}={old}", "" if new is None else f"; {parameter}={new}", 1)
        response.prove(value)

    ON_ANNOUNCEMENT[f"announces-{name}"] = tell


announced("no-ready", ready=lambda old: None)
announced("ready-beyond-the-end", ready=lambda old: int(old) + 1)
announced("signed-ready", ready=lambda old: f"+{old}")
announced("no-length", length=lambda old: "0")
announced("other-length", length=lambda old: int(old) + 1)
announced("other-ticket", ticket=lambda old: "ab" * 16)
announced("other-status", status=lambda old: 206)

NAMES = [*ON_GRANT, *ON_MESSAGE, *ON_ANNOUNCEMENT]
