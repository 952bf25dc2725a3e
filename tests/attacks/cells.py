"""One cell of the matrix: what is asked, so that whoever is admitted is refused for it, and how the answer is read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from mesh.contract import Method, Route
from tests.attacks import matrix
from tests.attacks.case import Reply
from tests.attacks.matrix import ADMITTED
from tests.attacks.scene import Scene, called
from tests.contracts.limits import broken_requests

AT_ONCE = 16
FILLING = {"request_id": "matrix", "reason": "matrix"}
SERVER_ERRORS = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"})

Item = TypeVar("Item")


def too_much(method: Method) -> Message:
    """Return a request beyond a limit; an empty one where nothing has a limit."""
    broken = [request for _, request in broken_requests(method.request_class)]
    request = broken[0] if broken else method.request_class()
    for name, text in FILLING.items():
        found = request.DESCRIPTOR.fields_by_name.get(name)
        if found is not None and found.cpp_type == found.CPPTYPE_STRING and not getattr(request, name):
            setattr(request, name, text)
    return request


def http_request(route: Route, request: Message) -> tuple[str, Any]:
    """Return path and query, and the body, that say a request over HTTP; ids that the path misses are made up."""
    said: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=False)

    def value(found: re.Match[str]) -> str:
        holder: Any = said
        *outer, last = found.group(1).split(".")
        for name in outer:
            holder = holder.get(_camel(name), {})
        return quote(str(holder.pop(_camel(last), "") or uuid4()), safe="")

    path = re.sub(r"\{([^{}=]+)(?:=[^{}]*)?\}", value, route.rule.template)
    if route.rule.body == "*":
        return path, said
    body = said.pop(_camel(route.rule.body), {}) if route.rule.body else None
    query = urlencode([(name, each) for name, found in said.items() for each in _listed(found)])
    return (f"{path}?{query}" if query else path), body


def _listed(found: Any) -> list[str]:
    values = found if isinstance(found, list) else [found]
    return [json.dumps(each) if isinstance(each, dict | bool) else str(each) for each in values][:50]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def outcome_for_stranger(reply: Reply) -> str:
    """Return the reason of a refusal that hides somebody's object, else the outcome."""
    told = reply.reason.endswith("_NOT_FOUND") or reply.reason == matrix.SIGN_IN_AGAIN
    return reply.reason if told else outcome(reply)


def outcome(reply: Reply) -> str:
    """Return the reason of a denial, or that there was none; a server's own failure is told as it is."""
    if reply.reason in matrix.DENIALS or reply.reason == "NOT_IMPLEMENTED":
        return reply.reason
    if reply.status in ("PERMISSION_DENIED", "closed", *SERVER_ERRORS):
        return str(reply.status)
    return str(reply) if isinstance(reply.status, int) and reply.status >= 500 else ADMITTED


async def ask(scene: Scene, channel: grpc.aio.Channel, path: str, request: bytes, *, token: str = "") -> Reply:
    """Call a method; of a stream the first message is enough."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    reply, said = await called(channel, path, request, metadata)
    if said:
        scene.heard.append(said)
    return reply


async def together(cells: Iterable[Awaitable[None]]) -> None:
    """Try cells, a few at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(cell: Awaitable[None]) -> None:
        async with places:
            await cell

    await asyncio.gather(*(one(cell) for cell in cells))


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Return the items in lots."""
    return [items[start : start + size] for start in range(0, len(items), size)]
