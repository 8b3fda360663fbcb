"""Settings: where they come from, and that a wrong one is told in one line with the mend and without the secret."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from djactors.config import SettingError, Settings, check_keys, environment_name, exposed_secrets, load

SECRET = "a-secret-for-tests-only-0123456789abcdef"
NAMES = [field.name for field in dataclasses.fields(Settings)]
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Settings)}
CHOICES = {
    "log_format": ("json", "console", "auto"),
    "log_level": ("debug", "warning", "error"),
    "unix_socket_mode": ("600", "666", "0640"),
}
TEXTS = {
    "node": ("one", "Two.2", "three_3-3"),
    "metrics_addresses": (("10.0.0.0/8",), ("fe80::/10", "192.0.2.1/32"), ("0.0.0.0/0",)),
    "trusted_proxies": (("10.0.0.7",), ("fd00::/8", "192.0.2.1"), ("10.0.0.0/8",)),
    "allowed_origins": (("https://a.example",), ("*",), ("http://localhost:5173", "null")),
}


def samples(name: str) -> tuple[Any, Any, Any]:
    """Three right values that differ from each other and from the default."""
    field = next(field for field in dataclasses.fields(Settings) if field.name == name)
    default, low, high = field.default, field.metadata["low"], field.metadata["high"]
    if name in CHOICES:
        return CHOICES[name]
    if isinstance(default, bool):
        return True, False, True
    if isinstance(default, (int, float)):
        low = 0 if low is None else low
        return tuple(type(default)(min(low + step, math.inf if high is None else high)) for step in (1, 2, 3))  # type: ignore[return-value]
    return TEXTS.get(name, (f"{SECRET}-1", f"{SECRET}-2", f"{SECRET}-3"))


def as_text(value: Any) -> str:
    return (
        ",".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def as_toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{part}"' for part in value) + "]"
    return as_text(value) if isinstance(value, (bool, int, float)) else f'"{value}"'


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def refused(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(SettingError) as caught:
        load(flags or {}, environment or {}, file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 500
    assert ": " in message
    return message


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(tmp_path: Path, name: str) -> None:
    flag, variable, line = samples(name)
    file = write(tmp_path, f"{name} = {as_toml(line)}")
    environment = {environment_name(name): as_text(variable)}

    assert getattr(load({}, {}), name) == DEFAULTS[name]
    assert getattr(load({}, {}, file), name) == line
    assert getattr(load({}, environment, file), name) == variable
    assert getattr(load({name: flag}, environment, file), name) == flag
    assert getattr(load({name: None}, environment, file), name) == variable


def test_the_seeds_names_are_kept() -> None:
    assert environment_name("jwt_secret") == "JWT_SECRET"
    assert environment_name("port") == "SOCKET_PORT"
    assert environment_name("ping_interval") == "DJACTORS_PING_INTERVAL"


def test_the_defaults_are_right_by_their_own_bounds() -> None:
    for name, value in DEFAULTS.items():
        assert getattr(load({name: value}, {}), name) == value


NUMBERS = [name for name in NAMES if type(DEFAULTS[name]) in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "wrong", ["", " ", "abc", "1,5", "0x10", "nan", "inf", "-inf", "-1", "1e400", "9" * 500, "9" * 5000, "5x", "1\n2"]
)
def test_a_number_that_is_none_or_out_of_bounds_is_named_with_the_mend(name: str, wrong: str) -> None:
    message = refused(environment={environment_name(name): wrong})
    assert message.startswith(f"{environment_name(name)}: ")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_in_a_file_must_be_a_number_within_bounds(tmp_path: Path, name: str) -> None:
    for wrong in ('"5"', "true", "[1]", "nan", "inf", "-inf", "1979-05-27", "-1", "9" * 500, "{a = 1}"):
        message = refused(file=write(tmp_path, f"{name} = {wrong}"))
        assert message.startswith(f"{environment_name(name)}: "), wrong
    if isinstance(DEFAULTS[name], int):
        assert "whole number" in refused(file=write(tmp_path, f"{name} = 5.5"))


@pytest.mark.parametrize("name", NUMBERS)
def test_bounds_are_inclusive_and_told(name: str) -> None:
    metadata = next(field.metadata for field in dataclasses.fields(Settings) if field.name == name)
    kind: Any = type(DEFAULTS[name])
    for bound, beyond in (("low", -1), ("high", +1)):
        limit = metadata[bound]
        if limit is not None:
            assert getattr(load({name: kind(limit)}, {}), name) == limit
            assert "must be" in refused({name: kind(limit + beyond)})


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(DEFAULTS[name], (str, tuple))])
def test_a_text_in_a_file_must_be_one(tmp_path: Path, name: str) -> None:
    for wrong in ("5", "true", "1.5", "{a = 1}", "[1]", '[["a"]]'):
        message = refused(file=write(tmp_path, f"{name} = {wrong}"))
        assert message.startswith(f"{environment_name(name)}: must be "), wrong


@pytest.mark.parametrize("wrong", ["", "2", "maybe", "tru", "nope", "y e s"])
def test_a_flag_of_the_environment_is_true_or_false(wrong: str) -> None:
    assert refused(environment={"DJACTORS_TEST_EVENTS": wrong}) == "DJACTORS_TEST_EVENTS: must be true or false"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False)])
def test_a_flag_of_the_environment_has_the_usual_spellings(text: str, value: bool) -> None:
    assert load({}, {"DJACTORS_TEST_EVENTS": text}).test_events is value


def test_choices_are_told() -> None:
    assert "auto, json, console" in refused(environment={"DJACTORS_LOG_FORMAT": "xml"})
    assert "debug, info, warning, error" in refused(environment={"DJACTORS_LOG_LEVEL": "INFO\x1b[31m"})


def test_a_network_that_is_none_is_told() -> None:
    for wrong in ("localhost", "10.0.0.1/8", "10.0.0.0/33", "all"):
        assert wrong in refused(environment={"DJACTORS_METRICS_ADDRESSES": f"127.0.0.1,{wrong}"})
    assert load({}, {"DJACTORS_METRICS_ADDRESSES": " 10.0.0.0/8 , ::1 ,"}).metrics_addresses == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    "wrong", ["b.example.com", "https://a.example/path", "ftp://a.example", "https://a.*.example.com", "https://"]
)
def test_an_origin_that_no_browser_sends_is_told(wrong: str) -> None:
    """It would be a page that is refused for ever without anybody saying why."""
    message = refused(environment={"DJACTORS_ALLOWED_ORIGINS": f"https://b.example,{wrong}"})
    assert message.startswith(f"DJACTORS_ALLOWED_ORIGINS: {wrong!r} ")
    assert "like https://" in message


@pytest.mark.parametrize(
    "right",
    ["https://a.example", "http://localhost:5173", "http://[::1]:80", "*", "null", "app://", "https://*.a.example"],
)
def test_an_origin_that_browsers_send_is_taken(right: str) -> None:
    assert load({}, {"DJACTORS_ALLOWED_ORIGINS": right}).allowed_origins == (right,)


@pytest.mark.parametrize("name", ["host", "database"])
@pytest.mark.parametrize("wrong", ["", "a\0b"])
def test_an_empty_name_or_one_with_a_nul_is_told(name: str, wrong: str) -> None:
    assert refused({name: wrong}).startswith(f"{environment_name(name)}: ")
    assert refused(environment={environment_name(name): wrong}).startswith(f"{environment_name(name)}: ")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in refused(file=tmp_path / "missing.toml")
    assert "cannot be read" in refused(file=tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(file=binary)
    assert "is not TOML" in refused(file=write(tmp_path, "port = "))
    assert "is not TOML" in refused(file=write(tmp_path, "port = 1\nport = 2"))
    assert "is not TOML" in refused(file=write(tmp_path, "a = " + "[" * 5000))


def test_a_name_that_is_no_setting_is_told(tmp_path: Path) -> None:
    assert "prot" in refused(file=write(tmp_path, "prot = 5"))
    assert "JWT_SECRET" in refused(file=write(tmp_path, f'JWT_SECRET = "{SECRET}"'))
    refused(file=write(tmp_path, '"a\\nb" = 1'))


def test_the_secret_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    settings = load({}, {"JWT_SECRET": SECRET})
    for text in (repr(settings), str(settings), f"{settings}", f"{[settings]!r}"):
        assert SECRET not in text
    for content in (
        f'jwt_secret = ["{SECRET}"]',
        f'jwt_secret = "{SECRET}',
        f'JWT_SECRET = "{SECRET}"',
        f'jwt_secret = {{ value = "{SECRET}" }}',
        f"jwt_secret = {SECRET}",
    ):
        assert SECRET not in refused(file=write(tmp_path, content))
    for wrong in (SECRET[:31], f"{SECRET[:20]}\0"):
        with pytest.raises(SettingError) as caught:
            check_keys(load({}, {"JWT_SECRET": wrong}))
        assert SECRET[:20] not in str(caught.value)


def test_the_password_of_a_database_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    url = "postgresql://ann:geheim@db.example/inbox"
    settings = load({}, {"DJACTORS_DATABASE": url})
    assert settings.database == url
    assert "postgresql://ann@db.example/inbox" in repr(settings)
    assert "geheim" not in repr(settings)
    said = refused(environment={"DJACTORS_DATABASE": "postgresql://ann:ge%heim@db.example/inbox"})
    assert said.startswith("DJACTORS_DATABASE: postgresql://ann@db.example/inbox is no URL of a PostgreSQL database: ")
    assert "heim" not in said
    file = write(tmp_path, f'database = "{url}"')
    file.chmod(0o644)
    assert f"{file} holds the database's password" in str(exposed_secrets(file))
    file.write_text('database = "postgresql://ann@db.example/inbox"')
    assert exposed_secrets(file) is None


@pytest.mark.parametrize("weak", ["", "x", "x" * 31, "ก" * 10, "0123456789" * 3, "a" * 32, "0" * 64, "abc" * 20])
def test_row_30_a_weak_secret_is_refused_with_the_mend(weak: str) -> None:
    with pytest.raises(SettingError, match=r"^JWT_SECRET: .*openssl rand -hex 32"):
        check_keys(Settings(jwt_secret=weak))


def test_a_secret_counts_in_bytes() -> None:
    check_keys(Settings(jwt_secret="กขคงจฉชซฌญฎ"))
    check_keys(Settings(jwt_secret=bytes(range(200, 232)).decode(errors="surrogateescape")))


def test_a_public_key_file_stands_in_for_a_secret() -> None:
    check_keys(Settings(jwt_public_key_file="key.pem"))


def test_a6_proxies_that_are_everybody_are_refused_in_one_line() -> None:
    said = refused(environment={"JWT_SECRET": SECRET, "DJACTORS_TRUSTED_PROXIES": "0.0.0.0/0"})
    assert said.startswith("DJACTORS_TRUSTED_PROXIES: 0.0.0.0/0 trusts everybody, who could then claim any address: ")
