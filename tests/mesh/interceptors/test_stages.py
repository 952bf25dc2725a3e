"""Each stage alone: what it lets pass, and what it refuses."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import field_mask_pb2, struct_pb2, wrappers_pb2
from google.rpc import error_details_pb2
from protovalidate import Validator

from mesh import calls, telemetry
from mesh.calls import Call
from mesh.identity import Caller, KeySet, TokenVerifier
from mesh.interceptors.access import Access
from mesh.interceptors.admission import Admission
from mesh.interceptors.deadline import Deadline
from mesh.interceptors.identity import Identity
from mesh.interceptors.refusals import Refusals
from mesh.interceptors.telemetry import Telemetry, spans_wanted
from mesh.interceptors.validation import Validation, invalid_input, refuse_nul
from mesh.refusals import (
    AccessDenied,
    DeadlineExceeded,
    IdempotencyKeyRequired,
    InvalidInput,
    Overloaded,
    SecondFactorRequired,
    TokenInvalid,
    Unauthenticated,
)
from tests.harness import KEYS, as_service, as_user
from tests.mesh.sample import SAMPLE, TextTooShort, pb, sample_contract
from titan.order.v1 import checkout_service_pb2


class Context:
    """As much of a servicer context as the stages ask for."""

    def __init__(self, left: float | None = None) -> None:
        self.left = left
        self.aborted: tuple[Any, ...] | None = None

    def time_remaining(self) -> float | None:
        return self.left

    def code(self) -> None:
        return None

    async def abort(self, *arguments: Any) -> None:
        self.aborted = arguments
        raise grpc.aio.AbortError


def method(name: str = "Echo"):
    return sample_contract().methods[f"/{SAMPLE}/{name}"]


def call_of(name: str = "Echo", metadata: tuple = (), left: float | None = None) -> Call:
    call = Call(method(name), Context(left))
    call.metadata = dict(metadata)
    return call


async def answer(request, call):
    return pb.EchoResponse(text="fine")


async def messages(request, call):
    for number in range(3):
        yield pb.EchoResponse(text=str(number))


def check(guard, name: str, call: Call, request: Any = None):
    wrapped = guard.check_of(method(name))
    if wrapped is not None:
        wrapped(request or pb.EchoRequest(), call)


# Refusals


async def test_an_unexpected_exception_says_nothing(capsys):
    """Its text is in the log and nowhere else."""
    telemetry.SINK.stream = None
    call = call_of()

    async def crash(request, call):
        raise ValueError("the password is swordfish")

    with pytest.raises(grpc.aio.AbortError):
        await Refusals().unary(method(), crash)(pb.EchoRequest(), call)

    code, details, trailing = call.context.aborted
    assert code is grpc.StatusCode.INTERNAL
    assert "swordfish" not in details + str(trailing)
    assert "swordfish" in capsys.readouterr().out


async def test_cancellation_is_nobodys_answer():
    """A caller that left is not answered; the task ends as cancelled."""
    call = call_of()

    async def cancelled(request, call):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Refusals().unary(method(), cancelled)(pb.EchoRequest(), call)
    assert call.context.aborted is None


async def test_a_refusal_in_the_middle_of_a_stream_ends_it_with_its_status():
    """What was sent before stays sent."""
    call, seen = call_of("Watch"), []

    async def refuse(request, call):
        yield pb.EchoResponse(text="0")
        raise TextTooShort("say more")

    with pytest.raises(grpc.aio.AbortError):
        async for message in Refusals().stream(method("Watch"), refuse)(pb.EchoRequest(), call):
            seen.append(message.text)
    assert seen == ["0"]
    assert call.context.aborted[0] is grpc.StatusCode.FAILED_PRECONDITION


# Telemetry


async def test_one_line_per_call_names_who_what_and_how_long():
    """Method, status, reason, caller, user, batch and trace; never the request."""
    lines = []
    stage = Telemetry(write=lambda message, **fields: lines.append(fields))
    call = call_of(metadata=(("traceparent", "00-" + "ab" * 16 + "-" + "cd" * 8 + "-00"),))
    call.peer = "svc_order"

    async def refuse(request, call):
        calls.enter(call)
        calls.note_batch_size(12)
        raise TextTooShort("say more")

    with pytest.raises(TextTooShort):
        await stage.unary(method(), refuse)(pb.EchoRequest(text="a secret"), call)

    (line,) = lines
    assert line["method"] == f"{SAMPLE}.Echo"
    assert (line["status"], line["reason"]) == ("FAILED_PRECONDITION", "TEXT_TOO_SHORT")
    assert (line["caller"], line["batch"], line["trace_id"]) == ("svc_order", 12, "ab" * 16)
    assert "a secret" not in str(line)


@pytest.mark.parametrize(
    ("metadata", "path", "wanted"),
    [
        ((), "/a.B/C", True),
        ((("traceparent", "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),), "/a.B/C", True),
        ((("traceparent", "00-" + "ab" * 16 + "-" + "cd" * 8 + "-00"),), "/a.B/C", False),
        ((("traceparent", "garbage"),), "/a.B/C", True),
        ((), "/grpc.health.v1.Health/Check", False),
    ],
)
def test_spans_are_made_only_where_they_may_be_kept(metadata, path, wanted):
    """The caller's decision not to record a trace is respected; health checks are nobody's trace."""

    class Details:
        method = path
        invocation_metadata = metadata

    assert spans_wanted(Details) is wanted


# Admission


async def test_what_is_above_the_bound_is_refused_with_a_delay():
    """And let in again once there is room."""
    admission = Admission(1)
    gate = asyncio.Event()

    async def wait(request, call):
        await gate.wait()

    admitted = admission.unary(method(), wait)
    first = asyncio.create_task(admitted(pb.EchoRequest(), call_of()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await admitted(pb.EchoRequest(), call_of())
    assert refused.value.retry_after_seconds > 0

    gate.set()
    await first
    await admitted(pb.EchoRequest(), call_of())
    assert admission.running == 0


async def test_streams_have_a_bound_of_their_own():
    """An open stream takes no room from calls."""
    admission = Admission(1, max_open_streams=1)
    stream = admission.stream(method("Watch"), messages)
    first = stream(pb.EchoRequest(), call_of("Watch"))
    await anext(first)

    with pytest.raises(Overloaded):
        await anext(stream(pb.EchoRequest(), call_of("Watch")))
    await admission.unary(method(), answer)(pb.EchoRequest(), call_of())
    await first.aclose()
    assert admission.open_streams == 0


# Deadline


@pytest.mark.parametrize(("left", "seconds"), [(None, 0.15), (0.1, 0.1), (60.0, 0.3)])
async def test_a_call_gets_the_default_its_own_deadline_or_the_cap(left, seconds):
    """Whichever the method's rule makes of it."""
    call = call_of("Hurry", left=left)

    await Deadline().unary(method("Hurry"), answer)(pb.EchoRequest(), call)

    assert call.deadline - time.monotonic() == pytest.approx(seconds, abs=0.03)


