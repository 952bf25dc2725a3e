"""The whole chain behind a real socket: what callers see, how the server sheds, tells its health, and leaves."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mesh import server as mesh_server
from mesh.identity import RevocationView
from mesh.server import AddressTaken, Server
from tests.harness import as_service, as_user, reason_of, refusal_in, serve
from tests.mesh.sample import QUIET, SAMPLE, Sample, pb, rpc, sample_contract

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def sample_server(sample: Sample, **more):
    return serve({SAMPLE: sample, QUIET: sample}, known=sample_contract(), **more)


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


@pytest.fixture(scope="module")
async def served():
    sample = Sample()
    async with sample_server(sample) as channel:
        yield rpc.SampleServiceStub(channel), sample, channel


async def test_a_handler_knows_who_calls_and_how_long_it_has(served):
    """Both from the chain, through context variables."""
    stub, sample, _ = served
    user = uuid4()

    await stub.Change(pb.ChangeRequest(request_id="1"), metadata=as_user(user) + as_service("edge_http"), timeout=2)

    assert sample.callers[-1].user_id == user
    assert sample.callers[-1].service == "edge_http"
    assert sample.remaining[-1] == pytest.approx(2, abs=0.2)


async def test_the_text_of_an_unexpected_exception_reaches_no_caller(served):
    """Neither as details nor in any trailing metadata; unary or stream."""
    stub, _, _ = served

    unary = await refused(stub.Echo(pb.EchoRequest(text="crash")))
    with pytest.raises(grpc.aio.AioRpcError) as stream:
        async for _ in stub.Watch(pb.EchoRequest(text="crash")):
            pass

    for error in (unary, stream.value):
        assert error.code() is grpc.StatusCode.INTERNAL
        assert error.details() == "internal error"
        assert reason_of(error) == "INTERNAL"
        assert "swordfish" not in repr(error) + str(error.trailing_metadata()) + str(error.debug_error_string())


async def test_a_refusal_arrives_with_its_reason_and_metadata(served):
    """From a handler, from a stage, and in the middle of a stream."""
    stub, _, _ = served

    error = await refused(stub.Echo(pb.EchoRequest(text="refuse")))
    assert (reason_of(error), refusal_in(error).metadata) == ("TEXT_TOO_SHORT", {"least": "3"})
    assert reason_of(await refused(stub.Change(pb.ChangeRequest(request_id="1")))) == "UNAUTHENTICATED"
    assert reason_of(await refused(stub.Change(pb.ChangeRequest(), metadata=as_user()))) == "IDEMPOTENCY_KEY_REQUIRED"
    assert reason_of(await refused(stub.Internal(pb.EchoRequest()))) == "ACCESS_DENIED"
    assert reason_of(await refused(stub.Echo(pb.EchoRequest(text="x" * 101)))) == "INVALID_INPUT"
    seen = []
    with pytest.raises(grpc.aio.AioRpcError) as stream:
        async for message in stub.Watch(pb.EchoRequest(text="refuse")):
            seen.append(message.text)
    assert (seen, reason_of(stream.value)) == (["0", "1", "2"], "TEXT_TOO_SHORT")


async def test_unknown_methods_are_refused_like_everything_else(served):
    """With a reason, whether the name is unknown or the servicer lacks the method."""
    _, _, channel = served
    nowhere = channel.unary_unary("/titan_test.v1.SampleService/Nothing")
    assert reason_of(await refused(nowhere(b""))) == "NOT_IMPLEMENTED"

    async with serve({SAMPLE: object()}, known=sample_contract()) as empty:
        assert reason_of(await refused(rpc.SampleServiceStub(empty).Echo(pb.EchoRequest()))) == "NOT_IMPLEMENTED"
    async with serve({SAMPLE: rpc.SampleServiceServicer()}, known=sample_contract()) as generated:
        error = await refused(rpc.SampleServiceStub(generated).Echo(pb.EchoRequest()))
        assert reason_of(error) == "NOT_IMPLEMENTED"


@pytest.mark.parametrize("name", ["Change", "Watch"])
async def test_bytes_that_are_no_request_are_the_callers_mistake(served, name):
    """Refused as such to whoever may call, never as a failure of the server; who may not call hears that first."""
    _, sample, channel = served
    before = sample.calls

    async def call(metadata=()):
        stream = channel.unary_stream(f"/{SAMPLE}/{name}")(b"\xff" * 100, metadata=metadata, timeout=5)
        return [message async for message in stream]

    admitted, unknown = await refused(call(as_user())), await refused(call())

    assert (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT") == (admitted.code(), reason_of(admitted))
    assert reason_of(unknown) in ("UNAUTHENTICATED", "INVALID_INPUT")
    assert before == sample.calls


async def test_the_methods_deadline_is_enforced_and_named(served):
    """The cap, though the caller would wait longer."""
    stub, _, _ = served
    began = time.monotonic()

    error = await refused(stub.Hurry(pb.EchoRequest(text="sleep:5"), timeout=10))

    assert reason_of(error) == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began < 1


async def test_a_stream_whose_reader_leaves_is_closed(served):
    """The handler's `finally` runs at once."""
    stub, sample, _ = served
    sample.ended.clear()
    watch = stub.Watch(pb.EchoRequest(text="stay"))
    await watch.read()

    watch.cancel()

    async with asyncio.timeout(2):
        await sample.ended.wait()


