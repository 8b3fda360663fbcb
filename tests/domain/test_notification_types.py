"""An installation's own notification types: what is refused with which mend, and what two types make of one event."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from djactors.domain.jobs import Job
from djactors.domain.notification_rules import BUILT_IN_RULES, Rules, apply
from djactors.domain.notification_types import (
    BUILT_IN,
    EVENTS,
    MAX_OF_EVENT,
    PLACEHOLDERS,
    RECIPIENTS,
    NotificationType,
    NotificationTypeError,
    from_fields,
    placeholders,
    table_of,
)
from tests.domain.test_notification_rules import ASSIGNEE, JOB, MANAGER, REQUESTER, WATCHER_1, WATCHER_2

OWN = {"events": ["job.rejected"], "recipients": ["manager"], "title": "{actor} rejected {job}"}


def read(text: str) -> Rules:
    """The rules of a file."""
    return Rules(from_fields(name, fields) for name, fields in tomllib.loads(text).items())


def own(name: str = "own", **fields: Any) -> NotificationType:
    said = {key: tuple(value) if isinstance(value, list) else value for key, value in {**OWN, **fields}.items()}
    return NotificationType(name, **said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[job_asigned]\ntitle = "x"', "job_asigned: is no type that djactors has: did you mean job_assigned? "),
        ("[zebra]\nenabled = false", "zebra: is no type that djactors has: say its events, recipients and title"),
        ("[Zebra]\nenabled = false", "Zebra: is no name of a type: write up to 50 small letters"),
        (f"[{'z' * 51}]\nenabled = false", f"{'z' * 51}: is no name of a type"),
        ('["a\\nb"]\nenabled = false', "'a\\nb': is no name of a type"),
        ("[daily_summary]\nenabled = false", "daily_summary: is worded by the server itself: leave it out"),
        ("job_assigned = false", "job_assigned: must be a table with fields such as events, recipients, priority"),
        ('[job_assigned]\ntitel = "x"', "job_assigned: titel does not exist: did you mean title? There are events,"),
        ("[job_assigned]\ntitle = 5", "job_assigned.title: must be a text, and not an empty one"),
        ('[job_assigned]\ntitle = " "', "job_assigned.title: must be a text, and not an empty one"),
        (f'[job_assigned]\ntitle = "{"x" * 256}"', "job_assigned.title: has 256 characters: at most 255 are allowed"),
        (f'[job_assigned]\nmessage = "{"x" * 4001}"', "job_assigned.message: has 4001 characters: at most 4000"),
        ('[job_assigned]\ntitle = "a\\nb"', "job_assigned.title: holds a control character or a line"),
        ('[job_assigned]\nmessage = "a\\u0000b"', "job_assigned.message: holds a control character or a line"),
        ('[job_assigned]\ntitle = "{jobtitle}"', "job_assigned.title: {jobtitle} does not exist: did you mean {job"),
        ('[job_assigned]\ntitle = "{0}"', "job_assigned.title: {0} does not exist: There are job, job_title, actor"),
        ('[job_assigned]\ntitle = "{}"', "job_assigned.title: {''} does not exist"),
        ('[job_assigned]\ntitle = "{job.__class__}"', "job_assigned.title: {job.__class__} does not exist"),
        ('[job_assigned]\ntitle = "{job!r}"', "job_assigned.title: {job} has more in its braces than a name"),
        ('[job_assigned]\ntitle = "{job:>999999999}"', "job_assigned.title: {job} has more in its braces than a name"),
        ('[job_assigned]\ntitle = "{job"', "job_assigned.title: expected '}' before end of string; a brace that"),
        ('[job_assigned]\ntitle = "50 }"', "job_assigned.title: Single '}' encountered in format string; a brace"),
        ('[job_assigned]\ntitle = "{words}"', "job_assigned.title: {words} may be 4,000 characters long: put it into"),
        ('[job_assigned]\nevents = ["job.asigned"]', "job_assigned.events: job.asigned does not exist: did you mean "),
        ('[job_assigned]\nevents = ["user.upserted"]', "job_assigned.events: user.upserted does not exist"),
        ("[job_assigned]\nevents = []", "job_assigned.events: must be a list of texts, and not an empty one"),
        ('[job_assigned]\nevents = "job.created"', "job_assigned.events: must be a list of texts"),
        ("[job_assigned]\nrecipients = [7]", "job_assigned.recipients: must be a list of texts"),
        ('[job_assigned]\nrecipients = ["watcher"]', "job_assigned.recipients: watcher does not exist: did you "),
        ('[job_assigned]\nrecipients = ["role:service"]', "job_assigned.recipients: role:service does not exist"),
        ('[job_assigned]\nrecipients = ["manager", "manager"]', "job_assigned.recipients: names one twice"),
        ('[job_assigned]\nrecipients = ["mentioned"]', "job_assigned.recipients: only comment.added mentions anybody"),
        ('[job_assigned]\npriority = "URGENT"', "job_assigned.priority: URGENT does not exist: There are CRITICAL"),
        ('[job_assigned]\npriority = "high"', "job_assigned.priority: high does not exist"),
        ('[job_assigned]\nenabled = "no"', "job_assigned.enabled: must be true or false"),
        ("[job_assigned]\neven_if_muted = 1", "job_assigned.even_if_muted: must be true or false"),
        ('[sla_alert_24h]\ntitle = "{actor}"', "sla_alert_24h.title: {actor} is nobody where the clock causes"),
        ('[own]\nevents = ["job.created"]\ntitle = "x"', "own.recipients: is missing: a type of your own needs it"),
        ('[own]\nevents = ["job.created"]\nrecipients = ["manager"]', "own.title: is missing"),
        ('[own]\nevents = ["notification.requested"]\ntitle = "x"', "own.title: is said by the backend that posts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_mend(text: str, said: str):
    with pytest.raises(NotificationTypeError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(said)
    assert message.isprintable()
    assert len(message) < 500


def test_what_is_made_in_python_is_checked_alike():
    for wrong in ("job_assigned", None, {"name": "own"}):
        with pytest.raises(NotificationTypeError, match="must be a NotificationType"):
            Rules([wrong])  # type: ignore[list-item]
    with pytest.raises(NotificationTypeError, match=r"^own.priority: 5 does not exist"):
        Rules([own(priority=5)])
    with pytest.raises(NotificationTypeError, match=r"^7: is no name of a type"):
        Rules([NotificationType(7)])  # type: ignore[arg-type]
    with pytest.raises(NotificationTypeError, match=r"^own.recipients: must be a list of texts"):
        Rules([own(recipients={"manager"})])


def test_a_list_is_as_good_as_a_tuple_and_every_script_is_taken():
    title = "Job\u00a0{job}: อนุมัติ, 👩\u200d🔧"
    listed = NotificationType("own", events=["job.rejected"], recipients=["manager"], title=title)  # type: ignore[arg-type]
    assert Rules([listed]).digest == Rules([own(title=title)]).digest


def test_an_event_causes_only_so_many_types():
    kinds = [own(f"own_{number}") for number in range(MAX_OF_EVENT)]
    with pytest.raises(NotificationTypeError, match=r"^own_0.events: job.rejected causes 21 types, and at most 20 are"):
        Rules(kinds)
    assert Rules([*kinds[1:]]).caused_by("job.rejected")[-1].type == "approval_rejected"


def test_nothing_said_is_the_table_that_comes_with_djactors():
    assert Rules().types == BUILT_IN_RULES.types
    assert Rules().digest == BUILT_IN_RULES.digest
    assert [each.name for each in table_of(())] == [each.name for each in BUILT_IN]


def test_a_change_is_of_what_it_says_and_the_later_one_wins():
    rules = Rules([own(priority="LOW"), NotificationType("own", title="{job} is not done"), own("other")])
    assert [rule.type for rule in rules.caused_by("job.rejected")] == ["own", "other", "approval_rejected"]
    rule = rules.by_type["own"]
    assert (rule.title, rule.message, rule.priority) == ("{job} is not done", "{job_title}", "LOW")
    changed = read('[job_assigned]\npriority = "LOW"').by_type["job_assigned"]
    before = BUILT_IN_RULES.by_type["job_assigned"]
    assert (changed.priority, changed.title, changed.audience) == ("LOW", before.title, before.audience)


def test_the_digest_tells_tables_apart_and_knows_the_same_one():
    assert read('[job_assigned]\npriority = "HIGH"\nenabled = true').digest == BUILT_IN_RULES.digest
    others = [
        read("[job_assigned]\nenabled = false"),
        read('[job_assigned]\ntitle = "{job}"'),
        Rules([own("a"), own("b")]),
        Rules([own("b"), own("a")]),
    ]
    assert len({rules.digest for rules in (*others, BUILT_IN_RULES)}) == 5


def test_a_type_that_is_switched_off_is_caused_by_nothing():
    rules = read("[comment_added]\nenabled = false")
    assert [rule.type for rule in rules.caused_by("comment.added")] == ["mentioned"]
    assert rules.requested == {"comment_added": None}
    assert "comment_added" not in rules.by_type


def test_a_backends_type_has_the_priority_that_the_installation_gives_it():
    rules = read('[news]\nevents = ["notification.requested"]\npriority = "LOW"\n[job_assigned]\npriority = "LOW"')
    assert rules.requested == {"news": "LOW"}
    assert rules.caused_by("notification.requested") == ()
    assert read('[news]\nevents = ["notification.requested"]').requested == {}


def told(rules: Rules, *events: str, job: Job = JOB, **more: Any) -> list[tuple[int, str]]:
    outcome = apply(
        rules.caused_by(*events),
        job,
        **{"actor_id": None, "actor_name": "Mary", "watchers": lambda: (WATCHER_1, WATCHER_2), **more},
    )
    assert len({draft.user_id for draft in outcome.drafts}) == len(outcome.drafts)
    return [(draft.user_id, draft.type) for draft in outcome.drafts]


def test_whoever_two_types_concern_is_told_by_the_first_and_own_types_go_first():
    rules = Rules([own(recipients=["manager", "requester"]), own("late", recipients=["manager", "watchers"])])
    assert told(rules, "job.rejected") == [
        (MANAGER, "own"),
        (REQUESTER, "own"),
        (WATCHER_1, "late"),
        (WATCHER_2, "late"),
        (ASSIGNEE, "approval_rejected"),
    ]


def test_who_is_mentioned_is_told_of_that_before_all_else():
    rules = Rules([own(events=["comment.added"], recipients=["watchers", "assignee"])])
    assert told(rules, "comment.added", mentioned=(WATCHER_1, MANAGER)) == [
        (WATCHER_1, "mentioned"),
        (MANAGER, "mentioned"),
        (WATCHER_2, "own"),
        (ASSIGNEE, "own"),
    ]
    off = read("[mentioned]\nenabled = false")
    assert told(off, "comment.added", mentioned=(WATCHER_1,)) == [
        (WATCHER_1, "comment_added"),
        (WATCHER_2, "comment_added"),
    ]


def test_everybody_of_a_role_is_told_and_nobody_twice():
    rules = Rules([own(recipients=["role:admin", "manager", "role:manager"])])
    people = {"admin": (50, MANAGER), "manager": (MANAGER, 51)}
    assert told(rules, "job.rejected", of_role=people.__getitem__)[:3] == [(50, "own"), (MANAGER, "own"), (51, "own")]


def test_a_wording_is_filled_in_and_cut_and_what_people_write_is_no_template():
    rules = Rules([own(title="{{{job}}} {status}", message="{actor}: {words} {deadline}")])
    outcome = apply(
        rules.caused_by("job.rejected"),
        JOB,
        actor_id=None,
        actor_name="{job}",
        watchers=tuple,
        words="{actor}" + "x" * 5000,
        more={"status": "rejected", "deadline": "no deadline"},
    )
    draft = outcome.drafts[0]
    assert draft.title == "{DJ-2026-0005} rejected"
    assert draft.message == "{job}: {actor}" + "x" * (4000 - len("{job}: {actor}"))


def test_every_placeholder_is_one_that_can_be_filled_in():
    (rule,) = [Rules([own(message=" ".join(f"{{{name}}}" for name in PLACEHOLDERS))]).by_type["own"]]
    assert placeholders(rule.message) == set(PLACEHOLDERS)


def test_every_event_and_every_recipient_is_taken():
    for event in EVENTS[:-1]:
        assert Rules([own(events=[event], title="{job}")]).by_type["own"].title == "{job}"
    for recipient in RECIPIENTS:
        Rules([own(events=["comment.added"], recipients=[recipient])])
