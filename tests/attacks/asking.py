"""Attacks that are one request: who asks for what with which body, and the answer that is due, as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from tests.attacks.case import Reply, add
from tests.attacks.scene import Scene

NOBODY = ""
Body = Any | Callable[[Scene], Any]


@dataclass(frozen=True)
class Ask:
    """One request over HTTP.

    Attributes:
        path: What stands in braces is a field of the scene's victims.
        body: JSON, or a function of the scene that makes it; bytes are sent as they are.
        who: A victim (`owner`, `other`, `guest`, `admin`), `role:finance` for a role, or nobody.
        keyed: It brings a fresh idempotency key.
    """

    due: str
    method: str
    path: str
    body: Body = None
    who: str = "owner"
    keyed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


def add_all(group: str, rows: Mapping[str, Ask]) -> None:
    """Enter each row as a case."""
    for what, ask in rows.items():
        add(group, what, ask.due, attack_of(ask), changes=ask.changes, still=not ask.changes)


def attack_of(ask: Ask) -> Callable[[Scene], Any]:
    """Return the attack that sends a request."""

    async def attack(scene: Scene) -> Reply:
        body = ask.body(scene) if callable(ask.body) else ask.body
        raw = isinstance(body, bytes)
        return await scene.send(
            ask.method,
            filled(ask.path, scene),
            None if raw else body,
            content=body if raw else None,
            token=token_of(ask.who, scene),
            key=str(uuid4()) if ask.keyed else "",
            headers=ask.headers,
        )

    return attack


def filled(text: str, scene: Scene) -> str:
    """Return a text with what it names of the victims."""
    for name, value in asdict(scene.victims).items():
        if isinstance(value, str):
            text = text.replace("{" + name + "}", value)
    return text


def token_of(who: str, scene: Scene) -> str:
    """Return the token of a victim or of a role."""
    if not who:
        return ""
    if who.startswith("role:"):
        return scene.signer.token(roles=("customer", who.removeprefix("role:")))
    return str(getattr(scene.victims, who).token)


def order(**more: Any) -> Callable[[Scene], Any]:
    """Return the body of an order of one unit, with something otherwise; None takes a field away."""

    def body(scene: Scene) -> Any:
        made = {**scene.order_body(), **more}
        return {name: value for name, value in made.items() if value is not None}

    return body


def lines(*quantities: Any, total: int = 500, **more: Any) -> Callable[[Scene], Any]:
    """Return the body of an order with lines of the one product."""

    def body(scene: Scene) -> Any:
        made = scene.order_body(**more)
        made["lines"] = [{"sku": scene.victims.sku, "quantity": quantity} for quantity in quantities]
        made["expectedTotal"]["minorUnits"] = str(total)
        return made

    return body
