"""SecondFactorService on the wire: decode, call, encode."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.identity import caller_of
from svc_auth.factor.factors import Factors, Proof
from svc_auth.factor.rules import Factor
from svc_auth.inputs import in_person
from titan.auth.v1 import second_factor_pb2
from titan.auth.v1 import second_factor_service_pb2 as pb


class SecondFactorServicer:
    """Serves titan.auth.v1.SecondFactorService."""

    def __init__(self, factors: Factors) -> None:
        self._factors = factors

    async def GetSecondFactor(self, request: pb.GetSecondFactorRequest, context: Any) -> pb.GetSecondFactorResponse:
        """Refuses with ACCESS_DENIED whoever acts for somebody."""
        factor, left = await self._factors.state(_user_id(context))
        return pb.GetSecondFactorResponse(second_factor=to_wire(factor, left))

    async def EnrolSecondFactor(
        self, request: pb.EnrolSecondFactorRequest, context: Any
    ) -> pb.EnrolSecondFactorResponse:
        """Refuses as a sign-in does, and with NOT_REGISTERED, USER_NOT_FOUND, SECOND_FACTOR_ACTIVE or ACCESS_DENIED."""
        enrolled = await self._factors.enrol(_user_id(context), request.password)
        return pb.EnrolSecondFactorResponse(secret=enrolled.secret, otpauth_uri=enrolled.otpauth_uri)

    async def ConfirmSecondFactor(
        self, request: pb.ConfirmSecondFactorRequest, context: Any
    ) -> pb.ConfirmSecondFactorResponse:
        """Refuses with SECOND_FACTOR_NOT_FOUND or _ACTIVE, CODE_INVALID, SIGN_IN_THROTTLED, SESSION_REVOKED or
        ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        codes = await self._factors.confirm(caller.require_user_id(), caller.session_id, request.code)
        return pb.ConfirmSecondFactorResponse(recovery_codes=codes)

    async def DisableSecondFactor(
        self, request: pb.DisableSecondFactorRequest, context: Any
    ) -> pb.DisableSecondFactorResponse:
        """Refuses with SECOND_FACTOR_NOT_FOUND, CODE_INVALID, SIGN_IN_THROTTLED or ACCESS_DENIED."""
        await self._factors.disable(_user_id(context), from_wire(request.proof))
        return pb.DisableSecondFactorResponse()


def from_wire(proof: second_factor_pb2.SecondFactorProof) -> Proof:
    """Return what somebody shows."""
    return Proof(code=proof.code, recovery_code=proof.recovery_code)


def to_wire(factor: Factor | None, recovery_codes_left: int) -> second_factor_pb2.SecondFactor:
    """Return a second factor as its user sees it; none at all is one that is not active."""
    return second_factor_pb2.SecondFactor(
        active=factor is not None and factor.active,
        confirm_time=factor.confirmed_at if factor is not None else None,
        recovery_codes_left=recovery_codes_left,
    )


def _user_id(context: Any) -> UUID:
    return in_person(caller_of(context)).require_user_id()
