"""Who is notified of what: the notification types of an installation as rules, ready to be applied to one event. This
code is pure: it uses no clock and no store.

Rules:
  * A rule names its audience by the parts that people have in a job, and by the roles that they have in the tenant.
  * Nobody is notified of what they did themselves.
  * Nobody is notified twice of one event. Whoever is concerned by several types is told by the first of them: those for
    people who are mentioned go first, because nothing is meant for somebody more, then an installation's own in their
    order, then those that come with djactors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec

from djactors.domain import lengths
from djactors.domain.events import Priority
from djactors.domain.jobs import Job
from djactors.domain.notification_types import (
    ASSIGNED,
    OF_ROLE,
    REQUESTED,
    Audience,
    NotificationType,
    placeholders,
    table_of,
)
from djactors.domain.notifications import Draft, encode

DIGEST_LENGTH = 12
"""Characters by which the tables of two nodes are compared: people read them, and nobody makes them up."""

ALWAYS_KNOWN = frozenset({"job", "job_title", "actor", "words"})
"""What is filled in without a further look. Nothing else is in the types that come with djactors."""


class Rule(msgspec.Struct, frozen=True):
    """One type, as it is applied.

    Attributes:
        audience: whom it tells, in this order; see `notification_types.RECIPIENTS`.
        title: a template, and so is `message`.
        uses: the placeholders beyond `ALWAYS_KNOWN` in them.
        reaches_muted: whether it also tells those who have muted the job.
    """

    type: str
    priority: Priority
    audience: tuple[str, ...]
    title: str
    message: str
    uses: frozenset[str] = frozenset()
    reaches_muted: bool = False


class Rules:
    """The notification types of an installation.

    Args:
        changes: what differs from the types that come with djactors, and the installation's own. Of two of one name the
            later one wins, field by field.

    Attributes:
        types: all types, own ones first, the switched off ones as well.
        by_type: the rules of those that are switched on and that an event causes, by their names.
        never_muted: the types that also tell those who have muted the job.
        requested: what to do with a notification that a backend asks for, by its type: the priority that it has here,
            or None if its type is switched off. Most types are not in it, and stay as they are asked for.
        digest: the same for two tables that are the same.

    Raises:
        NotificationTypeError: something is wrong with a type.
    """

    __slots__ = ("_caused", "by_type", "digest", "never_muted", "requested", "types")

    def __init__(self, changes: Iterable[NotificationType] = ()) -> None:
        self.types = table_of(changes)
        self.by_type = {each.name: _rule_of(each) for each in self.types if each.is_on and each.is_worded}
        self.never_muted = frozenset(each.name for each in self.types if each.even_if_muted is True)
        self.requested: dict[str, Priority | None] = {}
        for each in self.types:
            if not each.is_on:
                self.requested[each.name] = None
            elif REQUESTED in (each.events or ()) and isinstance(each.priority, str):
                self.requested[each.name] = each.priority
        self.digest = sha256(encode(self.types)).hexdigest()[:DIGEST_LENGTH]
        # What is asked for in the life of a server is a dozen combinations.
        self._caused: dict[tuple[str, ...], tuple[Rule, ...]] = {}

    def caused_by(self, *events: str) -> tuple[Rule, ...]:
        """The rules that apply where all of these happen at once, in the order in which they do."""
        rules = self._caused.get(events)
        if rules is None:
            kinds = [each for each in self.types if each.name in self.by_type and {*events} & {*(each.events or ())}]
            kinds.sort(key=lambda each: Audience.MENTIONED not in (each.recipients or ()))
            rules = self._caused[events] = tuple([self.by_type[each.name] for each in kinds])
        return rules


def _rule_of(kind: NotificationType) -> Rule:
    title, message, audience = str(kind.title), str(kind.message), kind.recipients or ()
    uses = (placeholders(title) | placeholders(message)) - ALWAYS_KNOWN
    assert kind.priority is not msgspec.UNSET
    return Rule(kind.name, kind.priority, audience, title, message, frozenset(uses), kind.even_if_muted is True)


BUILT_IN_RULES = Rules()
RULES: Mapping[str, Rule] = BUILT_IN_RULES.by_type
"""The seed's eight notification types with their priorities and recipients, and `mentioned`."""

ACTOR = "actor"
"""The recorded reason for not notifying the person who did it."""

DEACTIVATED = "deactivated"
"""The recorded reason for not notifying a person who is deactivated."""

LATE = "late"
"""The recorded reason for not notifying an assignee: the creation that names them came after the job was submitted,
approved, completed or cancelled."""

MUTED = "muted"
"""The recorded reason for not notifying somebody who has muted the job."""

SWITCHED_OFF = "switched_off"
"""The recorded reason for not notifying somebody for whom a backend has asked for a type that is switched off. Of the
events of a type that is switched off nothing is recorded, because it would be as much as the type itself."""


