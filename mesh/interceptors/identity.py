"""Finds out who calls: the package from Envoy's word on the certificate, the user from the verified token.

`x-titan-caller` can be believed because the process listens on a Unix socket alone, which only its Envoy reaches, and
Envoy overwrites the header with the SPIFFE id of the peer.
"""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import AccessKind, Method
from mesh.identity import NOBODY, Caller, TokenVerifier, package_of_peer
from mesh.interceptors.stage import Check, Guard
from mesh.refusals import TokenInvalid, Unavailable

CALLER_KEY = "x-titan-caller"
TOKEN_KEY = "authorization"  # noqa: S105


class Identity(Guard):
    """Sets `call.peer` and `call.caller`. A token is verified wherever one is sent, except to a service method."""

    def __init__(self, verifier: TokenVerifier | None, *, trust_domain: str = "titan.local") -> None:
        self._verifier = verifier
        self._trust_domain = trust_domain
        self._packages: dict[str, Caller] = {}

    def check_of(self, method: Method) -> Check | None:
        """Return the check that says who calls; it refuses a token that does not verify."""
        users = method.access is None or method.access.kind is not AccessKind.SERVICE
        mutation = method.is_mutation

        def identify(request: Message, call: Call) -> None:
            metadata = call.metadata
            peer = metadata.get(CALLER_KEY)
            caller = NOBODY if peer is None or CALLER_KEY in call.duplicated else self._peer(peer)
            call.caller = caller
            call.peer = caller.service
            token = metadata.get(TOKEN_KEY)
            if token is not None and users:
                if TOKEN_KEY in call.duplicated or token[:7].lower() != "bearer ":
                    raise TokenInvalid("the authorization must be one bearer token")
                if self._verifier is None:
                    raise Unavailable("this process verifies no tokens")
                user = self._verifier.verify(token[7:].strip(), mutation=mutation)
                call.caller = user if caller.service is None else replace(user, service=caller.service)

        return identify

    def _peer(self, peer: str) -> Caller:
        known = self._packages.get(peer)
        if known is None:
            service = package_of_peer(peer, self._trust_domain)
            if service is None:
                return NOBODY
            known = Caller(service=service)
            if len(self._packages) < 256:
                self._packages[peer] = known
        return known