async def test_a_server_answers_before_a_caller_whose_deadline_was_rounded_up():
    """gRPC sends 10 s as up to 10.1: what the server keeps for its answer lies before the caller's own end."""
    call = call_of(left=10.1)

    await Deadline().unary(method(), answer)(pb.EchoRequest(), call)

    assert call.deadline - time.monotonic() < 10.0


async def test_a_handler_is_stopped_at_its_deadline():
    """The default of the method, for a caller that brought none."""

    async def slow(request, call):
        await asyncio.sleep(5)

    with pytest.raises(DeadlineExceeded):
        await Deadline().unary(method("Hurry"), slow)(pb.EchoRequest(), call_of("Hurry"))


async def test_a_timeout_of_the_handlers_own_is_not_the_callers_deadline():
    """It stays the unexpected exception that it is."""

    async def impatient(request, call):
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await Deadline().unary(method("Hurry"), impatient)(pb.EchoRequest(), call_of("Hurry"))


async def test_a_stream_ends_at_its_deadline_and_its_handler_is_closed():
    """Between two messages, wherever it waits."""
    closed = asyncio.Event()

    async def endless(request, call):
        try:
            yield pb.EchoResponse()
            await asyncio.sleep(30)
        finally:
            closed.set()

    seen = 0
    with pytest.raises(DeadlineExceeded):
        async for _ in Deadline().stream(method("WatchBriefly"), endless)(pb.EchoRequest(), call_of("WatchBriefly")):
            seen += 1
    assert seen == 1
    assert closed.is_set()


