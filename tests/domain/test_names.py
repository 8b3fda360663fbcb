"""People are found by each word of their name, and what begins with a text is one range of the index."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from djactors.domain.folding import folded
from djactors.domain.names import MAX_TEXT, MAX_WORDS, above, parts, wanted

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def test_a_name_is_found_by_each_of_its_words():
    assert parts("Anna Maria Ono") == ("anna maria ono", ("anna maria ono", "maria ono", "ono"))
    assert parts("Ono Ono") == ("ono ono", ("ono", "ono ono"))
    assert parts("") == ("", ())


@given(st.text(st.characters(codec="utf-8"), max_size=255))
def test_a_long_name_makes_few_and_short_texts(name: str):
    whole, texts = parts(name)
    assert len(texts) <= MAX_WORDS
    assert all(0 < len(text) <= MAX_TEXT for text in texts)
    assert len(whole) <= MAX_TEXT


@given(TEXTS, st.integers(0, 40))
def test_a_query_is_the_beginning_of_a_name_or_of_a_word(name: str, length: int):
    _, texts = parts(name)
    whole = folded(name)
    assert any(text.startswith(wanted(whole[:length])) for text in texts) or not texts


@given(TEXTS, TEXTS)
def test_what_begins_with_a_text_lies_below_the_text_above_it(text: str, more: str):
    top = above(text)
    if top is None:
        assert set(text) <= {chr(sys.maxunicode)}
        return
    assert text + more < top
    assert not top.startswith(text)
    # The databases compare bytes.
    assert (text + more).encode() < top.encode()


@given(TEXTS, TEXTS)
def test_what_does_not_begin_with_a_text_lies_outside(text: str, other: str):
    top = above(text)
    if text <= other and (top is None or other < top):
        assert other.startswith(text)
