"""PasskeyService on the wire: decode, call, encode."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mesh.identity import caller_of
from svc_auth.inputs import in_person, plain
from svc_auth.passkey.passkeys import Asked, Passkeys
from svc_auth.passkey.store import Passkey
from titan.auth.v1 import passkey_pb2
from titan.auth.v1 import passkey_service_pb2 as pb


class PasskeyServicer:
    """Serves titan.auth.v1.PasskeyService."""

    def __init__(self, passkeys: Passkeys) -> None:
        self._passkeys = passkeys

    async def StartPasskeySignIn(
        self, request: pb.StartPasskeySignInRequest, context: Any
    ) -> pb.StartPasskeySignInResponse:
        """Has no refusals of its own."""
        return pb.StartPasskeySignInResponse(options=to_options(await self._passkeys.begin_sign_in()))

    async def CompletePasskeySignIn(
        self, request: pb.CompletePasskeySignInRequest, context: Any
    ) -> pb.CompletePasskeySignInResponse:
        """Refuses with CHALLENGE_INVALID or PASSKEY_INVALID."""
        client_name = plain("client_name", request.client_name)
        pair = await self._passkeys.finish_sign_in(request.credential_json, client_name=client_name)
        return pb.CompletePasskeySignInResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in_seconds=pair.expires_in_seconds,
            user_id=str(pair.user_id),
        )

    async def StartPasskeyRegistration(
        self, request: pb.StartPasskeyRegistrationRequest, context: Any
    ) -> pb.StartPasskeyRegistrationResponse:
        """Refuses with NOT_REGISTERED, RECENT_SIGN_IN_REQUIRED, TOO_MANY_PASSKEYS, USER_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        asked = await self._passkeys.begin_registration(caller.require_user_id(), caller.session_id)
        return pb.StartPasskeyRegistrationResponse(options=to_options(asked))

    async def CreatePasskey(self, request: pb.CreatePasskeyRequest, context: Any) -> pb.CreatePasskeyResponse:
        """Refuses with CHALLENGE_INVALID, PASSKEY_INVALID, TOO_MANY_PASSKEYS, USER_NOT_FOUND, SESSION_REVOKED or
        ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        passkey = await self._passkeys.register(
            caller.require_user_id(), caller.session_id, request.credential_json, name=plain("name", request.name)
        )
        return pb.CreatePasskeyResponse(passkey=to_wire(passkey))

    async def ListPasskeys(self, request: pb.ListPasskeysRequest, context: Any) -> pb.ListPasskeysResponse:
        """Refuses with ACCESS_DENIED whoever acts for somebody."""
        found = await self._passkeys.list_of(in_person(caller_of(context)).require_user_id())
        return pb.ListPasskeysResponse(passkeys=[to_wire(passkey) for passkey in found])

    async def DeletePasskey(self, request: pb.DeletePasskeyRequest, context: Any) -> pb.DeletePasskeyResponse:
        """Refuses with PASSKEY_NOT_FOUND, RECENT_SIGN_IN_REQUIRED, SESSION_REVOKED, USER_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        await self._passkeys.remove(caller.require_user_id(), caller.session_id, UUID(request.passkey_id))
        return pb.DeletePasskeyResponse()


def to_options(asked: Asked) -> passkey_pb2.PasskeyOptions:
    """Return what a browser is asked for as it travels."""
    return passkey_pb2.PasskeyOptions(options_json=asked.options_json, expires_in_seconds=asked.expires_in_seconds)


def to_wire(passkey: Passkey) -> passkey_pb2.Passkey:
    """Return a passkey as its user sees it."""
    return passkey_pb2.Passkey(
        passkey_id=str(passkey.passkey_id),
        name=passkey.name,
        create_time=passkey.created_at,
        last_use_time=passkey.last_used_at,
        backed_up=passkey.backed_up,
    )
