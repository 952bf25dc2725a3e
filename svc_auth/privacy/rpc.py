"""PrivacyService on the wire: decode, call, encode."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.identity import caller_of
from svc_auth.factor.rpc import from_wire
from svc_auth.inputs import in_person, plain
from svc_auth.privacy.erasures import Erasures
from svc_auth.privacy.exports import Exports
from svc_auth.privacy.rules import Erasure, ErasureState
from titan.auth.v1 import privacy_pb2
from titan.auth.v1 import privacy_service_pb2 as pb


class PrivacyServicer:
    """Serves titan.auth.v1.PrivacyService."""

    def __init__(self, erasures: Erasures, exports: Exports) -> None:
        self._erasures = erasures
        self._exports = exports

    async def ExportMyData(self, request: pb.ExportMyDataRequest, context: Any) -> pb.ExportMyDataResponse:
        """Refuses with PAGE_TOKEN_INVALID, USER_NOT_FOUND or ACCESS_DENIED."""
        return await self._exports.page(in_person(caller_of(context)), request.page_token)

    async def EraseMe(self, request: pb.EraseMeRequest, context: Any) -> pb.EraseMeResponse:
        """Refuses as a sign-in does, and with RECENT_SIGN_IN_REQUIRED, SESSION_REVOKED, CODE_INVALID, WALLET_NOT_EMPTY,
        ORDERS_UNDER_WAY, USER_HAS_ROLES, USER_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        proof = from_wire(request.proof) if request.HasField("proof") else None
        erasure = await self._erasures.erase_self(caller.require_user_id(), caller.session_id, request.password, proof)
        return pb.EraseMeResponse(erasure=to_wire(erasure))

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        """Refuses with USER_NOT_FOUND, WALLET_NOT_EMPTY, ORDERS_UNDER_WAY or USER_HAS_ROLES."""
        erasure = await self._erasures.erase(
            UUID(request.user_id),
            requested_by=caller_of(context).require_user_id(),
            reason=plain("reason", request.reason),
        )
        return pb.EraseUserResponse(erasure=to_wire(erasure))

    async def GetErasure(self, request: pb.GetErasureRequest, context: Any) -> pb.GetErasureResponse:
        """Refuses with ERASURE_NOT_FOUND."""
        return pb.GetErasureResponse(erasure=to_wire(await self._erasures.get(UUID(request.user_id))))


_STATES = {
    ErasureState.RUNNING: privacy_pb2.ERASURE_STATE_RUNNING,
    ErasureState.COMPLETE: privacy_pb2.ERASURE_STATE_COMPLETE,
}


def to_wire(erasure: Erasure) -> privacy_pb2.Erasure:
    """Return an erasure as it travels."""
    return privacy_pb2.Erasure(
        user_id=str(erasure.user_id),
        state=_STATES[erasure.state],
        decide_time=erasure.decided_at,
        complete_time=erasure.emptied_at,
    )
