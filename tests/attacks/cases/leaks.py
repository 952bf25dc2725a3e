"""Canaries: what belongs to somebody stands in the databases, in the letters, and at the provider, and nowhere else.

A person with words that nobody else has does everything once, rightly and wrongly; then all is searched that others
than its owner read: logs, traces, events, metrics, refusals, and what the processes were started with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.attacks.aftermath import SPANS
from tests.attacks.case import Wrong, add
from tests.attacks.scene import PRICE_MINOR, MeshTopology, Scene, gbp
from tests.faults.consumer import Quiet, is_event_topic, partitions_of

GROUP = "leaks"
FLUSH_SECONDS = 6.0
"""Within which a process writes its spans."""

READ_SECONDS = 10.0
"""How long the broker may take for the next messages, or to say that there are none."""

ENDING_BYTES = 15
NOT_LOGS = (SPANS,)
SECRETS = (
    "auth_master_key",
    "auth_vault_key",
    "auth_index_key",
    "order_master_key",
    "limits_key",
    "psp_webhook_secret",
    "psp_api_key",
    "admin_password",
)
PASSWORDS = ("database_svc_order", "database_svc_auth", "postgres_superuser", "redis")
"""Of the embedded servers, which a process takes from its environment."""


@dataclass
class Planted:
    """The words, by what they are, and when the last was used."""

    words: dict[str, str] = field(default_factory=dict)
    at: float = 0.0

    def __getitem__(self, what: str) -> str:
        return self.words.setdefault(what, f"canary{uuid4().hex[:16]}")


async def live(scene: Scene) -> Planted:
    """Do everything once, with words that nobody else has."""
    planted = Planted()
    email, password = f"{planted['e-mail']}@example.com", f"{planted['password']}-Tramline9"
    registered = {"email": email, "password": password, "displayName": planted["display name"]}
    await scene.send("POST", "/v1/users", registered)
    await scene.send("POST", "/v1/users", registered)
    await scene.send("POST", "/v1/sessions", {"email": email, "password": planted["wrong password"]})
    person = await scene.sign_in(email, password)
    planted.words |= {"access token": person.token, "refresh token": person.refresh_token}
    token = person.token
    address = {
        "fullName": planted["full name"],
        "line1": planted["street"],
        "line2": planted["flat"],
        "city": planted["city"],
        "countryCode": "GB",
    }
    await scene.send("POST", "/v1/users/me/addresses", {"address": address}, token=token)
    card = f"tok_visa_{planted['card']}"
    await scene.send(
        "POST", "/v1/wallet:topUp", {"amount": gbp(5_000), "cardToken": card}, token=token, key=str(uuid4())
    )
    paid = {"amount": gbp(5_000), "cardToken": "tok_visa"}
    await scene.send("POST", "/v1/wallet:topUp", paid, token=token, key=str(uuid4()))
    body = scene.order_body(shippingAddress=address, contactEmail=email)
    placed = await scene.send("POST", "/v1/orders", body, token=token, key=str(uuid4()))
    if placed.status != 200:
        raise Wrong(f"the canary's order: {placed}")
    order_id = placed.body["order"]["orderId"]
    wrong = {**body, "contactEmail": planted["broken e-mail"], "expectedTotal": gbp(PRICE_MINOR - 1)}
    await scene.send("POST", "/v1/orders", wrong, token=token, key=str(uuid4()))
    await scene.send("GET", f"/v1/products:search?query={planted['search']}", token=token)
    await scene.send("GET", f"/v1/orders?access_token={planted['token in a query']}", token=token)
    await scene.send("GET", "/v1/orders", token=token, headers={"user-agent": planted["user agent"]})
    await scene.send("GET", "/v1/orders", token=planted["forged token"])
    await scene.send("POST", f"/v1/orders/{order_id}:cancel", {"reason": planted["reason"]}, token=token)
    await scene.send("POST", "/v1/passwords:requestReset", {"email": email})
    await scene.send("POST", "/v1/passwords:reset", {"token": planted["reset token"], "password": password})
    await scene.send("POST", "/v1/sessions:refresh", {"refreshToken": planted["forged refresh token"]})
    await scene.at_rest()
    planted.at = time.monotonic()
    return planted


async def plant(scene: Scene) -> None:
    """Do it now; what the processes write of it is written while other cases are tried."""
    _planted[id(scene)] = await live(scene)


def logs(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Every log of every process."""
    for file in sorted((scene.mesh.home / "log").iterdir()):
        if file.name not in NOT_LOGS:
            yield file.name, file.read_bytes()


