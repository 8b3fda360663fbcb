"""What the routes answer, in JSON, where it is not what the inbox has made already."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from djactors.domain.comments import CommentView
from djactors.domain.errors import MAX_MESSAGE
from djactors.domain.jobs import JobView
from djactors.domain.notifications import InboxItem
from djactors.domain.times import UtcText
from djactors.inbox.people import Found

Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]
No = Annotated[bool, Meta(extra_json_schema={"const": False})]


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all answers."""


class ErrorDetail(Answer, frozen=True, kw_only=True):
    """What was wrong: `code` for programs, `message` for people. The message names the field and the mend."""

    code: str
    message: Annotated[str, Meta(max_length=MAX_MESSAGE)]


class Error(Answer, frozen=True, kw_only=True):
    """The answer to whatever was refused or has failed."""

    error: ErrorDetail


class Done(Answer, frozen=True, kw_only=True):
    """A command is durable. `count` notifications are unread after it, and `unseen` of these are unseen."""

    ok: Yes = True
    count: int
    unseen: int


class Ok(Answer, frozen=True, kw_only=True):
    """The ack of an event that was carried out."""

    ok: Yes = True


class Refreshed(Ok, frozen=True, kw_only=True):
    """The new token was taken; it expires then."""

    expires_at: UtcText


class NewJob(Ok, frozen=True, kw_only=True):
    """The job that `test:create-job` has made."""

    job_id: int
    dj_id: str | None


class Failed(Answer, frozen=True, kw_only=True):
    """The ack of an event that was refused or has failed."""

    ok: No = False
    error: ErrorDetail


class Counts(Answer, frozen=True, kw_only=True):
    """How many notifications are unread, and how many of these are unseen, as of the offset."""

    count: int
    unseen: int
    offset: str


class NotificationList(Answer, frozen=True, kw_only=True):
    """A page of an inbox, newest first. The counts are those of the whole inbox."""

    items: list[InboxItem]
    next_before: int | None
    unread_count: int
    unseen_count: int
    offset: str


class Mute(Answer, frozen=True, kw_only=True):
    """Whether the user has muted a job."""

    muted: bool


class LoggedChange(Answer, frozen=True, kw_only=True):
    """A change: the Socket.IO event that has told of it, and its payload. `offset` is the point right after it."""

    offset: str
    event: str
    data: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class ChangeList(Answer, frozen=True, kw_only=True):
    """Changes in order. Go on with `offset`; if `reset` is true, load the lists again first."""

    items: list[LoggedChange]
    offset: str
    reset: bool


class JobList(Answer, frozen=True, kw_only=True):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_before: int | None
    offset: str


class CommentList(Answer, frozen=True, kw_only=True):
    """A page of a job's comments, newest first."""

    items: list[CommentView]
    next_before: int | None
    offset: str


class PeopleList(Answer, frozen=True, kw_only=True):
    """A page of people, in the order of their names."""

    items: list[Found]
    next_before: str | None


class SignedOut(Answer, frozen=True, kw_only=True):
    """Tokens that were issued before this moment are worth nothing."""

    signed_out_at: UtcText


class Activity(Answer, frozen=True, kw_only=True):
    """Whether a user may sign in."""

    user_id: int
    active: bool


class Erased(Answer, frozen=True, kw_only=True):
    """A piece of an erasure is done. Ask again with `after` until it is null; the last answer has `overwritten`.

    `erased` has numbers of rows. `namesake` says whether somebody else has the person's name, which was then left in
    the texts of others. `problem` says why the database's file was not written anew.
    """

    at: UtcText
    erased: dict[str, int]
    namesake: bool
    after: str | None = None
    overwritten: bool | msgspec.UnsetType = msgspec.UNSET
    problem: str | msgspec.UnsetType = msgspec.UNSET


class ImportArrived(Answer, frozen=True, kw_only=True):
    """How many rows of an import have arrived."""

    arrived: int


class ImportBegun(ImportArrived, frozen=True, kw_only=True):
    """An import is announced. `plan` names it from then on."""

    plan: str


class ImportJudged(Answer, frozen=True, kw_only=True):
    """How many rows of an import are judged, and whether these are all."""

    done: bool
    judged: int


class ImportRemoved(Answer, frozen=True, kw_only=True):
    """How many rows of an import were removed. Ask again with `after` until it is `done`."""

    done: bool
    removed: int
    after: int


class Health(Answer, frozen=True, kw_only=True):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(Answer, frozen=True, kw_only=True):
    """The server takes requests. `warnings` say what will go wrong if nobody does anything."""

    status: Literal["ready"] = "ready"
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


BatchResult = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={
            "anyOf": [{"$ref": "#/components/schemas/EventAnswer"}, {"$ref": "#/components/schemas/Error"}]
        }
    ),
]
"""What became of one event of a batch, as it is answered to a single post: both are bytes already."""


class BatchResults(Answer, frozen=True, kw_only=True):
    """An answer or an error for each event of a batch, in order."""

    results: list[BatchResult]
