"""Certificates for tests, made by an authority of their own, and what trusts it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme

AUTHORITY = trustme.CA()
NAMES = ("localhost", "127.0.0.1", "::1")


class Pair:
    """A certificate and its key as files in a folder. `renew` puts another pair in their place."""

    def __init__(self, folder: Path, *, ends: datetime | None = None) -> None:
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.authority = folder / "authority.pem"
        AUTHORITY.cert_pem.write_to_path(str(self.authority))
        self.serial = 0
        self.renew(ends=ends)

    def renew(self, *, ends: datetime | None = None) -> None:
        self.put(*self.make(ends=ends))

    @staticmethod
    def make(*, ends: datetime | None = None) -> tuple[bytes, bytes]:
        """The bytes of both files."""
        issued = AUTHORITY.issue_cert(*NAMES, not_after=ends)
        return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()

    def put(self, certificate: bytes, key: bytes) -> None:
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)
        self.key.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        return {"DJACTORS_TLS_CERT": str(self.certificate), "DJACTORS_TLS_KEY": str(self.key)}

    @property
    def trust(self) -> dict[str, str]:
        """What has Node and Python trust the authority."""
        return {"NODE_EXTRA_CA_CERTS": str(self.authority), "SSL_CERT_FILE": str(self.authority)}


def client_context() -> ssl.SSLContext:
    """What a client connects with that trusts the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


def moment(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)
