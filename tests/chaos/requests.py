"""HTTP of a run's clients and publishers: what gets no answer in time is given up, and tried again by whoever asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import h11
import trio

from tests.serving import Answer, make_token, send_request

ANSWER_SECONDS = 4.0
"""A request that a fault has swallowed is given up after this."""

BETWEEN_TRIES = 0.25


async def ask(url: str, method: str, path: str, **options: Any) -> Answer | None:
    """One request; None where a fault came between."""
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            return await send_request(url, method, path, **options)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError):
            pass
    return None


class Way(Protocol):
    """A client's or a backend's way to the server; `url` is what it is given."""

    url: str

    async def ask(self, method: str, path: str, **options: Any) -> Answer | None:
        """See `ask`."""

    def token(self, **claims: Any) -> str:
        """A good token with these claims; see `sign`."""

    def now(self) -> datetime:
        """The time by the client's clock, which is right."""


class RealWay:
    """A `Way` over the network."""

    url: str

    async def ask(self, method: str, path: str, **options: Any) -> Answer | None:
        """See `ask`."""
        return await ask(self.url, method, path, **options)

    def token(self, **claims: Any) -> str:
        """One that outlives the run."""
        return make_token(ttl=86_400, **claims)

    def now(self) -> datetime:
        """The machine's."""
        return datetime.now(UTC)


async def insist(way: Way, method: str, path: str, **options: Any) -> Answer:
    """Ask until there is an answer that promises something: not 503, not 429."""
    while True:
        answer = await way.ask(method, path, **options)
        if answer is not None and answer.status not in (429, 500, 503):
            return answer
        await trio.sleep(BETWEEN_TRIES)