def traces(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """The spans of all services, each of which was told to record everything."""
    file = scene.mesh.home / "log" / SPANS
    yield file.name, file.read_bytes() if file.exists() else b""


def events(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Everything that the broker has, to the end of each partition: keys, headers and contents.

    Raises:
        Wrong: The broker says no more before the end.
    """
    settings = {
        "bootstrap.servers": scene.mesh.endpoints["kafka"],
        "group.id": "canaries",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "logger": Quiet(),
    }
    consumer = Consumer(settings)
    try:
        unread = set(partitions_of(consumer, is_event_topic))
        consumer.assign([TopicPartition(*each, OFFSET_BEGINNING) for each in unread])
        while unread:
            message = consumer.poll(READ_SECONDS)
            if message is None:
                raise Wrong(f"the broker says no more of {len(unread)} partitions")
            problem = message.error()
            if problem is None:
                parts = [message.key() or b"", message.value() or b"", *(v for _, v in message.headers() or ())]
                yield str(message.topic()), b"\n".join(parts)
            elif problem.code() == KafkaError._PARTITION_EOF:
                unread.discard((str(message.topic()), int(message.partition() or 0)))
    finally:
        consumer.close()


def refusals(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Every refusal of every attack so far."""
    for text in scene.heard:
        yield "a refusal", text.encode()


def metrics(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """What each process shows to whoever counts."""
    for package in MeshTopology.packages.values():
        url = f"http://127.0.0.1:{scene.home.ports.metrics(package.index)}/metrics"
        yield f"metrics of {package.name}", httpx.get(url).content


def processes(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """What each process was started with."""
    for row in scene.mesh.endpoints["processes"]:
        for what in ("cmdline", "environ"):
            yield f"{what} of {row['name']}", Path(f"/proc/{row['pid']}/{what}").read_bytes()


Place = Callable[[Scene], Iterator[tuple[str, bytes]]]
PLACES: dict[str, Place] = {
    "logs": logs,
    "traces": traces,
    "events": events,
    "refusals": refusals,
    "metrics": metrics,
}
_planted: dict[int, Planted] = {}


def found(words: dict[str, str], place: Iterator[tuple[str, bytes]]) -> str:
    """Return which of the words stand in a place, and how much of it there was to read.

    Raises:
        Wrong: There was nothing to read, so nothing is proven.
    """
    size, seen = 0, set()
    sought: dict[bytes, dict[str, bytes]] = {}  # hundreds of addresses end alike, and a place mostly has none of them
    for what, word in words.items():
        sought.setdefault(word.encode()[-ENDING_BYTES:], {})[what] = word.encode()
    for name, content in place:
        size += len(content)
        near = [alike for ending, alike in sought.items() if ending in content]
        seen |= {f"{what} in {name}" for alike in near for what, word in alike.items() if word in content}
    if not size:
        raise Wrong("nothing was there to be searched")
    return "none" if not seen else ", ".join(sorted(seen)[:5])


def _place(name: str) -> None:
    async def attack(scene: Scene) -> str:
        if id(scene) not in _planted:
            await plant(scene)
            await scene.ready()
        planted = _planted[id(scene)]
        await asyncio.sleep(planted.at + FLUSH_SECONDS - time.monotonic())
        earlier = {f"canary {number}": word for number, word in enumerate(scene.canaries)}
        return await asyncio.to_thread(found, {**planted.words, **earlier}, PLACES[name](scene))

    add(GROUP, f"canaries in {name}", "none", attack)


for _name in PLACES:
    _place(_name)


def _secrets(what: str, names: tuple[str, ...], place: Place) -> None:
    async def attack(scene: Scene) -> str:
        words = {name: (scene.home.secrets / name).read_text().strip() for name in names}
        return await asyncio.to_thread(found, words, place(scene))

    add(GROUP, f"secrets in {what}", "none", attack)


_secrets("logs", (*SECRETS, *PASSWORDS), logs)
_secrets("traces", (*SECRETS, *PASSWORDS), traces)
_secrets("arguments and environments", SECRETS, processes)
