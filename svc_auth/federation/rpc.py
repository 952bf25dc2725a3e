"""FederationService on the wire: decode, call, encode."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.identity import caller_of
from svc_auth.auth.rpc import to_challenge
from svc_auth.auth.sessions import Challenge
from svc_auth.federation.federation import Answer, Begun, Federation
from svc_auth.federation.store import Identity
from svc_auth.inputs import in_person, plain
from titan.auth.v1 import federation_pb2
from titan.auth.v1 import federation_service_pb2 as pb


class FederationServicer:
    """Serves titan.auth.v1.FederationService."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    async def ListIdentityProviders(
        self, request: pb.ListIdentityProvidersRequest, context: Any
    ) -> pb.ListIdentityProvidersResponse:
        """Has no refusals of its own."""
        return pb.ListIdentityProvidersResponse(
            providers=[
                federation_pb2.IdentityProvider(provider=provider.name, display_name=provider.display_name)
                for provider in self._federation.providers
            ]
        )

    async def StartFederatedSignIn(
        self, request: pb.StartFederatedSignInRequest, context: Any
    ) -> pb.StartFederatedSignInResponse:
        """Refuses with IDENTITY_PROVIDER_UNKNOWN, REDIRECT_URI_UNKNOWN or IDENTITY_PROVIDER_UNAVAILABLE."""
        begun = await self._federation.begin_sign_in(
            request.provider, request.redirect_uri, client_name=plain("client_name", request.client_name)
        )
        return pb.StartFederatedSignInResponse(flow=to_flow(begun))

    async def CompleteFederatedSignIn(
        self, request: pb.CompleteFederatedSignInRequest, context: Any
    ) -> pb.CompleteFederatedSignInResponse:
        """Refuses with SIGN_IN_FLOW_INVALID, and with IDENTITY_NOT_PROVEN, _PROVIDER_UNAVAILABLE, _EMAIL_UNVERIFIED or
        _NOT_LINKED; with ACCESS_DENIED whoever acts for somebody."""
        caller = in_person(caller_of(context))
        opened = await self._federation.finish_sign_in(from_wire(request.answer), caller_id=caller.user_id)
        if isinstance(opened, Challenge):
            return pb.CompleteFederatedSignInResponse(challenge=to_challenge(opened))
        return pb.CompleteFederatedSignInResponse(
            access_token=opened.access_token,
            refresh_token=opened.refresh_token,
            expires_in_seconds=opened.expires_in_seconds,
            user_id=str(opened.user_id),
            second_factor_required=opened.second_factor_required,
        )

    async def ListFederatedIdentities(
        self, request: pb.ListFederatedIdentitiesRequest, context: Any
    ) -> pb.ListFederatedIdentitiesResponse:
        """Refuses with ACCESS_DENIED whoever acts for somebody."""
        found = await self._federation.list_of(in_person(caller_of(context)).require_user_id())
        return pb.ListFederatedIdentitiesResponse(identities=[to_identity(identity) for identity in found])

    async def StartIdentityLink(
        self, request: pb.StartIdentityLinkRequest, context: Any
    ) -> pb.StartIdentityLinkResponse:
        """Refuses with NOT_REGISTERED, RECENT_SIGN_IN_REQUIRED or USER_NOT_FOUND, as StartFederatedSignIn does, and
        with ACCESS_DENIED whoever acts for somebody."""
        caller = in_person(caller_of(context))
        begun = await self._federation.begin_link(
            caller.require_user_id(), caller.session_id, request.provider, request.redirect_uri
        )
        return pb.StartIdentityLinkResponse(flow=to_flow(begun))

    async def CompleteIdentityLink(
        self, request: pb.CompleteIdentityLinkRequest, context: Any
    ) -> pb.CompleteIdentityLinkResponse:
        """Refuses with SIGN_IN_FLOW_INVALID, IDENTITY_NOT_PROVEN, IDENTITY_PROVIDER_UNAVAILABLE, IDENTITY_TAKEN,
        USER_NOT_FOUND or SESSION_REVOKED, and with ACCESS_DENIED whoever acts for somebody."""
        caller = in_person(caller_of(context))
        identity = await self._federation.finish_link(
            caller.require_user_id(), caller.session_id, from_wire(request.answer)
        )
        return pb.CompleteIdentityLinkResponse(identity=to_identity(identity))

    async def DeleteFederatedIdentity(
        self, request: pb.DeleteFederatedIdentityRequest, context: Any
    ) -> pb.DeleteFederatedIdentityResponse:
        """Refuses with IDENTITY_NOT_FOUND, RECENT_SIGN_IN_REQUIRED, SESSION_REVOKED or USER_NOT_FOUND, and with
        ACCESS_DENIED whoever acts for somebody."""
        caller = in_person(caller_of(context))
        await self._federation.unlink(caller.require_user_id(), caller.session_id, UUID(request.identity_id))
        return pb.DeleteFederatedIdentityResponse()


def from_wire(answer: federation_pb2.FederatedAnswer) -> Answer:
    """Return what a provider sent back."""
    return Answer(token=answer.flow_token, state=answer.state, code=answer.code, issuer=answer.issuer)


def to_flow(begun: Begun) -> federation_pb2.FederatedFlow:
    """Return a flow as its client needs it."""
    return federation_pb2.FederatedFlow(
        authorization_url=begun.url, flow_token=begun.token, expires_in_seconds=begun.expires_in_seconds
    )


def to_identity(identity: Identity) -> federation_pb2.FederatedIdentity:
    """Return an identity as its user sees it."""
    return federation_pb2.FederatedIdentity(
        identity_id=str(identity.identity_id),
        provider=identity.provider,
        link_time=identity.linked_at,
        last_use_time=identity.last_used_at,
    )
