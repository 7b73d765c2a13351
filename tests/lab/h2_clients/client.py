# SPDX-License-Identifier: GPL-2.0-or-later
"""client.py CA ADDRESS URL...: GETs of all URLs, of one site, at once on one HTTP/2 connection to ADDRESS, by httpx. Prints for each, in
the order of the URLs: status, bytes, SHA-256."""
import asyncio
import hashlib
import socket
import sys

import httpx


async def fetch(client, url):
    digest, size = hashlib.sha256(), 0
    async with client.stream("GET", url) as response:
        assert response.http_version == "HTTP/2", response.http_version
        async for data in response.aiter_raw():
            digest.update(data)
            size += len(data)
    return f"{response.status_code} {size} {digest.hexdigest()}"


async def main(ca, *urls):
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http1=False, http2=True, verify=ca, limits=limits, timeout=90) as client:
        print("\n".join(await asyncio.gather(*(fetch(client, url) for url in urls))))


look_up = socket.getaddrinfo
# The site's name is known here alone.
socket.getaddrinfo = lambda host, *arguments, **named: look_up(sys.argv[2], *arguments, **named)
asyncio.run(main(sys.argv[1], *sys.argv[3:]))
