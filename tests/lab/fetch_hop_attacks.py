# SPDX-License-Identifier: GPL-2.0-or-later
"""What somebody on the fetch hop does who has no key: who listens, connects to nodes, and alters, swaps, replays, drops, delays and
forges requests and announcements.

An attack is called in the query by its function's name, with _ for -, and made on what bears a ticket alone. One of ON_REQUEST is a
function of the request's head and of the exchange under way; it returns the head that the node gets, or None if no node is asked
and exchange.own_answer is the answer. One of ON_RESPONSE is a function of the node's response and of the exchange.

Two requests with the same "pair=" in their queries belong together: the second of them is the one that something is replayed to, or
both wait for each other, and something of them is swapped.
"""
import re
import time

from node_faults import Cut
from proofs import request_proof

ON_REQUEST = {}
ON_RESPONSE = {}
ZEROS = "0" * 32
OOPS = b"Oops"


def on_request(function):
    ON_REQUEST[function.__name__.replace("_", "-")] = function
    return function


def on_response(function):
    ON_RESPONSE[function.__name__.replace("_", "-")] = function
    return function


def with_field(head, name, value):
    """The head with that field instead of what it had of it; None removes it."""
    head = re.sub(rb"(?im)^" + name + rb":.*\n", b"", head)
    return head + (name + b": " + value + b"\r\n" if value is not None else b"")


def with_target(head, target):
    return re.sub(rb"^(\S+) \S+", rb"\1 " + target, head)


def with_proof(head, proof):
    return head.replace(request_proof(head).encode(), proof)


# --- asks the node first, with HAProxy's ticket; HAProxy's own request follows unchanged ---


@on_request
def steals_ticket(head, exchange):
    """The very same request: its proof is right, and the records are sealed for somebody else."""
    exchange.fetch_apart(head)
    return head


@on_request
def steals_ticket_whole(head, exchange):
    """And reads all of the answer."""
    exchange.fetch_apart(head, whole=True)
    return head


@on_request
def steals_ticket_unproven(head, exchange):
    exchange.fetch_apart(re.sub(rb"; proof=\w+", b"", head))
    return head


@on_request
def steals_ticket_with_zeros(head, exchange):
    exchange.fetch_apart(with_proof(head, ZEROS.encode()))
    return head


@on_request
def steals_other_target(head, exchange):
    exchange.fetch_apart(with_target(head, b"/2m"))
    return head


@on_request
def steals_missing_target(head, exchange):
    """What a node declines: it must not promise anything."""
    exchange.fetch_apart(with_target(head, b"/none"))
    return head


@on_request
def steals_other_method(head, exchange):
    exchange.fetch_apart(re.sub(rb"^GET", b"HEAD", head))
    return head


@on_request
def steals_other_range(head, exchange):
    exchange.fetch_apart(with_field(head, b"Range", b"bytes=16384-"))
    return head


@on_request
def steals_other_condition(head, exchange):
    exchange.fetch_apart(with_field(head, b"If-Match", b'"another"'))
    return head


# --- alters HAProxy's request ---


@on_request
def drops_ticket(head, exchange):
    return with_field(head, b"Disc-Ticket", None)


@on_request
def forges_ticket(head, exchange):
    return with_field(head, b"Disc-Ticket", f"{'ab' * 16}; proof={ZEROS}".encode())


@on_request
def forges_request_proof(head, exchange):
    return with_proof(head, ZEROS.encode())


@on_request
def drops_request_proof(head, exchange):
    return re.sub(rb"; proof=\w+", b"", head)


@on_request
def alters_method(head, exchange):
    return with_field(re.sub(rb"^GET", b"POST", head), b"Content-Length", b"0")


@on_request
def alters_target(head, exchange):
    return with_target(head, b"/16384")


@on_request
def alters_range(head, exchange):
    return with_field(head, b"Range", b"bytes=16384-")


@on_request
def drops_range(head, exchange):
    return with_field(head, b"Range", None)


@on_request
def alters_if_range(head, exchange):
    return with_field(head, b"If-Range", b'"another"')


@on_request
def alters_if_match(head, exchange):
    return with_field(head, b"If-Match", b'"another"')


@on_request
def swaps_tickets(head, exchange):
    return with_field(head, b"Disc-Ticket", exchange.swap(re.search(rb"(?im)^disc-ticket: *([^\r]*)", head).group(1)))


@on_request
def replays_request(head, exchange):
    return exchange.first_of_pair(head)


@on_request
def delays_request(head, exchange):
    """For longer than an offer waits: the time is what is tested."""
    time.sleep(1.5)
    return head


# --- answers in the node's place ---


def announcement_for(head, kind, proof):
    ticket = re.search(rb"(?im)^disc-ticket: *(\w+)", head).group(1).decode()
    if kind == "none":
        return f"none; ticket={ticket}; proof={proof}"
    return f"{kind}; ticket={ticket}; seq=1; records=1; length=100; status=200; first=0; etag=; proof={proof}"


@on_request
def forges_splice(head, exchange):
    exchange.own_answer = (f"HTTP/1.1 200 OK\r\nDisc-Body: {announcement_for(head, 'splice', ZEROS)}\r\nContent-Length: 122\r\n\r\n"
                           .encode() + b"x" * 122)


