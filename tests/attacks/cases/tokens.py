"""Access tokens: nothing that the mesh did not sign, for now and for itself, opens anything.

Each is tried over HTTP at the edge, where Envoy verifies, and at the developers' door, where the service alone does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.attacks.case import Reply, Wrong, add, case
from tests.attacks.people import Signer
from tests.attacks.scene import Scene
from tests.attacks.sweep import until_refused

READ = "/titan.order.v1.OrderService/ListOrders"
REVOKED_WITHIN_SECONDS = 1.0
EVIL = "https://evil.example/keys.json"

Forge = Callable[[Signer], str]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join((_b64(json.dumps(header).encode()), _b64(json.dumps(claims).encode()), _b64(signature)))


def claims_of(signer: Signer) -> dict[str, Any]:
    """Return what a good token says, of an administrator."""
    return dict(jwt.decode(signer.token(roles=("customer", "admin")), options={"verify_signature": False}))


def unsigned(algorithm: str, signature: bytes = b"") -> Forge:
    """Return a token that asks not to be verified."""
    return lambda signer: _by_hand({"alg": algorithm, "typ": "at+jwt", "kid": signer.kid}, claims_of(signer), signature)


def confused(signer: Signer, algorithm: str = "HS256") -> str:
    """Return a token whose shared secret is the public key."""
    public = signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": algorithm, "typ": "at+jwt", "kid": signer.kid}
    message = ".".join((_b64(json.dumps(head).encode()), _b64(json.dumps(claims_of(signer)).encode())))
    digest = hmac.new(public, message.encode(), hashlib.sha256).digest()
    return f"{message}.{_b64(digest)}"


def strangers(signer: Signer, **header: Any) -> str:
    """Return a token that somebody else signed under the mesh's key id."""
    own = ec.generate_private_key(ec.SECP256R1())
    numbers = own.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": _b64(numbers.x.to_bytes(32)), "y": _b64(numbers.y.to_bytes(32))}
    put_in = {name: jwk if value == "own" else value for name, value in header.items()}
    head = {"kid": signer.kid, "typ": "at+jwt", **put_in}
    return jwt.encode(claims_of(signer), own, algorithm="ES256", headers=head)


def of_other_kind(signer: Signer) -> str:
    """Return a token of an RSA key under the mesh's key id."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return jwt.encode(claims_of(signer), key, algorithm="RS256", headers={"kid": signer.kid, "typ": "at+jwt"})


def tampered(signer: Signer) -> str:
    """Return a customer's token with the roles of an administrator in it."""
    head, _, signature = signer.token().split(".")
    return f"{head}.{_b64(json.dumps(claims_of(signer)).encode())}.{signature}"


def cut(signer: Signer, end: int) -> str:
    """Return a token that lacks its end."""
    return signer.token()[:end]


def null_signature(signer: Signer) -> str:
    """Return a token whose signature is r = s = 0 (CVE-2022-21449)."""
    return signer.token().rpartition(".")[0] + "." + _b64(bytes(64))


