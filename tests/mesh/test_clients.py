"""Clients bring back refusals, hand on deadlines and traces, and retry only what is safe, within a budget."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mesh import calls, clients
from mesh.calls import Call
from mesh.clients import Clients, RetryBudget
from mesh.refusals import AccessDenied, DeadlineExceeded, InternalError, Unavailable
from tests.harness import as_service, serve, token
from tests.mesh.sample import QUIET, SAMPLE, Sample, TextTooShort, pb, rpc, sample_contract


@pytest.fixture(scope="module")
async def world():
    sample = Sample()
    async with serve({SAMPLE: sample, QUIET: sample}, known=sample_contract()) as channel:
        users = Clients(channel.target)
        packages = Clients(channel.target, metadata=as_service("svc_order"))
        yield users.get(rpc.SampleServiceStub), packages.get(rpc.SampleServiceStub), sample
        await users.close()
        await packages.close()


@pytest.fixture
def sample(world):
    world[2].calls = world[2].fail_first = 0
    yield world[2]
    world[2].fail_first = 0


async def test_a_refusal_comes_back_as_the_exception_that_was_raised(world):
    """With its metadata; from a stage as well; and an internal error without a text."""
    users, packages, _ = world
    with pytest.raises(TextTooShort) as refused:
        await users.Echo(pb.EchoRequest(text="refuse"))
    assert refused.value.metadata == {"least": "3"}
    with pytest.raises(AccessDenied):
        await users.Internal(pb.EchoRequest())
    with pytest.raises(InternalError, match=r"^internal error$"):
        await users.Echo(pb.EchoRequest(text="crash"))
    assert (await packages.Internal(pb.EchoRequest(text="a"))).text == "a"
    with pytest.raises(TextTooShort):
        async for _ in users.Watch(pb.EchoRequest(text="refuse")):
            pass


async def test_a_token_is_sent_only_when_asked_for(world):
    """`as_user` acts for somebody; nothing does so by itself."""
    users, _, sample = world
    await users.Change(pb.ChangeRequest(request_id="1"), as_user=token())
    assert sample.callers[-1].user_id is not None
    await users.Echo(pb.EchoRequest())
    assert sample.callers[-1].user_id is None


async def test_a_child_gets_what_is_left_of_its_parents_time(world):
    """Minus a margin; never more than its own timeout or its method's cap."""
    users, _, sample = world
    parent = Call()
    parent.deadline = time.monotonic() + 1.0
    calls.enter(parent)
    try:
        await users.Echo(pb.EchoRequest())
        assert 0.5 < sample.remaining[-1] <= 0.97
        await users.Echo(pb.EchoRequest(), timeout=0.4)
        assert sample.remaining[-1] <= 0.42
        parent.deadline = time.monotonic() - 1
        with pytest.raises(DeadlineExceeded):
            await users.Echo(pb.EchoRequest())
    finally:
        parent.finished = True


async def test_no_call_is_made_inside_a_transaction(world, monkeypatch):
    """It is a defect, not a refusal."""
    users, _, _ = world
    monkeypatch.setattr(clients, "_in_transaction", lambda: True)
    with pytest.raises(RuntimeError, match="inside a database transaction"):
        await users.Echo(pb.EchoRequest())
    with pytest.raises(RuntimeError, match="inside a database transaction"):
        await anext(users.Watch(pb.EchoRequest()))


async def test_unavailable_is_tried_again_where_the_contract_allows_it(world, sample):
    """Echo is free of side effects."""
    users, _, _ = world
    sample.fail_first = 2

    assert (await users.Echo(pb.EchoRequest(text="fail-first"))).text == "fail-first"
    assert sample.calls == 3


async def test_what_was_away_stays_unavailable_at_the_deadline(world, sample):
    """The time went on asking again; the caller hears what was learned, not that it was slow to learn it."""
    users, _, _ = world

    with pytest.raises(Unavailable, match="it is away"):
        await users.Echo(pb.EchoRequest(text="fail-then-hang"), timeout=0.4)
    assert sample.calls == 2


async def test_what_is_not_idempotent_is_sent_once(world, sample):
    """Hurry promises nothing."""
    users, _, _ = world
    sample.fail_first = 2

    with pytest.raises(Unavailable):
        await users.Hurry(pb.EchoRequest(text="fail-first"))
    assert sample.calls == 1


async def test_a_refusal_other_than_unavailable_is_final(world, sample):
    """Asking again would bring the same answer."""
    users, _, _ = world
    with pytest.raises(TextTooShort):
        await users.Echo(pb.EchoRequest(text="refuse"))
    assert sample.calls == 1


