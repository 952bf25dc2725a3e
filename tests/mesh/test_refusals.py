"""Refusals keep everything they say on their way over the wire and back."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from mesh import refusals
from mesh.refusals import FieldViolation, InvalidInput, Overloaded, Refusal
from titan.type.v1 import error_reason_pb2


class SampleNotShippable(Refusal):
    """A refusal with a constructor of its own."""

    code = grpc.StatusCode.ABORTED

    def __init__(self, sample_id: int) -> None:
        super().__init__(f"sample {sample_id} cannot be shipped", sample_id=sample_id)


def test_a_reason_is_the_name_of_its_class():
    """OrderNotCancellable is ORDER_NOT_CANCELLABLE, without anybody writing it."""
    assert SampleNotShippable.reason == "SAMPLE_NOT_SHIPPABLE"
    assert refusals.TokenInvalid.reason == "TOKEN_INVALID"
    assert refusals.InternalError.reason == "INTERNAL"


def test_a_refusal_comes_back_as_the_same_exception():
    """Class, code, message and metadata survive, whatever the constructor looks like."""
    back = Refusal.from_status(SampleNotShippable(7).to_status())

    assert type(back) is SampleNotShippable
    assert back.code is grpc.StatusCode.ABORTED
    assert (back.message, back.metadata) == ("sample 7 cannot be shipped", {"sample_id": "7"})


def test_a_status_carries_exactly_one_error_info():
    """AIP-193: one ErrorInfo, of domain titan, whatever else is attached."""
    refusal = InvalidInput("no", [FieldViolation("a.b", "too long")])
    refusal.retry_after_seconds = 1.5
    status = refusal.to_status()

    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    back = Refusal.from_status(status)
    assert back.retry_after_seconds == 1.5
    assert back.violations == (FieldViolation("a.b", "too long"),)


def test_an_unknown_reason_stays_a_plain_refusal_with_its_reason():
    """A newer server may refuse with what this process has never heard of."""
    status = status_pb2.Status(code=9, message="no")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="FROM_THE_FUTURE", domain="titan", metadata={"a": "b"})
    )

    back = Refusal.from_status(status)

    assert type(back) is Refusal
    assert (back.reason, back.code, back.metadata) == (
        "FROM_THE_FUTURE",
        grpc.StatusCode.FAILED_PRECONDITION,
        {"a": "b"},
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, refusals.Unavailable),
        (grpc.StatusCode.PERMISSION_DENIED, refusals.AccessDenied),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.DATA_LOSS, refusals.InternalError),
    ],
)
def test_a_bare_status_of_a_proxy_becomes_the_runtimes_own_refusal(code, kind):
    """Envoy and gRPC itself answer without an ErrorInfo."""
    back = Refusal.from_status(status_pb2.Status(code=code.value[0], message="upstream"))

    assert type(back) is kind
    assert back.code is code


def test_twins_of_one_reason_are_caught_by_either_name():
    """Two packages in one process may both declare what they catch."""

    class SampleTwin(Refusal):
        pass

    first = SampleTwin

    class SampleTwin(Refusal):
        pass

    back = Refusal.from_status(first("no").to_status())

    assert isinstance(back, first)
    assert isinstance(back, SampleTwin)


def test_every_refusal_of_the_runtime_is_in_the_contract():
    """The enum of titan.type and the classes of the runtime name the same reasons."""
    own = {
        cls.reason
        for cls in vars(refusals).values()
        if isinstance(cls, type) and issubclass(cls, Refusal) and cls is not Refusal
    }
    wire = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}

    assert own == wire - {"UNSPECIFIED"}