class Told(msgspec.Struct, frozen=True):
    """The result of rules: a draft for each person who is notified, and each person who is left out, with the reason
    and the type."""

    drafts: tuple[Draft, ...]
    suppressed: tuple[tuple[int, str, str], ...]


NOBODY = Told((), ())


def _no_role(_: str) -> Iterable[int]:
    return ()


def apply(
    rules: Sequence[Rule],
    job: Job,
    *,
    actor_id: int | None,
    actor_name: str,
    watchers: Callable[[], Iterable[int]],
    of_role: Callable[[str], Iterable[int]] = _no_role,
    muted_by: Callable[[], Collection[int]] = frozenset,
    mentioned: Collection[int] = (),
    words: str | None = None,
    data: Mapping[str, object] | None = None,
    more: Mapping[str, str] | None = None,
) -> Told:
    """Find who is notified of one event by the rules that it causes, and with which words.

    Args:
        rules: as `Rules.caused_by` has them.
        job: as it is after the event.
        actor_id: who did it.
        actor_name: this person's name.
        watchers: who watches the job; called only if a rule needs it.
        of_role: who has a role in the tenant; called only if a rule needs it.
        muted_by: who has muted the job; called only if it decides which of several rules tells somebody.
        mentioned: whom the event mentions.
        words: the event's own words, such as a reason or a comment; without them the message is the job's title.
        data: what the event adds to `jobId` and `djId`.
        more: the placeholders that the rules use beyond `ALWAYS_KNOWN`.
    """
    facts = {"job": job.label, "job_title": job.title, "actor": actor_name, "words": words or job.title}
    if more is not None:
        facts.update(more)
    body = encode({"jobId": job.id, "djId": job.dj_id, **(data or {})})
    drafts: list[Draft] = []
    suppressed: list[tuple[int, str, str]] = []
    concerned: set[int] = set()
    # Whom a rule reaches although they have muted the job: a rule before it that does not must not take its place.
    reached: set[int] = set()
    reaching = [rule.reaches_muted for rule in rules]
    if reaching != sorted(reaching, reverse=True) and (muted := muted_by()):
        reached = {
            user_id
            for rule in rules
            if rule.reaches_muted
            for user_id in recipients(rule, job, watchers, of_role, mentioned)
            if user_id in muted
        }
    for rule in rules:
        people = recipients(rule, job, watchers, of_role, mentioned)
        if len(rules) > 1:
            people = [
                user_id
                for user_id in people
                if user_id not in concerned and (rule.reaches_muted or user_id not in reached)
            ]
            concerned.update(people)
        if not people:
            continue
        title = rule.title.format_map(facts)[: lengths.TITLE]
        message = rule.message.format_map(facts)[: lengths.TEXT]
        for user_id in people:
            if user_id == actor_id:
                suppressed.append((user_id, ACTOR, rule.type))
            else:
                drafts.append(Draft(user_id, rule.type, rule.priority, title, message, body))
    return Told(tuple(drafts), tuple(suppressed))


def too_late(rules: Rules, told: Told, assignee_id: int, actor_id: int | None) -> Told:
    """Leave out the assignee whom a late creation names, because it assigns nothing: see `jobs.created`.

    Whoever is told of the creation itself is not left out.
    """
    kinds = [rule.type for rule in rules.caused_by(ASSIGNED) if Audience.ASSIGNEE in rule.audience]
    if not kinds or any(draft.user_id == assignee_id for draft in told.drafts):
        return told
    left_out = assignee_id, ACTOR if assignee_id == actor_id else LATE, kinds[0]
    return Told(told.drafts, (*told.suppressed, left_out))


_OF_JOB: Mapping[str, str] = {
    Audience.ASSIGNEE: "assignee_id",
    Audience.APPROVER: "approver_id",
    Audience.REQUESTER: "requester_id",
    Audience.MANAGER: "manager_id",
}


def recipients(
    rule: Rule,
    job: Job,
    watchers: Callable[[], Iterable[int]],
    of_role: Callable[[str], Iterable[int]] = _no_role,
    mentioned: Collection[int] = (),
) -> list[int]:
    """The people whom a rule concerns, each once, in the order in which the rule names them."""
    people: dict[int, None] = {}
    for part in rule.audience:
        field = _OF_JOB.get(part)
        if field is not None:
            user_id = getattr(job, field)
            if user_id is not None:
                people[user_id] = None
        elif part == Audience.WATCHERS:
            people.update(dict.fromkeys(watchers()))
        elif part == Audience.MENTIONED:
            people.update(dict.fromkeys(mentioned))
        else:
            people.update(dict.fromkeys(of_role(part.removeprefix(OF_ROLE))))
    return list(people)
