"""The authority names each package by one SPIFFE id, keeps its keys to itself, and renews before anything ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from control.authority import Authority
from control.envoy_names import CA, DEVELOPER, WEB, secret_file
from control.home import Home, Ports
from tests.control.small_mesh import read_topology


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    made = Home(tmp_path, Ports())
    made.create()
    return made


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def authority(home: Home, clock: Clock) -> Authority:
    """An open authority."""
    made = Authority(read_topology(home.path), home, now=clock)
    made.open()
    return made


def leaf(home: Home, identity: str) -> x509.Certificate:
    """Read an identity's certificate as Envoy reads it."""
    resource = json.loads(secret_file(home, identity).read_text())["resources"][0]
    assert identity == resource["name"]
    return x509.load_pem_x509_certificate(resource["tls_certificate"]["certificate_chain"]["inline_string"].encode())


def trusted(home: Home) -> list[x509.Certificate]:
    """Read what Envoy trusts."""
    resource = json.loads(secret_file(home, CA).read_text())["resources"][0]
    return x509.load_pem_x509_certificates(resource["validation_context"]["trusted_ca"]["inline_string"].encode())


def test_a_package_is_named_by_one_critical_uri(authority: Authority, home: Home) -> None:
    """RFC 5280: without a subject the alternative name is critical. SPIFFE: exactly one URI."""
    certificate = leaf(home, "svc_a")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)

    assert names.critical
    assert ["spiffe://titan.local/svc/svc_a"] == [name.value for name in names.value]
    assert 0 == len(list(certificate.subject))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_every_identity_has_its_file_and_its_own_key(authority: Authority, home: Home) -> None:
    """Envoy refuses to start when a file is missing."""
    keys = {leaf(home, identity).public_key().public_numbers() for identity in authority.identities}

    assert {"svc_a", "svc_b", "edge_http", WEB, DEVELOPER} <= set(authority.identities)
    assert len(authority.identities) == len(keys)


def test_the_web_certificate_names_this_machine(authority: Authority, home: Home, clock: Clock) -> None:
    """A client that trusts ca.pem verifies the edge as localhost, without an exception of any kind."""
    store = Store(x509.load_pem_x509_certificates(authority.ca_file.read_bytes()))
    verifier = PolicyBuilder().store(store).time(clock.time).build_server_verifier(x509.DNSName("localhost"))

    chain = verifier.verify(leaf(home, WEB), [])

    assert 2 == len(chain)
    names = leaf(home, WEB).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ["127.0.0.1", "::1"] == [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_files_with_keys_are_closed_to_other_accounts(authority: Authority, home: Home) -> None:
    """Only ca.pem is for everybody."""
    private = [*(home.run / "sds").iterdir(), home.pki / "authority.pem", authority.developer_key_file]

    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in private}
    assert 0o644 == stat.S_IMODE(authority.ca_file.stat().st_mode)


def test_the_developer_gets_files(authority: Authority) -> None:
    """grpcurl and buf curl take PEM files."""
    certificate = x509.load_pem_x509_certificate(authority.developer_certificate_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert ["spiffe://titan.local/dev/developer"] == [name.value for name in names]
    assert b"PRIVATE KEY" in authority.developer_key_file.read_bytes()


def test_an_authority_is_kept_from_start_to_start(authority: Authority, home: Home, clock: Clock) -> None:
    """A client's copy of ca.pem stays good; the leaves are new."""
    root, old = trusted(home), leaf(home, "svc_a")

    Authority(read_topology(home.path), home, now=clock).open()

    assert root == trusted(home)
    assert old != leaf(home, "svc_a")


def test_an_authority_near_its_end_is_replaced_at_the_start(authority: Authority, home: Home, clock: Clock) -> None:
    """Nobody has to remember the date."""
    root = trusted(home)
    clock.time += timedelta(days=340)

    Authority(read_topology(home.path), home, now=clock).open()

    assert root != trusted(home)


def test_a_leaf_lives_an_hour(authority: Authority, home: Home, clock: Clock) -> None:
    """A stolen key is soon worth nothing."""
    assert clock.time + timedelta(hours=1) == leaf(home, "svc_a").not_valid_after_utc
    assert leaf(home, "svc_a").not_valid_before_utc < clock.time


async def test_certificates_are_renewed_at_half_their_life(authority: Authority, home: Home, clock: Clock) -> None:
    """Not before, and not again right after."""
    first, developer = leaf(home, "svc_a"), leaf(home, DEVELOPER)
    renewing = asyncio.create_task(authority.rotate_forever(poll_seconds=0.005))
    try:
        clock.time += timedelta(minutes=29)
        await asyncio.sleep(0.05)
        assert first == leaf(home, "svc_a")

        clock.time += timedelta(minutes=1)
        await asyncio.sleep(0.1)
        second = leaf(home, "svc_a")
        assert first != second

        await asyncio.sleep(0.05)
        assert second == leaf(home, "svc_a")
        assert developer == leaf(home, DEVELOPER)
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing


async def test_the_authority_is_replaced_in_overlapping_steps(authority: Authority, home: Home) -> None:
    """Both are trusted before the first new leaf appears, and the old one is gone at the end."""
    (old,) = trusted(home)
    before = leaf(home, "svc_a")
    rotation = asyncio.create_task(authority.rotate_ca(notice_seconds=0.1))
    await asyncio.sleep(0.05)
    assert 2 == len(trusted(home))
    assert before == leaf(home, "svc_a")

    await rotation

    (new,) = trusted(home)
    assert old != new
    for identity in authority.identities:
        leaf(home, identity).verify_directly_issued_by(new)


def test_an_authority_that_is_not_open_signs_nothing(home: Home) -> None:
    """The mistake is named."""
    with pytest.raises(RuntimeError, match="not open"):
        Authority(read_topology(home.path), home).rotate_leaf("svc_a")
