"""A name that is no setting is refused wherever it comes from, with the nearest one."""

from __future__ import annotations

from pathlib import Path

import pytest

from djactors.config import SettingError, load
from tests.operations.commands import run

pytestmark = pytest.mark.usefixtures("own_folder")


def refusal(environment: dict[str, str] | None = None, file: Path | None = None, **flags: object) -> str:
    with pytest.raises(SettingError) as caught:
        load(flags, environment or {}, file)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("DJACTORS_DAILYLIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORS_DAILY_LIMITS", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORS_DIALY_LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("djactors_daily_limit", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORS__DAILY_LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJACTOR_DAILY_LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJ_ACTORS_DAILY_LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORSDAILY_LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORS-DAILY-LIMIT", "DJACTORS_DAILY_LIMIT"),
        ("DJACTORS_PORT", "SOCKET_PORT"),
        ("DJACTORS_SOCKET_PORT", "SOCKET_PORT"),
        ("DJACTORS_JWT_SECRET", "JWT_SECRET"),
        ("DJACTORS_ORIGINS", "DJACTORS_ALLOWED_ORIGINS"),
        ("DJACTORS_MAXCONNECTIONS", "DJACTORS_MAX_CONNECTIONS"),
        ("DJACTORS_JWT_KEY_FILE", "DJACTORS_JWT_KEYS_FILE"),
        ("JWT_SECRET_PREVIOUS", "DJACTORS_JWT_SECRET_PREVIOUS"),
        ("jwt_secret", "JWT_SECRET"),
        ("SOCKETPORT", "SOCKET_PORT"),
    ],
)
def test_a19_an_unknown_name_in_the_environment_is_refused_with_the_nearest_one(wrong: str, nearest: str) -> None:
    message = refusal({wrong: "a-value-that-nobody-may-see"})
    assert message.startswith(f"{wrong}: is no setting: the nearest one is {nearest};")
    assert "a-value" not in message


@pytest.mark.parametrize("wrong", ["DJACTORS_", "DJACTORS_X\x1b[31m\n", "DJACTORS_" + "Y" * 5000, "DJACTORS_ก"])
def test_a19_so_is_one_that_is_like_nothing(wrong: str) -> None:
    assert "the nearest one is " in refusal({wrong: "1"})


@pytest.mark.parametrize(
    "others", ["DJANGO_SETTINGS_MODULE", "JWT_ALGORITHM", "JWT_SECRET_KEY", "SOCKET_PATH", "PATH", "DJACTORS_URL"]
)
def test_the_names_of_other_programs_are_none_of_ours(others: str) -> None:
    load({}, {others: "x"})


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting() -> None:
    links = {
        "DJACTORS_SERVICE_HOST": "10.0.0.11",
        "DJACTORS_SERVICE_PORT": "3000",
        "DJACTORS_SERVICE_PORT_HTTP": "3000",
        "DJACTORS_PORT": "tcp://10.0.0.11:3000",
        "DJACTORS_PORT_3000_TCP": "tcp://10.0.0.11:3000",
        "DJACTORS_PORT_3000_TCP_PROTO": "tcp",
        "DJACTORS_PORT_3000_TCP_PORT": "3000",
        "DJACTORS_PORT_3000_TCP_ADDR": "10.0.0.11",
    }
    assert load({}, links).port == 3000
    assert "SOCKET_PORT" in refusal({"DJACTORS_PORT": "3001"})


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("databse", "database"), ("DATABASE", "database"), ("SOCKET_PORT", "port"), ("", "")]
)
def test_d5_an_unknown_name_in_load_is_refused_with_the_nearest_one(wrong: str, nearest: str) -> None:
    message = refusal(**{wrong: "x"})
    assert message.startswith(f"{wrong}: is no setting: the nearest one is {nearest}")
    assert "is no setting" in refusal(**{wrong: None}), "nor is one that was not given"


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("databse", "database"), ("dailylimit", "daily_limit"), ("SOCKET_PORT", "port"), ("DJACTORS_HOST", "host")],
)
def test_a19_an_unknown_name_in_a_file_is_refused_with_the_nearest_one(
    tmp_path: Path, wrong: str, nearest: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'{wrong} = "5"\n')
    message = refusal(file=file)
    assert message.startswith(f"{wrong!r}: {file} has a setting of this name, which does not exist: ")
    assert f"the nearest one is {nearest};" in message


@pytest.mark.parametrize(
    ("name", "wrong", "nearest"),
    [
        ("DJACTORS_LOG_LEVEL", "warn", "warning"),
        ("DJACTORS_LOG_LEVEL", "INFO", "info"),
        ("DJACTORS_LOG_FORMAT", "jsn", "json"),
    ],
)
def test_a19_a_value_that_is_nearly_right_is_refused_with_the_right_one(name: str, wrong: str, nearest: str) -> None:
    assert refusal({name: wrong}).endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize("command", [("check",), ("serve",), ("token", "--role", "service"), ("migrate",)])
def test_a19_every_command_refuses_an_unknown_name(command: tuple[str, ...]) -> None:
    result = run(*command, environment={"DJACTORS_DAILYLIMIT": "5"})
    assert result.exit_code == 1
    assert result.stderr == (
        "djactors: DJACTORS_DAILYLIMIT: is no setting: the nearest one is DJACTORS_DAILY_LIMIT; correct or remove it\n"
    )
