"""The access matrix over a live mesh: at the edge over HTTP and gRPC, at every gRPC port, and at the connections.

Each call asks for something beyond a limit, so that whoever is admitted is refused for it and nothing happens.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc

from mesh import contract
from mesh.contract import AccessKind, Method, Route
from tests.attacks import matrix
from tests.attacks.cells import ask, batched, http_request, outcome, outcome_for_stranger, together, too_much
from tests.attacks.matrix import ADMITTED, DEVELOPER, IDENTITIES, OWNERSHIP, STRANGERS, Identity, Owned
from tests.attacks.scene import MeshTopology, Scene
from tests.doors import Pair, forged, identity, misissued, shows

PER_ADDRESS = 40
"""Calls from one address: fewer than its bucket holds."""

CELL_SECONDS = 15.0
ALERT = b"\x15"
"""How TLS begins to say why it ends a connection (RFC 8446, 5.1)."""

SILENT = ("/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
NEVER_SERVED = "/grpc.channelz.v1.Channelz/GetServers"
TICKET = "SUP-4711"

CONTRACT = contract.load()


@dataclass
class Part:
    """A part of the matrix: how many cells were tried, and those that were not as they are due.

    `changes` are the tables that it has to change, as who is admitted leaves something.
    """

    name: str
    changes: tuple[str, ...] = ()
    cells: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, cell: str, due: str, got: str) -> None:
        """Count a cell."""
        self.cells += 1
        if due != got:
            self.wrong.append(f"{cell}: {got}, due is {due}")


async def sweep(scene: Scene, *, wrong_ports: bool) -> AsyncIterator[Part]:
    """Yield each part when it is done. `wrong_ports` asks every port for the methods of all others too."""
    yield await over_http(scene)
    yield await over_grpc(scene)
    yield await by_owner(scene)
    yield await by_ticket(scene)
    yield await by_certificate(scene, wrong_ports=wrong_ports)
    yield await by_connection(scene)


# By user


async def token_of(scene: Scene, who: Identity) -> str:
    """Return a token of somebody whom nobody knows, so that no bucket of a user runs dry."""
    if who.roles is None:
        return ""
    roles = tuple(sorted(who.roles))
    match who.name:
        case "expired token":
            return scene.signer.token(roles=roles, iat=1_700_000_000, nbf=1_700_000_000, exp=1_700_000_600)
        case "another cell":
            return scene.signer.token(roles=roles, cell="elsewhere")
        case "revoked session":
            return scene.signer.token(roles=roles, sid=await revoked_session(scene))
    return scene.signer.token(roles=roles, withheld_roles=sorted(who.withheld) or None)


async def revoked_session(scene: Scene) -> str:
    """Return a session that has ended, and that every process knows to have."""
    found = [sid for sid in scene.ended_sessions]
    if found:
        return found[0]
    guest = await scene.guest()
    await scene.ok("POST", "/v1/sessions:revoke", {"refreshToken": guest.refresh_token})
    await until_refused(scene, guest.token)
    scene.ended_sessions.append(str(guest.claims["sid"]))
    return scene.ended_sessions[0]


async def until_refused(scene: Scene, token: str) -> float:
    """Wait until no process takes a token any more, and return the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    channel = await scene.edge_grpc(scene.another_address())
    async with asyncio.timeout(CELL_SECONDS):
        for path in ONE_READ_OF_EACH_PACKAGE:
            while (await scene.call(channel, path, token=token)).reason != "SESSION_REVOKED":
                await asyncio.sleep(0.01)
    return loop.time() - began


def _reads() -> list[str]:
    by_package: dict[str, str] = {}
    for method in CONTRACT.methods.values():
        if method.access and method.access.kind is not AccessKind.SERVICE and not method.server_streaming:
            by_package.setdefault(MeshTopology.host_of(method.service).name, method.path)
    return list(by_package.values())


ONE_READ_OF_EACH_PACKAGE = _reads()


async def over_http(scene: Scene) -> Part:
    """Every route with every identity."""
    part = Part("edge, HTTP: route x user")
    clients = {}

    async def cell(route: Route, who: Identity) -> None:
        method = route.method
        path, body = http_request(route, too_much(method))
        reply = await scene.send(
            route.rule.verb,
            path,
            body if route.rule.body else None,
            token=await token_of(scene, who),
            address=clients[method.full_name],
        )
        part.note(f"{who.name} {route.rule.verb} {path}", matrix.due_at_edge(method, who), outcome(reply))

    await revoked_session(scene)
    routes = CONTRACT.routes()
    clients = {route.method.full_name: scene.another_address() for route in routes}
    # Route after route, so that each address is free again when its turn comes, and keeps its connection.
    await together(cell(route, who) for who in IDENTITIES for route in routes)
    return part


