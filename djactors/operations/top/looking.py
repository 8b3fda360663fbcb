"""Asks a server how it is, by the routes of the operator, and keeps what is needed to tell rates.

Rules:
  * Counters only rise while a server lives. If `startedAt` is another one, the server was restarted, or another one
    answers, and what was kept is forgotten.
  * Rates of events and deliveries come from the server's own history, so that the first picture has them as well.
  * `/metrics` may be closed to this machine; everything else is shown all the same.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from djactors import __version__
from djactors.config import SettingError, Settings
from djactors.domain.reserved import PROBE_TENANT, PROBE_USER
from djactors.edge.answers import Readiness
from djactors.edge.recent import Past
from djactors.edge.survey import Condition, Node
from djactors.operations.probe.door import Answer, Door, NoAnswerError
from djactors.operations.tokens import sign

TOKEN_SECONDS: Final = 60
"""The life of a token that is signed here. Each look has a new one."""

WINDOW: Final = 60.0
"""Seconds over which quantiles are told, and over which something counts as happening now."""

RATE_WINDOW: Final = 10.0
"""Seconds over which rates are told: they settle, and still follow a burst."""

BARS: Final = 60
"""Seconds of which the small charts have a bar each, if the terminal is wide enough."""


_decoder = msgspec.json.Decoder(Condition)


class NoLookError(Exception):
    """The server does not answer as it should; the message says what came, and what to do.

    `is_final` says that another try cannot help.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def address_of(settings: Settings) -> str:
    """Where a server with these settings listens on this machine.

    Raises:
        NoLookError: that cannot be told.
    """
    host = settings.host.partition(",")[0].strip()
    if settings.unix_socket or settings.tls_cert or not settings.port:
        raise NoLookError("--url: is missing, and the settings name no port, or one with a certificate", is_final=True)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing listens here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


@dataclass(frozen=True)
class Source:
    """Whom to ask, and as whom.

    Attributes:
        door: the server's address.
        settings: what a token is signed with, if none is given.
        token: an admin's; None to sign one.
        tenant: the tenant whose users are named; None for none, if a token is signed.
    """

    door: Door
    settings: Settings
    token: str | None = None
    tenant: int | None = None

    def bearer(self) -> str:
        """A token.

        Raises:
            NoLookError: there is none, and none can be signed.
        """
        if self.token:
            return self.token
        try:
            return sign(
                self.settings,
                tenant_id=PROBE_TENANT if self.tenant is None else self.tenant,
                user_id=PROBE_USER,
                role="admin",
                ttl=TOKEN_SECONDS,
            )
        except SettingError as error:
            raise NoLookError(f"--token: is missing, and none can be signed here: {error}", is_final=True) from None


@dataclass(frozen=True)
class Rates:
    """What was done a second, lately, and in each of the last `BARS` seconds."""

    events: float
    deliveries: float
    events_bars: Sequence[int]
    deliveries_bars: Sequence[int]


@dataclass(frozen=True)
class Look:
    """What the server said of itself, and what has happened since the looks before.

    Attributes:
        condition: the answer of `/api/admin/actors`.
        unready: why the server takes no requests; None if it takes them.
        warnings: what will go wrong if nobody does anything, as the server says it.
        samples: the samples of `/metrics` by name and labels; None if that is closed to us.
        rates: see `Rates`.
        delivery: how long deliveries took lately: an upper bound for the 50th and the 99th of a hundred, or None if
            there were none.
        commit: the same of commits.
        grown: how much each counter of `samples` has grown in `WINDOW`.
        crashes: by the name of an actor, how often it has crashed in `WINDOW`.
    """

    condition: Condition
    unready: str | None
    warnings: tuple[str, ...]
    samples: dict[tuple[str, str], float] | None
    rates: Rates
    delivery: tuple[float, float] | None
    commit: tuple[float, float] | None
    grown: dict[tuple[str, str], float] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kept:
    at: float
    commit: list[int]
    samples: dict[tuple[str, str], float]
    crashes: dict[str, int]


