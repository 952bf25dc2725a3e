"""What a counter tells, and where passkeys count: no server, milliseconds."""

from __future__ import annotations

import pytest

from svc_auth.passkey import rules
from svc_auth.passkey.ceremonies import RelyingParty


@pytest.mark.parametrize(
    ("known", "shown", "good"),
    [(0, 0, True), (0, 1, True), (5, 6, True), (5, 900, True), (5, 5, False), (5, 4, False), (5, 0, False)],
)
def test_a_counter_goes_on_or_never_counts(known: int, shown: int, good: bool):
    """One that stays or goes back belongs to a copy (WebAuthn, 6.1.1)."""
    assert good is rules.counts_on(known, shown)


@pytest.mark.parametrize(
    ("shop_url", "party_id", "origin"),
    [
        ("https://shop.example.com", "shop.example.com", "https://shop.example.com"),
        ("https://Shop.Example.com/store", "shop.example.com", "https://shop.example.com"),
        ("https://shop.example.com:443", "shop.example.com", "https://shop.example.com"),
        ("https://shop.example.com:8443/", "shop.example.com", "https://shop.example.com:8443"),
    ],
)
def test_a_shop_is_one_host_and_one_origin(shop_url: str, party_id: str, origin: str):
    """As browsers write it, whatever path and port the setting has."""
    party = RelyingParty("Titan", shop_url)

    assert (party_id, origin) == (party.party_id, party.origin)
