"""What an ID token proves, and what a flow sends: no server, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from svc_auth.errors import IdentityNotProven
from svc_auth.federation import rules
from svc_auth.federation.providers import Provider

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
AT = int(NOW.timestamp())
PROVIDER = Provider("local", "Local", "https://id.example.com", "shop", ("https://shop.example.com/back",))
NONCE = "the nonce of this flow"
PAYLOAD: dict[str, Any] = {
    "iss": "https://id.example.com",
    "aud": "shop",
    "sub": "person-1",
    "nonce": NONCE,
    "iat": AT,
    "exp": AT + 300,
    "email": "Grace@Example.com",
    "email_verified": True,
    "name": "Grace Hopper",
}


def claims(provider: Provider = PROVIDER, **changes: Any) -> rules.Claims:
    payload = {name: value for name, value in {**PAYLOAD, **changes}.items() if value is not ...}
    return rules.claims_of(payload, provider, nonce=NONCE, at=NOW)


def test_a_good_token_says_who_it_is():
    """The address as it is compared everywhere."""
    found = claims()

    assert ("https://id.example.com", "person-1") == (found.issuer, found.subject)
    assert ("grace@example.com", "Grace Hopper") == (found.email, found.name)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://id.example.com/"},
        {"iss": ...},
        {"aud": "another shop"},
        {"aud": ["another shop"]},
        {"aud": ["shop", "another shop"]},
        {"aud": ["shop", "another shop"], "azp": "another shop"},
        {"azp": "another shop"},
        {"aud": []},
        {"aud": ...},
        {"nonce": "of another flow"},
        {"nonce": "näh"},
        {"nonce": 7},
        {"nonce": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "nul\x00"},
        {"sub": ...},
        {"exp": AT - 30},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": ...},
        {"iat": AT + 31},
        {"iat": AT - 631},
        {"iat": ...},
        {"nbf": AT + 31},
        {"nbf": None},
    ],
)
def test_any_other_token_proves_nothing(changes: dict[str, Any]):
    """Of another provider, client, flow or time, or not whole (OpenID Connect Core, 3.1.3.7)."""
    with pytest.raises(IdentityNotProven):
        claims(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"aud": ["shop"]}, {"aud": ["shop", "api"], "azp": "shop"}, {"iat": AT + 29}, {"exp": AT - 29}, {"nbf": AT}],
)
def test_a_token_may_name_others_beside_the_shop_and_come_from_a_clock_that_is_off(changes: dict[str, Any]):
    """By half a minute."""
    assert "person-1" == claims(**changes).subject


@pytest.mark.parametrize(
    "changes",
    [
        {"email_verified": False},
        {"email_verified": "false"},
        {"email_verified": 1},
        {"email_verified": ...},
        {"email": ...},
        {"email": 7},
        {"email": "no address"},
        {"email": "two@at@example.com"},
        {"email": "grace@example.com\nBcc: everybody@example.com"},
        {"email": "grace@example.com\x00"},
        {"email": "gräce@example.com"},
        {"email": "x" * 251 + "@a.b"},
    ],
)
def test_an_address_counts_only_where_the_provider_vouches_for_it(changes: dict[str, Any]):
    """And where it is one; who it is is known all the same."""
    found = claims(**changes)

    assert (None, "person-1") == (found.email, found.subject)


def test_a_provider_may_not_be_trusted_with_addresses():
    """Whatever it says of them."""
    untrusted = Provider("local", "Local", "https://id.example.com", "shop", (), email_trusted=False)

    assert claims(untrusted).email is None
    assert "grace@example.com" == claims(email_verified="true").email


@pytest.mark.parametrize("name", [7, "x" * 121, "line\nbreak", "nul\x00", ...])
def test_a_name_that_cannot_be_shown_is_none(name: Any):
    """It is a kindness, and no reason to refuse anybody."""
    assert "" == claims(name=name).name


def test_what_a_flow_sends_comes_from_its_token_and_does_not_lead_back():
    """The same each time, another thing for each use, and as long as the standards want."""
    made = [rules.state_of("token"), rules.nonce_of("token"), rules.verifier_of("token")]

    assert made == [rules.state_of("token"), rules.nonce_of("token"), rules.verifier_of("token")]
    assert 3 == len({*made}) and all(len(each) == 43 for each in made)
    assert rules.is_state_of("token", made[0]) and not rules.is_state_of("token2", made[0])
    assert not rules.is_state_of("token", "")


def test_the_code_challenge_is_that_of_the_standard():
    """RFC 7636, appendix B, with the verifier of this flow; an endpoint may have parameters of its own."""
    url = rules.authorization_url("https://id.example.com/a?b=c", PROVIDER, redirect_uri="https://x/?y=z", token="t")

    assert url.startswith("https://id.example.com/a?b=c&response_type=code&client_id=shop&")
    assert "redirect_uri=https%3A%2F%2Fx%2F%3Fy%3Dz&scope=openid+email+profile&" in url
    assert rules.verifier_of("t") not in url and "code_challenge_method=S256" in url