async def test_too_many_calls_are_shed_with_a_delay():
    """RESOURCE_EXHAUSTED and RetryInfo at once; those inside are not disturbed."""
    async with sample_server(Sample(), max_running_calls=2) as channel:
        stub = rpc.SampleServiceStub(channel)
        calls = [asyncio.ensure_future(stub.Echo(pb.EchoRequest(text="sleep:0.2"))) for _ in range(6)]
        results = await asyncio.gather(*calls, return_exceptions=True)

        shed = [result for result in results if isinstance(result, grpc.RpcError)]
        assert len(shed) == 4
        assert {reason_of(error) for error in shed} == {"OVERLOADED"}
        assert all(refusal_in(error).retry_after_seconds for error in shed)
        assert (await stub.Echo(pb.EchoRequest(text="after"))).text == "after"


async def test_a_revoked_session_is_refused():
    """End to end, after the token was used once."""
    view, session = RevocationView(), uuid4()
    view.apply([], as_of=time.time())
    async with sample_server(Sample(), revocations=view) as channel:
        stub, metadata = rpc.SampleServiceStub(channel), as_user(session_id=session)
        await stub.Change(pb.ChangeRequest(request_id="1"), metadata=metadata)
        view.apply([(session, time.time() + 600)], as_of=time.time())

        error = await refused(stub.Change(pb.ChangeRequest(request_id="1"), metadata=metadata))
        assert reason_of(error) == "SESSION_REVOKED"


async def test_health_is_told_and_watched_per_service(monkeypatch):
    """A database that goes away turns every service to NOT_SERVING, and back when it answers again."""
    monkeypatch.setattr(mesh_server, "HEALTH_SECONDS", 0.03)
    alive = True

    async def check() -> bool:
        if not alive:
            raise ConnectionError("gone")
        return True

    async with sample_server(Sample(), check=check) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SAMPLE, QUIET):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SAMPLE))
        assert (await watch.read()).status == SERVING

        alive = False
        assert (await watch.read()).status == NOT_SERVING
        alive = True
        assert (await watch.read()).status == SERVING
        watch.cancel()


async def test_what_is_not_healthy_is_asked_more_often(monkeypatch):
    """Calls wait at the door for the first good answer."""
    monkeypatch.setattr(mesh_server, "HEALTH_SECONDS", 0.03)
    failures = 0

    async def check() -> bool:
        nonlocal failures
        if failures == mesh_server.FAILURES_UNTIL_UNHEALTHY:
            return True
        failures += 1
        if failures == mesh_server.FAILURES_UNTIL_UNHEALTHY:
            monkeypatch.setattr(mesh_server, "HEALTH_SECONDS", 60.0)
        return False

    async with sample_server(Sample(), check=check) as channel, asyncio.timeout(10):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SAMPLE))
        while (await watch.read()).status != NOT_SERVING:
            pass
        assert (await watch.read()).status == SERVING
        watch.cancel()


async def test_drain_finishes_calls_ends_streams_and_says_so():
    """NOT_SERVING first; a running call gets its answer, a stream UNAVAILABLE, a new call no connection."""
    sample = Sample()
    async with sample_server(sample) as channel:
        stub = rpc.SampleServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SAMPLE))
        assert (await watch.read()).status == SERVING
        running = asyncio.ensure_future(stub.Echo(pb.EchoRequest(text="sleep:0.3")))
        stream = stub.Watch(pb.EchoRequest(text="stay"))
        for _ in range(3):
            await stream.read()
        await asyncio.sleep(0.05)

        drained = asyncio.create_task(channel.server.drain(lame_duck_seconds=0.05, grace_seconds=3))
        assert (await watch.read()).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        assert reason_of(ended.value) == "UNAVAILABLE"
        assert sample.ended.is_set()
        assert (await running).text == "sleep:0.3"
        async with asyncio.timeout(2):
            await drained
        late = await refused(stub.Echo(pb.EchoRequest(), timeout=1))
        assert late.code() is grpc.StatusCode.UNAVAILABLE


async def test_reflection_lists_the_services(served):
    """For grpcurl and `buf curl`, with health and reflection themselves."""
    _, _, channel = served

    async def questions():
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    async for answer in stub.ServerReflectionInfo(questions()):
        names = {service.name for service in answer.list_services_response.service}
    assert {SAMPLE, QUIET, "grpc.health.v1.Health"} <= names


async def test_the_socket_is_private_and_not_stolen(served, tmp_path):
    """0600, and a second server on it does not start."""
    _, _, channel = served
    path = channel.target.removeprefix("unix:")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    second = Server(listen=channel.target, contract=sample_contract(), services={SAMPLE: Sample()}, stages=())

    with pytest.raises(AddressTaken, match="another process"):
        await second.start()


async def test_a_stale_socket_is_replaced(tmp_path):
    """What a killed process left behind does not stop the next."""
    import socket

    path = tmp_path / "s.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    server = Server(listen=f"unix:{path}", contract=sample_contract(), services={SAMPLE: Sample()}, stages=())

    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        assert (await rpc.SampleServiceStub(channel).Echo(pb.EchoRequest(text="a"))).text == "a"
    await server.drain(grace_seconds=0.1)


async def test_oversized_messages_are_refused(served):
    """Before they are parsed."""
    _, _, channel = served
    error = await refused(channel.unary_unary(f"/{SAMPLE}/Echo")(b"\x0a" + b"x" * (5 * 1024 * 1024)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
