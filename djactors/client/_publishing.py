"""What backends publish with: `Client` blocks, `TrioClient` is its twin; both put one core around their HTTP.

The core makes requests of events and reads the answers. It gives each event an idempotency key unless it has one, so
that a retry after a lost answer records nothing twice.
"""

import random as randomness
import ssl
from collections.abc import Callable, Iterator, Sequence
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
import trio

from djactors.client._api import BlockingApi, TrioApi
from djactors.client._errors import ApiError, DjactorsError, UnreachableError
from djactors.client._events import new_key, prepared
from djactors.client._exchange import NONSENSE, Answer, Request, RetryPolicy, api_error_in, decoded
from djactors.client._tokens import BlockingToken, BlockingTokens, Token, Tokens
from djactors.domain.events import MAX_BATCH, MAX_BATCH_COMMAS, DomainEvent

BATCH_BYTES: Final = 2**20
"""The most bytes of one request of `publish_all`. The server takes 2 MiB by default; a request of half of that makes
nobody wait long, and gets its answer in time."""

BATCH_ROUNDS: Final = 5
"""How often `publish_all` sends events again that the server was too busy for, while the others were recorded."""

_HOPELESS = frozenset({401, 403, 429, 502, 503, 504})
"""Statuses after which the other requests of a batch would be answered alike: each has waited as long as it may."""

_BUSY = frozenset({"too_many_requests", "unavailable", "tenant_importing"})


class Notified(msgspec.Struct, frozen=True, rename="camel"):
    """A notification that an event caused."""

    id: int
    user_id: int
    type: str


class Suppressed(msgspec.Struct, frozen=True, rename="camel"):
    """Somebody who was not notified, and why; the README lists the reasons."""

    user_id: int
    reason: str


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """An event is on disk.

    Attributes:
        event_id: its number.
        seq: the number of the tenant's last change that it caused.
        notifications: what it caused.
        suppressed: who was not notified.
        repeated: whether an earlier attempt, or an earlier event of this `id`, had recorded it already. A batch does
            not say, and has False.
    """

    event_id: int
    seq: int
    notifications: list[Notified]
    suppressed: list[Suppressed]
    repeated: bool = False


_published = msgspec.json.Decoder(Published)


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]


_results = msgspec.json.Decoder(_Results)
_item = msgspec.json.Decoder(dict[str, Any])


def _one(event: DomainEvent) -> Request:
    return Request("POST", "/api/events", msgspec.json.encode(event))


def _read_one(answer: Answer) -> Published:
    published = decoded(_published, answer)
    return published if answer.status == 201 else msgspec.structs.replace(published, repeated=True)


