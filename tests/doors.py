"""The gRPC ports of a mesh, and who stands before them: with a package's certificate, a stranger's, or none.

A port is entered through a tunnel of our own, since gRPC looks for the name of a host in the other side's certificate,
where a package has a URI.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.envoy_names import secret_file
from control.home import Home

Pair = tuple[bytes, bytes]
"""A key and its certificate, as PEM."""

CHUNK_BYTES = 65_536


def identity(home: Home, name: str) -> Pair:
    """Return the key and the certificate of a package, or the developer's, as Envoy has them now."""
    (secret,) = json.loads(secret_file(home, name).read_text())["resources"]
    pair = secret["tls_certificate"]
    return pair["private_key"]["inline_string"].encode(), pair["certificate_chain"]["inline_string"].encode()


def forged(uri: str) -> Pair:
    """Return a certificate with this name that a stranger signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
    return _signed(key, uri, subject, key)


def misissued(home: Home, uri: str, *, life: timedelta = timedelta(hours=1)) -> Pair:
    """Return a certificate with this name that the mesh's own authority signed; a negative life is over."""
    text = (home.pki / "authority.pem").read_bytes()
    signer = serialization.load_pem_private_key(text, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(text).subject
    return _signed(ec.generate_private_key(ec.SECP256R1()), uri, issuer, signer, life=life)


def _signed(
    key: ec.EllipticCurvePrivateKey,
    uri: str,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    *,
    life: timedelta = timedelta(hours=1),
) -> Pair:
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(now + life)
        .add_extension(names, critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem)


def shows(home: Home, pair: Pair | None) -> ssl.SSLContext:
    """Return what a peer believes and shows: a key and a certificate, or nothing."""
    context = ssl.create_default_context(cafile=home.pki / "ca.pem")
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join(pair))
            file.flush()
            context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def entered(
    home: Home, port: int, pair: Pair | None, *, address: str = "127.0.0.1"
) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a port of the mesh from a local address, with this certificate or without one."""
    context = shows(home, pair)
    carrying: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, local_addr=(address, 0)
            )
            ends.append(far_writer)
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        except OSError:
            pass  # who asked hears it as a connection that ends
        finally:
            for end in ends:
                end.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(reader, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    with tempfile.TemporaryDirectory(prefix="titan-") as folder:
        tunnel = await asyncio.start_unix_server(begin, f"{folder}/door.sock")
        channel = grpc.aio.insecure_channel(f"unix:{folder}/door.sock")
        try:
            yield channel
        finally:
            await channel.close()
            tunnel.close()
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
