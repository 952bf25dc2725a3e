"""LinkService on the wire: decode, call, encode."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.identity import caller_of
from svc_auth.inputs import in_person
from svc_auth.link.links import Links, Shown
from titan.auth.v1 import link_pb2
from titan.auth.v1 import link_service_pb2 as pb


class LinkServicer:
    """Serves titan.auth.v1.LinkService."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def RequestEmailVerification(
        self, request: pb.RequestEmailVerificationRequest, context: Any
    ) -> pb.RequestEmailVerificationResponse:
        """Refuses with NOT_REGISTERED, EMAIL_VERIFIED, USER_NOT_FOUND or ACCESS_DENIED."""
        await self._links.request_verification(in_person(caller_of(context)).require_user_id())
        return pb.RequestEmailVerificationResponse()

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, context: Any) -> pb.VerifyEmailResponse:
        """Refuses with LINK_INVALID."""
        await self._links.verify_email(request.token)
        return pb.VerifyEmailResponse()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Any
    ) -> pb.RequestPasswordResetResponse:
        """Has no refusals of its own."""
        await self._links.request_reset(request.email)
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Any) -> pb.ResetPasswordResponse:
        """Refuses with LINK_INVALID or PASSWORD_TOO_WEAK."""
        await self._links.reset_password(request.token, request.password)
        return pb.ResetPasswordResponse()

    async def BatchGetLinks(self, request: pb.BatchGetLinksRequest, context: Any) -> pb.BatchGetLinksResponse:
        """Has no refusals of its own."""
        found = await self._links.show([UUID(link_id) for link_id in request.link_ids])
        return pb.BatchGetLinksResponse(
            results=[
                pb.LinkResult(link_id=link_id, link=to_wire(found[UUID(link_id)]) if UUID(link_id) in found else None)
                for link_id in request.link_ids
            ]
        )


def to_wire(link: Shown) -> link_pb2.Link:
    """Return a link as its letter needs it."""
    return link_pb2.Link(
        purpose=f"LINK_PURPOSE_{link.purpose.value}",
        email=link.email,
        token=link.token,
        expire_time=link.expires_at,
    )
