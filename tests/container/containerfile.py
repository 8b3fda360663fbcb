"""Reads a container file, and carries out its steps in roots that are made for it where no engine of containers runs.

Rules: it knows the instructions and forms that djactors' own file uses, and refuses all others, so that nothing is
passed over. `steps` reads; the program carries out, and needs Python's own library only:

    containerfile.py FILE CONTEXT ROOT…     one empty root for each stage, in order

It leaves the last root as the image would be, and prints as JSON what the image says of itself.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

BUILDING = ("FROM", "RUN", "COPY")
DESCRIBING = ("ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")


@dataclass(frozen=True)
class Step:
    """An instruction and what follows it, in one line."""

    instruction: str
    rest: str


@dataclass
class Stage:
    """An image on its way: what it begins with, and its steps."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


@dataclass
class Image:
    """What an image says of itself."""

    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = "/"
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    stop_signal: str = ""
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    """Entry point and arguments."""


def steps(text: str) -> list[Step]:
    """The instructions of a file. Raises ValueError at one that is not known."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction not in BUILDING + DESCRIBING:
            raise ValueError(f"{instruction} is not known here: {line}")
        found.append(Step(instruction, rest.strip()))
    return found


def stages(text: str) -> list[Stage]:
    """The file's stages."""
    found: list[Stage] = []
    for step in steps(text):
        if step.instruction == "FROM":
            base, _, name = step.rest.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].steps.append(step)
    return found


def image(stage: Stage) -> Image:
    """What the stage's image says of itself. All commands are in the form of a list, which no shell reads."""
    made = Image()
    entry: list[str] = []
    arguments: list[str] = []
    for step in stage.steps:
        match step.instruction:
            case "ENV":
                name, _, value = step.rest.partition("=")
                made.environment[name] = value
            case "USER":
                made.user = step.rest
            case "WORKDIR":
                made.folder = step.rest
            case "VOLUME":
                made.volumes.append(step.rest)
            case "EXPOSE":
                made.ports.append(step.rest)
            case "STOPSIGNAL":
                made.stop_signal = step.rest
            case "HEALTHCHECK":
                made.health = json.loads(step.rest.partition("CMD ")[2])
            case "ENTRYPOINT":
                entry = json.loads(step.rest)
            case "CMD":
                arguments = json.loads(step.rest)
    made.command = entry + arguments
    return made


# Carrying out


def build(file: Path, context: Path, roots: list[Path]) -> Image:
    """Carry out the file's steps in the roots; the last stage's image."""
    found = stages(file.read_text())
    if len(found) != len(roots):
        raise ValueError(f"{file} has {len(found)} stages, and there are {len(roots)} roots")
    named = dict(zip((stage.name for stage in found), roots, strict=True))
    for stage, root in zip(found, roots, strict=True):
        for step in stage.steps:
            if step.instruction == "RUN":
                print(f"RUN {step.rest}", file=sys.stderr)
                # Standard output is for the description alone.
                command = ["chroot", root, "/bin/sh", "-c", step.rest]
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            elif step.instruction == "COPY":
                print(f"COPY {step.rest}", file=sys.stderr)
                copy(step.rest, context, named, root)
    return image(found[-1])


def copy(rest: str, context: Path, named: dict[str, Path], root: Path) -> None:
    """Copy from the context or from an earlier stage: files into a folder whose name ends in a slash, or a folder to
    the name of another."""
    *sources, target = shlex.split(rest)
    origin = context
    if sources[0].startswith("--from="):
        origin = named[sources.pop(0).removeprefix("--from=")]
    there = root / target.lstrip("/")
    for source in sources:
        here = origin / source.lstrip("/")
        if here.is_dir():
            shutil.copytree(here, there, symlinks=True, dirs_exist_ok=True)
        else:
            if not target.endswith("/"):
                raise ValueError(f"COPY {rest}: the name of the folder does not end in a slash")
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, there)


if __name__ == "__main__":
    made = build(Path(sys.argv[1]), Path(sys.argv[2]), [Path(root) for root in sys.argv[3:]])
    print(json.dumps(vars(made)))
