"""How the domain refuses a command.

The edge turns a code into an HTTP status or an ack error. The message names the field and says how to mend it.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why a command was refused. A client sees this as the `code` of the error."""

    INVALID = "invalid"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    KEY_REUSED = "idempotency_key_reused"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    TENANT_IMPORTING = "tenant_importing"
    INTERNAL = "internal"


MAX_MESSAGE = 500
"""The most characters of a refusal's message, because it may quote what a client sent, and that may be a megabyte."""


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault of ours
    """A command that cannot be carried out as it stands. Nothing of it was recorded."""

    def __init__(self, code: Code, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 1] + "…"
        super().__init__(message)
        self.code = code
        self.message = message


def importing() -> Refused:
    """The answer to whoever wants something of a tenant of which only a part is here yet."""
    return Refused(Code.TENANT_IMPORTING, "the tenant is being imported: try again when that is done")


def not_found() -> Refused:
    """The one answer for a thing that is missing, was removed, or belongs to somebody else, so that nobody can tell
    which."""
    return Refused(Code.NOT_FOUND, "not found")
