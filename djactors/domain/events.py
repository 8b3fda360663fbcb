"""Domain events: what a backend says has happened. They are decoded once and checked here.

Rules:
  * The union is tagged by `type`. Unknown types and unknown fields are refused, so that a typo never passes silently.
  * Ids are integers from 1 to 2^53 - 1, as numbers or as decimal text (`ids`).
  * Texts are no longer than the columns of the schema. NUL is refused because PostgreSQL cannot store it, and lone
    surrogates because UTF-8 cannot express them (msgspec refuses these by itself).
  * Whatever bytes come in, the only exception that leaves `decode_event` is `Refused`.
  * An event that an embedding program makes in Python passes the same checks, in `check_event`.

Source: the contract's section "Domain events".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from djactors.domain import lengths
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import MAX_ID, Id, with_numbers
from djactors.domain.mentions import MAX_MENTIONS
from djactors.domain.nearest import nearest
from djactors.domain.times import utc_text

MAX_BATCH = 1000
"""The most events in one batch post, as the contract says."""

MAX_BATCH_COMMAS = 65_536
"""The most commas in one batch post. Taking a batch apart costs 60 ns for each thing between two of them, before it is
known whether these are events: this many take 4 ms, and two megabytes of `1,` would take 60."""

MAX_EVENT_BYTES = 64 * 1024
"""The longest JSON of one event: one with the largest texts that the schema takes, all in escapes, fits. To read one of
this length takes about a millisecond, whatever it holds, and nobody else has a turn meanwhile."""

MAX_DATA_DEPTH = 16
"""The most levels of nesting in `data`. Clients read it with recursive code, and a link to a resource needs few
levels."""

MAX_DATA_BYTES = 8192
"""The largest encoded size of `data`, because it is kept for 30 days for each recipient and sent to each of their
sockets."""

MAX_JOB_WATCHERS = 5000
"""How many people may watch one job. A comment notifies them all in one commit: ten thousand rows, some 35 ms."""

MAX_WATCHERS = 1000
"""The most watchers that one event may name, because each becomes a row in the same commit."""

Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=lengths.KEY, pattern=r"\A[\x20-\x7e]+\Z")]
Title: TypeAlias = Annotated[str, Meta(min_length=1, max_length=lengths.TITLE)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=lengths.NAME)]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=lengths.TEXT)]
DjId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=lengths.DJ_ID)]
TypeName: TypeAlias = Annotated[str, Meta(max_length=lengths.TYPE, pattern=r"\A[a-z][a-z0-9_]*\Z")]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Role: TypeAlias = Literal["user", "manager", "admin", "service"]
Priority: TypeAlias = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"]


class Common(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="type"):
    """The fields of every domain event.

    `actor_id` is the person who did it, and this person is not notified. `id` makes a retry harmless.
    """

    tenant_id: Id
    actor_id: Id | None = None
    id: Key | None = None
    occurred_at: Moment | None = None


class JobCreated(Common, frozen=True, tag="job.created"):
    """A job was created. Without a `job_id`, djactors numbers the job."""

    title: Title
    requester_id: Id
    job_id: Id | None = None
    dj_id: DjId | None = None
    project_id: Id | None = None
    job_type_id: Id | None = None
    assignee_id: Id | None = None
    approver_id: Id | None = None
    manager_id: Id | None = None
    watcher_ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_WATCHERS)] = ()
    deadline: Moment | None = None


class JobAssigned(Common, frozen=True, tag="job.assigned"):
    """A job was given to somebody, for the first time or anew."""

    job_id: Id
    assignee_id: Id


class JobSubmitted(Common, frozen=True, tag="job.submitted"):
    """A job waits for approval."""

    job_id: Id
    approver_id: Id | None = None


class JobApproved(Common, frozen=True, tag="job.approved"):
    """The approver said yes."""

    job_id: Id


class JobRejected(Common, frozen=True, tag="job.rejected"):
    """The approver said no."""

    job_id: Id
    reason: Text | None = None


class JobCompleted(Common, frozen=True, tag="job.completed"):
    """The work is done."""

    job_id: Id


class JobCancelled(Common, frozen=True, tag="job.cancelled"):
    """The job is not wanted any more. The reason is kept as a comment."""

    job_id: Id
    reason: Text | None = None


class JobRetitled(Common, frozen=True, tag="job.retitled"):
    """The job has another title."""

    job_id: Id
    title: Title


class JobDeadlineChanged(Common, frozen=True, tag="job.deadline_changed"):
    """The deadline was moved. None takes it away."""

    job_id: Id
    deadline: Moment | None


class CommentAdded(Common, frozen=True, tag="comment.added"):
    """Somebody commented on a job. `mentions` are people beside those whom the text mentions by name."""

    job_id: Id
    text: Text
    # Left out where there is none, so that the fingerprint of a comment is what it was before there were mentions.
    mentions: Annotated[tuple[Id, ...], Meta(max_length=MAX_MENTIONS)] | UnsetType = UNSET


class JobWatched(Common, frozen=True, tag="job.watched"):
    """A user wants to be notified of a job's comments."""

    job_id: Id
    user_id: Id


