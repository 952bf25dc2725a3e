"""The certificate that an operator brings for the edge: two PEM files, of whichever authority browsers trust.

Whoever asks for one of its names is shown it. Everybody else, such as a tool on this machine, is shown the one of
Titan's own authority. Envoy reads both files again when one is renamed in their folder, and keeps what it has where the
two do not fit: nothing starts again when a certificate is renewed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from control.envoy_names import PUBLIC
from control.spawn import StartFailed
from mesh.secret_files import SecretFile, SecretUnusable

CERTIFICATE_SETTING = "TITAN_EDGE_CERTIFICATE_FILE"
KEY_SETTING = "TITAN_EDGE_KEY_FILE"


@dataclass(frozen=True)
class PublicCertificate:
    """The chain, its own certificate first, and the key of that."""

    chain: Path
    key: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Return what the settings name, or None where they name nothing.

        Raises:
            StartFailed: One of the two is not named, or they lie in two folders.
        """
        names = [environment.get(setting, "") for setting in (CERTIFICATE_SETTING, KEY_SETTING)]
        if not any(names):
            return None
        chain, key = (Path(name).absolute() for name in names)
        if not all(names) or chain.parent != key.parent:
            raise StartFailed(f"{CERTIFICATE_SETTING} and {KEY_SETTING} name two files of one folder, or nothing")
        return cls(chain, key)

    def check(self) -> None:
        """See that Envoy could use them now.

        Raises:
            StartFailed: It could not, and why.
        """
        try:
            first = x509.load_pem_x509_certificates(self.chain.read_bytes())[0]
        except (OSError, ValueError) as problem:
            raise StartFailed(f"{CERTIFICATE_SETTING}: {self.chain} has no certificate: {problem}") from problem
        try:
            key = load_pem_private_key("\n".join(SecretFile(self.key).read_all()).encode(), password=None)
        except (SecretUnusable, ValueError, TypeError) as problem:
            raise StartFailed(f"{KEY_SETTING}: {self.key} has no key that can be used: {problem}") from problem
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if first.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
            raise StartFailed(f"{KEY_SETTING}: {self.key} is not the key of {self.chain}")
        if first.not_valid_after_utc < datetime.now(UTC):
            raise StartFailed(f"{CERTIFICATE_SETTING}: {self.chain} ended at {first.not_valid_after_utc:%Y-%m-%d}")

    def secret(self) -> str:
        """Return the SDS file through which Envoy finds the two and watches their folder."""
        certificate = {
            "certificate_chain": {"filename": str(self.chain)},
            "private_key": {"filename": str(self.key)},
            "watched_directory": {"path": str(self.chain.parent)},
        }
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        return json.dumps({"resources": [{"@type": kind, "name": PUBLIC, "tls_certificate": certificate}]})
