# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults that fake_node can have: each a function of the real node's response and of the exchange under way.

A fault is called in the query by its function's name, with _ for -. It is a node that has these faults: what it announces bears a
valid proof, unless the proof is the fault. Somebody without the key is in fetch_hop_attacks.py.
"""
import os
import re
import time

from proofs import announcement_text, prove, request_proof

PATIENCE = 30  # seconds
FAULTS = {}
# What does not need an announcement that it could change.
ALWAYS = {"unasked", "early-hints-always", "waits-for-release", "long-headers", "never-answers", "dies-before-headers",
          "dies-in-headers", "error-500", "rival-headers", "several-ranges", "tells-locations", "tells-locations-early",
          "sends-reference", "tells-request",
          "dies-after-headers", "dies-mid-body", "dies-at-record-edge", "dies-one-byte-short"}


class Cut(Exception):
    """The connection to HAProxy is to be dropped now."""


class Response:
    """The real node's response head, to be changed before it is passed on."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.status = lines[0]
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.before = b""  # sent in front of the head
        self.body = None  # sent in place of the node's
        self.body_limit = None  # bytes of the body passed on before the connection is cut
        self.changed_framing = False  # the body does not come as the head says
        self.key = None  # the lease's, if it is needed

    def get(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def set(self, name, value):
        self.headers = [(key, value if key.lower() == name.lower() else old) for key, old in self.headers]

    def remove(self, name):
        self.headers = [(key, value) for key, value in self.headers if key.lower() != name.lower()]

    def add(self, name, value):
        self.headers.append((name, value))

    def body_length(self):
        """Bytes; of a direct answer, which is chunked, those that stand for the body."""
        return int(self.get("Content-Length") or 1)

    def announced(self):
        return (self.get("Disc-Body") or "").startswith(("splice", "direct"))

    def announcement(self):
        """The announcement without its proof."""
        return self.get("Disc-Body").rpartition("; proof=")[0]

    def proof(self):
        return self.get("Disc-Body").rpartition("; proof=")[2]

    def changed(self, kind=None, **changes):
        """The announcement, without its proof, with another kind or other parameters; None removes one."""
        old, *parameters = self.announcement().split("; ")
        new = [kind or old]
        for parameter in parameters:
            key, value = parameter.split("=", 1)
            value = changes.get(key, value)
            if value is not None:
                new.append(f"{key}={value}")
        return "; ".join(new)

    def prove(self, value, key=None):
        """Announces <value>, with its proof under <key>: the lease's unless said otherwise."""
        self.set("Disc-Body", f"{value}; proof={prove(key or self.key, announcement_text(value))}")

    def announce(self, kind=None, **changes):
        self.prove(self.changed(kind, **changes))

    def parameter(self, name):
        return int(re.search(rf"\b{name}=(\d+)", self.get("Disc-Body")).group(1))

    def ticket(self):
        return re.search(r"ticket=(\w+)", self.get("Disc-Body")).group(1)

    def encode(self):
        return (self.status + "\r\n" + "".join(f"{k}: {v}\r\n" for k, v in self.headers) + "\r\n").encode("latin-1")


def fault(function):
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


# --- lies in the announcement; the records behind it are good ones ---


@fault
def wrong_ticket(response, exchange):
    response.announce(ticket="00112233445566778899aabbccddeeff")


@fault
def uppercase_ticket(response, exchange):
    ticket = response.ticket()
    # A ticket of digits only has no upper case: take one that surely is no ticket then.
    response.announce(ticket=ticket.upper() if ticket.upper() != ticket else "A" * 32)


@fault
def short_ticket(response, exchange):
    response.announce(ticket="00112233")


@fault
def wrong_seq(response, exchange):
    response.announce(seq=response.parameter("seq") + 1)


@fault
def seq_zero(response, exchange):
    response.announce(seq=0)


@fault
def overflowing_seq(response, exchange):
    response.announce(seq=2**64 + response.parameter("seq"))


@fault
def wrong_records(response, exchange):
    response.announce(records=response.parameter("records") + 1)


@fault
def no_records(response, exchange):
    response.announce(records=0)


@fault
def overflowing_records(response, exchange):
    response.announce(records=2**64 + response.parameter("records"))


@fault
def wrong_length(response, exchange):
    response.announce(length=response.parameter("length") - 1)


@fault
def overflowing_length(response, exchange):
    response.announce(length=2**64 + response.parameter("length"))


@fault
def wrapping_arithmetic(response, exchange):
    """length + 22 * records is the Content-Length (of a direct body: what it should be) modulo 2^64, and only so."""
    records = 2**60 + 1
    total = int(response.get("Content-Length") or int(response.parameter("length")) + 22 * int(response.parameter("records")))
    response.announce(records=records, length=(total - 22 * records) % 2**64)


@fault
def length_zero(response, exchange):
    response.announce(length=0)


@fault
def wrong_content_length(response, exchange):
    response.set("Content-Length", int(response.get("Content-Length")) - 1)


@fault
def leading_zeros(response, exchange):
    response.announce(seq=f"0{response.parameter('seq')}")


@fault
def signed_number(response, exchange):
    response.announce(length=f"+{response.parameter('length')}")


@fault
def hexadecimal_number(response, exchange):
    response.announce(length=hex(response.parameter("length")))


@fault
def missing_seq(response, exchange):
    response.announce(seq=None)


@fault
def missing_length(response, exchange):
    response.announce(length=None)


@fault
def missing_ticket(response, exchange):
    response.announce(ticket=None)


@fault
def trailing_bytes(response, exchange):
    response.set("Disc-Body", response.get("Disc-Body") + "; more=1")


@fault
def unknown_kind(response, exchange):
    response.announce(kind="teleport")


@fault
def empty_announcement(response, exchange):
    response.set("Disc-Body", "")


@fault
def two_spaces(response, exchange):
    response.set("Disc-Body", response.get("Disc-Body").replace("; ", ";  ", 1))


@fault
def twice(response, exchange):
    response.add("Disc-Body", response.get("Disc-Body"))


@fault
def twice_contradicting(response, exchange):
    none = f"none; ticket={response.ticket()}"
    response.add("Disc-Body", f"{none}; proof={prove(response.key, announcement_text(none))}")


@fault
def no_content_length(response, exchange):
    response.remove("Content-Length")
    response.add("Connection", "close")


@fault
def chunked(response, exchange):
    response.remove("Content-Length")
    response.add("Transfer-Encoding", "chunked")
    response.changed_framing = True


@fault
def content_encoding(response, exchange):
    response.add("Content-Encoding", "gzip")


@fault
def splice_with_304(response, exchange):
    response.status = "HTTP/1.1 304 Not Modified"
    response.body_limit = 0


@fault
def splice_with_204(response, exchange):
    response.status = "HTTP/1.1 204 No Content"
    response.body_limit = 0


@fault
def wrong_status(response, exchange):
    response.announce(status=206 if response.parameter("status") == 200 else 200)


@fault
def odd_status(response, exchange):
    response.status = "HTTP/1.1 203 Non-Authoritative Information"
    response.announce(status=203)


@fault
def missing_status(response, exchange):
    response.announce(status=None)


@fault
def wrong_first(response, exchange):
    response.announce(first=response.parameter("first") + 16384)


@fault
def missing_first(response, exchange):
    response.announce(first=None)


@fault
def overflowing_first(response, exchange):
    response.announce(first=2**64 + response.parameter("first"))


@fault
def other_content_range(response, exchange):
    """Of a range: the announcement is right, the client would read of another place."""
    first = response.parameter("first") + 1
    last = first + response.parameter("length") - 1
    response.set("Content-Range", f"bytes {first}-{last}/{last + 1}")


def announce_etag(response, etag):
    """The ETag field says the same."""
    response.set("ETag", etag)
    response.announce(etag=etag)


@fault
def weak_etag(response, exchange):
    announce_etag(response, 'W/"1"')


@fault
def unquoted_etag(response, exchange):
    announce_etag(response, "1")


@fault
def half_quoted_etag(response, exchange):
    announce_etag(response, '"1')


@fault
def long_etag(response, exchange):
    announce_etag(response, '"' + "1" * 255 + '"')


@fault
def longest_etag(response, exchange):
    """That is no lie."""
    announce_etag(response, '"' + "1" * 254 + '"')


@fault
def other_etag(response, exchange):
    response.announce(etag='"another"')


@fault
def missing_etag(response, exchange):
    response.announce(etag=None)


@fault
def empty_etag(response, exchange):
    """A body that no other node may go on with: that is no lie."""
    response.announce(etag="")


# --- proofs that are none ---


@fault
def no_proof(response, exchange):
    response.set("Disc-Body", response.announcement())


@fault
def empty_proof(response, exchange):
    response.set("Disc-Body", response.announcement() + "; proof=")


@fault
def short_proof(response, exchange):
    response.set("Disc-Body", response.get("Disc-Body")[:-1])


@fault
def long_proof(response, exchange):
    response.set("Disc-Body", response.get("Disc-Body") + "0")


@fault
def uppercase_proof(response, exchange):
    response.set("Disc-Body", f"{response.announcement()}; proof={response.proof().upper()}")


@fault
def proof_of_another_ticket(response, exchange):
    text = announcement_text(response.changed(ticket="00112233445566778899aabbccddeeff"))
    response.set("Disc-Body", f"{response.announcement()}; proof={prove(response.key, text)}")


@fault
def proof_of_another_lease(response, exchange):
    response.prove(response.announcement(), exchange.server.keys.other_than(response.key))


@fault
def proof_of_the_request(response, exchange):
    proof = request_proof(exchange.request_head.encode("latin-1"))
    response.set("Disc-Body", f"{response.announcement()}; proof={proof}")


# --- announcements that nobody asked for: the request bore no ticket, or HAProxy has no lease ---


@fault
def unasked(response, exchange):
    length = int(response.get("Content-Length"))
    response.add("Disc-Body", f"splice; ticket={'0' * 32}; seq=1; records={max(1, -(-length // 16384))}; length={length}; "
                              f"status=200; first=0; etag=; proof={'0' * 32}")


# --- good announcements in unusual company ---


@fault
def early_hints_first(response, exchange):
    response.before = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@fault
def early_hints_always(response, exchange):
    """In front of ordinary responses too."""
    early_hints_first(response, exchange)


@fault
def continue_first(response, exchange):
    response.before = b"HTTP/1.1 100 Continue\r\n\r\n"


@fault
def announcement_in_103(response, exchange):
    """The final response is an ordinary lie-free one; only the 103 in front of it bears an announcement."""
    response.before = ("HTTP/1.1 103 Early Hints\r\nDisc-Body: " + response.get("Disc-Body") + "\r\n\r\n").encode("latin-1")


@fault
def extra_disc_headers(response, exchange):
    response.add("Disc-Secret", "not for clients")
    response.add("disc-ticket", "00112233445566778899aabbccddeeff")


@fault
def rival_headers(response, exchange):
    """Fields that an application in front may send too."""
    response.add("Set-Cookie", "node=1")
    response.add("Link", "</node>; rel=node")
    response.add("X-Both", "node")
    response.add("X-Node", "node")
    response.add("Server", "node")
    response.add("Digest", "sha-256=bm9kZQ==")


def locations():
    """Fields that lead to what is internal, by different ways of saying so."""
    return [("Content-Location", "/internal/100k"), ("Refresh", "0; /internal/100k"), ("Refresh", "0; url='100k'"),
            ("Link", "</internal/a.css>; rel=preload, <https://cdn.invalid/a.css>; rel=preload"), ("Link", "<a.css>; rel=preload"),
            ("SourceMap", "/x/..//%69nternal/a.map"), ("Location", "https://cdn.invalid/internal/100k")]


@fault
def tells_locations(response, exchange):
    """A server that names itself to its clients."""
    for name, value in locations():
        response.add(name, value)
    response.add("X-Node", "node")


@fault
def tells_locations_early(response, exchange):
    lines = "".join(f"{name}: {value}\r\n" for name, value in locations() if name == "Link")
    response.before = f"HTTP/1.1 103 Early Hints\r\n{lines}X-Early: node\r\n\r\n".encode()


@fault
def several_ranges(response, exchange):
    """As a node that cuts several ranges; the body stays what it was."""
    response.status = "HTTP/1.1 206 Partial Content"
    response.set("Content-Type", "multipart/byteranges; boundary=lab")
    if response.announced():
        response.announce(status=206)


@fault
def tells_request(response, exchange):
    """Method and header names of the request, for the client to see."""
    method, *lines = exchange.request_head.strip().split("\r\n")
    names = sorted(line.split(":", 1)[0].lower() for line in lines)
    response.add("X-Request", " ".join([method.split(" ")[0], *names]))


@fault
def sends_reference(response, exchange):
    """As if the node were an application."""
    response.add("X-Accel-Redirect", "/internal/1")
    response.add("Backend-IP", "192.0.2.1")


@fault
def big_headers(response, exchange):
    for i in range(3):
        response.add(f"X-Filler-{i}", "f" * 4000)


@fault
def one_byte_at_a_time(response, exchange):
    exchange.dribble = True


# --- connections that break ---


@fault
def dies_before_headers(response, exchange):
    exchange.cut()


@fault
def dies_in_headers(response, exchange):
    exchange.client.sendall(response.encode()[:40])
    exchange.cut()


@fault
def error_500(response, exchange):
    exchange.fail_500()


@fault
def offload_error_500(response, exchange):
    """For offloaded responses only: what HAProxy asks again without a ticket succeeds."""
    exchange.fail_500()


# The same three, for offloaded responses only: what HAProxy asks again without a ticket succeeds.


@fault
def offload_dies_before_headers(response, exchange):
    exchange.cut()


@fault
def offload_dies_in_headers(response, exchange):
    dies_in_headers(response, exchange)


@fault
def offload_never_answers(response, exchange):
    exchange.hold()


@fault
def dies_after_headers(response, exchange):
    response.body_limit = 0


@fault
def dies_mid_body(response, exchange):
    response.body_limit = response.body_length() // 2


@fault
def dies_at_record_edge(response, exchange):
    """The first record is whole, the second does not begin."""
    response.body_limit = 16384 + 22


@fault
def dies_one_byte_short(response, exchange):
    response.body_limit = response.body_length() - 1


@fault
def damaged_record(response, exchange):
    exchange.damage_at = int(response.get("Content-Length")) // 2


@fault
def waits_for_release(response, exchange):
    """Answers well, but not before the test has created the file of --release."""
    for _ in range(100 * PATIENCE):
        if os.path.exists(exchange.server.release):
            return
        time.sleep(0.01)
    exchange.cut()


@fault
def long_headers(response, exchange):
    """Several records of them where records are small, one where they are not."""
    for i in range(3):
        response.add(f"X-Long-{i}", "l" * 2000)


@fault
def never_answers(response, exchange):
    exchange.hold()


# --- the direct path: handoff_agent has the records, HAProxy gets one byte ---


def divert(response, exchange, note, instead=None):
    """<instead>, called with the exchange and the records, sends something else than that byte."""
    response.announce(kind="direct")
    response.remove("Content-Length")
    response.add("Transfer-Encoding", "chunked")
    exchange.divert = os.path.join(exchange.server.records, response.ticket())
    exchange.divert_note = note
    exchange.instead = instead


def hold_back(exchange, records):
    exchange.hold()


def send_records(exchange, records):
    """As a node does whose agent goes away before it hands a connection off."""
    exchange.send_chunk(records)


def send_records_later(exchange, records):
    """The time is what is tested: HAProxy waits for them."""
    time.sleep(0.3)
    exchange.send_chunk(records)


def send_records_in_vain(exchange, records):
    """Half of them: the connection is moved all the same."""
    exchange.client.sendall(b"%x\r\n" % len(records) + records[: len(records) // 2])
    exchange.cut()


def send_too_few_records(exchange, records):
    exchange.send_chunk(records[:-100])


def send_no_records(exchange, records):
    """One byte, though nobody has taken the connection."""
    exchange.send_chunk(b".")


def send_more_than_records(exchange, records):
    """In a chunk larger than HAProxy can forward at a time: the records, then a response of the server's own."""
    exchange.client.sendall(b"%x\r\n" % (1 << 33) + records + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong" * 4000)
    exchange.cut()


def cut_at_once(exchange, records):
    exchange.cut()


for name in ("direct", "direct-slow", "direct-stalls", "direct-lost-client", "direct-lost-node", "direct-dies", "direct-garbage",
             "direct-other-handoff", "direct-holds", "direct-dies-holding"):
    FAULTS[name] = lambda response, exchange, note=name: divert(response, exchange, note)

# The handoff ends before HAProxy has the byte.
for name in ("direct-lost-node", "direct-dies", "direct-holds"):
    FAULTS[f"{name}-early"] = lambda response, exchange, note=name: divert(response, exchange, note, hold_back)

# Nobody takes the connection.
for name in ("direct-refuses", "direct-vanishes"):
    FAULTS[name] = lambda response, exchange, note=name: divert(response, exchange, note, send_records)
    FAULTS[f"{name}-late"] = lambda response, exchange, note=name: divert(response, exchange, note, send_records_later)
    FAULTS[f"{name}-cut"] = lambda response, exchange, note=name: divert(response, exchange, note, send_records_in_vain)

for name, instead in (("few", send_too_few_records), ("none", send_no_records), ("more", send_more_than_records)):
    FAULTS[f"direct-refuses-{name}"] = lambda response, exchange, instead=instead: divert(response, exchange, "direct-refuses", instead)

# The server says nothing more, or goes away; the agent does not.
FAULTS["direct-silent"] = lambda response, exchange: divert(response, exchange, "direct-slow", hold_back)
FAULTS["direct-alone"] = lambda response, exchange: divert(response, exchange, "direct-slow", cut_at_once)
FAULTS["direct-twice"] = lambda response, exchange: divert(response, exchange, "direct-slow", send_records)
FAULTS["direct-twice-cut"] = lambda response, exchange: divert(response, exchange, "direct-slow", send_records_in_vain)


@fault
def direct_wrong_length(response, exchange):
    """A body that cannot be the records, should nobody take the connection."""
    response.announce(kind="direct")
    response.set("Content-Length", "2")
