"""Turns the statements of the program into PostgreSQL's: its placeholders, and an INSERT of many rows.

Each text is turned once and kept, so that a statement costs one look into a dictionary.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from djactors.store.connection import Parameters

__all__ = ["Insert", "Kind", "Statement", "insert_of", "statement_of"]

# The program has some three hundred statements.
_CACHED = 1024

# Where a `?` or a `:` is no parameter: texts, quoted names, comments, and casts.
_PARAMETER = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | :: | (?P<mark>\?) | :(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?P<verb>[A-Za-z]+)(?:\s+(?P<second>[A-Za-z]+))?", re.DOTALL)
_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)
_INSERT = re.compile(
    r"\s*INSERT\s+INTO\s+(?P<table>\w+)\s*\((?P<columns>[\w\s,]+)\)\s*VALUES\s*\([^()]*\)(?P<tail>.*)",
    re.IGNORECASE | re.DOTALL,
)


class Kind(Enum):
    """What is done with a statement."""

    ASKS = auto()
    """It returns rows."""
    WRITES = auto()
    """It returns none, and may be put off."""
    SAVES = auto()
    """It makes a savepoint."""
    UNDOES = auto()
    """It undoes everything since a savepoint."""
    ENDS = auto()
    """It ends the transaction, which is not for a piece of work to do, or begins one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in PostgreSQL's words."""

    text: str
    kind: Kind
    names: tuple[str, ...]
    """The parameters `$1`, `$2` and so on, where they have names."""
    savepoint: str

    def values(self, parameters: Parameters) -> Sequence[object]:
        """The parameters in their order."""
        if isinstance(parameters, Mapping):
            return [parameters[name] for name in self.names]
        return parameters


@dataclass(frozen=True, slots=True)
class Insert:
    """The parts of an INSERT of one row."""

    table: str
    columns: tuple[str, ...]
    tail: str

    def of_many(self, types: Sequence[str]) -> str:
        """The INSERT that takes an array for each column, of these types."""
        arrays = ", ".join(f"unnest(${number}::{kind})" for number, kind in enumerate(types, 1))
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) SELECT {arrays}{self.tail}"


@lru_cache(maxsize=_CACHED)
def statement_of(statement: str) -> Statement:
    """A statement of the program in PostgreSQL's words."""
    names: dict[str, int] = {}
    marks = 0

    def number(match: re.Match[str]) -> str:
        nonlocal marks
        if match["mark"]:
            marks += 1
            return f"${marks}"
        name = match["name"]
        if name is None:
            return match[0]
        return f"${names.setdefault(name, len(names) + 1)}"

    text = _PARAMETER.sub(number, statement)
    if marks and names:
        raise ValueError(f"a statement has parameters with names and without: {statement}")
    word = _WORD.match(statement)
    verb = word["verb"].upper() if word else ""
    second = (word["second"] or "").upper() if word else ""
    savepoint = statement.rsplit(maxsplit=1)[-1].lower() if verb in ("SAVEPOINT", "ROLLBACK") else ""
    return Statement(text, _kind(verb, second, text), tuple(names), savepoint)


def _kind(verb: str, second: str, text: str) -> Kind:
    match verb:
        case "SAVEPOINT":
            return Kind.SAVES
        case "ROLLBACK" if second == "TO":
            return Kind.UNDOES
        case "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT":
            return Kind.ENDS
        case "INSERT" | "UPDATE" | "DELETE":
            return Kind.ASKS if _RETURNING.search(text) else Kind.WRITES
        case "RELEASE" | "CREATE" | "DROP" | "ALTER" | "SET" | "TRUNCATE" | "LOCK" | "NOTIFY":
            return Kind.WRITES
        case _:
            return Kind.ASKS


@lru_cache(maxsize=_CACHED)
def insert_of(statement: str) -> Insert:
    """The parts of an INSERT of one row.

    Raises:
        ValueError: it is none.
    """
    match = _INSERT.fullmatch(statement)
    if match is None:
        raise ValueError(f"is no INSERT of one row: {statement}")
    columns = tuple(name.strip() for name in match["columns"].split(","))
    return Insert(match["table"], columns, statement_of(match["tail"]).text)
