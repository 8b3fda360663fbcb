"""The keys that tokens are verified with: a secret and its predecessor, a public key, or a file of several keys.

Rules:
  * A key has one algorithm, by its own kind. A token's header never chooses another one.
  * In a file of several keys (a JWK Set) the `kid` of a token names the key. The one key without a `kid`, or the only
    key of the file, is for tokens that name none. Elsewhere a `kid` is not looked at.
  * Keys of a kind that is not taken are passed over, as RFC 7517, section 5, wants; a key that is wrong is not, because
    somebody relies on it.
  * Nothing of a key is ever in a message.

Sources: RFC 7517 (JWK), RFC 7518, RFC 8037, RFC 8725.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from djactors.config import MIN_SECRET_BYTES, SettingError, Settings, check_keys, environment_name, readable_by_all

MIN_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

MAX_FILE: Final = 1 << 18
"""Bytes of a file of keys: a hundred of the longest RSA keys with their certificates."""

MAX_KEYS: Final = 100
"""Keys of a file: years of monthly changes by a few issuers. A token without a good `kid` costs no more with them."""

HS256: Final = "HS256"

_SHOWN = 60
"""The most characters of a `kid` that a message repeats."""


class Key(msgspec.Struct, frozen=True):
    """One key.

    Attributes:
        algorithm: the one algorithm of tokens that it verifies.
        material: bytes for HS256, else a public key.
        name: tells it from every other key, by what it is made of; says nothing of a secret.
        kid: what tokens call it, if anything.
    """

    algorithm: str
    material: Any
    name: str
    kid: str | None = None


class Keys:
    """What tokens are verified with at a time. Never changed; a new file makes new ones.

    Args:
        keys: at least one. The first that can sign is the one to sign with.
        by_kid: whether tokens name their key.
        passed_over: of the keys in a file that are not taken, which and why.
    """

    def __init__(self, keys: Sequence[Key], *, by_kid: bool = False, passed_over: Sequence[str] = ()) -> None:
        self.all = tuple(keys)
        self.passed_over = tuple(passed_over)
        self._by_kid: Mapping[str | None, tuple[Key, ...]] | None = None
        if by_kid:
            named: dict[str | None, tuple[Key, ...]] = {key.kid: (key,) for key in self.all}
            if len(self.all) == 1:
                named[None] = self.all
            self._by_kid = named

    def of(self, kid: str | None) -> tuple[Key, ...]:
        """The keys that a token with this `kid` may be signed with; none if it names an unknown one."""
        return self.all if self._by_kid is None else self._by_kid.get(kid, ())

    @property
    def names(self) -> frozenset[str]:
        """The names of all keys."""
        return frozenset(key.name for key in self.all)

    @property
    def kids(self) -> list[str]:
        """What tokens call the keys, as it may be shown."""
        return [_shown(key.kid) for key in self.all]

    @property
    def signing(self) -> Key | None:
        """The first key that can sign: of a pair there is only the public half here."""
        return next((key for key in self.all if key.algorithm == HS256), None)


def load_keys(settings: Settings) -> Keys:
    """The keys that the settings name. Reads a file, so this is for the start and for threads.

    Raises:
        SettingError: there are none, or one is wrong; the message names the setting, the place in the file, the mend.
    """
    check_keys(settings)
    if settings.jwt_keys_file:
        return _read("jwt_keys_file", settings.jwt_keys_file, _key_set)
    if settings.jwt_public_key_file:
        return _read("jwt_public_key_file", settings.jwt_public_key_file, lambda content: Keys([_public_key(content)]))
    secrets = [settings.jwt_secret, settings.jwt_secret_previous]
    # The environment's bytes, whatever their encoding: what is not UTF-8 arrives as surrogates.
    return Keys([_secret(text.encode(errors="surrogateescape")) for text in secrets if text])


def file_of(settings: Settings) -> Path | None:
    """The file that the keys come from, if any."""
    name = settings.jwt_keys_file or settings.jwt_public_key_file
    return Path(name) if name else None


def exposed_keys(settings: Settings) -> str | None:
    """What is wrong with the rights of the file of keys, or None: it holds a secret that everybody may read."""
    path = settings.jwt_keys_file
    if not path or not readable_by_all(path):
        return None
    try:
        secrets = load_keys(settings).signing is not None
    except SettingError:
        return None
    if not secrets:
        return None
    return (
        f"{environment_name('jwt_keys_file')}: {path} holds a secret, and every user of this machine may read it: "
        f"`chmod o= {path}`, and change the secret if others have used this machine"
    )


class _WrongKeyError(Exception):
    """What is wrong with a key, and the mend."""


def _read(setting: str, name: str, keys_of: Callable[[bytes], Keys]) -> Keys:
    shown = environment_name(setting)
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise SettingError(f"{shown}: {name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"{shown}: {name!r} cannot be read: {error}") from None
    if len(content) > MAX_FILE:
        raise SettingError(f"{shown}: {name} is larger than {MAX_FILE} bytes: leave keys out that are not used")
    try:
        return keys_of(content)
    except _WrongKeyError as wrong:
        raise SettingError(f"{shown}: {name} {wrong}") from None


def _secret(secret: bytes, kid: str | None = None) -> Key:
    # Keyed, so that the name of a secret that can be guessed after all does not help the guesser.
    name = hashlib.blake2b(secret, digest_size=12, person=b"djactors key").hexdigest()
    return Key(HS256, secret, name, kid)


def _public_key(content: bytes) -> Key:
    try:
        return _public(load_pem_public_key(content))
    except (ValueError, UnsupportedAlgorithm):
        raise _WrongKeyError("holds no public key in PEM form: export one with openssl") from None


def _public(key: Any, kid: str | None = None) -> Key:
    match key:
        case rsa.RSAPublicKey(key_size=bits) if bits < MIN_RSA_BITS:
            raise _WrongKeyError(f"holds an RSA key of {bits} bits: make one of {MIN_RSA_BITS} or more")
        case rsa.RSAPublicKey():
            algorithm = "RS256"
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            algorithm = "ES256"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            algorithm = "EdDSA"
        case _:
            raise _WrongKeyError("holds a key that is neither RSA, P-256 nor Ed25519: make one of these")
    told = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(algorithm, key, hashlib.blake2b(told, digest_size=12).hexdigest(), kid)


# A JWK Set


def _key_set(content: bytes) -> Keys:
    try:
        said = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _WrongKeyError('is no JSON: a JWK Set looks like {"keys": [...]}') from None
    entries = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise _WrongKeyError('is no JWK Set: it looks like {"keys": [...]}')
    if len(entries) > MAX_KEYS:
        raise _WrongKeyError(f"holds {len(entries)} keys: leave out those that are not used, {MAX_KEYS} are taken")
    keys: dict[str | None, Key] = {}
    passed_over: list[str] = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _WrongKeyError(f"has no key at keys[{place}]: each is an object")
        kid = entry.get("kid")
        if kid is not None and (not isinstance(kid, str) or not kid):
            raise _WrongKeyError(f"has a kid at keys[{place}] that is no text: write it as text")
        unknown = _unknown(entry)
        if unknown is not None:
            passed_over.append(f"keys[{place}] ({_shown(kid)}): {unknown}")
            continue
        if kid in keys:
            what = "two keys without a kid" if kid is None else f"two keys with the {_shown(kid)}"
            raise _WrongKeyError(f"has {what}, the second at keys[{place}]: give each a kid of its own")
        try:
            keys[kid] = _key(entry, kid)
        except _WrongKeyError as wrong:
            raise _WrongKeyError(f"at keys[{place}] ({_shown(kid)}) {wrong}") from None
    if not keys:
        raise _WrongKeyError(f"holds no key to verify tokens with: {'; '.join(passed_over) or 'put one into it'}")
    return Keys(list(keys.values()), by_kid=True, passed_over=passed_over)


_CURVES: Final = {"EC": ("P-256",), "OKP": ("Ed25519", "Ed448")}
_ALGORITHMS: Final = {"oct": (HS256,), "RSA": ("RS256",), "EC": ("ES256",), "OKP": ("EdDSA", "Ed25519")}
"""By the kind of key. RFC 9864 calls EdDSA with the curve Ed25519 by the name of the curve."""


def _unknown(entry: Mapping[str, Any]) -> str | None:
    """Why a key is none of ours, or None."""
    kind, algorithm = entry.get("kty"), entry.get("alg")
    if not isinstance(kind, str) or kind not in _ALGORITHMS:
        return "its kty is none of oct, RSA, EC and OKP"
    if entry.get("use", "sig") != "sig":
        return "its use is not sig"
    if kind in _CURVES and entry.get("crv") not in _CURVES[kind]:
        return f"its crv is none of {', '.join(_CURVES[kind])}"
    if algorithm is not None and algorithm not in _ALGORITHMS[kind]:
        return f"its alg is not {_ALGORITHMS[kind][0]}"
    return None


def _key(entry: Mapping[str, Any], kid: str | None) -> Key:
    if "d" in entry:
        raise _WrongKeyError("holds a private key: keep it where tokens are signed, and put the public half here")
    readers: Mapping[str, Any] = {"oct": HMACAlgorithm, "RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    try:
        key = readers[entry["kty"]].from_jwk(dict(entry))
        if entry["kty"] == "oct":
            # PyJWT takes no secret for HS256 that is a public key.
            HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(key)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError):
        raise _WrongKeyError("holds a key that cannot be read: export it again") from None
    if entry["kty"] != "oct":
        return _public(key, kid)
    if len(key) < MIN_SECRET_BYTES:
        raise _WrongKeyError(f"holds a secret of fewer than {MIN_SECRET_BYTES} bytes: take a longer one")
    return _secret(key, kid)


def _shown(kid: str | None) -> str:
    return "no kid" if kid is None else f"kid {kid[:_SHOWN]!r}"
