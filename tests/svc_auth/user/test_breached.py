"""The list of breached passwords, as it comes with the package."""

from __future__ import annotations

import pytest

from svc_auth.errors import PasswordTooWeak
from svc_auth.user import rules, weak
from svc_auth.user.breached import BreachedPasswords, prints_of

BUNDLED = BreachedPasswords.bundled()


@pytest.mark.parametrize("password", ["1q2w3e4r5t", "fyfcnfcbz", "slipknot666", "rjycnfynby", "Fyfcnfcbz"])
def test_published_passwords_are_refused(password: str):
    """Those of the lists that attackers use, in any letter case; no rule of ours knows most of them."""
    with pytest.raises(PasswordTooWeak):
        rules.check_password(password, email="ada@example.com", breached=BUNDLED)


def test_most_of_them_are_known_from_the_list_alone():
    """The rules about common words do without it; here it is what refuses."""
    assert not weak.is_common("fyfcnfcbz")
    with pytest.raises(PasswordTooWeak, match="stolen elsewhere"):
        rules.check_password("fyfcnfcbz", email="ada@example.com", breached=BUNDLED)


def test_the_list_is_whole_and_knows_nothing_else():
    """Half a million, in order, each once; of a thousand that nobody ever had it knows none."""
    assert 470_000 < len(BUNDLED)
    prints = [BUNDLED._at(place) for place in range(0, len(BUNDLED), 97)]
    assert prints == sorted(set(prints))
    assert [] == [text for text in (f"a mug of {n} blue kettles" for n in range(1000)) if text in BUNDLED]


def test_the_first_and_the_last_of_a_list_are_found():
    """Whoever searches by halves misses an end first. Short ones are left out: nobody may have them anyway."""
    passwords = [f"{n} blue kettles" for n in range(9)]
    listed = BreachedPasswords(prints_of([*passwords, "short"]))

    assert 9 == len(listed)
    assert all(password in listed for password in passwords)
    assert "short" not in listed
    assert "9 blue kettles" not in listed and "9 blue kettles" not in BreachedPasswords(b"")


def test_half_a_list_is_refused():
    """A file that was cut off would let passwords through in silence."""
    with pytest.raises(ValueError, match="not whole"):
        BreachedPasswords(prints_of(["three blue kettles"])[:-1])


@pytest.mark.parametrize("password", ["AdaLovelace", "lovelace1815", "Titan2026!!"])
def test_what_is_known_of_a_user_is_no_password(password: str):
    """Their name, and where they shop."""
    with pytest.raises(PasswordTooWeak, match="name"):
        rules.check_password(password, email="a.l@example.com", names=("Ada Lovelace", "Titan"))


def test_a_user_without_a_name_may_have_any_good_password():
    """No name is a part of every password, and counts for nothing."""
    rules.check_password("three blue kettles", email="ada@example.com", names=("", "Al"), breached=BUNDLED)