def test_children_get_what_is_left_minus_a_margin():
    """And work on nobody's behalf has no deadline but its own."""
    call = Call()
    call.deadline = time.monotonic() + 10
    calls.enter(call)
    assert calls.remaining_for_children() == pytest.approx(9.95, abs=0.01)
    call.deadline = time.monotonic() + 0.1
    assert calls.remaining_for_children() == pytest.approx(0.095, abs=0.005)
    with calls.detached(3.0):
        assert calls.remaining_seconds() == pytest.approx(3.0, abs=0.01)
    call.finished = True
    assert calls.remaining_seconds() is None


# Identity


def identity(keys: KeySet = KEYS) -> Identity:
    return Identity(TokenVerifier(keys))


def test_the_peer_and_the_user_are_told_apart():
    """A user's call that came through a package has both."""
    call = call_of("Change", metadata=as_service("edge_http") + as_user(roles=("admin",)))

    check(identity(), "Change", call)

    assert call.caller.service == call.peer == "edge_http"
    assert call.caller.roles == {"admin"}


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "token"])
def test_a_token_that_is_sent_to_a_public_method_is_verified_all_the_same(value):
    """Being anonymous is fine, being forged is not."""
    check(identity(), "Echo", call_of())
    with pytest.raises(TokenInvalid):
        check(identity(), "Echo", call_of(metadata=(("authorization", value),)))


def test_two_authorizations_are_none():
    """Which of the two would a proxy have looked at?"""
    call = call_of("Change", metadata=as_user())
    call.duplicated = frozenset({"authorization"})

    with pytest.raises(TokenInvalid):
        check(identity(), "Change", call)


def test_two_peers_are_none():
    """Envoy writes one."""
    call = call_of("Internal", metadata=as_service("svc_order"))
    call.duplicated = frozenset({"x-titan-caller"})

    check(identity(), "Internal", call)

    assert call.caller.service is None


# Access


USER = uuid4()


@pytest.mark.parametrize(
    ("name", "who", "refusal"),
    [
        ("Echo", Caller(), None),
        ("Change", Caller(), Unauthenticated),
        ("Change", Caller(service="svc_order"), Unauthenticated),
        ("Change", Caller(user_id=USER), None),
        ("Change", Caller(user_id=USER, is_guest=True, roles=frozenset({"guest"})), None),
        ("Administer", Caller(), Unauthenticated),
        ("Administer", Caller(user_id=USER, roles=frozenset({"customer"})), AccessDenied),
        ("Administer", Caller(user_id=USER, roles=frozenset({"finance"})), None),
        ("Administer", Caller(user_id=USER, withheld=frozenset({"finance"})), SecondFactorRequired),
        ("Administer", Caller(user_id=USER, withheld=frozenset({"warehouse"})), AccessDenied),
        ("Administer", Caller(withheld=frozenset({"finance"})), Unauthenticated),
        ("Internal", Caller(), AccessDenied),
        ("Internal", Caller(user_id=USER, roles=frozenset({"admin"})), AccessDenied),
        ("Internal", Caller(service="edge_http"), AccessDenied),
        ("Internal", Caller(service="svc_notify"), AccessDenied),
        ("Internal", Caller(service="svc_order"), None),
    ],
)
def test_who_may_call_what(name, who, refusal):
    """The four kinds of rule against the kinds of caller; the topology admits svc_order and, wrongly, the edge."""
    access = Access({SAMPLE: frozenset({"svc_order", "edge_http"})})
    call = call_of(name)
    call.caller = who

    if refusal is None:
        check(access, name, call)
    else:
        with pytest.raises(refusal):
            check(access, name, call)


