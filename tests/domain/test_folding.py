"""A search finds what others write another way, and nothing else."""

import pytest

from djactors.domain.folding import folded, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "JOSE"),
        ("Jose\u0301", "jos\u00e9"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u0391\u03bd\u03c4\u03ce\u03bd\u03b7\u03c2", "\u03b1\u03bd\u03c4\u03c9\u03bd\u03b7\u03c3"),
        ("\u0401\u043b\u043a\u0430", "\u0435\u043b\u043a\u0430"),
        ("Vi\u1ec7t", "viet"),
        ("\uff21\uff22", "ab"),
    ],
)
def test_case_width_and_the_marks_of_three_scripts_do_not_count(one: str, other: str) -> None:
    assert folded(one) == folded(other) == folded(folded(one))


@pytest.mark.parametrize(("one", "other"), [("\u0e01\u0e31", "\u0e01"), ("\u304c", "\u304b"), ("\u00f8", "o")])
def test_the_marks_of_other_scripts_and_whole_letters_count(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_query_is_its_words_each_once() -> None:
    assert words_of("  Foo b\u00e4r\tFOO ") == ("foo", "bar")
    assert words_of(" ") == ()
