"""Where an attack happens: the mesh, those who have something to lose, and ways to speak to it.

Each case speaks from an address of its own, so that no case drains the bucket of another.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import httpx
import redis.asyncio

from control.home import Home, Ports
from control.topology_file import TOPOLOGY
from mesh import topology
from mesh.identity import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS
from mesh.refusals import refusal_of_call
from svc_cart.cart.store import COMMANDS, DIRTY
from tests.attacks.case import Reply, Wrong
from tests.attacks.people import Person, Signer
from tests.doors import Pair, entered, identity, shows
from tests.faults.mesh import Mesh
from tests.raw_http import FURTHER_SECONDS, Http2, speak, trust_in

CALL_SECONDS = 20.0
PRICE_MINOR = 500
STOCK_UNITS = 1_000
POCKET_MINOR = 50_000
PASSWORD = "orchid-battery-9-tramline"
ADDRESS = {"fullName": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "countryCode": "GB"}
REST_SECONDS = 30.0
PIPES = 4
PIPE_SECONDS = 2.0
MOST_MESSAGES = 1
"""A stream goes on and on; whoever hears its first message was admitted."""

MeshTopology = topology.load(TOPOLOGY)


def gbp(minor: int) -> dict[str, str]:
    """Return an amount as JSON has it."""
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


def reply_of(response: httpx.Response) -> Reply:
    """Return an answer of HTTP."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    return Reply(response.status_code, reason_in(body), body, response.headers)


def reason_in(body: Any) -> str:
    """Return the reason inside an error's body."""
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details", []) if isinstance(error, dict) else []
    return next((each["reason"] for each in details if "ErrorInfo" in each.get("@type", "")), "")


@dataclass
class Victims:
    """Who is there before the attack begins, and what they own."""

    admin: Person
    owner: Person
    other: Person
    guest: Person
    sku: str
    product_id: str
    order_id: str
    payment_id: str
    address_id: str
    session_id: str
    passkey_id: str = field(default_factory=lambda: str(uuid4()))
    identity_id: str = field(default_factory=lambda: str(uuid4()))
    """A passkey and an identity elsewhere, which need a device and a provider: nobody has these."""

    seller_id: str = ""
    payout_id: str = ""
    """A seller who sold something that has arrived, and what was set aside of it."""

    def lasting(self, signer: Signer) -> Victims:
        """Return the same with tokens that outlive the attack: theirs would end in the middle of it."""
        people = {name: getattr(self, name) for name in ("admin", "owner", "other", "guest")}
        end = int(time.time()) + MAX_LIFETIME_SECONDS - LEEWAY_SECONDS
        claims = {name: {**each.claims, "exp": end} for name, each in people.items()}
        return replace(
            self,
            **{
                name: replace(each, token=signer.token(**{**claims[name], "roles": tuple(claims[name]["roles"])}))
                for name, each in people.items()
            },
        )


@dataclass(frozen=True)
class Bystander:
    """Somebody who shops beside the attack, and what they bought. No case asks as them: the edge gives each user a
    bucket, and whoever shares one with an attacker is the attacker to it."""

    user_id: str
    order_id: str