class JobUnwatched(Common, frozen=True, tag="job.unwatched"):
    """A user no longer wants to be notified of a job's comments."""

    job_id: Id
    user_id: Id


class UserUpserted(Common, frozen=True, tag="user.upserted"):
    """A user is new or changed."""

    user_id: Id
    name: Name
    role: Role


class UserDeactivated(Common, frozen=True, tag="user.deactivated"):
    """A user has left: signs in no more, and gets no new work."""

    user_id: Id


class UserActivated(Common, frozen=True, tag="user.activated"):
    """A user who was deactivated is back."""

    user_id: Id


class TenantUpserted(Common, frozen=True, tag="tenant.upserted"):
    """A tenant is new or changed. `time_zone` is an IANA name, and the tenant's days are counted in that zone."""

    name: Name
    time_zone: Annotated[str, Meta(min_length=1, max_length=lengths.TIME_ZONE)] | UnsetType = UNSET


class NotificationRequested(Common, frozen=True, tag="notification.requested"):
    """A backend asks for one notification in its own words."""

    user_id: Id
    notification_type: TypeName
    priority: Priority
    title: Title
    message: Text | None = None
    data: dict[str, Any] | None = None


DomainEvent: TypeAlias = (
    JobCreated
    | JobAssigned
    | JobSubmitted
    | JobApproved
    | JobRejected
    | JobCompleted
    | JobCancelled
    | JobRetitled
    | JobDeadlineChanged
    | CommentAdded
    | JobWatched
    | JobUnwatched
    | UserUpserted
    | UserDeactivated
    | UserActivated
    | TenantUpserted
    | NotificationRequested
)

TYPES: Mapping[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(DomainEvent)}
"""The tag of each kind of event, such as `job.assigned`, by its class."""

HALF_A_PAIR = "half of a surrogate pair (an escape from \\ud800 to \\udfff): send whole characters"


def _read_float(literal: str) -> float:
    """The number that a literal stands for. msgspec's own reader takes 8 µs for such as `1e300`: `data` full of them
    held up the loop for 85 ms. Python's takes a quarter of one for any.

    Raises:
        ValueError: it is beyond all doubles.
    """
    number = float(literal)
    if not isfinite(number):
        raise ValueError("a number is out of range")
    return number


_decoder: msgspec.json.Decoder[DomainEvent] = msgspec.json.Decoder(DomainEvent, float_hook=_read_float)
_batch_decoder: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder(order="deterministic")


_WRONG_TYPE = "at `$.type`"
"""How msgspec ends its sentence about a tag that is none. It does not say which there are."""


def decode_event(body: bytes | msgspec.Raw) -> DomainEvent:
    """The domain event in a JSON text.

    Raises:
        Refused: `invalid`, with a message that names the field and what it must be.
    """
    text = bytes(body)
    if len(text) > MAX_EVENT_BYTES:
        raise Refused(Code.INVALID, f"an event has at most {MAX_EVENT_BYTES} bytes of JSON, this one {len(text)}")
    event: DomainEvent
    try:
        event, text = decode_with_ids(_decoder, DomainEvent, text)
    except Refused as refused:
        if not refused.message.endswith(_WRONG_TYPE):
            raise
        raise Refused(refused.code, f"{refused.message}; the types are {', '.join(TYPES.values())}") from None
    # First, because the check of texts builds the path to each value: that is slow for long keys over many items.
    if isinstance(event, NotificationRequested) and event.data is not None:
        _check_data(event.data, small=len(text) <= SMALL_BYTES)
    check_values(event, text)
    return event


