"""Forged headers, paths, hosts and frames, over a whole mesh: the rows of `tests.forgeries`.

A guest asks for what only finance may read: no header makes them somebody else, and nothing is smuggled past the
edge. What arrives behind it, header by header, is shown in `tests/control/test_edge_forgeries.py`.
"""

from __future__ import annotations

from tests.attacks.case import Reply, Wrong, add
from tests.attacks.scene import Scene
from tests.forgeries import FRAMED, HARMLESS_HEADS, HOSTS, PATHS, REFUSED_HEADS, REQUEST_LINES, SMUGGLED, STRIPPED

FORBIDDEN = "/v1/ledger:verify"
DENIED, REFUSED = "403 ACCESS_DENIED", "400 INVALID_INPUT"
UNKNOWN_CODINGS = {
    "an unknown coding",
    "a coding with a tab",
    "chunks, then nothing",
    "a coding in quotes",
    "chunks twice",
}
CODES = {400: REFUSED, 426: "426 NOT_IMPLEMENTED"}


def head(scene: Scene, *lines: str, path: str = FORBIDDEN, method: str = "GET") -> bytes:
    """Return a guest's request, with lines more."""
    token = f"authorization: Bearer {scene.victims.guest.token}"
    return "\r\n".join((f"{method} {path} HTTP/1.1", "host: localhost", token, *lines, "", "")).encode("latin-1")


async def one(scene: Scene, request: bytes) -> Reply:
    """Send bytes that deserve one answer."""
    answers = await scene.speak(request)
    if len(answers) != 1:
        raise Wrong(f"{len(answers)} answers: {', '.join(map(str, answers))}")
    return answers[0]


def _stripped(name: str) -> None:
    async def attack(scene: Scene) -> Reply:
        reply = await one(scene, head(scene, f"{name}: {STRIPPED[name]}", f"{name.upper()}: {STRIPPED[name]}"))
        channel = await scene.edge_grpc()
        inside = await scene.call(
            channel,
            "/titan.payment.v1.LedgerService/VerifyLedger",
            token=scene.victims.guest.token,
            metadata=((name, STRIPPED[name]),),
        )
        if str(inside) != "PERMISSION_DENIED ACCESS_DENIED":
            raise Wrong(f"over gRPC: {inside}")
        return reply

    add("headers", f"{name}, over HTTP and gRPC", DENIED, attack, long=True, still=True)


def _refused(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        request = b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\n" + REFUSED_HEADS[what] + b"\r\n" + SMUGGLED
        return await one(scene, request)

    add("headers", what, "501 NOT_IMPLEMENTED" if what in UNKNOWN_CODINGS else REFUSED, attack, still=True)


def _harmless(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await one(scene, head(scene)[:-2] + HARMLESS_HEADS[what] + b"\r\n")

    add("headers", what, "401 TOKEN_INVALID" if "token" in what else DENIED, attack, still=True)


def _line(what: str) -> None:
    line, code = REQUEST_LINES[what]

    async def attack(scene: Scene) -> Reply:
        return await one(scene, line + b"\r\nhost: localhost\r\n\r\n")

    add("headers", f"a request line with {what}", CODES[code], attack, still=True)


def _path(path: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await one(scene, f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())

    due = "401 UNAUTHENTICATED" if PATHS[path] == "/v1/cart" else "404 ROUTE_NOT_FOUND"
    add("headers", f"the path {path}", due, attack, still=True)


def _host(host: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await one(scene, head(scene).replace(b"host: localhost", f"host: {host}".encode()))

    add("headers", f"the host {host}", REFUSED if "," in host else DENIED, attack, still=True)


def _framed(what: str) -> None:
    async def attack(scene: Scene) -> str:
        more, pseudo = FRAMED[what]
        connection = await scene.http2()
        fields = {"method": "GET", "scheme": "https", "authority": "localhost", "path": "/v1/products", **pseudo}
        token = ("authorization", f"Bearer {scene.victims.guest.token}")
        how, said = await connection.ask([*((f":{name}", value) for name, value in fields.items()), token, *more])
        return "refused" if how in ("reset", "closed") or said["error"]["code"] == 400 else f"{how} {said}"

    add("headers", f"over HTTP/2, {what}", "refused", attack, still=True)


for _name in STRIPPED:
    _stripped(_name)
for _what in REFUSED_HEADS:
    _refused(_what)
for _what in HARMLESS_HEADS:
    _harmless(_what)
for _what in REQUEST_LINES:
    _line(_what)
for _what in PATHS:
    _path(_what)
for _what in HOSTS:
    _host(_what)
for _what in FRAMED:
    _framed(_what)
