"""What a listener speaks TLS with: a certificate and its key, made into a context of the `ssl` module.

The context takes TLS 1.2 and 1.3, with ciphers that keep the past secret if the key is lost later (forward secrecy)
and that authenticate what they encrypt. It offers `http/1.1` to clients that ask by ALPN. Clients cannot renegotiate,
because each renegotiation costs the server as much as a connection.
"""

import os
import ssl
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeAlias

ALPN: Final = ("http/1.1",)

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; all of TLS 1.3 have both properties. Every browser since 2014 has them."""

_MAX_BYTES: Final = 1024 * 1024
"""The most bytes of one of the files: a chain of certificates has some thousand."""

TlsFile: TypeAlias = Literal["certificate", "key"]


class TlsRefused(Exception):  # noqa: N818 - a verdict on the files
    """The pair cannot be used. `file` is the one to look at, and the message says what is wrong and the mend."""

    def __init__(self, file: TlsFile, problem: str) -> None:
        super().__init__(problem)
        self.file: TlsFile = file


class ServerTls:
    """The pair that newcomers get. A new pair takes the place of the old one; open connections keep theirs.

    Args:
        certificate: a PEM file with the certificate, and behind it those that lead from it to the authority's.
        key: a PEM file with the private key, without a password.

    Raises:
        TlsRefused: the pair cannot be used.
    """

    def __init__(self, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        self.context = tls_context(certificate, key)


def tls_context(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    """Read a pair. It waits for the disk.

    Raises:
        TlsRefused: the pair cannot be used.
    """
    _check_file("certificate", certificate, "-----BEGIN CERTIFICATE-----")
    _check_file("key", key, "PRIVATE KEY-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(list(ALPN))
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _PasswordError:
        raise TlsRefused(
            "key", f"{key} is locked with a password: write it without one (`openssl pkey -in OLD -out NEW`)"
        ) from None
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in (error.reason or ""):
            problem = f"{key} is not the key of {certificate}: name the files of one pair"
            raise TlsRefused("key", problem) from None
        reason = (error.reason or "not in PEM form").replace("_", " ").lower()
        raise TlsRefused(
            "certificate", f"{certificate} and {key} are not taken ({reason}): write both in PEM form"
        ) from None
    except OSError as error:
        raise TlsRefused("certificate", f"{certificate} and {key} cannot be read: {error.strerror}") from None
    return context


class _PasswordError(Exception):
    """The key is locked."""


def _refuse_password() -> NoReturn:
    # OpenSSL would otherwise ask on the terminal, and the server would wait for an answer.
    raise _PasswordError


def _check_file(file: TlsFile, path: str | os.PathLike[str], begins: str) -> None:
    try:
        with Path(path).open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror}): check the path and the rights"
        raise TlsRefused(file, problem) from None
    if begins.encode() not in content or len(content) > _MAX_BYTES:
        raise TlsRefused(file, f"{path} holds no {file} in PEM form: it must have a line with {begins!r}")