class _Batch:
    """Events that are sent together, in several requests if one would be too large, and what became of each."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.outcomes: list[Published | DjactorsError | None] = [None] * len(bodies)
        self._bodies = bodies
        self._rounds = 0
        self.is_hopeless = False

    @classmethod
    def of(cls, events: Sequence[DomainEvent], new_key: Callable[[], str]) -> Self:
        """A batch of events; one that the server would refuse has its outcome already."""
        bodies: list[bytes] = []
        refused: dict[int, ApiError] = {}
        for place, event in enumerate(events):
            try:
                bodies.append(msgspec.json.encode(prepared(event, new_key)))
            except ApiError as error:
                bodies.append(b"")
                refused[place] = error
        batch = cls(bodies)
        for place, refusal in refused.items():
            batch.outcomes[place] = refusal
        return batch

    @property
    def is_done(self) -> bool:
        """Whether every event has an outcome that stays."""
        return not self._open or self._rounds > BATCH_ROUNDS

    @property
    def _open(self) -> list[int]:
        return [
            place
            for place, outcome in enumerate(self.outcomes)
            if outcome is None or (isinstance(outcome, ApiError) and outcome.status is None and outcome.code in _BUSY)
        ]

    def requests(self) -> Iterator[tuple[list[int], Request]]:
        """The requests of the next round, with the places of their events."""
        self._rounds += 1
        places: list[int] = []
        size = commas = 0
        for place in self._open:
            body = self._bodies[place]
            more = body.count(b",") + 1
            too_much = size + len(body) + 1 > BATCH_BYTES or commas + more > MAX_BATCH_COMMAS
            if places and (too_much or len(places) == MAX_BATCH):
                yield self._request(places)
                places, size, commas = [], 0, 0
            places = [*places, place]
            size += len(body) + 1
            commas += more
        if places:
            yield self._request(places)

    def answered(self, places: Sequence[int], answer: Answer) -> None:
        """Note the answer to a request."""
        try:
            results = _results.decode(answer.body).results
            told = [_item.decode(result) for result in results]
            outcomes = [
                api_error_in(item) or _published.decode(result) for item, result in zip(told, results, strict=True)
            ]
        except (ValueError, RecursionError):
            outcomes = []
        if len(outcomes) != len(places):
            self.failed(places, DjactorsError(NONSENSE))
            return
        for place, outcome in zip(places, outcomes, strict=True):
            self.outcomes[place] = outcome

    def failed(self, places: Sequence[int], error: DjactorsError) -> None:
        """Note that a request failed as a whole. If all others would fail alike, they are not sent."""
        self.is_hopeless = isinstance(error, UnreachableError) or (
            isinstance(error, ApiError) and error.status in _HOPELESS
        )
        for place in self._open if self.is_hopeless else places:
            self.outcomes[place] = error

    def pause(self, policy: RetryPolicy, random: Callable[[], float]) -> float:
        """How long to wait before the next round."""
        return min(policy.delay * 2.0**self._rounds, policy.max_delay) * (1 - policy.jitter * random())

    def results(self) -> list[Published | DjactorsError]:
        """What became of each, in order."""
        return [outcome for outcome in self.outcomes if outcome is not None]

    def _request(self, places: list[int]) -> tuple[list[int], Request]:
        body = b"[" + b",".join(self._bodies[place] for place in places) + b"]"
        return places, Request("POST", "/api/events/batch", body)


class Client:
    """Publishes events to a server, for programs without an event loop. Threads may share one client.

    Close it, or use it in a `with`: it keeps connections open between requests.

    If the environment names a proxy, the requests go through it: the one in `HTTPS_PROXY` or `HTTP_PROXY`, as the URL
    begins, or else the one in `ALL_PROXY`, unless `NO_PROXY` names the server's host. For a SOCKS proxy, install
    `httpx[socks]`.

    Args:
        url: the server's origin, such as `https://notify.example.com`.
        token: a service's token, or a function that returns a fresh one. The function is asked at the beginning, and
            once more when a token was refused.
        retries: how long and how often is tried.
        ssl_context: for `https`; by default what the system trusts.
        transport: another way than the network and its proxies, for tests.
        new_key: makes the idempotency key of an event without `id`; by default a random UUID.
        random: gives numbers from 0 to 1 for the waits.
        now, wait: a monotonic clock, and how to wait by it.

    Raises:
        ValueError, DjactorsError: an argument is wrong, or the proxy that the environment names; the message names it.
    """

    def __init__(
        self,
        url: str,
        token: BlockingToken,
        *,
        retries: RetryPolicy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        new_key: Callable[[], str] = new_key,
        random: Callable[[], float] = randomness.random,
        now: Callable[[], float] = monotonic,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self._policy, self._new_key, self._random, self._wait = retries or RetryPolicy(), new_key, random, wait
        self._api = BlockingApi(
            url,
            BlockingTokens(token),
            self._policy,
            random,
            ssl_context=ssl_context,
            transport=transport,
            now=now,
            wait=wait,
        )

    def publish(self, event: DomainEvent) -> Published:
        """Publish one event, and return once it is on disk.

        It is sent again, under the same idempotency key, while the server is busy or away, as `retries` says. The
        waits that the server asks for (`Retry-After`) are honoured.

        Args:
            event: one of `djactors.domain.events`. Its `id`, if it has one, is the idempotency key; give one if this
                program may send the same event again after it was restarted.

        Raises:
            ApiError: the server refused it, or is busy for longer than there is time.
            UnreachableError: no answer came in time. It may have been recorded.
        """
        return _read_one(self._api.ask(_one(prepared(event, self._new_key))))

    def publish_all(self, events: Sequence[DomainEvent]) -> list[Published | DjactorsError]:
        """Publish many events, and return what became of each, in order.

        They go out in as few requests as the server's bounds allow. A bad event does not affect the others, and raises
        nothing: its place has the exception. If the server is away, or refuses the token, the rest is not tried, and
        has the same exception.
        """
        batch = _Batch.of(events, self._new_key)
        while True:
            for places, request in batch.requests():
                try:
                    batch.answered(places, self._api.ask(request))
                except DjactorsError as error:
                    batch.failed(places, error)
                if batch.is_hopeless:
                    return batch.results()
            if batch.is_done:
                return batch.results()
            self._wait(batch.pause(self._policy, self._random))

    def publish_json(self, bodies: Sequence[bytes]) -> list[Published | DjactorsError]:
        """Publish events that are JSON already, in their order, in one request: for a queue that keeps what it sends.

        Each event must have an `id`, because the request is repeated while the server is busy or away.

        Returns:
            What became of the first ones, at least of one: as many as one request may hold. If the request failed as a
            whole, each has the same exception, with a `status` if the server refused it.
        """
        batch = _Batch(bodies)
        for places, request in batch.requests():
            try:
                batch.answered(places, self._api.ask(request))
            except DjactorsError as error:
                batch.failed(places, error)
            return batch.results()[: len(places)]
        return []

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TrioClient:
    """The twin of `Client` for Trio programs: any number of tasks may share one.

    The arguments and the proxies are those of `Client`, and `token` may be an async function, too. Times are by Trio's
    clock. A call that is cancelled may have been sent; the same event with the same `id` may be sent again.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        retries: RetryPolicy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        new_key: Callable[[], str] = new_key,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._policy, self._new_key, self._random = retries or RetryPolicy(), new_key, random
        self._api = TrioApi(
            url, Tokens(token), self._policy, random, ssl_context=ssl_context, transport=transport, is_proxied=True
        )

    async def publish(self, event: DomainEvent) -> Published:
        """See `Client.publish`."""
        return _read_one(await self._api.ask(_one(prepared(event, self._new_key))))

    async def publish_all(self, events: Sequence[DomainEvent]) -> list[Published | DjactorsError]:
        """See `Client.publish_all`."""
        batch = _Batch.of(events, self._new_key)
        while True:
            for places, request in batch.requests():
                try:
                    batch.answered(places, await self._api.ask(request))
                except DjactorsError as error:
                    batch.failed(places, error)
                if batch.is_hopeless:
                    return batch.results()
            if batch.is_done:
                return batch.results()
            await trio.sleep(batch.pause(self._policy, self._random))

    async def publish_json(self, bodies: Sequence[bytes]) -> list[Published | DjactorsError]:
        """See `Client.publish_json`."""
        batch = _Batch(bodies)
        for places, request in batch.requests():
            try:
                batch.answered(places, await self._api.ask(request))
            except DjactorsError as error:
                batch.failed(places, error)
            return batch.results()[: len(places)]
        return []

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self.aclose()