async def over_grpc(scene: Scene) -> Part:
    """Every method, those between services too, with every identity."""
    part = Part("edge, gRPC: method x user")
    await revoked_session(scene)
    for who in IDENTITIES:
        for methods in batched(list(CONTRACT.methods.values()), PER_ADDRESS):
            channel = await scene.edge_grpc(scene.another_address())

            async def cell(method: Method, who: Identity = who, channel: grpc.aio.Channel = channel) -> None:
                request = too_much(method).SerializeToString()
                reply = await ask(scene, channel, method.path, request, token=await token_of(scene, who))
                part.note(f"{who.name} {method.full_name}", matrix.due_at_edge(method, who), outcome(reply))

            await together(cell(method) for method in methods)
    return part


async def by_owner(scene: Scene) -> Part:
    """Every RPC that names an object, by its owner and by everybody else."""
    part = Part("edge, gRPC: object x user")
    methods = {method.full_name: method for method in CONTRACT.methods.values()}
    cells: list[Cell] = []
    for name, owned in OWNERSHIP.items():
        if owned is None:
            continue
        method, victims = methods[name], scene.victims
        request = naming(method, owned, getattr(victims, owned.field))
        for who in STRANGERS:
            due = matrix.due_of_stranger(owned, who)
            cells.append(Cell(f"{who.name} {name}", due, method.path, request, await token_of(scene, who)))
        due = owned.hidden or ADMITTED
        cells.append(Cell(f"other customer {name}", due, method.path, request, victims.other.token))
        if not method.is_mutation:
            cells.append(Cell(f"owner {name}", ADMITTED, method.path, request, victims.owner.token))
    await asked(scene, part, cells)
    return part


async def by_ticket(scene: Scene) -> Part:
    """Every RPC that takes a ticket, with one: by whom it opens something, and by everybody else; and other sellers."""
    part = Part("edge, gRPC: ticket or seller x user", ("svc_order.audit_entries",))
    cells: list[Cell] = []
    for method in (each for each in CONTRACT.methods.values() if each.takes_ticket):
        owned = OWNERSHIP.get(method.full_name)
        for who in STRANGERS:
            if owned is not None:
                request = naming(method, owned, getattr(scene.victims, owned.field), ticket_id=TICKET)
                due = matrix.due_of_stranger(owned, who, ticket=True)
            else:
                broken: Any = too_much(method)
                broken.ticket_id = broken.ticket_id or TICKET
                request, due = broken.SerializeToString(), matrix.due_at_edge(method, who, ticket=True)
            what = f"{who.name} {method.full_name} with a ticket"
            cells.append(Cell(what, due, method.path, request, await token_of(scene, who)))
    victims, seller = scene.victims, ("customer", "seller")
    another, itself = scene.signer.token(roles=seller), scene.signer.token(roles=seller, sub=victims.seller_id)
    for name, hidden in matrix.SELLERS.items():
        method = next(each for each in CONTRACT.methods.values() if each.full_name == name)
        by_seller = "seller_id" in method.request_class.DESCRIPTOR.fields_by_name
        about = {"seller_id": victims.seller_id} if by_seller else {"payout_id": victims.payout_id}
        request = method.request_class(**about).SerializeToString()
        for who, token, due in (("another seller", another, hidden or ADMITTED), ("the seller", itself, ADMITTED)):
            cells.append(Cell(f"{who} {name}", due, method.path, request, token))
    await asked(scene, part, cells)
    return part


@dataclass(frozen=True)
class Cell:
    """A call about somebody's object, and what is due."""

    what: str
    due: str
    path: str
    request: bytes
    token: str


async def asked(scene: Scene, part: Part, cells: list[Cell]) -> None:
    """Try calls about somebody's objects at the edge."""
    for lot in batched(cells, PER_ADDRESS):
        channel = await scene.edge_grpc(scene.another_address())

        async def one(cell: Cell, channel: grpc.aio.Channel = channel) -> None:
            reply = await ask(scene, channel, cell.path, cell.request, token=cell.token)
            part.note(cell.what, cell.due, outcome_for_stranger(reply))

        await together(one(cell) for cell in lot)


