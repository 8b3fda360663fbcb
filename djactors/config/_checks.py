"""What is checked of the settings beyond the kind and the bounds of each: texts that mean something, and what proves
tokens."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
import tomllib
from pathlib import Path

from djactors.config import _secrets
from djactors.config._settings import FIELDS, SHOWN, SettingError, Settings, environment_name
from djactors.engine import OriginPolicy
from djactors.net import MAX_UNIX_PATH, UNIX_PEER, TrustedProxies
from djactors.store.engines import engine_at, is_url, names_folder, shown
from djactors.store.errors import PlaceRefused

MIN_SECRET_BYTES = 32
"""HS256 needs a key that is at least as long as its hash (RFC 7518, section 3.2)."""

MIN_SECRET_VARIETY = 8
"""The least number of different bytes in a secret. Random secrets have more: 32 random bytes have about 30, and the 64
hexadecimal digits of these bytes about 16."""

_NODE = re.compile(r"[A-Za-z0-9._-]{0,23}")
"""With what the server adds, this is as much as the column `tenants.writer` holds."""

_RANDOM = "take random bytes, such as from `openssl rand -hex 32`"


def check_texts(settings: Settings) -> None:
    """Refuse a text that is none of what its setting takes.

    Raises:
        SettingError: names the setting, what it was and what it must be.
    """
    _check_choice("log_format", settings.log_format, ("auto", "json", "console"))
    _check_choice("log_level", settings.log_level, ("debug", "info", "warning", "error"))
    try:
        TrustedProxies(settings.trusted_proxies)
    except ValueError as error:
        raise SettingError(
            f"{environment_name('trusted_proxies')}: {str(error)[:SHOWN]}: write addresses or networks like 10.0.0.0/8"
        ) from None
    for network in settings.metrics_addresses:
        if network == UNIX_PEER:
            continue
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingError(
                f"{environment_name('metrics_addresses')}: {network[:SHOWN]!r} is no network: write it like 10.0.0.0/8"
            ) from None
    for origin in settings.allowed_origins:
        try:
            OriginPolicy([origin])
        except ValueError as error:
            raise SettingError(f"{environment_name('allowed_origins')}: {origin[:SHOWN]!r} {error}") from None
    if not _NODE.fullmatch(settings.node):
        raise SettingError(
            f"{environment_name('node')}: {settings.node[:SHOWN]!r} is no name of a node: write up to 23 letters, "
            "digits, dots, hyphens and underscores"
        )
    for name in ("host", "database"):
        if not getattr(settings, name):
            raise SettingError(f"{environment_name(name)}: is empty: name one, or leave the setting out")
    if not all(name.strip() for name in settings.host.split(",")):
        raise SettingError(f"{environment_name('host')}: has a comma without a name beside it: leave it out")
    for name in ("database", "unix_socket"):
        path = getattr(settings, name)
        if names_folder(path) and not is_url(path):
            raise SettingError(f"{environment_name(name)}: {path[-SHOWN:]!r} is the name of a folder: name a file")
    _check_unix(settings)
    if is_url(settings.database):
        try:
            engine_at(settings.database)
        except PlaceRefused as error:
            raise SettingError(f"{environment_name('database')}: {error}") from None


def _check_unix(settings: Settings) -> None:
    size = len(os.fsencode(settings.unix_socket))
    if size > MAX_UNIX_PATH:
        raise SettingError(
            f"{environment_name('unix_socket')}: has {size} bytes: the system takes at most {MAX_UNIX_PATH}: "
            "choose a shorter path"
        )
    if not re.fullmatch("0?[0-7]{3}", settings.unix_socket_mode):
        raise SettingError(
            f"{environment_name('unix_socket_mode')}: {settings.unix_socket_mode[:SHOWN]!r} are no rights: write three "
            "digits from 0 to 7, such as 660"
        )


def check_proxies(settings: Settings) -> None:
    """Refuse to expect headers of the PROXY protocol from nobody.

    Raises:
        SettingError: `proxy_protocol` is on, and no proxy is trusted.
    """
    if settings.proxy_protocol and not settings.trusted_proxies:
        raise SettingError(
            f"{environment_name('proxy_protocol')}: is on, but no proxy is trusted: name the proxies in "
            f"{environment_name('trusted_proxies')}"
        )


def check_keys(settings: Settings) -> None:
    """Refuse to serve without a way to verify tokens. The files of keys are not opened here.

    Raises:
        SettingError: there is nothing to verify tokens with, or more than one thing; or a secret is too short, easy to
            guess, or no secret at all.
    """
    key, keys = environment_name("jwt_public_key_file"), environment_name("jwt_keys_file")
    if settings.jwt_public_key_file and settings.jwt_keys_file:
        raise SettingError(f"{keys}: is set, and {key} as well: put all keys into the file with several keys")
    if settings.jwt_public_key_file or settings.jwt_keys_file:
        return
    if not settings.jwt_secret:
        raise SettingError(
            "JWT_SECRET: is not set: set it to at least 32 random bytes, for example from `openssl rand -hex 32`, "
            f"or name public keys in {key} or {keys}"
        )
    _check_secret("jwt_secret", settings.jwt_secret)
    if settings.jwt_secret_previous:
        _check_secret("jwt_secret_previous", settings.jwt_secret_previous)
        if settings.jwt_secret_previous == settings.jwt_secret:
            raise SettingError(f"{environment_name('jwt_secret_previous')}: is the same as JWT_SECRET: leave it out")


def _check_secret(name: str, text: str) -> None:
    """Refuse what nobody should sign with. The message shows nothing of it."""
    shown = environment_name(name)
    # The environment's bytes, whatever their encoding: what is not UTF-8 arrives as surrogates.
    secret = text.encode(errors="surrogateescape")
    kind = _kind_of_key(secret)
    if kind is not None:
        mend = "put a public key into a file and name that in DJACTORS_JWT_PUBLIC_KEY_FILE"
        if kind is _JWK:
            mend = "put it into a file and name that in DJACTORS_JWT_KEYS_FILE"
        raise SettingError(f"{shown}: {kind}, which is no secret: {mend}")
    if len(set(secret)) < MIN_SECRET_VARIETY:
        raise SettingError(f"{shown}: is easy to guess, because it repeats itself: {_RANDOM}")
    if len(secret) < MIN_SECRET_BYTES:
        raise SettingError(f"{shown}: is shorter than {MIN_SECRET_BYTES} bytes: {_RANDOM}")


def weak_secrets(settings: Settings) -> str | None:
    """What is wrong with secrets that `check_keys` takes but that somebody may guess all the same, or None.

    This is an estimate, so nobody is kept from starting by it.
    """
    if settings.jwt_public_key_file or settings.jwt_keys_file:
        return None
    for name in ("jwt_secret", "jwt_secret_previous"):
        text: str = getattr(settings, name)
        if _secrets.is_repetition(text.encode(errors="surrogateescape"), MIN_SECRET_BYTES):
            return f"{environment_name(name)}: is easy to guess, because it repeats itself: {_RANDOM}"
        if text and _secrets.is_guessable(text):
            return (
                f"{environment_name(name)}: is easy to guess, because it is made of words, runs or repetitions: "
                f"{_RANDOM}"
            )
    return None


_JWK = "looks like a JWK, a key that is written as JSON"


def _kind_of_key(secret: bytes) -> str | None:
    """What kind of key the library for tokens takes the secret for, and therefore refuses to sign with; or None.

    Whoever has a public key could sign with it.
    """
    # Not needed for --help, which is to be quick.
    import jwt
    from jwt.algorithms import HMACAlgorithm

    if not secret:
        return None
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        if secret.startswith((b"ssh-", b"ecdsa-")):
            return "is an SSH key"
        if b"---" in secret:
            return "is a PEM key or certificate"
        return "is a key in DER form" if secret[0] == 0x30 else _JWK
    return None


def exposed_secrets(file: str | os.PathLike[str] | None) -> str | None:
    """What is wrong with the rights of the file of settings, or None: it holds a secret that everybody may read."""
    if file is None or not readable_by_all(file):
        return None
    try:
        content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    held = [name for name in content if name in FIELDS and FIELDS[name].metadata["secret"]]
    url = content.get("database", "")
    if is_url(url) and shown(url) != url:
        held.append("the database's password")
    if not held:
        return None
    return (
        f"--config: {file} holds {' and '.join(held)}, and every user of this machine may read it: `chmod o= {file}`, "
        "and change the secret if others have used this machine"
    )


def readable_by_all(file: str | os.PathLike[str]) -> bool:
    """Whether the rights of a file let every user of the machine read it."""
    try:
        return bool(os.stat(file).st_mode & stat.S_IROTH)
    except OSError:
        return False


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value in choices:
        return
    near = difflib.get_close_matches(value.lower(), choices, 1)
    mend = f": did you mean {near[0]}?" if near else ""
    raise SettingError(f"{environment_name(name)}: {value[:SHOWN]!r} is not one of {', '.join(choices)}{mend}")
