"""Which feeds may be fetched, and what a feed may answer: a real server, that misbehaves as a test says."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from svc_bulk.errors import FeedNotAllowed, FeedRefused
from svc_bulk.feed import fetching
from svc_bulk.feed.fetching import FeedRules, fetch, is_public

ALLOWED = frozenset({"https://feeds.example.com", "https://feeds.example.com:8443"})


class Supplier(ThreadingHTTPServer):
    """Answers with what a test has put here, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status, self.headers, self.pieces = 200, {"ETag": '"v1"'}, [b"sku\n"]
        self.pause_seconds = self.header_pause_seconds = 0.0
        self.asked: list[dict[str, str]] = []
        self.hung_up = threading.Event()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        supplier: Supplier = self.server
        supplier.asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        known = self.headers.get("If-None-Match") == supplier.headers.get("ETag", "none")
        self.send_response(304 if known else supplier.status)
        for name, value in supplier.headers.items():
            self.send_header(name, value)
        try:
            for letter in "X-Slow: is it?\r\n" if supplier.header_pause_seconds else "":
                self.flush_headers()
                self.wfile.write(letter.encode())
                time.sleep(supplier.header_pause_seconds)
            self.end_headers()
            for piece in [] if known else supplier.pieces:
                self.wfile.write(piece)
                time.sleep(supplier.pause_seconds)
        except OSError:
            supplier.hung_up.set()  # whoever asked has heard enough

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def supplier() -> Iterator[Supplier]:
    with Supplier() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def rules(supplier: Supplier) -> FeedRules:
    return FeedRules(frozenset(), frozenset({supplier.origin}))


async def test_a_feed_is_fetched_with_its_etag(supplier: Supplier, rules: FeedRules):
    """Under its own name, with its query."""
    feed = await fetch(rules, f"{supplier.origin}/all.csv?shop=1", "")

    assert (b"sku\n", '"v1"') == (feed.content, feed.etag)
    [asked] = supplier.asked
    assert ("/all.csv?shop=1", supplier.origin[7:]) == (asked["path"], asked["host"])
    assert "if-none-match" not in asked


async def test_a_feed_that_has_not_changed_is_not_sent(supplier: Supplier, rules: FeedRules):
    """It says so, and nothing else."""
    feed = await fetch(rules, f"{supplier.origin}/", '"v1"')

    assert feed.content is None and '"v1"' == feed.etag


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, {"Location": "http://169.254.169.254/latest/meta-data/"}),
        (404, {}),
        (500, {}),
        (304, {}),
        (206, {}),
        (200, {"Content-Encoding": "gzip"}),
        (200, {"Content-Length": "100"}),
    ],
)
async def test_what_can_not_be_taken_is_refused(supplier: Supplier, rules: FeedRules, status: int, headers: dict):
    """A redirect above all: it leads wherever the feed's server likes. And half a file is no file."""
    supplier.status, supplier.headers = status, headers

    with pytest.raises(FeedRefused):
        await fetch(rules, f"{supplier.origin}/", "")
    assert 1 == len(supplier.asked)


async def test_a_feed_has_an_end(supplier: Supplier, rules: FeedRules, monkeypatch: pytest.MonkeyPatch):
    """In bytes, also where nobody says how many come, and in seconds, also where each byte comes in time."""
    monkeypatch.setattr(fetching, "MAX_FEED_BYTES", 100)
    supplier.headers, supplier.pieces = {}, [b"x" * 60] * 2
    with pytest.raises(FeedRefused, match="more than"):
        await fetch(rules, f"{supplier.origin}/", "")

    monkeypatch.setattr(fetching, "MAX_FEED_SECONDS", 0.1)
    supplier.hung_up.clear()
    supplier.pieces, supplier.pause_seconds = [b"x"] * 90, 0.03
    began = time.monotonic()
    with pytest.raises(FeedRefused, match="took more"):
        await fetch(rules, f"{supplier.origin}/", "")
    assert time.monotonic() - began < 1.2

    assert supplier.hung_up.wait(2.0), "a thread that nobody waits for reads on"
    supplier.hung_up.clear()

    supplier.header_pause_seconds = 0.2
    began = time.monotonic()
    with pytest.raises(FeedRefused, match="took more"):
        await fetch(rules, f"{supplier.origin}/", "")
    assert time.monotonic() - began < 1.2
    assert supplier.hung_up.wait(2.0)