def naming(method: Method, owned: Owned, thing: str, **more: str) -> bytes:
    """Return a request about somebody's object; a refund is far beyond what was paid."""
    request = method.request_class(**{owned.field: thing, **more})
    fields = request.DESCRIPTOR.fields_by_name
    for name in ("request_id", "reason"):
        if name in fields:
            setattr(request, name, str(uuid4()))
    if "as_of_time" in fields:
        request.as_of_time.GetCurrentTime()  # type: ignore[attr-defined]
    if "amount" in fields:
        request.amount.currency_code, request.amount.minor_units = "GBP", 900_000_000  # type: ignore[attr-defined]
    return request.SerializeToString()


# By certificate


async def by_certificate(scene: Scene, *, wrong_ports: bool) -> Part:
    """Every method at every gRPC port with every certificate of the mesh, and what is no method of the contract."""
    part = Part("gRPC ports: method x certificate")
    for package in hosting():
        methods = [
            method
            for method in CONTRACT.methods.values()
            if wrong_ports or MeshTopology.host_of(method.service).name == package
        ]
        await at_port(scene, part, package, methods)
    return part


async def at_port(scene: Scene, part: Part, package: str, methods: Sequence[Method]) -> None:
    """Try these methods, and what no contract has, at the port of a package with every certificate."""
    requests = {method.path: too_much(method).SerializeToString() for method in methods}
    callers = matrix.certificates(MeshTopology)
    channels = {caller: await scene.door(package, identity(scene.home, caller)) for caller in callers}

    async def cell(caller: str, path: str, due: str) -> None:
        reply = await ask(scene, channels[caller], path, requests.get(path, b""))
        part.note(f"{caller} at {package}: {path}", due, outcome(reply))

    dues = [
        (caller, method.path, matrix.due_at_port(MeshTopology, package, caller, method))
        for caller in callers
        for method in methods
    ]
    for caller in callers:
        for path in (*SILENT, NEVER_SERVED):
            is_admitted = caller == DEVELOPER and path in SILENT
            dues.append((caller, path, ADMITTED if is_admitted else "PERMISSION_DENIED"))
    await together(cell(*due) for due in dues)


async def by_connection(scene: Scene) -> Part:
    """Every gRPC port with what opens no connection: nobody, plain text, strangers, other trust domains."""
    part = Part("gRPC ports: connection x certificate")
    trust = f"spiffe://{MeshTopology.trust_domain}"
    nobodies: dict[str, Pair | None] = {
        "no certificate": None,
        "a stranger's under svc_order's name": forged(f"{trust}/svc/svc_order"),
        "the authority's, of another trust domain": misissued(scene.home, "spiffe://evil.local/svc/svc_order"),
        "the authority's, of a trust domain that begins alike": misissued(scene.home, f"{trust}.evil/svc/svc_order"),
        "svc_order's of yesterday": misissued(scene.home, f"{trust}/svc/svc_order", life=timedelta(minutes=-5)),
    }
    ports = {package: scene.inbound(package) for package in hosting()}
    ports["the developers' door"] = scene.home.ports.grpc
    for where, port in ports.items():
        for name, pair in nobodies.items():
            part.note(f"{name} at {where}", "closed", await handshake(scene, port, pair))
        if where == "the developers' door":
            for caller in matrix.certificates(MeshTopology):
                if caller != DEVELOPER:
                    got = await handshake(scene, port, identity(scene.home, caller))
                    part.note(f"{caller} at {where}", "closed", got)
        part.note(f"plain text at {where}", "closed", await plain_text(port))
        part.note(f"TLS 1.1 at {where}", "closed", await old_tls(scene, port))
    return part


async def handshake(scene: Scene, port: int, pair: Pair | None) -> str:
    """Return whether a connection stays open that somebody begins and asks something on."""
    return await _talk(port, shows(scene.home, pair))


async def old_tls(scene: Scene, port: int) -> str:
    """Try a version that is broken, with a certificate that is good."""
    context = shows(scene.home, identity(scene.home, "svc_order"))
    with suppress(ValueError):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return await _talk(port, context)


async def plain_text(port: int) -> str:
    """Ask without TLS."""
    return await _talk(port, None)


async def _talk(port: int, context: ssl.SSLContext | None) -> str:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except OSError:
        return "closed"
    try:
        writer.write(preface)
        async with asyncio.timeout(CELL_SECONDS):
            said = await reader.read(1)
        return "open" if said not in (b"", ALERT) else "closed"
    except OSError:
        return "closed"
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def hosting() -> list[str]:
    """Return the packages that have a gRPC port."""
    return [name for name, package in MeshTopology.packages.items() if package.services]
