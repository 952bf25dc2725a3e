"""What an attacker tries first, without a server."""

from __future__ import annotations

import pytest

from svc_auth.user import weak

COMMON = """
    password password1 password123 passw0rd p@ssw0rd1! password2024! 12345678 123456789 1234567890 87654321 11111111
    12341234 abcd1234 abc12345 a1234567 1q2w3e4r 1qaz2wsx zaq12wsx qwertyui qwerty123 qwerty12345 asdfghjkl iloveyou
    i-love-you 1loveyou! sunshine princess1 football baseball superman trustno1 letmein1 welcome1 welcome2024! admin123
    admin1234 monkey123 dragon12 whatever computer changeme abcabcabc aaaaaaaa zxcvbnm1 michael1 titan123 test1234
""".split()
GOOD = """
    correct-horse-battery-staple m7-kettle-Rain tram.glass.otter x9Kq2!vLm4 ab12-moss-91
    91!=(7)=&test03#9 кошка-test-дом
""".split()


@pytest.mark.parametrize("password", COMMON)
def test_what_is_tried_first_is_common(password: str) -> None:
    """Words of the list and their usual variations, rows of keys, repetitions."""
    assert weak.is_common(password)


@pytest.mark.parametrize("password", GOOD)
def test_what_nobody_else_thought_of_is_not(password: str) -> None:
    """Long or odd is enough; nothing is demanded of letters and digits."""
    assert not weak.is_common(password.lower())
    assert not weak.is_part_of(password.lower(), "ada.lovelace@example.com")


@pytest.mark.parametrize(
    "password", ["ada.lovelace", "adalovelace", "lovelace", "lovelace1815", "!lovelace!", "example.com"]
)
def test_parts_of_an_address_are_known(password: str) -> None:
    """With and without the signs between them, and with a year behind them."""
    assert weak.is_part_of(password, "ada.lovelace@example.com")
