"""Notification types: what each one is caused by, whom it tells, how urgent it is, and in which words. The types that
come with djactors, the seed's eight and `mentioned`, are a table of the same form as those that an installation adds.

Rules:
  * An installation changes a type by naming what is different. A type of its own says all of it.
  * Everything is checked at the start. A name that does not exist is refused with the nearest one that does, because a
    type that silently tells nobody is found out when it is missed.
  * A type is data and holds no code of its own. It is evaluated inside the one transaction for which everybody waits,
    and again if that transaction has to be repeated; nodes can compare data; and an erasure has to know from it what
    people wrote. Whoever needs more than this decides in a backend, and asks for `notification.requested`.

This code is pure: it uses no clock and no store.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from string import Formatter
from typing import Any, Final, get_args
from unicodedata import category

import msgspec
from msgspec import UNSET, UnsetType

from djactors.domain import lengths
from djactors.domain.events import TYPES, CommentAdded, JobAssigned, JobCreated, NotificationRequested, Priority, Role
from djactors.domain.jobs import JobEvent, SlaAlert
from djactors.domain.limits import SUMMARY_TYPE
from djactors.domain.room import DISK_FILLING

MAX_OF_EVENT: Final = 20
"""The most types that one event may cause, because all of them are looked at in the transaction for which others wait:
each takes one or two µs, and more if it has many recipients."""

MAX_OF_ROLE: Final = 1000
"""The most people of one role whom one event tells, those with the lowest ids, because each is a row in the same
commit."""

SHOWN: Final = 60
"""The most characters of a wrong text that a message repeats."""


class Audience(StrEnum):
    """The part that a person has in a job."""

    ASSIGNEE = "assignee"
    APPROVER = "approver"
    REQUESTER = "requester"
    MANAGER = "manager"
    WATCHERS = "watchers"
    MENTIONED = "mentioned"


OF_ROLE: Final = "role:"
"""How a recipient begins that is everybody who has a role in the tenant, such as `role:admin`."""

RECIPIENTS: Final = (*Audience, *(f"{OF_ROLE}{role}" for role in get_args(Role) if role != "service"))
"""Whom a type may tell. A service is no person."""

REQUESTED: Final = TYPES[NotificationRequested]
"""The event by which a backend asks for a notification in its own words."""

ALERTS: Final[tuple[str, ...]] = get_args(SlaAlert)
"""What the clock causes, which has the names of the two types."""

CREATED: Final = TYPES[JobCreated]
ASSIGNED: Final = TYPES[JobAssigned]
COMMENTED: Final = TYPES[CommentAdded]

EVENTS: Final = (CREATED, *(TYPES[kind] for kind in get_args(JobEvent)), *ALERTS, REQUESTED)
"""What may cause a notification: the events that are about a job, the clock, and a backend that asks for it."""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "job": "the job's number, such as DJ-2026-0005, or `Job 5` if it has none",
    "job_title": "the title of the job",
    "actor": "the name of the person who did it, or `Somebody`",
    "words": "in messages: the comment or the reason, or the title of the job if there is none",
    "requester": "the name of the requester, or `nobody`, and likewise below",
    "assignee": "the name of the assignee",
    "approver": "the name of the approver",
    "manager": "the name of the manager",
    "status": "the state of the job after the event, such as `pending approval`",
    "deadline": "the deadline in the tenant's time zone, such as `2026-01-28 17:30`, or `no deadline`",
}
"""What may stand in braces in a title or a message, and what takes its place."""

RESERVED: Final = (SUMMARY_TYPE, DISK_FILLING)
"""Types of notifications that no event causes. The server words them itself."""

_NOT_IN_A_LINE: Final = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of surrogate pairs, and what ends a line or a paragraph."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class NotificationTypeError(ValueError):
    """A notification type is wrong. The message names the type and the field, and says how to mend it."""

    def __init__(self, name: object, field: str, message: str) -> None:
        super().__init__(f"{_shown(name)}{f'.{field}' if field else ''}: {message}")


class _Named(msgspec.Struct, frozen=True):
    name: str


class NotificationType(_Named, frozen=True, kw_only=True):
    """A type of notification, or what is different in one that exists already.

    Attributes:
        events: what causes it; of `EVENTS`.
        recipients: whom it tells, each person once; of `RECIPIENTS`.
        priority: how urgent it is; MEDIUM if nothing else is said.
        title: one line, with `PLACEHOLDERS` in braces.
        message: the text below the title, likewise; by default the title of the job.
        even_if_muted: whether it also tells somebody who has muted the job.
        enabled: False to switch it off. Nobody gets it then, not even if a backend asks for it.
    """

    events: tuple[str, ...] | UnsetType = UNSET
    recipients: tuple[str, ...] | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    title: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    even_if_muted: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    @property
    def is_on(self) -> bool:
        """Whether it is not switched off."""
        return self.enabled is not False

    @property
    def is_worded(self) -> bool:
        """Whether the type has words of its own, because something else causes it than a backend that brings them."""
        return self.events is not UNSET and any(event != REQUESTED for event in self.events)


FIELDS: Final = tuple(field for field in NotificationType.__struct_fields__ if field != "name")

_DEFAULTS: Final = {"priority": "MEDIUM", "message": "{job_title}", "even_if_muted": False}
"""What a type is that has words of its own, where it says nothing else."""

_A = Audience
BUILT_IN: Final = (
    NotificationType(
        "job_assigned",
        events=(ASSIGNED,),
        recipients=(_A.ASSIGNEE,),
        priority="HIGH",
        title="{job} assigned to you",
        even_if_muted=True,
    ),
    NotificationType(
        "approval_needed",
        events=("job.submitted",),
        recipients=(_A.APPROVER,),
        priority="CRITICAL",
        title="{job} needs your approval",
        even_if_muted=True,
    ),
    NotificationType(
        "approval_approved",
        events=("job.approved",),
        recipients=(_A.REQUESTER,),
        priority="MEDIUM",
        title="{job} approved",
    ),
    NotificationType(
        "approval_rejected",
        events=("job.rejected",),
        recipients=(_A.REQUESTER, _A.ASSIGNEE),
        priority="HIGH",
        title="{job} rejected",
        message="{words}",
    ),
    NotificationType(
        "sla_alert_24h",
        events=("sla_alert_24h",),
        recipients=(_A.ASSIGNEE,),
        priority="HIGH",
        title="{job} is due within 24 hours",
    ),
    NotificationType(
        "sla_alert_overdue",
        events=("sla_alert_overdue",),
        recipients=(_A.ASSIGNEE, _A.MANAGER),
        priority="CRITICAL",
        title="{job} is overdue",
    ),
    NotificationType(
        "comment_added",
        events=(COMMENTED,),
        recipients=(_A.WATCHERS,),
        priority="MEDIUM",
        title="{actor} commented on {job}",
        message="{words}",
    ),
    NotificationType(
        "job_completed",
        events=("job.completed",),
        recipients=(_A.REQUESTER,),
        priority="LOW",
        title="{job} completed",
    ),
    NotificationType(
        "mentioned",
        events=(COMMENTED,),
        recipients=(_A.MENTIONED,),
        priority="MEDIUM",
        title="{actor} mentioned you in {job}",
        message="{words}",
        even_if_muted=True,
    ),
)
"""The seed's table of notification types, and `mentioned`, which is beyond it. Those are told even if they have muted
the job for whom others wait, and whom nobody can stand in for."""

BUILT_IN_NAMES: Final = frozenset(each.name for each in BUILT_IN)


def from_fields(name: str, fields: object) -> NotificationType:
    """A type as a table of TOML says it, not checked further than that its fields exist.

    Raises:
        NotificationTypeError: it is no table, or has a field that does not exist.
    """
    if not isinstance(fields, dict):
        raise NotificationTypeError(name, "", f"must be a table with fields such as {', '.join(FIELDS[:3])}")
    for field in fields:
        if field not in FIELDS:
            raise NotificationTypeError(name, "", _missing(field, FIELDS))
    return NotificationType(name, **fields)


def table_of(changes: Iterable[NotificationType]) -> tuple[NotificationType, ...]:
    """The types that an installation has: those that come with djactors, changed as it says, and its own before them.

    Of two changes of one type the later one wins, field by field.

    Raises:
        NotificationTypeError: something is wrong with one of them.
    """
    table = {each.name: _with_defaults(each) for each in BUILT_IN}
    own: dict[str, NotificationType] = {}
    for change in changes:
        _check_shape(change)
        kinds = table if change.name in table else own
        before = kinds.get(change.name, NotificationType(change.name))
        kinds[change.name] = msgspec.structs.replace(before, **_said(change))
    # Whether one is switched on again or never was switched off is the same.
    found = tuple(
        msgspec.structs.replace(_with_defaults(each), enabled=UNSET if each.is_on else False)
        for each in (*own.values(), *table.values())
    )
    for each in found:
        _check(each)
    for event in EVENTS:
        caused = [each.name for each in found if each.is_on and event in (each.events or ())]
        if event != REQUESTED and len(caused) > MAX_OF_EVENT:
            raise NotificationTypeError(
                caused[0],
                "events",
                f"{event} causes {len(caused)} types, and at most {MAX_OF_EVENT} are allowed: leave some of them out",
            )
    return found


def placeholders(template: str) -> set[str]:
    """What stands in braces in a title or a message.

    Raises:
        ValueError: a brace is not closed, or has more in it than a name.
    """
    found = set()
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if form or conversion:
            raise ValueError(f"{{{name}}} has more in its braces than a name: leave the rest out")
        found.add(name)
    return found


def _said(change: NotificationType) -> dict[str, Any]:
    """The fields that a change names. A list is as good as a tuple."""
    said = {field: value for field in FIELDS if (value := getattr(change, field)) is not UNSET}
    return {field: tuple(value) if isinstance(value, list) else value for field, value in said.items()}


def _with_defaults(kind: NotificationType) -> NotificationType:
    missing = {field: value for field, value in _DEFAULTS.items() if getattr(kind, field) is UNSET}
    return msgspec.structs.replace(kind, **missing) if kind.is_worded else kind


def _check_shape(kind: NotificationType) -> None:
    """Refuse what is not even of the right kind, whoever has made it."""
    if not isinstance(kind, NotificationType):
        raise NotificationTypeError(kind, "", "must be a NotificationType")
    name = kind.name
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > lengths.TYPE:
        raise NotificationTypeError(
            name, "", f"is no name of a type: write up to {lengths.TYPE} small letters, digits and underscores"
        )
    if name in RESERVED:
        raise NotificationTypeError(name, "", "is worded by the server itself: leave it out, or choose another name")
    for field, value in _said(kind).items():
        match field:
            case "events" | "recipients":
                of_kind = isinstance(value, tuple) and bool(value) and all(isinstance(each, str) for each in value)
                if not of_kind:
                    raise NotificationTypeError(name, field, "must be a list of texts, and not an empty one")
                choices = EVENTS if field == "events" else RECIPIENTS
                for each in value:
                    if each not in choices:
                        raise NotificationTypeError(name, field, _missing(each, choices))
                if len(set(value)) < len(value):
                    raise NotificationTypeError(name, field, "names one twice: leave it out")
            case "priority":
                if value not in get_args(Priority):
                    raise NotificationTypeError(name, field, _missing(value, get_args(Priority)))
            case "title" | "message":
                _check_template(name, field, value)
            case _:
                if not isinstance(value, bool):
                    raise NotificationTypeError(name, field, "must be true or false")


def _check_template(name: str, field: str, template: object) -> None:
    longest = lengths.TITLE if field == "title" else lengths.TEXT
    if not isinstance(template, str) or not template.strip():
        raise NotificationTypeError(name, field, "must be a text, and not an empty one")
    if len(template) > longest:
        raise NotificationTypeError(name, field, f"has {len(template)} characters: at most {longest} are allowed")
    allowed = "" if field == "title" else "\n"
    if any(category(character) in _NOT_IN_A_LINE and character not in allowed for character in template):
        raise NotificationTypeError(name, field, "holds a control character or a line break: leave it out")
    try:
        used = placeholders(template)
    except ValueError as error:
        raise NotificationTypeError(
            name, field, f"{str(error)[: 2 * SHOWN]}; a brace that is meant to be seen is written twice"
        ) from None
    for each in sorted(used):
        if each not in PLACEHOLDERS:
            raise NotificationTypeError(name, field, _missing(each, PLACEHOLDERS, "{{{}}}"))
    if field == "title" and "words" in used:
        raise NotificationTypeError(
            name, field, "{words} may be 4,000 characters long: put it into the message, where there is room"
        )


def _check(kind: NotificationType) -> None:
    """Refuse a whole type that could not do what it says."""
    if kind.events is UNSET:
        near = difflib.get_close_matches(kind.name, BUILT_IN_NAMES, 1)
        mend = f"did you mean {near[0]}? Otherwise " if near else ""
        raise NotificationTypeError(
            kind.name, "", f"is no type that djactors has: {mend}say its events, recipients and title"
        )
    if not kind.is_worded:
        for field in ("recipients", "title", "message", "even_if_muted"):
            if getattr(kind, field) is not UNSET:
                raise NotificationTypeError(
                    kind.name, field, f"is said by the backend that posts {REQUESTED}: leave it out, or add an event"
                )
        return
    for field in ("recipients", "title"):
        if getattr(kind, field) is UNSET:
            raise NotificationTypeError(kind.name, field, "is missing: a type of your own needs it")
    by_clock = [event for event in kind.events if event in ALERTS]
    for field in ("title", "message"):
        if by_clock and "actor" in placeholders(str(getattr(kind, field))):
            raise NotificationTypeError(
                kind.name, field, f"{{actor}} is nobody where the clock causes {by_clock[0]}: leave it out"
            )
    if Audience.MENTIONED in (kind.recipients or ()) and COMMENTED not in kind.events:
        raise NotificationTypeError(
            kind.name, "recipients", f"only {COMMENTED} mentions anybody: add it to the events, or leave out mentioned"
        )


def _missing(word: object, choices: Iterable[str], form: str = "{}") -> str:
    """That a word does not exist, and which ones do, the nearest first."""
    choices = list(choices)
    near = difflib.get_close_matches(str(word)[: 2 * SHOWN], choices, 1)
    offered = f"did you mean {form.format(near[0])}? " if near else ""
    return f"{form.format(_shown(word))} does not exist: {offered}There are {', '.join(choices)}"


def _shown(value: object) -> str:
    text = str(value)
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return text if text.isprintable() and text else repr(text)