@dataclass
class Scene:
    """What a case may use. `number` is the case's; `alone` says that no other is tried meanwhile."""

    mesh: Mesh
    home: Home
    signer: Signer
    databases: Mapping[str, asyncpg.Connection]
    cache: redis.asyncio.Redis[Any]
    canaries: list[str] = field(default_factory=list)
    """Words that may stand nowhere but in the databases."""

    heard: list[str] = field(default_factory=list)
    """Every refusal, as it came."""

    ended_sessions: list[str] = field(default_factory=list)
    """Sessions that were ended, and that every process knows to have."""

    number: int = 0
    alone: bool = True
    before_attack: Callable[[], Awaitable[None]] | None = None
    _victims: Victims | None = None
    _bystander: Bystander | None = None
    _addresses: int = 0
    _things: AsyncExitStack = field(default_factory=AsyncExitStack)
    _clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    @property
    def victims(self) -> Victims:
        """Who is there before the attack begins."""
        assert self._victims is not None
        return self._victims

    @property
    def bystander(self) -> Bystander:
        """Who shops beside the attack."""
        assert self._bystander is not None
        return self._bystander

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client of HTTP/1.1 believes."""
        return trust_in(self.mesh.endpoints["ca"])

    @property
    def address(self) -> str:
        """The address of this case; no other case has it."""
        return f"127.{16 + self.number // 250}.{self.number % 250}.1"

    def another_address(self) -> str:
        """Return an address that nobody used before."""
        self._addresses += 1
        return f"127.{16 + self.number // 250}.{self.number % 250}.{1 + self._addresses}"

    async def begin(self, number: int) -> None:
        """Become the scene of a case."""
        self.number, self._addresses = number, 0
        self._things, self._clients = AsyncExitStack(), {}

    async def end(self) -> None:
        """Close whatever the case opened."""
        for client in self._clients.values():
            await client.aclose()
        await self._things.aclose()

    def beside(self, number: int) -> Scene:
        """Return the scene of a case that is tried beside others: the same mesh and victims, addresses of its own."""
        fresh: dict[str, Any] = {"_addresses": 0, "_things": AsyncExitStack(), "_clients": {}}
        return replace(self, number=number, alone=False, before_attack=None, **fresh)

    async def ready(self) -> None:
        """Say that all that was rightful is done: from here on nothing may change.

        Raises:
            Wrong: The case is tried beside others, among which nothing may change at all.
        """
        if not self.alone:
            raise Wrong("it prepares something, and is tried beside others: it is not still")
        await self.at_rest()
        if self.before_attack is not None:
            await self.before_attack()

    # HTTP

    def client(self, address: str = "") -> httpx.AsyncClient:
        """Return a client that calls from an address: the case's own unless told otherwise."""
        address = address or self.address
        if address not in self._clients:
            transport = httpx.AsyncHTTPTransport(verify=self.trust, local_address=address)
            self._clients[address] = httpx.AsyncClient(
                base_url=self.mesh.endpoints["edge"], transport=transport, timeout=CALL_SECONDS
            )
        return self._clients[address]

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        key: str = "",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        address: str = "",
    ) -> Reply:
        """Send one request over HTTP/1.1."""
        sent = dict(headers or {})
        if token:
            sent["authorization"] = f"Bearer {token}"
        if key:
            sent["idempotency-key"] = key
        if content is not None:
            sent.setdefault("content-type", "application/json")
        client = self.client(address)
        try:
            response = await client.request(method, path, json=body, content=content, headers=sent)
        except httpx.HTTPError as problem:
            return Reply("closed", body=repr(problem))
        reply = reply_of(response)
        if response.status_code >= 400:
            self.heard.append(response.text)
        return reply

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Send a request that has to be answered well, and return the JSON of its answer.

        Raises:
            Wrong: It was refused.
        """
        reply = await self.send(method, path, body, **more)
        if reply.status != 200:
            raise Wrong(f"{method} {path}: {reply} {reply.body}")
        return reply.body

    async def speak(self, request: bytes, *, answers: int = 0, address: str = "") -> list[Reply]:
        """Send bytes over HTTP/1.1, and return every answer to them.

        One request is followed for a moment, so that what was smuggled behind it shows. `answers` says of many, sent
        without waiting, how many are due.
        """
        where, port = address or self.address, self.home.ports.edge
        further_seconds = PIPE_SECONDS if answers else FURTHER_SECONDS
        said = await speak(port, self.trust, where, request, further_seconds=further_seconds, most=answers or None)
        return [Reply(status, reason_in(body), body) for status, body in said]

    async def pipelined(self, request: bytes, count: int) -> Counter[str]:
        """Send one request many times over a few connections, without waiting for an answer, and count the answers."""
        share = -(-count // PIPES)
        answers = await asyncio.gather(*(self.speak(request * share, answers=share) for _ in range(PIPES)))
        return Counter(str(reply) for replies in answers for reply in replies)

    async def http2(self, address: str = "") -> Http2:
        """Return a connection of HTTP/2 to the edge."""
        connection = await Http2.open(
            self.home.ports.edge, trust_in(self.mesh.endpoints["ca"], "h2"), address or self.address
        )
        self._things.push_async_callback(connection.close)
        return connection

    # gRPC

    async def http2_inside(self, package: str, caller: str) -> Http2:
        """Return a connection of HTTP/2 to a gRPC port, with somebody's certificate."""
        connection = await Http2.open(self.inbound(package), shows(self.home, identity(self.home, caller)), "127.0.0.1")
        self._things.push_async_callback(connection.close)
        return connection

    def inbound(self, package: str) -> int:
        """Return the gRPC port of a package."""
        return self.home.ports.inbound(MeshTopology.packages[package].index)

    async def door(self, package: str, pair: Pair | None) -> grpc.aio.Channel:
        """Return a channel to the gRPC port of a package, with this certificate or without one."""
        return await self._things.enter_async_context(entered(self.home, self.inbound(package), pair))

    async def developer(self) -> grpc.aio.Channel:
        """Return a channel to the developers' door."""
        pair = identity(self.home, "developer")
        return await self._things.enter_async_context(entered(self.home, self.home.ports.grpc, pair))

    async def edge_grpc(self, address: str = "") -> grpc.aio.Channel:
        """Return a channel to the edge, which speaks gRPC too."""
        tunnel = entered(self.home, self.home.ports.edge, None, address=address or self.address)
        return await self._things.enter_async_context(tunnel)

    async def call(
        self,
        channel: grpc.aio.Channel,
        path: str,
        request: bytes = b"",
        *,
        token: str = "",
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Reply:
        """Call a method with bytes, whatever it is, and return how the call ended."""
        sent = (("authorization", f"Bearer {token}"), *metadata) if token else metadata
        reply, said = await called(channel, path, request, sent)
        if said:
            self.heard.append(said)
        return reply

    # What is rightful

    async def sign_in(self, email: str, password: str) -> Person:
        """Sign in from an address of its own, so that no guess is in the way."""
        body = {"email": email, "password": password}
        answer = await self.ok("POST", "/v1/sessions", body, address=self.another_address())
        return Person(answer["userId"], answer["accessToken"], answer["refreshToken"], email, password)

    async def guest(self, pocket_minor: int = 0) -> Person:
        """Return a new guest, with money where it is asked for."""
        answer = await self.ok("POST", "/v1/sessions:guest", {}, address=self.another_address())
        guest = Person(answer["userId"], answer["accessToken"], answer["refreshToken"])
        if pocket_minor:
            body = {"amount": gbp(pocket_minor), "cardToken": "tok_visa"}
            await self.ok("POST", "/v1/wallet:topUp", body, token=guest.token, key=str(uuid4()))
        return guest

    async def customer(self, pocket_minor: int = 0) -> Person:
        """Return a new customer with a password."""
        email = f"{uuid4().hex}@canary.example"
        self.canaries.append(email)
        body = {"email": email, "password": PASSWORD, "displayName": f"Canary {email[:8]}"}
        await self.ok("POST", "/v1/users", body, address=self.another_address())
        person = await self.sign_in(email, PASSWORD)
        if pocket_minor:
            paid = {"amount": gbp(pocket_minor), "cardToken": "tok_visa"}
            await self.ok("POST", "/v1/wallet:topUp", paid, token=person.token, key=str(uuid4()))
        return person

    def order_body(self, quantity: int = 1, **more: Any) -> dict[str, Any]:
        """Return the body of an order of the one product, from the wallet unless told otherwise."""
        return {
            "lines": [{"sku": self.victims.sku, "quantity": quantity}],
            "expectedTotal": gbp(PRICE_MINOR * quantity),
            "payment": {"wallet": {}},
            "contactEmail": "ada@example.com",
            "shippingAddress": ADDRESS,
            **more,
        }

    async def order(self, person: Person, quantity: int = 1, **more: Any) -> str:
        """Place an order and return its id."""
        body = self.order_body(quantity, **more)
        answer = await self.ok("POST", "/v1/orders", body, token=person.token, key=str(uuid4()))
        return str(answer["order"]["orderId"])

    async def product(self, units: int = STOCK_UNITS, **more: Any) -> tuple[str, str]:
        """Put a new product on the shelf, and return its SKU and its id."""
        sku, admin = f"ATK-{uuid4().hex[:10]}", self.victims.admin.token
        product = {"title": f"Attacked {sku}", "variants": [{"sku": sku, "price": gbp(PRICE_MINOR)}], **more}
        made = await self.ok("POST", "/v1/products", {"product": product}, token=admin)
        delivery = {"delta": units, "reason": "delivery", "requestId": str(uuid4())}
        await self.ok("POST", f"/v1/inventory/{sku}:adjust", delivery, token=admin)
        return sku, str(made["product"]["productId"])

    async def paid_out(self, seller_id: str) -> str:
        """Sell something of a seller, let it arrive, and return the payout of what is owed for it."""
        sku, _ = await self.product(sellerId=seller_id)
        admin = self.victims.admin.token
        order_id = await self.order(await self.guest(PRICE_MINOR), lines=[{"sku": sku, "quantity": 1}])
        for step in ("ship", "deliver"):
            await self.at_rest()
            await self.ok("POST", f"/v1/orders/{order_id}:{step}", {}, token=admin)
        await self.at_rest()
        body = {"sellerId": seller_id, "currencyCode": "GBP", "period": "2026-11"}
        made = await self.ok("POST", "/v1/payouts", body, token=admin)
        return str(made["payout"]["payoutId"])

    async def at_rest(self) -> None:
        """Wait until nothing of what was begun is under way.

        Raises:
            Wrong: It does not come to an end.
        """
        async with asyncio.timeout(REST_SECONDS):
            while await self._under_way():
                await asyncio.sleep(0.02)

    async def _under_way(self) -> int:
        counts = await asyncio.gather(*(self.databases[name].fetchval(sql) for name, sql in UNFINISHED.items()))
        unsaved = await self.cache.zcard(DIRTY) + await self.cache.zcard(COMMANDS)
        return sum(map(int, counts)) + int(unsaved)


UNPUBLISHED = "(SELECT count(*) FROM outbox WHERE published_at IS NULL)"
UNFINISHED = {
    "svc_order": "SELECT (SELECT count(*) FROM checkouts WHERE finished_at IS NULL AND action_url IS NULL)"
    f" + (SELECT count(*) FROM order_effects WHERE finished_at IS NULL) + {UNPUBLISHED}"
    " + (SELECT count(*) FROM outbox)",
    "svc_payment": f"SELECT (SELECT count(*) FROM provider_work) + {UNPUBLISHED}",
    "svc_inventory": f"SELECT {UNPUBLISHED}",
    "svc_auth": f"SELECT {UNPUBLISHED}",
    "svc_catalog": f"SELECT {UNPUBLISHED}",
    "svc_notify": "SELECT (SELECT count(*) FROM notifications WHERE sent_at IS NULL AND status <> 'FAILED')"
    " - (SELECT count(*) FROM inbox WHERE topic = 'titan.order.v1')",
}
"""What is under way, by database; the orders' outbox less what svc_notify has heard of it is what nobody told yet."""


async def called(
    channel: grpc.aio.Channel, path: str, request: bytes, metadata: tuple[tuple[str, str], ...]
) -> tuple[Reply, str]:
    """Call a method with bytes, and return how the call ended, with what it said.

    Message and end of the request leave together: a client that writes to a call that was refused meanwhile says
    INTERNAL of its own.
    """
    answers: list[bytes] = []
    try:
        async for message in channel.unary_stream(path)(request, metadata=metadata, timeout=CALL_SECONDS):
            answers.append(message)
            if len(answers) == MOST_MESSAGES:
                break
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of_call(error)
        told = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
        return Reply(error.code().name, refusal.reason if told else ""), error.details() or ""
    return Reply("OK", body=answers), ""


async def opened(mesh: Mesh) -> Scene:
    """Return the scene of a mesh that nobody has attacked yet, with its victims."""
    ports = Ports(int(mesh.endpoints["grpc"].rpartition(":")[2]) - Ports(0).grpc)
    home = Home(mesh.home, ports)
    databases = {name: await asyncpg.connect(dsn) for name, dsn in mesh.endpoints["postgres"].items()}
    signer = await Signer.of(home, mesh.endpoints["postgres"]["svc_auth"])
    scene = Scene(mesh, home, signer, databases, redis.asyncio.from_url(mesh.endpoints["redis"]))
    await scene.begin(0)
    admin = await scene.sign_in(mesh.endpoints["admin_email"], mesh.endpoints["admin_password"])
    scene._victims = Victims(admin, admin, admin, admin, *[""] * 6)
    sku, product_id = await scene.product()
    scene._victims = Victims(admin, admin, admin, admin, sku, product_id, *[""] * 4)
    owner = await scene.customer(POCKET_MINOR)
    other, guest = await scene.customer(POCKET_MINOR), await scene.guest(POCKET_MINOR)
    order_id = await scene.order(owner, payment={"card": {"token": "tok_visa"}})
    saved = await scene.ok("POST", "/v1/users/me/addresses", {"address": ADDRESS}, token=owner.token)
    payment = await databases["svc_payment"].fetchval("SELECT payment_id FROM payments WHERE order_id = $1", order_id)
    seller_id = str(uuid4())
    payout_id = await scene.paid_out(seller_id)
    scene._victims = Victims(
        admin,
        owner,
        other,
        guest,
        sku,
        product_id,
        order_id,
        str(payment),
        saved["address"]["addressId"],
        str(owner.claims["sid"]),
        seller_id=seller_id,
        payout_id=payout_id,
    )
    scene._victims = scene.victims.lasting(scene.signer)
    shopper = await scene.customer(POCKET_MINOR)
    scene._bystander = Bystander(shopper.user_id, await scene.order(shopper))
    await scene.at_rest()
    await scene.end()
    return scene
