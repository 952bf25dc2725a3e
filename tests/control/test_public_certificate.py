"""An operator's certificate is shown to whoever asks for its name, and renewed without a restart."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from control import render
from control.atomic_file import replace_text
from control.envoy_names import EDGE, PUBLIC, admin_socket, config_file, secret_file
from control.home import Home
from control.public_certificate import PublicCertificate
from control.servers import envoy
from control.spawn import StartFailed
from tests.control.small_mesh import OPTIONS, SURFACE, prepare
from tests.control.stand_ins import http_app
from tests.control.test_edge_envoy import answer

SHOP = "shop.example"
DAY = timedelta(days=1)


def issued(*, until: timedelta = DAY) -> tuple[str, str]:
    """Return a certificate of the shop's name and its key, as an authority that browsers trust would give them."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SHOP)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(now + until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SHOP)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), pem.decode()


def bring(folder: Path, certificate: str, key: str) -> PublicCertificate:
    """Put the two files where they belong, the key first."""
    replace_text(folder / "tls.key", key)
    replace_text(folder / "tls.crt", certificate)
    return brought_to(folder)


def mount(folder: Path, certificate: str, key: str) -> PublicCertificate:
    """Put the two files where they belong as an orchestrator does: both at once, by one rename of another name."""
    version = folder / uuid4().hex
    version.mkdir()
    bring(version, certificate, key)
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return brought_to(folder)


def brought_to(folder: Path) -> PublicCertificate:
    """Return what the settings name when they name the files of this folder."""
    names = {"TITAN_EDGE_CERTIFICATE_FILE": "tls.crt", "TITAN_EDGE_KEY_FILE": "tls.key"}
    brought = PublicCertificate.from_environment({setting: str(folder / name) for setting, name in names.items()})
    assert brought is not None
    return brought


def test_settings_name_both_files_or_none(tmp_path: Path):
    """A certificate without its key is a mistake, and not the certificate of Titan's own authority."""
    a, b = str(tmp_path / "tls.crt"), str(tmp_path / "elsewhere" / "tls.key")

    assert PublicCertificate.from_environment({"TITAN_EDGE_KEY_FILE": ""}) is None
    for half in (
        {"TITAN_EDGE_CERTIFICATE_FILE": a},
        {"TITAN_EDGE_KEY_FILE": b},
        {"TITAN_EDGE_CERTIFICATE_FILE": a, "TITAN_EDGE_KEY_FILE": b},
    ):
        with pytest.raises(StartFailed, match="name two files of one folder, or nothing"):
            PublicCertificate.from_environment(half)


def test_a_certificate_that_cannot_be_shown_stops_the_start(tmp_path: Path):
    """With the setting that names it; a key that others can read is one of these."""
    certificate, key = issued()
    bring(tmp_path, certificate, key).check()

    for files, why in (
        (("none", key), "TITAN_EDGE_CERTIFICATE_FILE: .* has no certificate"),
        ((certificate, "none"), "TITAN_EDGE_KEY_FILE: .* has no key that can be used"),
        ((certificate, issued()[1]), "TITAN_EDGE_KEY_FILE: .* is not the key of"),
        (issued(until=-DAY), "TITAN_EDGE_CERTIFICATE_FILE: .* ended at "),
    ):
        with pytest.raises(StartFailed, match=why):
            bring(tmp_path, *files).check()
    brought = bring(tmp_path, certificate, key)
    brought.key.chmod(0o644)
    with pytest.raises(StartFailed, match=r"open to other accounts \(mode 0644\)"):
        brought.check()


@pytest.fixture
async def edge(short_path: Path, tmp_path: Path) -> AsyncIterator[Home]:
    """A real edge Envoy with an operator's certificate in `tmp_path`."""
    mesh, home, _, membership = prepare(short_path)
    brought = mount(tmp_path, *issued())
    brought.check()
    replace_text(secret_file(home, PUBLIC), brought.secret())
    options = replace(OPTIONS, public_certificate=True)
    replace_text(config_file(home, EDGE), render.render(mesh, home, SURFACE, options)[EDGE])
    app = home.app_socket("edge_http")
    server = await asyncio.start_unix_server(http_app(answer), app)
    membership.join("edge_http", app)
    admin = admin_socket(home, EDGE)
    process = await asyncio.to_thread(envoy.start, EDGE, config_file(home, EDGE), admin, home.log_file(EDGE))
    yield home
    envoy.stop(process, admin, drain_seconds=0)
    server.close()


async def shown(home: Home, name: str) -> str:
    """Return the certificate that the edge shows to whoever asks for a name."""
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", home.ports.edge, ssl=anything, server_hostname=name)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(certificate)


async def test_the_shop_shows_its_own_certificate_and_a_renewed_one_without_a_restart(edge: Home, tmp_path: Path):
    """Who asks for another name meets Titan's own authority. A pair that does not fit is not taken."""
    ours = json.loads(secret_file(edge, "web").read_text())["resources"][0]
    own = ours["tls_certificate"]["certificate_chain"]["inline_string"]
    first = (tmp_path / "tls.crt").read_text()
    assert [first, own, own] == [await shown(edge, name) for name in (SHOP, "localhost", "other.example")]

    last, renewed = first, issued()
    mount(tmp_path, *renewed)
    await until_shown(edge, renewed[0], instead_of=last)
    last, renewed = renewed[0], issued()
    replace_text(tmp_path / "tls.crt", issued()[0])  # whose key is not there
    bring(tmp_path, *renewed)
    await until_shown(edge, renewed[0], instead_of=last)
    assert own == await shown(edge, "localhost")


async def until_shown(edge: Home, certificate: str, *, instead_of: str) -> None:
    """Wait until the shop shows a certificate; until then it shows the last one, and never a third."""
    async with asyncio.timeout(10):
        while (now := await shown(edge, SHOP)) != certificate:
            assert instead_of == now
            await asyncio.sleep(0.02)