def certificate_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate of a name that vouches for itself; returns it and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(whose, whose, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "certificate").write_bytes(made.public_bytes(Encoding.PEM))
    return folder / "certificate", folder / "key"


async def test_over_tls_the_certificate_has_to_be_the_names(
    supplier: Supplier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whoever has the address is asked for it, also where the name means that address."""
    certificate, key = certificate_of("feed.invalid", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    supplier.socket = context.wrap_socket(supplier.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    good, bad = (f"https://{name}.invalid:{supplier.server_address[1]}" for name in ("feed", "other"))
    rules = FeedRules(frozenset(), frozenset({good, bad}), resolve)
    assert b"sku\n" == (await fetch(rules, f"{good}/a", "")).content
    with pytest.raises(FeedRefused):
        await fetch(rules, f"{bad}/a", "")
    assert 1 == len(supplier.asked)


async def test_an_etag_that_could_split_a_header_is_forgotten(supplier: Supplier, rules: FeedRules):
    """It goes back into a request the next time."""
    supplier.headers = {"ETag": '"' + "x" * 300 + '"'}

    assert "" == (await fetch(rules, f"{supplier.origin}/", "")).etag


async def test_a_feed_that_nobody_serves_is_refused(supplier: Supplier):
    """So that its operation ends, with a reason."""
    free = "http://127.0.0.1:9"
    with pytest.raises(FeedRefused):
        await fetch(FeedRules(frozenset(), frozenset({free})), f"{free}/", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://feeds.example.com/a",
        "https://feeds.example.com:444/a",
        "https://feeds.example.com.evil.example/a",
        "https://evil.example/https://feeds.example.com/",
        "https://feeds.example.com@evil.example/",
        "https://user@feeds.example.com/",
        "https://feeds.example.com/#x",
        "https://feeds.example.com:port/",
        "https://[::1",
        "https://127.0.0.1/",
        "ftp://feeds.example.com/",
        "https:///a",
        "",
    ],
)
def test_only_origins_that_are_named_are_allowed(url: str):
    """Scheme, host and port, letter by letter."""
    with pytest.raises(FeedNotAllowed):
        FeedRules(ALLOWED, frozenset()).check(url)


@pytest.mark.parametrize("url", ["https://feeds.example.com/a?b=c", "https://feeds.example.com:8443/"])
def test_an_origin_that_is_named_is_allowed(url: str):
    """With any path and query."""
    assert "feeds.example.com" == FeedRules(ALLOWED, frozenset()).check(url).hostname


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:1::1",
    ],
)
async def test_an_address_that_only_this_network_reaches_is_refused(address: str):
    """In every spelling, and also where only one of a name's addresses is such a one."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", address]

    assert not is_public(address)
    rules = FeedRules(ALLOWED, frozenset(), resolve)
    with pytest.raises(FeedNotAllowed):
        await rules.address_of(rules.check("https://feeds.example.com/"))


async def test_the_connection_goes_to_the_address_that_was_looked_at(supplier: Supplier):
    """A name that means another address a moment later (DNS rebinding) is not asked again."""
    origin = f"http://feed.invalid:{supplier.server_address[1]}"
    answers = iter([["127.0.0.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    feed = await fetch(FeedRules(frozenset(), frozenset({origin}), resolve), f"{origin}/a", "")

    assert b"sku\n" == feed.content
    assert origin[7:] == supplier.asked[0]["host"]


def test_public_addresses_are_public():
    """Of both kinds."""
    assert all(map(is_public, ("93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8")))
