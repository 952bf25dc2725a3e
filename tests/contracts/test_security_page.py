"""`docs/SECURITY.md` against the code: the numbers that an operator relies on are those that are in force."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buf.validate import validate_pb2
from mesh import topology
from svc_auth import passwords
from svc_auth.auth import rules
from svc_auth.factor import rules as factor_rules
from svc_auth.federation import rules as federation_rules
from svc_auth.link import rules as link_rules
from svc_auth.passkey import rules as passkey_rules
from svc_auth.user import rules as user_rules
from tests.contracts.reading import methods

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "SECURITY.md").read_text()
WORDS = {2: "two", 3: "three", 10: "ten", 30: "thirty", 90: "ninety"}
MIB = 2**20


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    assert len(rows) > 2, f"there is no table below {heading}"
    return [[cell.strip() for cell in row] for row in rows[2:]]


def password_limits() -> set[int]:
    """Return how long the contract lets a password be, wherever one is sent."""
    found = set()
    for method in methods():
        for field in method.request_class.DESCRIPTOR.fields:
            if field.name in ("password", "new_password"):
                found.add(field.GetOptions().Extensions[validate_pb2.field].string.max_len)
    return found


def test_passwords_are_as_long_as_the_page_says() -> None:
    """Eight characters at least, and room for a sentence: no less than sixty-four."""
    (longest,) = password_limits()

    assert longest >= 64
    assert f"{user_rules.MIN_PASSWORD_CHARACTERS} to {longest} characters" in PAGE


def test_passwords_are_hashed_as_the_page_says() -> None:
    """Argon2id with this memory and so many passes."""
    assert f"Argon2id, {passwords.MEMORY_KIB // 1024} MiB, {passwords.PASSES} passes" in PAGE


def test_guessing_is_slowed_as_the_page_says() -> None:
    """The free tries, the longest wait, and when they are forgotten."""
    (password,) = [row for row in table("Ways in, and how strong each is") if row[0] == "password"]

    assert f"{WORDS[rules.FREE_ATTEMPTS]} wrong ones are free" in password[2]
    assert (60, 900) == (rules.MAX_DELAY_SECONDS, rules.FORGET_SECONDS)
    assert "doubles from a second to a minute" in password[2] and "a quiet quarter of an hour forgets it" in password[2]


def test_what_counts_once_lives_as_long_as_the_page_says() -> None:
    """Links, challenges of a sign-in, flows at a provider; and how random they are."""
    rows = {row[0]: " ".join(row[1:]) for row in table("Ways in, and how strong each is")}

    link = f"{8 * link_rules.TOKEN_BYTES} random bits, {link_rules.LINK_SECONDS // 60} minutes, once"
    assert link in rows["one-time link"]
    assert f"a flow lives {federation_rules.FLOW_SECONDS // 60} minutes" in rows["an identity at a provider"]
    assert f"a challenge lives {passkey_rules.CHALLENGE_SECONDS // 60} minutes" in rows["passkey"]
    assert f"{8 * factor_rules.SECRET_BYTES} random bits" in PAGE


def test_sessions_live_as_long_as_the_page_says() -> None:
    """Idle and in all, of users and of guests."""
    days = [f"{seconds // 86_400} days" for seconds in (rules.SESSION_SECONDS, rules.GUEST_SESSION_SECONDS)]

    minutes, idle, whole = (row[1:] for row in table("Sessions"))
    assert [f"{rules.ACCESS_TOKEN_SECONDS // 60} minutes"] * 2 == minutes
    assert [f"{rules.REFRESH_TOKEN_SECONDS // 86_400} days"] * 2 == idle
    assert days == whole
    assert f"a sign-in of the last {WORDS[rules.RECENT_SIGN_IN_SECONDS // 60]} minutes" in PAGE


@pytest.mark.parametrize(
    ("what", "bucket"),
    [
        ("any request", "address"),
        ("any request with a token", "user"),
        ("whatever costs a password hash or makes a session", "sessions"),
        ("a try of a card", "payments"),
        ("bytes of bodies", "body_bytes"),
    ],
)
def test_buckets_are_those_of_the_topology(what: str, bucket: str) -> None:
    """What is let through at once, and a second."""
    limits = topology.load(ROOT / "deploy" / "topology.toml").limits["default"]
    told = {row[0]: row[1:3] for row in table("Buckets at the edge")}

    assert 5 == len(told)
    due = getattr(limits, bucket)
    assert [due.burst, due.per_second] == [_number(each) for each in told[what]]


def _number(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)( MiB)?", text).groups()  # type: ignore[union-attr]
    return float(number) * (MIB if unit else 1)
