"""How hard a secret is to guess, for somebody who knows how people make secrets up.

The guesser tries pieces: words that people put into secrets, runs along the alphabet, the digits or a row of keys,
patterns that repeat, and natural language. Each piece costs the guesser a few bits, however long it is; a character
that belongs to none costs what a random one does. The estimate is rough on purpose, and it errs on the side of the
secret: random bytes in whatever form have about twice the bits that are asked for, and are never refused.

The library zxcvbn was tried. It takes 13 MB of memory, which a server would keep, and it lets whole sentences pass,
because it is meant for short passwords.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

MIN_BITS = 64
"""Of a secret. 2^64 guesses are beyond those who have a token and try secrets on it offline; 16 random bytes have 128
bits."""

PIECE_BITS = 6
"""Of a piece: which of some dozens it is, in small or capital letters."""

MAX_STRIDE = 16
"""The longest pattern whose repetition is looked for in the middle of a secret."""

MIN_RUN = 4
"""The fewest characters of a run: three in a row come about by chance."""

MIN_REPEAT = 3
"""The fewest characters of a part that stood earlier in the secret."""

MIN_OVERLAP = 8
"""The fewest bytes with which a secret of a repeated pattern begins once more."""

MAX_JUDGED = 256
"""The most characters that are looked at. The work grows with their square, and what is beyond makes nothing worse."""

MIN_LETTER_PAIRS = 20
"""The fewest pairs of letters from which natural language is told."""

LANGUAGE_SHARE = 0.4
"""The share of common pairs from which letters count as natural language. English has about 0.55. One in ten random
pairs is common, so that random letters reach this share once in some hundred thousand secrets."""

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYS = {key: 100 * row + place for row, keys in enumerate(_ROWS) for place, key in enumerate(keys)}
_LEET = str.maketrans("013457@$!", "oleastasi")
# The longest first, so that `password` is not taken for `pass` and four letters.
_WORDS = sorted(
    re.findall(
        r"\w+",
        """access admin auth change changeme demo default develop development djactors example hello hs256 insecure jwt
        key letmein login master pass passwd password phrase please private prod production public random sample secret
        secure server session sha256 sign signing staging string super temp test testing token user value welcome your
        """,
    ),
    key=len,
    reverse=True,
)
_COMMON_PAIRS = frozenset(
    re.findall(
        r"\w+",
        """th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le sa si ar ve
        ra ro ic me ri co ll ec om us ne io la li ch ma be em ce ho""",
    )
)


def is_guessable(secret: str) -> bool:
    """Whether a secret has fewer than `MIN_BITS`."""
    return bits(secret) < MIN_BITS


def is_repetition(secret: bytes, shorter_than: int) -> bool:
    """Whether the whole secret is a pattern of fewer than so many bytes, over and over: it is worth no more than that.

    At least `MIN_OVERLAP` bytes must repeat; fewer come about by chance.
    """
    longest = min(shorter_than, len(secret) - MIN_OVERLAP + 1)
    return any(secret[length:] == secret[:-length] for length in range(1, longest))


def bits(secret: str) -> float:
    """About how many bits a guesser has to try; see the module."""
    secret = secret[:MAX_JUDGED]
    text = secret.lower()
    costs = _costs(secret, text)
    plain = text.translate(_LEET)
    # A step beyond ASCII is nobody's alphabet here.
    alphabet = [ord(character) if character.isascii() else 1000 * ord(character) for character in text]
    keyboard = [_KEYS.get(character, 1000 * ord(character)) for character in text]
    place, total = 0, 0.0
    while place < len(text):
        length, cost = 1, costs[place]
        for codes in (alphabet, keyboard):
            run, stride = _run(codes, place)
            if run > length:
                length, cost = run, PIECE_BITS + sum(costs[place : place + stride])
        for other in (_repeat(text, place), _word(plain, place)):
            if other > length:
                length, cost = other, PIECE_BITS
        alone = sum(costs[place : place + length])
        total += min(cost, alone)
        place += length
    return total


def _costs(secret: str, text: str) -> list[float]:
    """What each character costs that belongs to no piece: log2 of as many as it might be."""
    pairs = [f"{one}{other}".lower() for one, other in pairwise(secret) if one.isalpha() and other.islower()]
    common = sum(pair in _COMMON_PAIRS for pair in pairs)
    is_language = len(pairs) >= MIN_LETTER_PAIRS and common >= LANGUAGE_SHARE * len(pairs)
    return [_cost(character, is_language=is_language) for character in text]


def _cost(character: str, *, is_language: bool) -> float:
    if not character.isascii():
        return 7.0
    if character.isdigit():
        return 3.3
    if character.isalpha():
        # A letter of natural language, from Shannon's estimate: 1 to 1.5 bits.
        return 1.5 if is_language else 4.7
    return 2.0 if character in "-_ .,:;/+=" else 5.0


def _run(codes: Sequence[int], start: int) -> tuple[int, int]:
    """The longest run from here, and its stride: each character is a step from the one that is a stride before it.

    A step of 0 is a repetition. With a stride of 1 it is `aaaa`, with a step of 1 it is `abcd`, with a stride of 2 it
    is `a1b2c3`.
    """
    longest = best_stride = 0
    for stride in range(1, MAX_STRIDE + 1):
        end = start + stride
        if end >= len(codes):
            break
        step = codes[end] - codes[start]
        if abs(step) > 2:
            continue
        while end < len(codes) and codes[end] - codes[end - stride] == step:
            end += 1
        length = end - start
        if length >= max(MIN_RUN, 2 * stride + 1) and length - stride > longest - best_stride:
            longest, best_stride = length, stride
    return longest, best_stride


def _repeat(text: str, start: int) -> int:
    """How many characters from here have stood in the secret before."""
    length = 0
    while start + length < len(text) and text[start : start + length + 1] in text[:start]:
        length += 1
    return length if length >= MIN_REPEAT else 0


def _word(text: str, start: int) -> int:
    """The length of the longest word that begins here."""
    return next((len(word) for word in _WORDS if text.startswith(word, start)), 0)
