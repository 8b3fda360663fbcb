"""Texts are found as others write them, in every script; nothing that tells words apart is lost."""

# ruff: noqa: RUF001 -- letters of other scripts that look like Latin ones are what this is about

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.domain import folding
from djactors.domain.folding import folded, words_of

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


def is_moved(letter: str) -> bool:
    """Whether a mark behind it is brought before it when a text is decomposed."""
    return unicodedata.combining(letter) != 0


def test_the_letters_and_marks_are_where_the_module_looks_for_them():
    """Every character of Unicode, alone and with a mark: as if each were looked up."""
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        category = unicodedata.category(letter)
        if category == "Cs":
            continue
        if (category in ("Cc", "Cf") and not letter.isspace()) or category in ("Mn", "Me"):
            assert folded(f"a{letter}b") == "ab", hex(code)
        elif unicodedata.is_normalized("NFKD", letter) and letter == letter.casefold() and not is_moved(letter):
            is_folded = letter.isascii() or unicodedata.name(letter, "").startswith(("LATIN ", "GREEK ", "CYRILLIC "))
            # No letter that is composed has this mark.
            marked = f"x{letter}\N{COMBINING SNAKE BELOW}"
            assert (folded(marked) == folded(f"x{letter}")) is (is_folded and not letter.isspace()), hex(code)


def test_the_rules_name_the_tables_of_unicode():
    assert unicodedata.unidata_version in folding.RULES


def test_a_query_is_its_words_each_once():
    assert words_of("  Foo b\u00e4r\tFOO ") == ("foo", "bar")
    assert words_of(" ") == ()
