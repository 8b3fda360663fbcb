"""A text mentions people by their names."""

import pytest

from djactors.domain.events import CommentAdded, fingerprint
from djactors.domain.mentions import MAX_ENDS, MAX_LENGTH, MAX_MENTIONS, mentions_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("no mention", []),
        ("@", []),
        ("@ Ann", []),
        ("write to ann@example.com", []),
        ("@Ann", [["ann"]]),
        ("(@Ann)", [["ann)", "ann"]]),
        ("@Annabel", [["annabel"]]),
        ("@Ann Lee, look", [["ann lee, look", "ann lee,", "ann lee", "ann"]]),
        ("@Ann\nLee", [["ann"]]),
        ("@Ann @Bob", [["ann @bob", "ann @", "ann"], ["bob"]]),
        ("@สมชาย ดู", [["สมชาย ดู", "สมชาย"]]),
        ("@" + "x" * MAX_LENGTH, [["x" * MAX_LENGTH]]),
        ("@" + "x" * (MAX_LENGTH + 1), []),
    ],
)
def test_the_names_that_a_mention_may_mean_are_told_the_longest_first(text: str, names: list[list[str]]):
    assert list(mentions_in(text)) == names


def test_only_so_many_mentions_and_ends_of_words_are_looked_at():
    found = list(mentions_in("@a b c d e f g h i j k l " * (MAX_MENTIONS + 5)))
    assert len(found) == MAX_MENTIONS
    assert {len(names) for names in found} == {MAX_ENDS}


def test_a_comment_without_mentions_has_the_fingerprint_of_before_there_were_mentions():
    event = CommentAdded(tenant_id=1, job_id=5, text="x", actor_id=2)
    assert fingerprint(event) == "a8f921326aaea310fbeab3df942e1dc0476a02c9c935858bc96b4b6cd5640a38"
