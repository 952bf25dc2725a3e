"""What tests of a service stand on: signed tokens, a real chain around servicers, and the reason inside an error.

A test serves its servicers with `serve`, calls them through the channel it yields, and says who calls with `as_user`
and `as_service`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from control.atomic_file import replace_text
from control.topology_file import POLICIES
from mesh import calls, contract, policies
from mesh.calls import Call
from mesh.contract import Contract
from mesh.identity import AUDIENCE, ISSUER, TOKEN_TYPE, KeySet, RevocationView, TokenVerifier, VerifyingKey
from mesh.interceptors.admission import Admission
from mesh.interceptors.audit import Accesses, Denials
from mesh.interceptors.chain import Chain, standard_stages
from mesh.policies import Policies
from mesh.refusals import Refusal, refusal_of_call
from mesh.server import Server

Metadata = tuple[tuple[str, str], ...]

KID = "test-key"
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = KeySet([VerifyingKey(KID, "ES256", SIGNING_KEY.public_key())])
"""The keys that every test server believes."""


def told_of(server: str, url: str, folder: Path) -> dict[str, str]:
    """Return how a process is told of a server (`DATABASE`, `REDIS`): its address, and a file with the password."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    file = folder / (f"{server.lower()}_{name}" if name else server.lower())
    replace_text(file, unquote(password))
    address = parts._replace(netloc=f"{name}@{place}" if name else place).geturl()
    return {f"TITAN_{server}_URL": address, f"TITAN_{server}_PASSWORD_FILE": str(file)}


def token(
    user_id: UUID | str | None = None,
    *,
    roles: tuple[str, ...] | None = None,
    guest: bool = False,
    session_id: UUID | str | None = None,
    actor_id: UUID | str | None = None,
    lifetime_seconds: float = 3600,
    key: Any = SIGNING_KEY,
    algorithm: str = "ES256",
    headers: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Return an access token as svc_auth would sign it; `claims` replace or add single ones, None removes one."""
    now = time.time()
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id or uuid4()),
        "sid": str(session_id or uuid4()),
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now + lifetime_seconds),
        "roles": list(roles if roles is not None else ("guest",) if guest else ("customer",)),
        "guest": guest,
        "cell": "local",
    }
    if actor_id is not None:
        payload["act"] = {"sub": str(actor_id)}
    payload = {name: value for name, value in {**payload, **claims}.items() if value is not None}
    header = {name: value for name, value in {"kid": KID, "typ": TOKEN_TYPE, **(headers or {})}.items() if value}
    return jwt.encode(payload, key, algorithm=algorithm, headers=header)


def as_user(user_id: UUID | str | None = None, *, roles: tuple[str, ...] | None = None, **more: Any) -> Metadata:
    """Return the metadata of a call by a signed-in user; see `token` for what more can be said."""
    return (("authorization", f"Bearer {token(user_id, roles=roles, **more)}"),)


def as_service(package: str) -> Metadata:
    """Return the metadata of a call by another package, as its inbound Envoy would write it."""
    return (("x-titan-caller", f"spiffe://titan.local/svc/{package}"),)


def reason_of(error: BaseException) -> str:
    """Return the reason of the contract inside the error of a call, such as ORDER_NOT_CANCELLABLE."""
    return refusal_in(error).reason


def refusal_in(error: BaseException) -> Refusal:
    """Return the refusal that a call was answered with."""
    if isinstance(error, Refusal):
        return error
    assert isinstance(error, grpc.RpcError), f"not the error of a call: {error!r}"
    return refusal_of_call(error)


@contextmanager
def in_call_of(full_name: str) -> Iterator[Call]:
    """Stand inside a call of a method, for a test that asks something behind the chain that looks for its call."""
    with calls.detached() as call:
        (call.method,) = (method for method in titan_contract().methods.values() if method.full_name == full_name)
        yield call


@cache
def titan_contract() -> Contract:
    """The whole contract, read once per test run."""
    return contract.load()


@cache
def titan_policies() -> Policies:
    """The shipped policies, read once per test run."""
    return policies.load(POLICIES, titan_contract())


def chain(services: Contract | None = None, **stages: Any) -> Chain:
    """Return the real chain, for a server that a test builds itself (`grpc_interceptors` of `conftest`)."""
    stages.setdefault("verifier", TokenVerifier(KEYS))
    stages.setdefault("admission", Admission(512))
    stages.setdefault("policies", titan_policies() if services is None else None)
    return Chain(services or titan_contract(), standard_stages(**stages))


@asynccontextmanager
async def serve(
    services: Mapping[str, object],
    *,
    known: Contract | None = None,
    revocations: RevocationView | None = None,
    callers: Mapping[str, frozenset[str]] | None = None,
    max_running_calls: int = 512,
    check: Callable[[], Awaitable[bool]] | None = None,
    verifier: TokenVerifier | None = None,
    denials: Denials | None = None,
    accesses: Accesses | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve servicers by full gRPC service name behind the real chain, on a Unix socket; yields a channel to them.

    `channel.target` is the socket's address, for `Clients(channel.target)`; `channel.server` the `mesh.server.Server`.
    """
    shipped = titan_policies() if known is None else None
    known = known or titan_contract()
    stages = standard_stages(
        verifier=verifier or TokenVerifier(KEYS, revocations=revocations),
        admission=Admission(max_running_calls),
        callers=callers,
        policies=shipped,
        denials=denials,
        accesses=accesses,
    )
    with tempfile.TemporaryDirectory(prefix="titan-") as folder:
        target = f"unix:{Path(folder, 's.sock')}"
        server = Server(listen=target, contract=known, services=services, stages=stages, check=check)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                channel.target, channel.server = target, server  # type: ignore[attr-defined]
                yield channel
        finally:
            await server.drain(grace_seconds=1.0)
