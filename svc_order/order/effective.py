"""When something counts as having happened: for importers alone to say, who bring what another system has seen."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.identity import Caller
from mesh.refusals import InvalidInput
from svc_order.errors import ImporterRequired
from svc_order.order.values import timestamp


def check_effective(effective_time: Timestamp, caller: Caller, *, now: datetime) -> None:
    """Check who says when something counts, and that it is not still to come.

    Raises:
        ImporterRequired: The caller is none.
        InvalidInput: The time is in the future.
    """
    if "importer" not in caller.roles:
        raise ImporterRequired("only importers may say when something counts as having happened")
    at = timestamp(now)
    if (effective_time.seconds, effective_time.nanos) > (at.seconds, at.nanos):
        raise InvalidInput.of("effective_time", "must not be in the future")
