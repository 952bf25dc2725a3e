"""The local certificate authority.

Owns the authority's key under `pki/`, every certificate of the mesh, and the SDS files through which Envoy gets them.
Each package is named by one SPIFFE id; the edge's web certificate names this machine; the developer's certificate also
lies under `pki/` as PEM files. It never sees a call, and the authority's key never leaves `pki/`.

Rotation cuts nothing: Envoy notices a renamed file and uses it for new connections, and old ones end by themselves well
before their certificate does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control.atomic_file import replace_text
from control.envoy_names import CA, DEVELOPER, EDGE, WEB, secret_file
from control.home import Home
from mesh.topology import Topology

LEAF_SECONDS = 3600
# A developer's tools read their certificate once, when they start, and may run for a working day.
DEVELOPER_SECONDS = 24 * 3600
AUTHORITY_DAYS = 365
# An authority that would end within this time is replaced at the next start.
AUTHORITY_MARGIN_DAYS = 30
# For clocks that go slow.
BACKDATED_SECONDS = 60
# Envoy takes a renamed file within some 50 ms; this leaves room on a busy machine.
NOTICE_SECONDS = 0.5

Now = Callable[[], datetime]


@dataclass(frozen=True)
class Signer:
    """An authority's certificate and the key that signs with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """The certificates of one mesh, written by one process."""

    def __init__(
        self,
        topology: Topology,
        home: Home,
        *,
        leaf_seconds: float = LEAF_SECONDS,
        developer_seconds: float = DEVELOPER_SECONDS,
        web_names: Sequence[str] = (),
        now: Now = _utc_now,
    ) -> None:
        """Describe an authority; `open` reads or makes it.

        Args:
            web_names: Names of the edge beside `localhost`.
        """
        self._topology = topology
        self._home = home
        self._lives = {DEVELOPER: developer_seconds}
        self._leaf_seconds = leaf_seconds
        self._web_names = ("localhost", *web_names)
        self._now = now
        self._signer: Signer | None = None
        self._renewal: dict[str, datetime] = {}

    @property
    def identities(self) -> tuple[str, ...]:
        """All identities that get a certificate: the packages, `edge`, `web` and `developer`."""
        return (*self._topology.packages, EDGE, WEB, DEVELOPER)

    @property
    def ca_file(self) -> Path:
        """The trusted certificates as PEM, for clients of the edge."""
        return self._home.pki / "ca.pem"

    @property
    def developer_certificate_file(self) -> Path:
        """The developer's certificate as PEM."""
        return self._home.pki / "developer.pem"

    @property
    def developer_key_file(self) -> Path:
        """The key of the developer's certificate as PEM."""
        return self._home.pki / "developer.key"

    def open(self) -> None:
        """Take the authority under `pki/`, or make one, and give every identity a fresh certificate.

        Afterwards all SDS files are there, as Envoy wants them to be when it starts.
        """
        for folder in (self._home.pki, self._home.run / "sds"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signer = self._stored_signer()
        if signer is None:
            signer = self._new_signer()
            self._store(signer)
        self._signer = signer
        self._publish_trust(signer.certificate)
        self.rotate_all()

    def rotate_all(self) -> None:
        """Give every identity a new key and certificate."""
        for identity in self.identities:
            self.rotate_leaf(identity)

    def rotate_leaf(self, identity: str) -> None:
        """Give an identity a new key and certificate; Envoy uses them for its next connections."""
        life = self._lives.get(identity, self._leaf_seconds)
        key, certificate = self._issue(identity, life)
        certificate_pem, key_pem = _pem(certificate), _key_pem(key)
        if identity == DEVELOPER:
            replace_text(self.developer_key_file, key_pem)
            replace_text(self.developer_certificate_file, certificate_pem)
        secret = {
            "tls_certificate": {
                "certificate_chain": {"inline_string": certificate_pem},
                "private_key": {"inline_string": key_pem},
            }
        }
        self._write_secret(identity, secret)
        self._renewal[identity] = self._now() + timedelta(seconds=life / 2)

    async def rotate_ca(self, *, notice_seconds: float = NOTICE_SECONDS) -> None:
        """Replace the authority itself, in overlapping steps: trust both, sign anew, trust the new one alone.

        Programs that hold the old `ca.pem` have to read it again; connections that stand go on.
        """
        old, new = self._signer_in_use(), self._new_signer()
        self._publish_trust(old.certificate, new.certificate)
        await asyncio.sleep(notice_seconds)
        self._signer = new
        self.rotate_all()
        self._store(new)
        await asyncio.sleep(notice_seconds)
        self._publish_trust(new.certificate)

    async def rotate_forever(self, *, poll_seconds: float = 10.0) -> None:
        """Renew each certificate at half its life, until cancelled. A machine that slept catches up at once."""
        while True:
            for identity in self.identities:
                if self._renewal[identity] <= self._now():
                    self.rotate_leaf(identity)
            await asyncio.sleep(poll_seconds)

    # Issuing

    def _issue(self, identity: str, life_seconds: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        signer = self._signer_in_use()
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._now()
        builder = (
            x509.CertificateBuilder()
            .issuer_name(signer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=BACKDATED_SECONDS))
            .not_valid_after(now + timedelta(seconds=life_seconds))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_authority_key(signer), critical=False)
        )
        if identity == WEB:
            names: list[x509.GeneralName] = [x509.DNSName(name) for name in self._web_names]
            names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
            builder = (
                builder.subject_name(_name("localhost"))
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            )
        else:
            # The name is in the URI alone; RFC 5280 wants the extension critical when the subject is empty.
            spiffe_id = self._topology.developer_id if identity == DEVELOPER else self._topology.spiffe_id(identity)
            both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = (
                builder.subject_name(x509.Name([]))
                .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=True)
                .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            )
        return key, builder.sign(signer.key, hashes.SHA256())

    def _new_signer(self) -> Signer:
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._now()
        name = _name(f"Titan {self._topology.cell} authority {x509.random_serial_number():x}"[:60])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=BACKDATED_SECONDS))
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Signer(certificate, key)

    # Files

    def _stored_signer(self) -> Signer | None:
        path = self._home.pki / "authority.pem"
        if not path.exists():
            return None
        text = path.read_bytes()
        key = serialization.load_pem_private_key(text, password=None)
        certificate = x509.load_pem_x509_certificate(text)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds no EC key: remove it, and a new authority is made")
        if certificate.not_valid_after_utc - self._now() < timedelta(days=AUTHORITY_MARGIN_DAYS):
            return None
        return Signer(certificate, key)

    def _store(self, signer: Signer) -> None:
        # Key and certificate in one file: they are replaced together or not at all.
        replace_text(self._home.pki / "authority.pem", _key_pem(signer.key) + _pem(signer.certificate), durable=True)

    def _publish_trust(self, *certificates: x509.Certificate) -> None:
        bundle = "".join(_pem(certificate) for certificate in certificates)
        replace_text(self.ca_file, bundle, mode=0o644)
        self._write_secret(CA, {"validation_context": {"trusted_ca": {"inline_string": bundle}}})

    def _write_secret(self, name: str, secret: Mapping[str, object]) -> None:
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        resource = {"@type": kind, "name": name, **secret}
        replace_text(secret_file(self._home, name), json.dumps({"resources": [resource]}))

    def _signer_in_use(self) -> Signer:
        if self._signer is None:
            raise RuntimeError("the authority is not open")
        return self._signer


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _authority_key(signer: Signer) -> x509.AuthorityKeyIdentifier:
    subject_key = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