def check_event(event: DomainEvent) -> DomainEvent:
    """Check an event that was made in Python, and return it as `decode_event` would make it from its JSON.

    Raises:
        Refused: `invalid`, with the message that the same JSON would get.
    """
    if type(event) not in TYPES:
        raise Refused(Code.INVALID, f"expected a domain event, got `{type(event).__name__}`")
    fields = {
        name: value
        for name, value in zip(event.__struct_encode_fields__, msgspec.structs.astuple(event), strict=True)
        if value is not UNSET
    }
    said = {"type": TYPES[type(event)], **fields}
    checked: DomainEvent = convert(with_numbers(said, DomainEvent) or said, type(event))
    try:
        body = msgspec.json.encode(checked)
    except (RecursionError, TypeError, ValueError, OverflowError) as error:
        if isinstance(checked, NotificationRequested) and checked.data is not None:
            _check_data(checked.data, small=False)
        _check_texts(msgspec.structs.asdict(checked), "")
        raise Refused(Code.INVALID, f"the event is no JSON: {error}") from None
    event = decode_event(body)
    if isinstance(checked, NotificationRequested) and isinstance(event, NotificationRequested):
        try:
            given = msgspec.to_builtins(checked.data)
        except TypeError:
            # A `msgspec.Raw` is in it, which is JSON already.
            return event
        _check_kept(given, event.data, "data")
    return event


def convert(value: object, kind: Any) -> Any:
    """Convert a Python value to a type, with the checks that its JSON would pass.

    Raises:
        Refused: `invalid`, naming the field.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Refused(Code.INVALID, str(error)) from None


def check_values(value: msgspec.Struct, body: bytes) -> None:
    """Refuse what the types of a struct let through: NUL in any text, and times that leave the calendar in UTC.

    Raises:
        Refused: `invalid`, naming the field.
    """
    # A NUL can only come as an escape, so nothing is looked for without one. One byte is found faster than two.
    if b"\\" in body and b"\\u" in body:
        _check_texts(msgspec.structs.asdict(value), "")
    _check_times(value)


def decode_batch(body: bytes) -> list[msgspec.Raw]:
    """The items of a batch post. Each is still to be decoded, so that a bad item does not affect the others.

    Raises:
        Refused: `invalid`, if the body is no JSON array or holds more than `MAX_BATCH` items.
    """
    if body.count(b",") > MAX_BATCH_COMMAS:
        raise Refused(Code.INVALID, f"a batch holds at most {MAX_BATCH_COMMAS} commas: split it")
    items: list[msgspec.Raw] = decode_json(_batch_decoder, body)
    if len(items) > MAX_BATCH:
        raise Refused(Code.INVALID, f"a batch holds at most {MAX_BATCH} events, this one {len(items)}: split it")
    return items


def decode_json(decoder: msgspec.json.Decoder[Any], body: bytes | msgspec.Raw) -> Any:
    """Decode any bytes, and turn every way in which that can fail into one kind of refusal.

    msgspec itself raises RecursionError on deep nesting, UnicodeDecodeError on bad UTF-8 and ValueError on very long
    integers, and none of them is a MsgspecError.
    """
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        message = str(error)
        if "surrogate" in message or ("truncated" in message and b"\\ud" in bytes(body).lower()):
            message = f"a text holds {HALF_A_PAIR}"
        raise Refused(Code.INVALID, _with_hint(message, decoder.type, bytes(body))) from None
    except RecursionError:
        raise Refused(Code.INVALID, "the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise Refused(Code.INVALID, "the body is not valid UTF-8") from None
    except (ValueError, OverflowError):
        raise Refused(Code.INVALID, "the JSON holds a number that is out of range") from None


_UNKNOWN = re.compile(r"Object contains unknown field `([^`]{1,80})`")


class _Tagged(msgspec.Struct):
    type: str = ""


def _with_hint(message: str, shape: Any, body: bytes) -> str:
    """A message about a field that nobody knows, with the nearest one that there is."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is None:
        return message
    try:
        tag = msgspec.json.decode(body, type=_Tagged).type
    except msgspec.MsgspecError:
        return message
    near = nearest(unknown[1], [name for of, name in _fields_of(shape) if of in (None, tag)])
    return message if near is None else f"{message}: the nearest one is `{near}`; correct or remove it"


@lru_cache
def _fields_of(shape: Any) -> tuple[tuple[object, str], ...]:
    """The fields of a struct, or of each member of a union with its tag, as they stand in JSON."""
    info = msgspec.inspect.type_info(shape)
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    structs = [each for each in members if isinstance(each, msgspec.inspect.StructType)]
    return tuple((each.tag, field.encode_name) for each in structs for field in each.fields)