async def test_retries_stay_within_a_tenth_of_the_calls(tmp_path):
    """A service that is down gets its calls and the reserve, not a multiple."""
    nowhere = Clients(f"unix:{tmp_path}/nobody.sock", jitter=lambda: 0.0)
    stub = nowhere.get(rpc.SampleServiceStub)
    for _ in range(8):
        with pytest.raises(Unavailable):
            await stub.Echo(pb.EchoRequest(), timeout=0.4)
    await nowhere.close()

    budget, retries = RetryBudget(), 0
    for _ in range(1000):
        budget.call()
        retries += budget.take()
    assert retries <= 10 + 100


async def test_attempts_end_with_the_deadline(tmp_path):
    """No pause is begun that the deadline would not outlast."""
    nowhere = Clients(f"unix:{tmp_path}/nobody.sock")
    began = time.monotonic()

    with pytest.raises(Unavailable):
        await nowhere.get(rpc.SampleServiceStub).Echo(pb.EchoRequest(), timeout=0.05)

    assert time.monotonic() - began < 0.3
    await nowhere.close()


async def test_no_attempt_is_made_that_cannot_end_in_time(world, sample):
    """With less than an attempt needs after the pause, the last answer is given at once; with more, one is made."""
    users, _, _ = world
    sample.fail_first = 9
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await users.Echo(pb.EchoRequest(text="fail-first"), timeout=clients.LEAST_ATTEMPT_SECONDS)
    assert sample.calls == 1
    assert time.monotonic() - began < clients.LEAST_ATTEMPT_SECONDS

    sample.calls, sample.fail_first = 0, 1
    await users.Echo(pb.EchoRequest(text="fail-first"), timeout=1.0)
    assert sample.calls == 2


async def test_services_can_be_told_apart_in_tests():
    """`targets` sends one service elsewhere."""
    one, other = Sample(), Sample()
    async with (
        serve({SAMPLE: one}, known=sample_contract()) as here,
        serve({QUIET: other}, known=sample_contract()) as there,
    ):
        both = Clients(here.target, targets={QUIET: there.target}, metadata=as_service("svc_order"))
        await both.get(rpc.SampleServiceStub).Echo(pb.EchoRequest())
        await both.get(rpc.QuietServiceStub).Note(pb.EchoRequest())
        assert (one.calls, other.calls) == (1, 1)
        assert both.get(rpc.QuietServiceStub) is both.get(rpc.QuietServiceStub)
        await both.close()


async def test_an_unrecorded_trace_goes_on_without_spans(world, capsys):
    """The trace id reaches the server's log line all the same."""
    from mesh import telemetry

    users, _, _ = world
    telemetry.SINK.stream = None
    span = SpanContext(0xAB << 64 | 1, 0xCD, False, TraceFlags(0))
    attached = otel_context.attach(trace.set_span_in_context(NonRecordingSpan(span)))
    try:
        await users.Echo(pb.EchoRequest())
    finally:
        otel_context.detach(attached)

    assert f'"trace_id":"{span.trace_id:032x}"' in capsys.readouterr().out


async def test_a_recorded_trace_has_a_span_on_each_side():
    """OpenTelemetry's own interceptors make them, with the client's span as the server's parent."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace._TRACER_PROVIDER_SET_ONCE._done = False
    trace.set_tracer_provider(provider)
    async with serve({SAMPLE: Sample()}, known=sample_contract()) as channel:
        mine = Clients(channel.target)
        with trace.get_tracer("test").start_as_current_span("the work that calls"):
            await mine.get(rpc.SampleServiceStub).Echo(pb.EchoRequest())
            with pytest.raises(TextTooShort):
                await mine.get(rpc.SampleServiceStub).Echo(pb.EchoRequest(text="refuse"))
        await mine.close()

    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans}
    servers = [span for span in spans if span.kind is trace.SpanKind.SERVER]
    assert len(servers) == 2
    assert all(by_id[span.parent.span_id].kind is trace.SpanKind.CLIENT for span in servers)
    codes = {span.attributes["rpc.grpc.status_code"] for span in servers}
    assert grpc.StatusCode.FAILED_PRECONDITION.value[0] in codes


class _Slow(Sample):
    """Never answers, and says when it was told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    async def Echo(self, request, context):
        self.began.set()
        try:
            await asyncio.sleep(30)
        finally:
            self.ended.set()


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_caller_that_is_cancelled_takes_its_call_along(recorded):
    """On a recorded trace as well, where OpenTelemetry's interceptor would let it run on."""
    slow = _Slow()
    span = SpanContext(0xAB << 64 | 2, 0xCD, False, TraceFlags(int(recorded)))
    async with serve({SAMPLE: slow}, known=sample_contract()) as channel:
        mine = Clients(channel.target)

        async def call():
            otel_context.attach(trace.set_span_in_context(NonRecordingSpan(span)))
            await mine.get(rpc.SampleServiceStub).Echo(pb.EchoRequest())

        running = asyncio.create_task(call())
        await asyncio.wait_for(slow.began.wait(), 2)
        running.cancel()

        await asyncio.wait_for(slow.ended.wait(), 2)
        await mine.close()
