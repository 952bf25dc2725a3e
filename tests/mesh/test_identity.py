"""Only a token that AuthService signed for Titan, for this moment and a living session, says who calls."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mesh.identity import KeySet, RevocationView, TokenVerifier, VerifyingKey, key_of_jwk, package_of_peer
from mesh.refusals import SessionRevoked, TokenExpired, TokenInvalid, Unavailable
from tests.harness import KEYS, SIGNING_KEY, token

USER, SESSION, ACTOR = uuid4(), uuid4(), uuid4()


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(KEYS, cell="local")


def verify(verifier: TokenVerifier, text: str, *, mutation: bool = False):
    return verifier.verify(text, mutation=mutation)


def test_a_good_token_says_who_calls(verifier):
    """Every claim arrives, the one of the actor too."""
    caller = verify(verifier, token(USER, session_id=SESSION, roles=("importer",), actor_id=ACTOR))

    assert (caller.user_id, caller.session_id, caller.actor_id) == (USER, SESSION, ACTOR)
    assert caller.roles == {"importer"}
    assert not caller.is_guest and not caller.withheld
    assert verify(verifier, token(guest=True)).is_guest
    waiting = verify(verifier, token(withheld_roles=["admin"]))
    assert ({"customer"}, {"admin"}) == (waiting.roles, waiting.withheld)


def test_an_ed25519_key_serves_as_well():
    """EdDSA is the second of the two algorithms."""
    private = ed25519.Ed25519PrivateKey.generate()
    keys = KeySet([VerifyingKey("ed", "EdDSA", private.public_key())])

    caller = TokenVerifier(keys).verify(
        token(USER, key=private, algorithm="EdDSA", headers={"kid": "ed"}), mutation=True
    )

    assert caller.user_id == USER


BAD = {
    "wrong audience": lambda: token(aud="elsewhere"),
    "no audience": lambda: token(aud=None),
    "wrong issuer": lambda: token(iss="https://evil.example"),
    "no expiry": lambda: token(exp=None),
    "infinite expiry": lambda: token(exp=float("inf")),
    "too long a life": lambda: token(lifetime_seconds=4000),
    "not yet valid": lambda: token(nbf=int(time.time()) + 60),
    "issued in the future": lambda: token(iat=int(time.time()) + 60),
    "no session": lambda: token(sid=None),
    "subject is no id": lambda: token(sub="root"),
    "another cell": lambda: token(cell="elsewhere"),
    "roles are no list": lambda: token(roles=["a", 1]),
    "withheld roles are no list": lambda: token(withheld_roles="admin"),
    "actor is no object": lambda: token(act="me"),
    "unknown kid": lambda: token(headers={"kid": "other"}),
    "no kid": lambda: token(headers={"kid": None}),
    "an id token": lambda: token(headers={"typ": "JWT"}),
    "forged": lambda: token(key=ec.generate_private_key(ec.SECP256R1())),
    "alg none": lambda: jwt.encode({"sub": str(USER)}, None, algorithm="none", headers={"kid": "test-key"}),
    "another algorithm": lambda: token(key="x" * 64, algorithm="HS256"),
    "garbage": lambda: "not.a.token",
    "empty": lambda: "",
    "not ascii": lambda: "\udcff.\u00e9.x",
    "huge": lambda: "x" * 5000,
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_token_is_refused_without_a_reason_for_its_forger(verifier, what):
    """All read the same."""
    with pytest.raises(TokenInvalid) as refused:
        verify(verifier, BAD[what]())

    assert refused.value.message == "the access token is not valid"


def test_a_token_that_was_good_and_is_over_says_so(verifier):
    """Its client refreshes it; a token that is wrong in any other way is not worth that."""
    with pytest.raises(TokenExpired) as refused:
        verify(verifier, token(lifetime_seconds=-10))

    assert "TOKEN_EXPIRED" == refused.value.reason


def test_a_few_seconds_of_skew_are_forgiven(verifier):
    """Clocks differ; five seconds are the leeway."""
    assert verify(verifier, token(USER, lifetime_seconds=-2)).user_id == USER


def test_a_cached_token_expires(verifier):
    """The second look does not verify the signature, but the time."""
    now = time.time()
    verifier = TokenVerifier(KEYS, now=lambda: now)
    text = token(lifetime_seconds=10)
    verify(verifier, text)
    now += 20

    for _ in range(2):  # from the cache, and anew
        with pytest.raises(TokenExpired):
            verify(verifier, text)


@pytest.mark.parametrize("what", sorted(BAD.keys() - {"not yet valid", "issued in the future"}))
def test_only_a_token_that_was_good_once_is_told_that_it_is_over(what):
    """Long after, too, a forged one reads like any other forged one."""
    verifier = TokenVerifier(KEYS, cell="local", now=lambda: time.time() + 86_400)
    with pytest.raises(TokenInvalid) as refused:
        verify(verifier, BAD[what]())

    assert "TOKEN_INVALID" == refused.value.reason


def test_an_empty_key_set_is_not_believed():
    """AuthService always has a key; an answer without any would lock everybody out."""
    keys = KeySet([VerifyingKey("test-key", "ES256", SIGNING_KEY.public_key())])
    keys.replace([])
    assert keys.find("test-key") is not None

    new = KeySet()
    new.replace([])
    assert not new.ready


def test_a_cached_token_falls_with_its_key():
    """A key that left the key set takes its tokens along at once; an unchanged key keeps them."""
    keys = KeySet([VerifyingKey("test-key", "ES256", SIGNING_KEY.public_key())])
    verifier = TokenVerifier(keys)
    text = token(USER)
    verify(verifier, text)
    keys.replace([VerifyingKey("test-key", "ES256", SIGNING_KEY.public_key())])
    assert verify(verifier, text).user_id == USER

    keys.replace([VerifyingKey("other-key", "ES256", SIGNING_KEY.public_key())])

    with pytest.raises(TokenInvalid):
        verify(verifier, text)


def test_a_revoked_session_is_refused_on_a_cache_hit_too():
    """The token was verified before its session ended."""
    view = RevocationView()
    view.apply([], as_of=time.time())
    verifier = TokenVerifier(KEYS, revocations=view)
    text = token(session_id=SESSION)
    verify(verifier, text)
    view.apply([(SESSION, time.time() + 600)], as_of=time.time())

    with pytest.raises(SessionRevoked):
        verify(verifier, text)


def test_an_old_view_refuses_mutations_alone():
    """Reads go on for as long as it takes; a changed balance cannot be taken back."""
    now = time.time()
    view = RevocationView(now=lambda: now)
    verifier = TokenVerifier(KEYS, revocations=view)
    text = token(USER)
    with pytest.raises(Unavailable):
        verify(verifier, text, mutation=True)
    view.apply([], as_of=now)
    assert verify(verifier, text, mutation=True).user_id == USER

    now += 31

    assert verify(verifier, text, mutation=False).user_id == USER
    with pytest.raises(Unavailable):
        verify(verifier, text, mutation=True)


def test_revocations_are_forgotten_once_their_tokens_have_expired():
    """The view is bounded by the life of a token."""
    now = 1000.0
    view = RevocationView(now=lambda: now)
    view.apply([(uuid4(), 1010.0), (SESSION, 5000.0)], as_of=now)
    now = 2000.0
    view.apply([], as_of=now)

    assert len(view) == 1
    assert view.is_revoked(SESSION)


def test_no_keys_is_not_the_callers_fault():
    """Before the first key set arrived, a token can neither be taken nor called invalid."""
    with pytest.raises(Unavailable):
        verify(TokenVerifier(KeySet()), token())


def test_the_cache_is_bounded():
    """The oldest verified token makes room."""
    verifier = TokenVerifier(KEYS, cached_tokens=2)
    for text in [token() for _ in range(5)]:
        verify(verifier, text)

    assert len(verifier._cache) == 2


@pytest.mark.parametrize(
    "change",
    [{"kty": "oct"}, {"crv": "P-384"}, {"alg": "HS256"}, {"kid": ""}, {"d": "AAAA"}],
)
def test_only_public_keys_of_the_two_kinds_are_taken(change):
    """A key set cannot smuggle in a symmetric or a private key."""
    import json

    from jwt.algorithms import ECAlgorithm

    jwk = json.loads(ECAlgorithm.to_jwk(SIGNING_KEY.public_key())) | {"kid": "a", "alg": "ES256"}
    assert key_of_jwk(jwk).algorithm == "ES256"

    with pytest.raises(ValueError, match=r"key"):
        key_of_jwk(jwk | change)


@pytest.mark.parametrize(
    ("peer", "package"),
    [
        ("spiffe://titan.local/svc/svc_order", "svc_order"),
        ("spiffe://titan.local/dev/developer", None),
        ("spiffe://titan.local/svc/", None),
        ("spiffe://titan.local/svc/a/b", None),
        ("spiffe://evil.local/svc/svc_order", None),
        ("svc_order", None),
    ],
)
def test_a_peer_is_a_package_only_by_its_spiffe_id(peer, package):
    """A developer is a person, and a foreign trust domain is nobody."""
    assert package_of_peer(peer, "titan.local") == package


def test_ids_are_uuids():
    """Claims are parsed, not passed through."""
    assert isinstance(TokenVerifier(KEYS).verify(token(str(USER)), mutation=False).user_id, UUID)
