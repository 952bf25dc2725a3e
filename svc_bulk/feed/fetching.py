"""Which addresses a feed may have, and how one is fetched: from where the configuration says, and from nowhere else.

A feed's address comes from a request, so whoever may start an operation could have this process call whatever it
reaches (server-side request forgery, CWE-918). So: origins are named one by one; every address that a name has must be
public, and the connection goes to the address that was looked at, not to what the name means a moment later; redirects
are refused; size and time are bounded.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from svc_bulk.errors import FeedNotAllowed, FeedRefused

MAX_FEED_BYTES = 16 * 1024 * 1024
MAX_FEED_SECONDS = 60.0
CONNECT_SECONDS = 10.0
MAX_ETAG_CHARACTERS = 256
_PIECE_BYTES = 64 * 1024

_WAYS_TO_IPV4 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")))
"""Translations and tunnels: such an address may end at any address of the old kind, private ones too."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Feed:
    """What a feed answered; `content` is None where it has not changed since the ETag that was sent."""

    content: bytes | None
    etag: str


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, and leads nowhere else."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _WAYS_TO_IPV4):
            return False
    return ip.is_global and not ip.is_multicast


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as the machine finds them."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise FeedRefused(f"the feed's host {host} has no address") from None
    return [str(each[4][0]) for each in found]


class FeedRules:
    """What the configuration allows."""

    def __init__(self, origins: frozenset[str], private_origins: frozenset[str], resolve: Resolve = resolve) -> None:
        self._origins = origins
        self._private = private_origins
        self._resolve = resolve

    def check(self, url: str) -> SplitResult:
        """Return the parts of a feed's address.

        Raises:
            FeedNotAllowed: It is malformed, names a user, or is of no origin that is allowed.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise FeedNotAllowed("the feed's address is malformed") from None
        origin = f"{parts.scheme}://{parts.netloc}"
        if parts.username is not None or parts.fragment or not parts.hostname:
            raise FeedNotAllowed("the feed's address may have a host, a path and a query, and nothing else")
        if origin not in self._origins | self._private:
            raise FeedNotAllowed(f"the configuration allows no feeds of {origin}")
        return parts

    async def address_of(self, parts: SplitResult) -> tuple[str, int]:
        """Return the address to connect to, as one that was looked at, and the port.

        Raises:
            FeedNotAllowed: One of the addresses is not public, and the origin is not a private one.
            FeedRefused: The host has no address.
        """
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await self._resolve(host, port)
        if f"{parts.scheme}://{parts.netloc}" not in self._private and not all(map(is_public, addresses)):
            raise FeedNotAllowed(f"{host} has an address that is not public")
        if not addresses:
            raise FeedRefused(f"the feed's host {host} has no address")
        return addresses[0], port


async def fetch(rules: FeedRules, url: str, etag: str) -> Feed:
    """Fetch a feed, unless it is still what `etag` says; that of the last time, or empty.

    Raises:
        FeedNotAllowed: Its address is not allowed, now that it was looked up.
        FeedRefused: It answered something that can't be taken, or nothing in time.
    """
    parts = rules.check(url)
    try:
        async with asyncio.timeout(MAX_FEED_SECONDS):
            address, port = await rules.address_of(parts)
            connection = (_Secure if parts.scheme == "https" else _Plain)(parts.hostname or "", address, port)
            try:
                # A thread, and no client of the event loop: what one holds in memory is too much for a call a day.
                return await asyncio.to_thread(_fetch, connection, parts, etag)
            finally:
                connection.give_up()  # it may still read, where nobody waits for it any more
    except TimeoutError:
        raise FeedRefused(f"the feed took more than {MAX_FEED_SECONDS:.0f} seconds") from None


class _Plain(http.client.HTTPConnection):
    """Connects to an address that was looked at; the name stays in the Host header."""

    def __init__(self, host: str, address: str, port: int) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self._address = address
        self._open: socket.socket | None = None
        self._given_up = False

    def connect(self) -> None:
        """Connect there."""
        self._keep(socket.create_connection((self._address, self.port), self.timeout))

    def give_up(self) -> None:
        """End whatever another thread does with this connection: however slowly it is answered, it hears the end."""
        self._given_up = True
        if self._open is not None:
            with suppress(OSError):  # nobody is connected any more
                socket.socket.shutdown(self._open, socket.SHUT_RDWR)

    def _keep(self, sock: socket.socket) -> None:
        # `sock` is gone as soon as a response says that it is the last one, and is read nevertheless.
        self.sock = self._open = sock
        if self._given_up:  # before there was anything to end
            raise ConnectionAbortedError


class _Secure(_Plain):
    """The same with TLS: the certificate has to be the name's."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Connect there, and see who it is."""
        super().connect()
        secure = ssl.create_default_context().wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self._keep(secure)
        secure.do_handshake()


def _fetch(connection: _Plain, parts: SplitResult, etag: str) -> Feed:
    headers = {"Accept-Encoding": "identity", "User-Agent": "Titan"} | ({"If-None-Match": etag} if etag else {})
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=headers)
        with connection.getresponse() as response:
            if response.status == http.HTTPStatus.NOT_MODIFIED and etag:
                return Feed(None, etag)
            if response.status != http.HTTPStatus.OK:
                raise FeedRefused(f"the feed answered {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise FeedRefused("the feed is compressed, which was not asked for")
            return Feed(_body(response), _etag(response))
    except (OSError, http.client.HTTPException) as error:
        raise FeedRefused(f"the feed can't be fetched: {type(error).__name__}") from None
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_FEED_BYTES:
            raise FeedRefused(f"the feed has more than {MAX_FEED_BYTES // 1024**2} MiB")
    if response.length:
        raise FeedRefused("the feed broke off")
    return b"".join(pieces)


def _etag(response: http.client.HTTPResponse) -> str:
    etag = response.headers.get("ETag", "")
    return etag if len(etag) <= MAX_ETAG_CHARACTERS and etag.isascii() and etag.isprintable() else ""
