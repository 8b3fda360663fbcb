"""Names are found as others write them, in every script; nothing that tells people apart is lost."""

# ruff: noqa: RUF001 -- letters of other scripts that look like Latin ones are what this is about

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.domain import names
from djactors.domain.names import MAX_TEXT, MAX_WORDS, above, folded, parts, wanted

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("José Ñandú", "jose nandu"),
        ("Jose\N{COMBINING ACUTE ACCENT} NANDU", "jose nandu"),
        ("Nguyễn Thị Ánh", "nguyen thi anh"),
        ("Łukasz Żółć", "łukasz zołc"),  # ł is a letter of its own: Unicode does not take it apart
        ("Straße STRASSE", "strasse strasse"),
        ("İstanbul ISPARTA ırmak", "istanbul isparta ırmak"),
        ("Άννα Σοφός ΆΝΝΑ ΣΟΦΌΣ", "αννα σοφοσ αννα σοφοσ"),
        ("ᾼ ᾳ", "α α"),
        ("Фёдор ЙОРДАН", "федор иордан"),
        ("Їжак", "іжак"),
        ("สมชาย ใจดี", "สมชาย ใจดี"),
        ("ก่ ก้ ก", "ก่ ก้ ก"),
        ("देवी देव", "देवी देव"),
        ("עִבְרִית עברית", "עִבְרִית עברית"),
        ("عَلِيّ علي", "عَلِيّ علي"),
        ("が か", "が か"),
        ("カ\N{COMBINING KATAKANA-HIRAGANA VOICED SOUND MARK}", "ガ"),
        ("한글 이름", "한글 이름"),
        ("王小明", "王小明"),
        ("Գրիգոր ԳՐԻԳՈՐ", "գրիգոր գրիգոր"),
        ("ﬁne Ｗｉｄｅ", "fine wide"),
        ("  Anna\t\N{NO-BREAK SPACE}Maria\N{IDEOGRAPHIC SPACE}Ono ", "anna maria ono"),
        ("An\N{ZERO WIDTH JOINER}na\N{SOFT HYPHEN}", "anna"),
        ("Anne-Marie O'Neil", "anne-marie o'neil"),
        ("\N{COMBINING ACUTE ACCENT}x", "\N{COMBINING ACUTE ACCENT}x"),
        ("", ""),
        ("\N{ZERO WIDTH SPACE}", ""),
    ],
)
def test_a_name_is_folded(name: str, seen: str):
    assert folded(name) == seen


@given(TEXTS)
def test_what_is_folded_stays_as_it_is(name: str):
    once = folded(name)
    assert folded(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(TEXTS)
def test_neither_case_nor_the_form_of_unicode_counts(name: str):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, name)) == folded(name)


def test_every_character_is_folded_for_good():
    for code in range(sys.maxunicode + 1):
        if not 0xD800 <= code < 0xE000:
            once = folded(chr(code))
            assert (code, folded(once)) == (code, once)


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


def test_the_rules_name_the_tables_of_unicode():
    assert unicodedata.unidata_version in names.RULES
