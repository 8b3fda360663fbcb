"""Names the programs of PostgreSQL that back up and put back a database, with the exact command."""

from __future__ import annotations

import os
import shlex

from djactors.store.engines import shown


def command_to_dump(url: str, to: str | os.PathLike[str]) -> str:
    """The command that writes a database to a file. Its password is looked for where libpq looks."""
    return shlex.join(["pg_dump", "--format=custom", f"--file={os.fspath(to)}", shown(url)])


def command_to_restore(url: str, dump: str | os.PathLike[str]) -> str:
    """The command that puts what `command_to_dump` wrote into an empty database."""
    return shlex.join(
        [
            "pg_restore",
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            f"--dbname={shown(url)}",
            os.fspath(dump),
        ]
    )
