"""What README has an operator type to install the service: for systemd with stand-ins for what only root may do. What
it says for a machine without systemd is run as written by `.ci/guide`, in an empty Debian."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import djactors
from tests.proxies.readme import README

PACKAGE = Path(djactors.__file__).parent
GUIDE = README.partition("\n## Run it for years\n")[2].partition("\n## ")[0]
SERVE_SAFELY = README.partition("\n### Serve safely\n")[2].partition("\n### ")[0]
PLACES = ("/opt/djactors", "/etc/djactors", "/etc/systemd/system", "/etc/sv", "/var/lib/djactors")

STAND_INS = {
    # What `python3 -m venv` and `pip install .` leave behind, as far as the commands use it.
    "python3": 'mkdir -p "$3/bin" "$3/lib/python3.11/site-packages"\n'
    f'ln -s "{PACKAGE}" "$3/lib/python3.11/site-packages/djactors"\n'
    'printf "#!/bin/sh\\n" > "$3/bin/pip"; chmod 755 "$3/bin/pip"',
    # Nobody here is called djactors.
    "install": 'exec "$REAL_INSTALL" $(echo "$@" | sed "s/-[go] djactors//g")',
    "useradd": 'echo "useradd $*" >> "$RECORD"',
    "systemctl": 'echo "systemctl $*" >> "$RECORD"',
    "chpst": 'shift 2; exec env > "$RECORD" STARTED="$*" UMASK="$(umask)" FOLDER="$PWD"',
}


class Machine:
    """A folder with the places that the commands name, and programs that stand in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.record = folder / "record"
        for place in PLACES:
            (folder / place[1:]).parent.mkdir(parents=True, exist_ok=True)
        self.at("/etc/systemd/system").mkdir()
        self.at("/var/lib/djactors").mkdir()
        for name, text in STAND_INS.items():
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)

    def at(self, place: str) -> Path:
        return self._folder / place[1:]

    def run(self, commands: str) -> None:
        text = re.sub("|".join(PLACES), lambda match: str(self.at(match[0])), commands)
        environment = {
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "RECORD": str(self.record),
            "REAL_INSTALL": "/usr/bin/install",
        }
        done = subprocess.run(["bash", "-euc", text], cwd=self._folder, env=environment, check=False)
        assert done.returncode == 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def plain_blocks(text: str, word: str) -> list[str]:
    """The blocks without a language in which a word stands."""
    return [block for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if word in block]


def test_the_commands_for_systemd_install_what_the_units_expect(machine: Machine) -> None:
    [commands] = plain_blocks(SERVE_SAFELY, "systemctl")
    machine.run(commands)
    for unit in (PACKAGE / "systemd").glob("djactors.*"):
        assert (machine.at("/etc/systemd/system") / unit.name).read_bytes() == unit.read_bytes()
    settings = machine.at("/etc/djactors/djactors.env")
    assert re.fullmatch(r"JWT_SECRET=[0-9a-f]{64}\n", settings.read_text())
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.parent.stat().st_mode & 0o777 == 0o750
    made, reloaded, enabled = machine.record.read_text().splitlines()
    assert made.startswith("useradd --system ")
    assert made.endswith(" djactors")
    assert reloaded == "systemctl daemon-reload"
    assert enabled == "systemctl enable --now djactors.service"
    unit = (PACKAGE / "systemd" / "djactors.service").read_text()
    assert "\nExecStart=/opt/djactors/bin/djactors serve\n" in unit
    assert "\nEnvironmentFile=/etc/djactors/djactors.env\n" in unit
    assert "\nUser=djactors\n" in unit


def test_the_guide_installs_the_service_and_its_backup_in_the_same_way(machine: Machine) -> None:
    service, backup = plain_blocks(GUIDE, "systemctl daemon-reload")
    machine.run(f"python3 -m venv /opt/djactors\n{service}\n{backup}")
    units = {path.name for path in machine.at("/etc/systemd/system").iterdir()}
    assert units == {"djactors.service", "djactors-backup.service", "djactors-backup.timer"}
    assert machine.record.read_text().splitlines() == [
        "systemctl daemon-reload",
        "systemctl enable --now djactors.service",
        "systemctl daemon-reload",
        "systemctl enable --now djactors-backup.timer",
        "systemctl start djactors-backup.service",
    ]


def test_runit_starts_the_server_with_the_settings_of_the_service(machine: Machine) -> None:
    machine.at("/etc/djactors").mkdir()
    machine.at("/etc/djactors/djactors.env").write_text("JWT_SECRET=abc\nSOCKET_PORT=4000\n")
    machine.run((PACKAGE / "runit" / "run").read_text())
    seen = dict(line.partition("=")[::2] for line in machine.record.read_text().splitlines())
    assert seen["STARTED"] == f"{machine.at('/opt/djactors')}/bin/djactors serve"
    assert (seen["JWT_SECRET"], seen["SOCKET_PORT"]) == ("abc", "4000")
    assert seen["DJACTORS_DATABASE"] == f"{machine.at('/var/lib/djactors')}/djactors.db"
    assert seen["FOLDER"] == str(machine.at("/var/lib/djactors"))
    assert seen["UMASK"] == "0077"


def test_every_script_for_runit_can_be_started() -> None:
    scripts = [path for path in (PACKAGE / "runit").rglob("*") if path.is_file()]
    assert {str(path.relative_to(PACKAGE / "runit")) for path in scripts} == {"run", "finish", "check", "log/run"}
    for script in scripts:
        assert script.stat().st_mode & 0o111
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