class Looker:
    """Looks again and again.

    Args:
        source: whom to ask.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._started_at = ""
        self._kept: deque[_Kept] = deque()

    async def look(self) -> Look:
        """Ask, once.

        Raises:
            NoLookError: there is no answer, or none that can be shown.
        """
        bearer = (("Authorization", f"Bearer {self._source.bearer()}"),)
        answer = await self._ask("/api/admin/actors?history=true", bearer)
        if answer.status in (401, 403):
            raise NoLookError(f"the token is refused: {_message_of(answer)}", is_final=True)
        if answer.status != 200:
            raise NoLookError(f"it answers {harmless(answer.told())}; is --url right?")
        try:
            condition = _decoder.decode(answer.body)
        except msgspec.DecodeError as error:
            raise NoLookError(
                f"its answer is not that of djactors {__version__} ({error}): is --url right, and is it this version?"
            ) from None
        unready, warnings = await self._readiness()
        return self._judge(condition, unready, warnings, await self._samples())

    async def _ask(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        try:
            return await self._source.door.request("GET", path, headers=headers)
        except NoAnswerError as error:
            raise NoLookError(str(error)) from None

    async def _readiness(self) -> tuple[str | None, tuple[str, ...]]:
        answer = await self._ask("/readyz")
        if answer.status != 200:
            return _message_of(answer), ()
        try:
            return None, tuple(msgspec.json.decode(answer.body, type=Readiness).warnings or ())
        except msgspec.DecodeError:
            # The status says what matters most.
            return None, ()

    async def _samples(self) -> dict[tuple[str, str], float] | None:
        answer = await self._ask("/metrics")
        if answer.status != 200:
            return None
        return dict(_samples_of(answer.body.decode()))

    def _judge(
        self,
        condition: Condition,
        unready: str | None,
        warnings: tuple[str, ...],
        samples: dict[tuple[str, str], float] | None,
    ) -> Look:
        now = self._clock()
        history = condition.history or []
        if condition.started_at != self._started_at:
            self._started_at = condition.started_at
            self._kept.clear()
        while len(self._kept) > 1 and now - self._kept[1].at >= WINDOW:
            self._kept.popleft()
        commit = condition.store.commit
        kept = _Kept(now, commit.counts, samples or {}, dict(_crashes_of(condition.tree)))
        before = self._kept[0] if self._kept else None
        self._kept.append(kept)
        # A server that is younger than the window has done everything in it.
        if before is None and condition.uptime < WINDOW:
            before = _Kept(now, [0] * len(kept.commit), {}, {})
        delivery = condition.delivery
        lately = _difference(delivery.counts, _at(history, condition, WINDOW).delivery)
        return Look(
            condition,
            unready,
            warnings,
            samples,
            _rates(history, condition),
            _quantiles(delivery.bounds, lately),
            _quantiles(commit.bounds, kept.commit if before is None else _difference(kept.commit, before.commit)),
            {} if before is None else _grown(kept.samples, before.samples),
            {}
            if before is None
            else {
                name: count - before.crashes.get(name, 0)
                for name, count in kept.crashes.items()
                if count > before.crashes.get(name, 0)
            },
        )


def _samples_of(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # All metrics that are looked at have one label at most.
            yield (sample.name, next(iter(sample.labels.values()), "")), sample.value


def _crashes_of(node: Node) -> Iterator[tuple[str, int]]:
    yield node.name, node.crashes
    for child in node.children:
        yield from _crashes_of(child)


def _at(history: Sequence[Past], condition: Condition, ago: float) -> Past:
    """The counters as they were so long ago, or as near to it as is known."""
    older = [past for past in history if past.ago >= ago]
    if older:
        return older[-1]
    if condition.uptime <= ago:
        return Past(ago, 0, 0, [0] * len(condition.delivery.counts))
    if history:
        return history[0]
    # Nothing was done for longer than the server remembers.
    counters = condition.counters
    return Past(ago, counters.events, counters.deliveries, condition.delivery.counts)


def _rates(history: Sequence[Past], condition: Condition) -> Rates:
    counters = condition.counters
    before = _at(history, condition, RATE_WINDOW)
    seconds = max(1.0, min(RATE_WINDOW, condition.uptime))
    moments = [_at(history, condition, ago) for ago in range(BARS, 0, -1)]
    events = [*(past.events for past in moments), counters.events]
    deliveries = [*(past.deliveries for past in moments), counters.deliveries]
    return Rates(
        max(0, counters.events - before.events) / seconds,
        max(0, counters.deliveries - before.deliveries) / seconds,
        _steps(events),
        _steps(deliveries),
    )


def _steps(counts: Sequence[int]) -> list[int]:
    return [max(0, after - before) for before, after in pairwise(counts)]


def _difference(now: Sequence[int], before: Sequence[int]) -> list[int]:
    return [max(0, after - earlier) for after, earlier in zip(now, before, strict=False)]


def _quantiles(bounds: Sequence[float], counts: Sequence[int]) -> tuple[float, float] | None:
    """Upper bounds of the median and of the 99th of a hundred; infinity above the last bound."""
    total = sum(counts)
    if not total:
        return None
    return _quantile(bounds, counts, total * 0.5), _quantile(bounds, counts, total * 0.99)


def _quantile(bounds: Sequence[float], counts: Sequence[int], rank: float) -> float:
    seen = 0
    for bound, count in zip(bounds, counts, strict=False):
        seen += count
        if seen >= rank:
            return bound
    return float("inf")


def _grown(now: dict[tuple[str, str], float], before: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    return {
        key: value - before.get(key, 0)
        for key, value in now.items()
        if key[0].endswith("_total") and value > before.get(key, 0)
    }


def _message_of(answer: Answer) -> str:
    try:
        return harmless(json.loads(answer.body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return harmless(answer.told())


def harmless(text: object) -> str:
    """Somebody else's text without what could drive the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