def der_signature(signer: Signer) -> str:
    """Return a good token with its signature in another writing: there is one writing."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    head, _, signature = signer.token().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    pair = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    return f"{head}.{_b64(encode_dss_signature(*pair))}"


NOW = time.time
FORGED: dict[str, Forge] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg NONE with a signature": unsigned("NONE", b"x" * 64),
    "no alg": lambda s: _by_hand({"typ": "at+jwt", "kid": s.kid}, claims_of(s), bytes(64)),
    "HMAC with the public key": confused,
    "RSA under the key's id": of_other_kind,
    "another's signature under the key's id": strangers,
    "a key of its own in the header (jwk)": lambda s: strangers(s, jwk="own"),
    "keys from elsewhere (jku)": lambda s: strangers(s, jku=EVIL),
    "a certificate from elsewhere (x5u)": lambda s: strangers(s, x5u=EVIL),
    "a certificate in the header (x5c)": lambda s: strangers(s, x5c=["MIIB"]),
    "keys from elsewhere, signed well (jku) under an unknown id": lambda s: strangers(s, jku=EVIL, kid="evil"),
    "an unknown key id": lambda s: s.token(header={"kid": str(uuid4())}),
    "a path as key id": lambda s: s.token(header={"kid": "../../../../dev/null"}),
    "SQL as key id": lambda s: s.token(header={"kid": "x' UNION SELECT 'k' --"}),
    "no key id, signed by a stranger": lambda s: strangers(s, kid=""),
    "claims changed after signing": tampered,
    "a signature of zeros": null_signature,
    "a signature in DER": der_signature,
    "no signature": lambda s: s.token().rpartition(".")[0] + ".",
    "cut in the middle": lambda s: cut(s, 200),
    "three words": lambda s: "a.b.c",
    "expired a minute ago": lambda s: s.token(iat=int(NOW()) - 600, nbf=int(NOW()) - 600, exp=int(NOW()) - 60),
    "without an end": lambda s: s.token(exp=None),
    "an end that is no number": lambda s: s.token(exp="never"),
    "a life of a year": lambda s: s.token(exp=int(NOW()) + 31_536_000),
    "not valid before an hour": lambda s: s.token(nbf=int(NOW()) + 3600, exp=int(NOW()) + 3700),
    "of another issuer": lambda s: s.token(iss="https://evil.example"),
    "of an issuer that begins alike": lambda s: s.token(iss="https://titan.local.evil.example"),
    "without an issuer": lambda s: s.token(iss=None),
    "for another audience": lambda s: s.token(aud="somebody-else"),
    "without an audience": lambda s: s.token(aud=None),
}
"""What Envoy and the service both refuse."""

FORGED_FOR_THE_SERVICE: dict[str, Forge] = {
    "an ID token's type": lambda s: s.token(header={"typ": "JWT"}),
    "a refresh token's type": lambda s: s.token(header={"typ": "rt+jwt"}),
    "an unknown critical header": lambda s: s.token(header={"crit": ["exp"]}),
    "of another cell": lambda s: s.token(cell="elsewhere"),
    "without a session": lambda s: s.token(sid=None),
    "without a user": lambda s: s.token(sub=None),
    "a user that is no id": lambda s: s.token(sub="root"),
    "roles that are a text": lambda s: s.token(roles="admin"),
    "an actor that is no id": lambda s: s.token(act={"sub": "root"}),
    "of the future": lambda s: s.token(iat=int(NOW()) + 600, exp=int(NOW()) + 700),
}
"""What Envoy may let through: the service refuses it in the same words."""


def _forged(what: str, forge: Forge) -> None:
    async def at_edge(scene: Scene) -> Reply:
        return await scene.send("GET", "/v1/orders", token=forge(scene.signer))

    async def at_service(scene: Scene) -> Reply:
        return await scene.call(await scene.developer(), READ, token=forge(scene.signer))

    reason = "TOKEN_EXPIRED" if what.startswith("expired") else "TOKEN_INVALID"
    add("tokens", f"{what}, at the edge", f"401 {reason}", at_edge, still=True)
    add("tokens", f"{what}, at the service", f"UNAUTHENTICATED {reason}", at_service, still=True)


for _what, _forge in {**FORGED, **FORGED_FOR_THE_SERVICE}.items():
    _forged(_what, _forge)


@case("a good token, to know that the others are refused for what they are", "200")
async def good(scene: Scene) -> Reply:
    inside = await scene.call(await scene.developer(), READ, token=scene.signer.token())
    if str(inside) != "OK":
        raise Wrong(f"the service says {inside}")
    return await scene.send("GET", "/v1/orders", token=scene.signer.token())


SCHEMES = {
    "in a query": ("/v1/orders?access_token={}", {}, "400 INVALID_INPUT"),
    "in a cookie": ("/v1/orders", {"cookie": "access_token={}; authorization=Bearer {}"}, "401 UNAUTHENTICATED"),
    "as Basic": ("/v1/orders", {"authorization": "Basic {}"}, "401 TOKEN_INVALID"),
    "without a scheme": ("/v1/orders", {"authorization": "{}"}, "401 TOKEN_INVALID"),
    "in two parts": ("/v1/orders", {"authorization": "Bearer {} {}"}, "401 TOKEN_INVALID"),
    "after a comma": ("/v1/orders", {"authorization": "Bearer x, Bearer {}"}, "401 TOKEN_INVALID"),
}


def _scheme(what: str) -> None:
    path, headers, due = SCHEMES[what]

    async def attack(scene: Scene) -> Reply:
        token = scene.signer.token()
        sent = {name: value.replace("{}", token) for name, value in headers.items()}
        return await scene.send("GET", path.replace("{}", token), headers=sent)

    add("tokens", f"a good token {what}", due, attack, still=True)


for _what in SCHEMES:
    _scheme(_what)


@case("two tokens in two headers", "401 TOKEN_INVALID")
async def two_headers(scene: Scene) -> Reply:
    lines = "".join(f"authorization: Bearer {scene.signer.token()}\r\n" for _ in range(2))
    (reply,) = await scene.speak(f"GET /v1/orders HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n".encode())
    return reply


@case("a token of 20,000 characters", "401 TOKEN_INVALID")
async def huge(scene: Scene) -> Reply:
    return await scene.send("GET", "/v1/orders", token=scene.signer.token(more="x" * 15_000))


@case("an access token as a refresh token", "401 REFRESH_TOKEN_INVALID")
async def as_refresh_token(scene: Scene) -> Reply:
    return await scene.send("POST", "/v1/sessions:refresh", {"refreshToken": scene.victims.owner.token[:500]})


@case("a refresh token as an access token", "401 TOKEN_INVALID")
async def as_access_token(scene: Scene) -> Reply:
    return await scene.send("GET", "/v1/orders", token=scene.victims.owner.refresh_token)


@case("after signing out, at every package", "401 SESSION_REVOKED")
async def after_sign_out(scene: Scene) -> Reply:
    guest = await scene.guest()
    await scene.ok("GET", "/v1/orders", token=guest.token)
    await scene.ok("POST", "/v1/sessions:revoke", {"refreshToken": guest.refresh_token})
    seconds = await until_refused(scene, guest.token)
    await scene.ready()
    if seconds > REVOKED_WITHIN_SECONDS:
        raise Wrong(f"it took {seconds:.2f} s until everybody knew")
    return await scene.send("GET", "/v1/orders", token=guest.token)


@case("of a session that was ended in the list of sessions", "401 SESSION_REVOKED")
async def after_ending(scene: Scene) -> Reply:
    one = await scene.customer()
    two = await scene.sign_in(one.email, one.password)
    await scene.ok("DELETE", f"/v1/sessions/{one.claims['sid']}", token=two.token)
    await until_refused(scene, one.token)
    await scene.ready()
    return await scene.send("GET", "/v1/users/me", token=one.token)


@case("of the old key after a rotation: it counts to its end", "200")
async def old_key(scene: Scene) -> Reply:
    old = scene.signer.token()
    await _rotate(scene)
    await scene.ready()
    return await scene.send("GET", "/v1/orders", token=old)


@case("signed with the old key under the new one's id", "401 TOKEN_INVALID")
async def old_key_new_name(scene: Scene) -> Reply:
    old = scene.signer.key
    await _rotate(scene)
    await scene.ready()
    return await scene.send("GET", "/v1/orders", token=Signer(await _newest_kid(scene), old).token())


async def _rotate(scene: Scene) -> None:
    await scene.ok("POST", "/v1/signingKeys:rotate", {}, token=scene.victims.admin.token)


async def _newest_kid(scene: Scene) -> str:
    sql = "SELECT kid FROM signing_keys ORDER BY sign_at DESC LIMIT 1"
    return str(await scene.databases["svc_auth"].fetchval(sql))
