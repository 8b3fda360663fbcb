"""A secret that can be guessed, or that is none at all, is found at the start and by `check`, in one true sentence."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import string
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from djactors.config import SettingError, Settings, check_keys, load, weak_secrets
from djactors.inbox import schema
from tests.operations.commands import findings, run

pytestmark = pytest.mark.usefixtures("own_folder")

GOOD = "1f8b3c6e90d24a57b86c0de5f417a932"
WEAK = [
    "abcdefgh" * 4,
    "abcdefghijklmnopqrstuvwxyz012345",
    "zyxwvutsrqponmlkjihgfedcba987654",
    "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "0123456789abcdef0123456789abcdef",
    "fedcba9876543210fedcba9876543210",
    "12345678901234567890123456789012",
    "00112233445566778899aabbccddeeff",
    "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
    "acegikmoqsuwybdfhjlnprtvxz02468135",
    "1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "asdfghjkl;asdfghjkl;asdfghjkl;as",
    "!@#$%^&*()!@#$%^&*()!@#$%^&*()!@",
    "passwordpasswordpasswordpassword",
    "P@ssw0rdP@ssw0rd1P@ssw0rd2P@ssw0rd3",
    "MySuperSecretPassword1234567890!!",
    "changemechangemechangemechangeme",
    "your-256-bit-secret-your-256-bit-secret",
    "my-super-secret-jwt-key-please-change-me",
    "please-change-this-secret-before-production",
    "djactors-production-jwt-signing-secret",
    "this is a secret that nobody can guess",
    "correcthorsebatterystaplecorrecthorse",
    "deadbeefdeadbeefdeadbeefdeadbeef",
    "cafebabedeadbeefcafebabedeadbeef",
    f"{GOOD[:16]}{GOOD[:16]}",
    f"{GOOD[:16]}{GOOD[:16]}{GOOD[:16]}{GOOD[:5]}",
    "a" * 40 + "bcdefgh",
    "a" * 300 + GOOD,
]


@pytest.mark.parametrize("weak", WEAK)
def test_a19_a_secret_that_can_be_guessed_is_found(weak: str) -> None:
    for settings in (Settings(jwt_secret=weak), Settings(jwt_secret=GOOD, jwt_secret_previous=weak)):
        try:
            check_keys(settings)
            found = weak_secrets(settings)
        except SettingError as error:
            found = str(error)
        assert found is not None
        assert re.match(r"(DJACTORS_)?JWT_SECRET(_PREVIOUS)?: is easy to guess, .*: take random bytes", found)
        assert weak[:8] not in found


def test_a_weak_secret_is_of_no_interest_where_it_is_not_used() -> None:
    assert weak_secrets(Settings(jwt_secret=WEAK[0], jwt_public_key_file="key.pem")) is None


FORMS: dict[str, Callable[[bytes], str]] = {
    "openssl rand -hex 32": bytes.hex,
    "16 bytes in hex": lambda data: data[:16].hex(),
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64url": lambda data: base64.urlsafe_b64encode(data).decode(),
    "base32": lambda data: base64.b32encode(data).decode(),
    "a UUID": lambda data: str(uuid.UUID(bytes=data[:16])),
    "letters": lambda data: "".join(string.ascii_lowercase[byte % 26] for byte in data),
    "digits": lambda data: "".join(str(byte % 10) for byte in data),
    "printable": lambda data: "".join(chr(33 + byte % 94) for byte in data),
    "bytes": lambda data: data.decode(errors="surrogateescape"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_random_secret_is_taken_in_whatever_form(form: str) -> None:
    dice = random.Random(form)
    for _ in range(1000):
        settings = Settings(jwt_secret=FORMS[form](dice.randbytes(32)))
        check_keys(settings)
        assert weak_secrets(settings) is None


def test_a_secret_of_any_length_is_judged_at_once() -> None:
    assert weak_secrets(Settings(jwt_secret=random.Random(1).randbytes(60_000).hex())) is None


def test_check_names_a_weak_secret() -> None:
    run("migrate", "--database", "new.db")
    found = findings(run("check", "--database", "new.db", secret="abcdefgh" * 4))
    assert found["keys"].startswith("JWT_SECRET: is easy to guess")


PUBLIC = ed25519.Ed25519PrivateKey.generate().public_key()
PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
SSH = PUBLIC.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
DER = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
OCT = json.dumps({"kty": "oct", "k": GOOD})
NO_SECRETS = {
    "a JWK inside": (json.dumps({"ring": {"kty": "oct"}, "secret": GOOD}), "looks like a JWK"),
    "a JWK": (OCT, "looks like a JWK"),
    "a JWK Set": (f'{{"keys":[{OCT}]}}', "looks like a JWK"),
    "a list": (f"[{OCT}]", "looks like a JWK"),
    "with blanks": (f" \n{OCT}", "looks like a JWK"),
    "PEM": (PEM, "is a PEM key or certificate"),
    "SSH": (SSH, "is an SSH key"),
    "DER": (DER.decode(errors="surrogateescape"), "is a key in DER form"),
}


@pytest.mark.parametrize("kind", NO_SECRETS)
def test_d7_token_check_and_serve_say_the_same_true_sentence_of_what_is_no_secret(kind: str) -> None:
    secret, said = NO_SECRETS[kind]
    run("migrate", "--database", "new.db")
    with pytest.raises(SettingError) as caught:
        check_keys(Settings(jwt_secret=secret))
    sentence = str(caught.value)
    assert sentence.startswith(f"JWT_SECRET: {said}")
    name = "DJACTORS_JWT_KEYS_FILE" if "JWK" in said else "DJACTORS_JWT_PUBLIC_KEY_FILE"
    assert sentence.endswith(f"name that in {name}")
    if "\0" in secret:
        return  # No environment holds it.
    assert run("token", "--role", "service", secret=secret).stderr == f"djactors: {sentence}\n"
    assert findings(run("check", "--database", "new.db", secret=secret))["keys"] == sentence
    assert run("serve", "--database", "new.db", "--port", "0", secret=secret).stderr == f"djactors: {sentence}\n"


def test_a_command_that_fails_has_said_so_when_it_ends() -> None:
    before = set(threading.enumerate())
    run("serve", "--database", "new.db", "--port", "0", secret="short")
    assert set(threading.enumerate()) <= before  # Nobody is left who has yet to write its last words.


def test_a_predecessor_is_needed_only_beside_another_secret() -> None:
    check_keys(Settings(jwt_secret=GOOD, jwt_secret_previous=GOOD[::-1]))
    with pytest.raises(SettingError, match="DJACTORS_JWT_SECRET_PREVIOUS: is the same as JWT_SECRET: leave it out"):
        check_keys(Settings(jwt_secret=GOOD, jwt_secret_previous=GOOD))
    with pytest.raises(SettingError, match="JWT_SECRET: is not set"):
        check_keys(Settings(jwt_secret_previous=GOOD))
    assert GOOD not in repr(load({}, {"JWT_SECRET": GOOD, "DJACTORS_JWT_SECRET_PREVIOUS": GOOD}))


def test_keys_come_from_one_file_only() -> None:
    with pytest.raises(SettingError, match="DJACTORS_JWT_KEYS_FILE: is set, and DJACTORS_JWT_PUBLIC_KEY_FILE as well"):
        check_keys(Settings(jwt_public_key_file="a.pem", jwt_keys_file="keys.json"))


# Rights


def write(name: str, content: str, mode: int) -> Path:
    path = Path(name)
    path.write_text(content)
    os.chmod(path, mode)
    return path


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
@pytest.mark.parametrize("name", ["jwt_secret", "jwt_secret_previous"])
def test_a19_a_file_with_a_secret_that_all_may_read_is_found_by_check(mode: int, name: str) -> None:
    schema.apply("new.db")
    write("settings.toml", f'{name} = "{GOOD}"\n', mode)
    found = findings(run("check", "--database", "new.db", "--config", "settings.toml"))
    assert found["secrets"].startswith(f"--config: settings.toml holds {name}, and every user of this machine may read")
    assert "chmod o= settings.toml" in found["secrets"]
    assert GOOD not in str(found)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_one_that_others_may_not_read_is_well(mode: int) -> None:
    schema.apply("new.db")
    write("settings.toml", f'jwt_secret = "{GOOD}"\n', mode)
    write("open.toml", "daily_limit = 5\n", 0o644)
    for file in ("settings.toml", "open.toml"):
        assert run("check", "--database", "new.db", "--config", file).exit_code == 0
