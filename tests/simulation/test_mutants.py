"""Every deliberate bug is found by the suite's seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.plan import draw
from tests.simulation.run import attempt
from tests.simulation.suite import SEEDS, untraced, where_possible

pytestmark = where_possible

FOUND_BY = {
    "acknowledge_before_sync": 0,
    "leave_the_log_as_it_is_found": 355,
    "acknowledge_before_commit": 0,
    "answer_a_retry_with_less": 0,
    "remember_what_was_rolled_back": 73,
    "answer_before_the_batch_is_done": 73,
    "alert_twice": 5,
    "answer_a_command_that_failed": 140,
    "forget_a_key": 0,
    "take_a_key_for_any_tenants": 0,
    "let_go_of_the_lock_early": 1,
    "tell_another_user": 0,
    "forget_what_a_full_mailbox_missed": 46,
    "tell_what_the_snapshot_had": 46,
    "keep_sockets_over_a_crash": 64,
    "forget_a_commit_that_was_not_told": 31,
    "lose_what_waits_for_a_poll": 4,
    "tell_another_tenant": 0,
    "tell_in_another_order": 0,
    "keep_to_oneself_what_was_archived": 0,
    "reset_without_a_word": 0,
    "look_and_say_nothing": 11,
    "skip_a_change_between_slices": 4,
    "lose_acks_while_polling": 0,
    "drop_what_overflows": 71,
    "drop_a_change_of_a_replay": 0,
    "leave_the_payload_out_of_the_mark": 0,
    "believe_any_number": 17,
    "give_a_list_the_offset_of_later": 83,
    "replay_a_change_twice": 0,
    "leave_the_past_out_of_the_mark": 0,
    "cut_a_replay_at_the_limit": 0,
    "judge_an_offset_on_an_older_snapshot": 9,
    "purge_one_too_many": 7,
    "purge_what_is_young": 7,
    "expire_without_a_word": 7,
    "count_one_too_few": 0,
    "read_a_snapshot_of_before": 26,
    "count_from_nothing": 0,
    "answer_with_the_count_of_before": 33,
    "count_what_was_archived": 0,
    "leave_out_what_came_back": 0,
    "forget_what_was_snoozed": 3,
    "send_beyond_the_limit": 5,
    "keep_whom_was_signed_out": 4,
    "believe_tokens_from_before_a_sign_out": 4,
    "keep_to_the_role_in_the_token": 2,
    "keep_whose_token_has_expired": 2,
    "answer_a_flood_as_if_it_were_done": 85,
    "erase_and_leave_an_inbox": 3,
    "erase_and_leave_the_log": 3,
}
"""A seed that finds each mutant, which is tried first. A change to the drawing of plans moves these seeds, and then
`python -m tests.simulation.mutants` says which they are."""


def test_each_deliberate_bug_has_its_seed() -> None:
    assert FOUND_BY.keys() == MUTANTS.keys()
    assert all(seed < SEEDS for seed in FOUND_BY.values())


@pytest.mark.parametrize("name", FOUND_BY)
@untraced()
def test_a_deliberate_bug_is_found(name: str) -> None:
    likely = FOUND_BY[name]
    for seed in (likely, *(each for each in range(SEEDS) if each != likely)):
        if attempt(draw(seed), MUTANTS[name]).findings:
            return
    pytest.fail(f"none of {SEEDS} seeds finds {name}")