def decode_with_ids(decoder: msgspec.json.Decoder[Any], shape: Any, text: bytes) -> tuple[Any, bytes]:
    """A value of a shape, and the JSON that it was read from, in which ids that came as text are numbers.

    Raises:
        Refused: as `decode_json`.
    """
    try:
        return decode_json(decoder, text), text
    except Refused:
        # Nearly always ids are numbers, and nobody pays for those who write them as text.
        written = _written_with_numbers(text, shape)
        if written is None:
            raise
        return decode_json(decoder, written), written


def _written_with_numbers(text: bytes, shape: Any) -> bytes | None:
    try:
        value = with_numbers(msgspec.json.decode(text), shape)
        return None if value is None else msgspec.json.encode(value)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None


def fingerprint(event: DomainEvent, *, with_job: bool = False) -> str:
    """The SHA-256 of what an event says, independent of its spacing and order of keys. It tells a retry from another
    event.

    `with_job` is part of it, because a retry gets the first answer, and answers with and without the job differ in
    shape.
    """
    return sha256(_encoder.encode(event) + (b"\nwith job" if with_job else b"")).hexdigest()


def check_text(text: str, field: str) -> None:
    """Refuse a text that PostgreSQL cannot store.

    Raises:
        Refused: `invalid`, naming the field.
    """
    if "\0" in text:
        raise Refused(Code.INVALID, f"{field} holds a NUL character: leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(Code.INVALID, f"{field} holds {HALF_A_PAIR}") from None


def _check_texts(value: object, field: str) -> None:
    if isinstance(value, str):
        check_text(value, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, f"a key of {field or 'the event'}")
            _check_texts(item, f"{field}.{key}" if field else _camel(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_texts(item, f"{field}[{index}]")


def _check_times(event: msgspec.Struct) -> None:
    for field in ("occurred_at", "deadline"):
        moment = getattr(event, field, None)
        if moment is not None:
            try:
                utc_text(moment)
            except OverflowError:
                raise Refused(Code.INVALID, f"{_camel(field)} is outside the years 1 to 9999 in UTC") from None


SMALL_BYTES = MAX_DATA_BYTES // 8
"""A body up to this size cannot hold too much data, even if its numbers grow: `1e15` becomes 18 characters."""


def _check_data(data: dict[str, Any], *, small: bool) -> None:
    if not small:
        size = len(_json_of(data))
        if size > MAX_DATA_BYTES:
            raise Refused(Code.INVALID, f"data is {size} bytes as JSON: at most {MAX_DATA_BYTES}")
    place = _large_integer(data, MAX_DATA_DEPTH)
    if place is not None:
        raise Refused(Code.INVALID, f"data{place} is an integer beyond 2^53 - 1: send it as text")


def _json_of(data: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(data)
    except RecursionError:
        raise Refused(Code.INVALID, f"data is nested more than {MAX_DATA_DEPTH} levels deep") from None
    except UnicodeEncodeError:
        raise Refused(Code.INVALID, f"data holds {HALF_A_PAIR}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(Code.INVALID, f"data is no JSON: {error}") from None


def _large_integer(value: object, depth: int) -> str | None:
    """The path to the first integer that JavaScript would round, or None. The path is built only if there is such an
    integer."""
    if depth < 0:
        raise Refused(Code.INVALID, f"data is nested more than {MAX_DATA_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            place = _large_integer(item, depth - 1)
            if place is not None:
                return f".{key}{place}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            place = _large_integer(item, depth - 1)
            if place is not None:
                return f"[{index}]{place}"
    elif isinstance(value, int) and not -MAX_ID <= value <= MAX_ID:
        return ""
    return None


def _check_kept(given: object, kept: object, place: str) -> None:
    """Refuse what Python can say and JSON cannot, where msgspec writes something else in silence.

    Args:
        given: what a program made, as builtin types.
        kept: what its JSON holds.
        place: the path to it.

    Raises:
        Refused: `invalid`, with the path.
    """
    if isinstance(given, dict) and isinstance(kept, dict):
        if len(given) > len(kept):
            raise Refused(Code.INVALID, f"{place} has two keys that are the same as text: leave one of them out")
        for item, (key, kept_item) in zip(given.values(), kept.items(), strict=True):
            _check_kept(item, kept_item, f"{place}.{key}")
    elif isinstance(given, (list, tuple)) and isinstance(kept, list):
        for index, (item, kept_item) in enumerate(zip(given, kept, strict=True)):
            _check_kept(item, kept_item, f"{place}[{index}]")
    elif isinstance(given, float) and kept is None:
        raise Refused(Code.INVALID, f"{place} is {given}, which is no number to JSON: send it as text, or null")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
