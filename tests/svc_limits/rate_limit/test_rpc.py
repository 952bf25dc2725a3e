"""RateLimitService behind the real chain, as the edge's Envoy asks it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.rpc import status_pb2

from control.servers.ports import free_port
from mesh.refusals import TOO_MANY_CALLS, Refusal
from mesh.topology import EDGE, Bucket, Limits
from svc_limits.rate_limit.rpc import RateLimitServicer
from svc_limits.rate_limit.store import Buckets
from tests.harness import Metadata, as_service, as_user, reason_of, refusal_in, serve
from tests.svc_limits.conftest import Opened
from titan.limits.v1 import rate_limit_service_pb2 as pb
from titan.limits.v1 import rate_limit_service_pb2_grpc

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
SMALL, LARGE = Bucket(2, 0.001), Bucket(100, 1)
LIMITS = {"default": Limits(LARGE, LARGE, LARGE, SMALL, LARGE, shared=("sessions", "payments"))}
SECONDS = 2
THE_EDGE = as_service(EDGE)
OK, OVER_LIMIT = pb.RateLimitResponse.OK, pb.RateLimitResponse.OVER_LIMIT


@pytest.fixture
async def ask(buckets: Buckets) -> AsyncIterator[Any]:
    """Ask as the edge unless told otherwise."""
    async with asking_over(buckets) as asking:
        yield asking


@asynccontextmanager
async def asking_over(buckets: Buckets) -> AsyncIterator[Any]:
    """Serve buckets, and yield what asks for them."""
    servicer = RateLimitServicer(buckets, LIMITS, b"a secret of these tests")
    async with serve({SERVICE: servicer}, callers={SERVICE: frozenset({EDGE})}) as channel:
        stub = rate_limit_service_pb2_grpc.RateLimitServiceStub(channel)

        async def asking(
            *descriptors: list[tuple[str, str]],
            domain: str = "default",
            metadata: Metadata = THE_EDGE,
            seconds: float = SECONDS,
        ) -> pb.RateLimitResponse:
            request = pb.RateLimitRequest(domain=domain)
            for entries in descriptors:
                request.descriptors.add(entries=[{"key": key, "value": value} for key, value in entries])
            return await stub.ShouldRateLimit(request, metadata=metadata, timeout=seconds)

        yield asking


def top_up(who: str, speaks: str = "http") -> list[tuple[str, str]]:
    """Return the descriptor of somebody who tries a card."""
    return [("payments", "top_up"), ("user", who), ("speaks", speaks)]


def headers(answer: pb.RateLimitResponse) -> dict[str, str]:
    return {header.key: header.value for header in answer.response_headers_to_add}


async def test_a_bucket_gives_its_tokens_and_then_refuses_with_the_time_to_wait(ask: Any):
    """Once it lets through, no header is added: what Envoy passes on is the shop's own."""
    who = uuid4().hex
    first, second, refused = [await ask(top_up(who)) for _ in range(3)]

    assert [OK, OK, OVER_LIMIT] == [answer.overall_code for answer in (first, second, refused)]
    assert [1, 0, 0] == [answer.statuses[0].limit_remaining for answer in (first, second, refused)]
    assert not first.response_headers_to_add and not second.response_headers_to_add
    assert {"retry-after"} == set(headers(refused))
    assert 900 <= int(headers(refused)["retry-after"]) <= 1000


async def test_every_bucket_of_a_request_has_a_status_and_one_that_is_empty_refuses_it(ask: Any):
    address, user = uuid4().hex, uuid4().hex
    for _ in range(2):
        await ask(top_up(address))
    refused = await ask([("sessions", "sign_in"), ("user", user)], top_up(address))

    assert OVER_LIMIT == refused.overall_code
    assert [(OK, 100), (OVER_LIMIT, 0)] == [(each.code, each.limit_remaining) for each in refused.statuses]


async def test_over_grpc_the_time_to_wait_is_in_the_details_too(ask: Any):
    """Of the same bucket; in the words of the edge, or clients would not believe the details."""
    who = uuid4().hex
    for _ in range(2):
        await ask(top_up(who))
    said = headers(await ask(top_up(who, "grpc")))
    details = base64.b64decode(said["grpc-status-details-bin"] + "==")
    refusal = Refusal.from_status(status_pb2.Status.FromString(details))

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") == (refusal.code, refusal.reason)
    assert TOO_MANY_CALLS == refusal.message
    assert int(said["retry-after"]) == refusal.retry_after_seconds


@pytest.mark.parametrize(
    ("domain", "descriptor"), [("load", top_up("ada")), ("default", [("user", "ada"), ("user", "ada")])]
)
async def test_a_bucket_that_the_edges_do_not_share_is_refused(ask: Any, domain: str, descriptor: Any):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(descriptor, domain=domain)

    assert "INVALID_INPUT" == reason_of(refused.value)


async def test_without_redis_it_says_so_at_once(no_redis: Buckets):
    """The edge lets the call pass by its own buckets; it need not wait for its deadline to learn that it has to."""
    async with asking_over(no_redis) as ask:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(top_up("ada"), seconds=30)

    assert grpc.StatusCode.UNAVAILABLE is refused.value.code()
    assert "127.0.0.1" not in (refused.value.details() or "")


async def test_a_redis_that_hangs_holds_nobody_longer_than_the_edge_waits(opened: Opened):
    """The deadline is the edge's."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(silent, "127.0.0.1", free_port())
    port = hanging.sockets[0].getsockname()[1]
    async with hanging, asking_over(Buckets(opened(f"redis://127.0.0.1:{port}/0"))) as ask:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(top_up("ada"), seconds=0.05)

    assert grpc.StatusCode.DEADLINE_EXCEEDED is refused.value.code()


@pytest.mark.parametrize(
    "caller", [as_service("edge_http"), as_service("svc_auth"), as_user(roles=("admin",)), ()], ids=str
)
async def test_nobody_but_the_edge_takes_tokens(ask: Any, caller: Metadata):
    """Whoever could would empty the buckets of others."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(top_up("ada"), metadata=caller)

    assert "ACCESS_DENIED" == refusal_in(refused.value).reason