def test_a_service_method_takes_no_user_token():
    """Not even from a package that may call it."""
    call = call_of("Internal", metadata=as_user())
    call.caller = Caller(service="svc_order")

    with pytest.raises(AccessDenied):
        check(Access(), "Internal", call)


def test_a_service_that_the_topology_does_not_name_admits_nobody():
    """Silence is no."""
    call = call_of("Internal")
    call.caller = Caller(service="svc_order")

    with pytest.raises(AccessDenied):
        check(Access({}), "Internal", call)


# Validation


def test_broken_limits_are_named_by_their_paths():
    """As the proto writes them, with index or key."""
    request = pb.EchoRequest(
        item={"sku": "x" * 11, "quantity": 1},
        items=[{"sku": "a", "quantity": 1}, {"sku": "a", "quantity": 0}],
        by_name={"red": {"sku": "", "quantity": 1}},
    )

    with pytest.raises(InvalidInput) as refused:
        check(Validation(), "Echo", call_of(), request)

    assert [v.field for v in refused.value.violations] == ["item.sku", "items[1].quantity", 'by_name["red"].sku']
    assert "item.sku" in refused.value.message


def test_a_choice_that_was_not_made_names_what_there_is():
    """Nobody writes the name of a oneof: the path is the message's, and the words are the fields'."""
    request = checkout_service_pb2.PlaceOrderRequest(payment={})
    violations = [v for v in Validator().collect_violations(request) if "oneof" in v.proto.message]

    refusal = invalid_input(violations, request.DESCRIPTOR)

    assert "payment: exactly one must be given: wallet or card" == refusal.message
    assert ["payment"] == [v.field for v in refusal.violations]


def test_a_good_request_passes():
    """Nothing is said about it."""
    check(Validation(), "Echo", call_of(), pb.EchoRequest(text="fine"))
    check(Validation(), "Change", call_of("Change"), pb.ChangeRequest(request_id="1"))


def test_nul_is_in_no_string():
    """Postgres stores it nowhere, so it is refused by its path: nested, in a list, in a map, in a map's key."""
    request = pb.EchoRequest(
        text="a\0",
        item={"sku": "\0b", "quantity": 1},
        items=[{"sku": "fine", "quantity": 1}, {"sku": "c\0", "quantity": 1}],
        by_name={"red": {"sku": "d\0", "quantity": 1}, "\0": {"sku": "fine", "quantity": 1}},
    )

    with pytest.raises(InvalidInput) as refused:
        check(Validation(), "Echo", call_of(), request)

    paths = ["text", "item.sku", "items[1].sku", "by_name", 'by_name["red"].sku']
    assert paths == [v.field for v in refused.value.violations]


def test_zero_bytes_elsewhere_are_no_nul():
    """Numbers, empty messages and bytes may hold them; lists of strings, maps of strings and nested values may not."""
    refuse_nul(wrappers_pb2.DoubleValue(value=1.0))
    refuse_nul(wrappers_pb2.BytesValue(value=b"\0"))
    check(Validation(), "Echo", call_of(), pb.EchoRequest(by_name={"": {"sku": "a", "quantity": 1}}))
    deep = struct_pb2.Struct()
    deep.update({"a": [{"b": "x\0"}], "c": 0, "d": "fine", "e": {}})
    for message, path in (
        (field_mask_pb2.FieldMask(paths=["fine", "b\0"]), "paths[1]"),
        (error_details_pb2.ErrorInfo(metadata={"k": "\0"}), 'metadata["k"]'),
        (deep, 'fields["a"].list_value.values[0].struct_value.fields["b"].string_value'),
    ):
        with pytest.raises(InvalidInput) as refused:
            refuse_nul(message)
        assert [path] == [v.field for v in refused.value.violations]


def test_a_call_that_needs_a_key_says_so():
    """IDEMPOTENCY_KEY_REQUIRED, not a limit of a field called request_id."""
    with pytest.raises(IdempotencyKeyRequired):
        check(Validation(), "Change", call_of("Change"), pb.ChangeRequest())
