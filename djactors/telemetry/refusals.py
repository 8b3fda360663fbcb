"""Refusals and failures: the first of a kind from an address is logged in full, the rest are counted and summed up.

Whoever is refused can ask again at once, as often as they like. So an entry for each would let any client fill the disk
of the log. The operator needs the first entry, which says what came, what was expected and how to mend it, and the
number of the others.

Rules:
  * A kind is what happened, the reason and a code: all three from fixed sets, never a client's words.
  * Each minute, one entry for each kind and address tells how many more there were. After a minute without any, the
    next one counts as the first again.
  * At most `MAX_KEPT` pairs of a kind and an address are kept. Beyond it, a kind has one more place for all other
    addresses together.
  * What came is somebody else's text. It is cut, and tokens in it are not shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import trio
from structlog.typing import FilteringBoundLogger

from djactors.net import host_of
from djactors.telemetry.metrics import Metrics

SUM_SECONDS: Final = 60.0
"""Between two sums: the operator who watches the log sees that it goes on, and a day of it is some 1,400 lines."""

MAX_KEPT: Final = 1_000
"""Pairs of a kind and an address that have an entry of their own: many offices, and at most 33 lines a second of a
crowd that comes from everywhere."""

MAX_SHOWN: Final = 400
"""Characters of what came, and of any other text of a client, that are shown."""

_TOKEN: Final = re.compile(r"eyJ[\w-]{8,}(\.[\w-]*)*", re.ASCII)
"""The beginning of a JWT, in which `{"` becomes `eyJ`, with whatever follows."""

_OTHERS: Final = "others"
"""In the place of an address: all that have no place of their own."""


class _Kept:
    """What is known of a kind from an address. `more` counts those since the last entry."""

    __slots__ = ("more", "peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.more = 0


_Key = tuple[str, str, str, str, str]


class Refusals:
    """Counts and logs what is refused, and what fails over and over.

    Args:
        log: where the entries go.
        metrics: its `refusals` are counted up.
    """

    def __init__(self, log: FilteringBoundLogger, metrics: Metrics) -> None:
        self._log = log
        self._counter = metrics.refusals
        self._kept: dict[_Key, _Kept] = {}
        self._some = trio.Event()

    def refused(self, reason: str, what: str, peer: str = "", code: str = "", **details: Any) -> None:
        """Count a refusal, and log it if it is the first of its kind from that address.

        Args:
            reason: the label under which it is counted.
            what: the event of the entry.
            peer: the address of whoever was refused, as text.
            code: tells kinds of one reason apart.
            details: the rest of the entry: `came`, `expected`, `mend`, and ids. Texts are cut.
        """
        self._counter.labels(reason).inc()
        if self._is_first("warning", what, reason, code, peer):
            self._log.warning(what, reason=reason, **_given(code=code, peer=peer), **_shown(details))

    def repeated(self, what: str, reason: str, **details: Any) -> None:
        """Log a trouble that may come again at once, as refusals are logged, without counting it as one."""
        if self._is_first("warning", what, reason, "", ""):
            self._log.warning(what, reason=reason, **_shown(details))

    def failed(self, what: str, error: BaseException, peer: str = "", **details: Any) -> None:
        """Log a fault of ours with its traceback, if it is the first of its kind from that address.

        Faults are of one kind that are of one class and were raised in the same line.
        """
        reason = f"{type(error).__name__} in {_place_of(error)}"
        if self._is_first("error", what, reason, "", peer):
            self._log.error(what, exc_info=error, reason=reason, **_given(peer=peer), **_shown(details))

    async def run(self) -> None:
        """Sum up once a minute until cancelled, and what is left then. It sleeps while nothing is refused."""
        try:
            while True:
                await self._some.wait()
                while self._kept:
                    await trio.sleep(SUM_SECONDS)
                    self.sum_up()
                self._some = trio.Event()
        finally:
            self.sum_up()

    def sum_up(self) -> None:
        """Log how many more there were since the last time, and forget what has stopped."""
        kept, self._kept = self._kept, {}
        for key, place in kept.items():
            if place.more:
                level, what, reason, code, _ = key
                more, place.more = place.more, 0
                self._kept[key] = place
                log = self._log.error if level == "error" else self._log.warning
                log(what, reason=reason, **_given(code=code, peer=place.peer), more=more)

    def _is_first(self, level: str, what: str, reason: str, code: str, peer: str) -> bool:
        key = (level, what, reason, code, host_of(peer))
        kept = self._kept.get(key)
        if kept is None and len(self._kept) >= MAX_KEPT:
            key = (level, what, reason, code, _OTHERS)
            kept = self._kept.get(key)
            peer = _OTHERS
        if kept is not None:
            kept.more += 1
            return False
        self._kept[key] = _Kept(peer)
        self._some.set()
        return True


def _given(**fields: str) -> dict[str, str]:
    """Those that say something."""
    return {name: value for name, value in fields.items() if value}


def _shown(details: dict[str, Any]) -> dict[str, Any]:
    """The details with their texts made harmless."""
    return {name: _harmless(value) if isinstance(value, str) else value for name, value in details.items()}


def _harmless(text: str) -> str:
    text = _TOKEN.sub("[token]", text)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _place_of(error: BaseException) -> str:
    """The line that raised it."""
    trace = error.__traceback__
    if trace is None:
        return "?"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
