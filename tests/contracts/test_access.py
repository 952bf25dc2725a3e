"""Every method against every kind of caller, and against requests beyond its limits, through the real chain.

What is expected comes from the access options, the topology and the field rules, so a new method is swept as it is.
The handlers behind the chain are stubs that answer anything: who gets as far as them, or as far as a look at the
request, was admitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from mesh import topology
from mesh.contract import ROLES, AccessKind, Method
from mesh.interceptors.access import EDGE_PACKAGE
from mesh.refusals import Refusal
from tests.attacks.matrix import UNDER_TICKET
from tests.contracts.limits import broken_requests, has_a_limit
from tests.contracts.reading import ROOT, methods
from tests.harness import Metadata, as_service, as_user, refusal_in, serve, titan_contract

TOPOLOGY = topology.load(ROOT / "deploy" / "topology.toml")
METHODS = methods()

ADMITTED = "admitted"
OF_THE_REQUEST = {"INVALID_INPUT", "IDEMPOTENCY_KEY_REQUIRED"}
"""Reasons that only a caller hears who was admitted: the request is looked at last."""

NO_CALLER: Metadata = ()
WAITING = ROLES - {"seller"}
"""What somebody of the house is without a second factor."""

USERS: dict[str, tuple[frozenset[str], Metadata]] = {
    "a guest": (frozenset({"guest"}), as_user(guest=True)),
    "a customer": (frozenset({"customer"}), as_user()),
    **{f"the role {role}": (frozenset({role}), as_user(roles=(role,))) for role in sorted(ROLES)},
}
"""Their roles, and what they send."""


def expected(
    method: Method, *, roles: frozenset[str] | None, package: str | None, withheld: frozenset[str] = frozenset()
) -> str:
    """Return what becomes of a call by a user with these roles, if any, that comes from this package, if any."""
    assert method.access is not None
    kind = method.access.kind
    if kind is AccessKind.PUBLIC:
        return ADMITTED
    if kind is AccessKind.SERVICE:
        known = package is not None and package != EDGE_PACKAGE and TOPOLOGY.may_call(package, method.service)
        return ADMITTED if known and roles is None else "ACCESS_DENIED"
    if roles is None:
        return "UNAUTHENTICATED"
    if kind is AccessKind.CUSTOMER:
        return ADMITTED
    if not roles & method.access.roles:
        return "SECOND_FACTOR_REQUIRED" if withheld & method.access.roles else "ACCESS_DENIED"
    # Whom a policy admits on a condition brings here what nobody would ask of a customer: nothing.
    under_ticket = UNDER_TICKET.get(method.full_name, frozenset())
    return ADMITTED if roles & method.access.roles - under_ticket else "TICKET_REQUIRED"


def callers_and_outcomes(method: Method) -> Iterator[tuple[str, Metadata, str]]:
    """Yield each caller, what it sends, and what becomes of its call."""
    yield "nobody", NO_CALLER, expected(method, roles=None, package=None)
    developer = (("x-titan-caller", TOPOLOGY.developer_id),)
    yield "the developer", developer, expected(method, roles=None, package=None)
    for name, (roles, token) in USERS.items():
        yield name, token, expected(method, roles=roles, package=None)
        yield f"{name}, developing", (*developer, *token), expected(method, roles=roles, package=None)
    waiting = as_user(withheld_roles=sorted(WAITING))
    outcome = expected(method, roles=frozenset({"customer"}), withheld=WAITING, package=None)
    yield "the house, without a second factor", waiting, outcome
    for package in (*TOPOLOGY.packages, topology.EDGE):
        yield package, as_service(package), expected(method, roles=None, package=package)
        roles, token = USERS["a customer"]
        both = (*as_service(package), *token)
        yield f"{package} for a customer", both, expected(method, roles=roles, package=package)


def an_admitted_caller(method: Method) -> Metadata:
    """Return what a caller sends whom the method admits."""
    return next(sends for _, sends, outcome in callers_and_outcomes(method) if outcome == ADMITTED)


def stub_of(name: str) -> object:
    """Return a servicer whose every method answers an empty message, or a stream of one."""

    def handler(method: Method) -> Any:
        async def answer(request: Message, context: Any) -> Message:
            return method.response_class()

        async def answers(request: Message, context: Any) -> AsyncIterator[Message]:
            yield method.response_class()

        return staticmethod(answers if method.server_streaming else answer)

    handlers = {method.name: handler(method) for method in titan_contract().services[name].methods}
    return type("Stub", (), handlers)()


@pytest.fixture(scope="module")
async def mesh() -> AsyncIterator[grpc.aio.Channel]:
    """Every service of the contract on one socket, open to the callers of the topology."""
    callers = {name: frozenset(TOPOLOGY.callers_of(name)) for name in TOPOLOGY.services}
    async with serve({name: stub_of(name) for name in titan_contract().services}, callers=callers) as channel:
        yield channel


async def refusal_of(channel: grpc.aio.Channel, method: Method, request: Message, sends: Metadata) -> Refusal | None:
    """Make a call, and return the refusal it was answered with."""
    open_call = channel.unary_stream if method.server_streaming else channel.unary_unary
    made: Any = open_call(
        method.path,
        request_serializer=method.request_class.SerializeToString,
        response_deserializer=method.response_class.FromString,
    )(request, metadata=sends, timeout=10)
    try:
        if method.server_streaming:
            assert [method.response_class()] == [message async for message in made]
        else:
            await made
    except grpc.aio.AioRpcError as error:
        return refusal_in(error)
    return None


def outcome_of(refusal: Refusal | None) -> str:
    return ADMITTED if refusal is None or refusal.reason in OF_THE_REQUEST else refusal.reason


def ids_of(found: list[Method]) -> list[str]:
    return [method.full_name for method in found]


@pytest.mark.parametrize("method", METHODS, ids=ids_of(METHODS))
async def test_a_method_admits_whom_it_names_and_nobody_else(mesh: grpc.aio.Channel, method: Method) -> None:
    """The access option decides about people, the topology about packages."""
    rows = list(callers_and_outcomes(method))
    request = method.request_class()
    refusals = await asyncio.gather(*(refusal_of(mesh, method, request, sends) for _, sends, _ in rows))

    wanted = {name: outcome for name, _, outcome in rows}
    assert wanted == {name: outcome_of(refusal) for (name, _, _), refusal in zip(rows, refusals, strict=True)}
    assert ADMITTED in wanted.values(), "nobody may call it"


KEYED = [method for method in METHODS if method.request_id_required]


@pytest.mark.parametrize("method", KEYED, ids=ids_of(KEYED))
async def test_a_method_that_demands_a_key_refuses_a_call_without(mesh: grpc.aio.Channel, method: Method) -> None:
    """Before anything else of the request is looked at."""
    refusal = await refusal_of(mesh, method, method.request_class(), an_admitted_caller(method))

    assert refusal is not None and "IDEMPOTENCY_KEY_REQUIRED" == refusal.reason


WITH_FIELDS = [method for method in METHODS if method.request_class.DESCRIPTOR.fields]


@pytest.mark.parametrize("method", WITH_FIELDS, ids=ids_of(WITH_FIELDS))
async def test_a_request_beyond_a_limit_is_refused(mesh: grpc.aio.Channel, method: Method) -> None:
    """Each field by itself, and the answer names it."""
    broken = list(broken_requests(method.request_class))
    limited = any(has_a_limit(field) for field in method.request_class.DESCRIPTOR.fields)
    assert broken or not limited
    for _, request in broken:
        if method.request_id_required and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = "key"  # type: ignore[attr-defined]
    sends = an_admitted_caller(method)
    refusals = await asyncio.gather(*(refusal_of(mesh, method, request, sends) for _, request in broken))

    for (path, _), refusal in zip(broken, refusals, strict=True):
        assert refusal is not None and "INVALID_INPUT" == refusal.reason, path
        assert any(violation.field.startswith(path) for violation in refusal.violations), path


async def test_a_card_number_is_refused_on_the_way_to_every_handler(mesh: grpc.aio.Channel) -> None:
    """By the chain, for whichever method has a text for it, and after its limits."""
    method = titan_contract().methods["/titan.auth.v1.UserService/UpdateMe"]
    request = method.request_class(display_name="Ada 4111 1111 1111 1111")
    refusal = await refusal_of(mesh, method, request, an_admitted_caller(method))

    assert refusal is not None and "CARD_NUMBER_REFUSED" == refusal.reason
    assert ["display_name"] == [violation.field for violation in refusal.violations]