@on_request
def forges_none(head, exchange):
    """The offer is still there, so that this is true, but who says it cannot know."""
    exchange.own_answer = (f"HTTP/1.1 200 OK\r\nDisc-Body: {announcement_for(head, 'none', ZEROS)}\r\nContent-Length: 4\r\n\r\n"
                           .encode() + OOPS)


# --- alters the node's answer; records were sealed for it ---


def ordinary(response, announcement):
    """An answer of four bytes in place of the node's."""
    response.status = "HTTP/1.1 200 OK"
    response.remove("Transfer-Encoding")
    response.remove("Content-Length")
    response.add("Content-Length", len(OOPS))
    response.body = OOPS
    if announcement is None:
        response.remove("Disc-Body")
    else:
        response.set("Disc-Body", announcement)


@on_response
def drops_announcement(response, exchange):
    ordinary(response, None)


@on_response
def drops_announcement_of_records(response, exchange):
    response.remove("Disc-Body")


@on_response
def claims_none(response, exchange):
    ordinary(response, f"none; ticket={response.ticket()}")


@on_response
def claims_none_with_zeros(response, exchange):
    ordinary(response, f"none; ticket={response.ticket()}; proof={ZEROS}")


@on_response
def claims_none_with_its_proof(response, exchange):
    ordinary(response, f"none; ticket={response.ticket()}; proof={response.proof()}")


@on_response
def claims_none_with_request_proof(response, exchange):
    ordinary(response, f"none; ticket={response.ticket()}; proof={request_proof(exchange.request_head.encode('latin-1'))}")


@on_response
def claims_none_with_its_proof_of_records(response, exchange):
    response.set("Disc-Body", f"none; ticket={response.ticket()}; proof={response.proof()}")


@on_response
def claims_none_of_before(response, exchange):
    """The first of the pair was declined, truly; the second gets that announcement."""
    earlier = exchange.first_of_pair(response.get("Disc-Body"))
    if earlier != response.get("Disc-Body"):
        ordinary(response, earlier)


@on_response
def claims_none_with_proof_of_before(response, exchange):
    earlier = exchange.first_of_pair(response.proof())
    if earlier != response.proof():
        ordinary(response, f"none; ticket={response.ticket()}; proof={earlier}")


@on_response
def swaps_announcements(response, exchange):
    response.set("Disc-Body", exchange.swap(response.get("Disc-Body")))


@on_response
def swaps_proofs(response, exchange):
    response.set("Disc-Body", f"{response.announcement()}; proof={exchange.swap(response.proof())}")


@on_response
def swaps_responses(response, exchange):
    response.headers, response.body = exchange.swap((response.headers, exchange.take_body()))


@on_response
def replays_announcement(response, exchange):
    response.set("Disc-Body", exchange.first_of_pair(response.get("Disc-Body")))


@on_response
def replays_announcement_with_ticket(response, exchange):
    """The earlier one, but with the ticket that HAProxy waits for."""
    ticket = response.ticket()
    earlier = exchange.first_of_pair(response.get("Disc-Body"))
    response.set("Disc-Body", re.sub(r"ticket=\w+", f"ticket={ticket}", earlier))


@on_response
def replays_response(response, exchange):
    response.headers, response.body = exchange.first_of_pair((response.headers, exchange.take_body()))


@on_response
def repeats_request(response, exchange):
    """Asks once more for what HAProxy has got."""
    exchange.afterwards = exchange.request_head.encode("latin-1")


@on_response
def delays_response(response, exchange):
    """The time is what is tested: HAProxy waits for it."""
    time.sleep(0.5)


@on_response
def drops_response(response, exchange):
    raise Cut


@on_response
def alters_status_line(response, exchange):
    response.status = "HTTP/1.1 206 Partial Content"


@on_response
def alters_content_length(response, exchange):
    response.set("Content-Length", int(response.get("Content-Length")) + 22)


@on_response
def reorders_records(response, exchange):
    """The first two change places."""
    body = exchange.take_body()
    size = 5 + int.from_bytes(body[3:5], "big")
    response.body = body[size : 2 * size] + body[:size] + body[2 * size :]


def altered(name, value):
    """The attack that alters a parameter of the announcement and leaves its proof: <value> is a function of the old one."""

    def attack(response, exchange):
        old = re.search(rf"; {name}=([^;]*)", response.get("Disc-Body")).group(1)
        response.set("Disc-Body", f"{response.changed(**{name: value(old)})}; proof={response.proof()}")

    ON_RESPONSE[f"alters-{name}"] = attack


for parameter, change in (("ticket", lambda old: "ab" * 16), ("seq", lambda old: int(old) + 1), ("records", lambda old: int(old) + 1),
                          ("length", lambda old: int(old) - 1), ("status", lambda old: 206 if old == "200" else 200),
                          ("first", lambda old: int(old) + 16384), ("etag", lambda old: '"another"')):
    altered(parameter, change)


@on_response
def alters_kind(response, exchange):
    other = "direct" if response.announcement().startswith("splice") else "splice"
    response.set("Disc-Body", f"{response.changed(kind=other)}; proof={response.proof()}")


@on_response
def alters_proof(response, exchange):
    """One bit of it."""
    proof = response.proof()
    response.set("Disc-Body", f"{response.announcement()}; proof={proof[:-1]}{int(proof[-1], 16) ^ 1:x}")
