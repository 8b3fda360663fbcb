"""A request with its retries, without I/O: what an answer means, and how long to wait before the next attempt.

A shell sends, receives and waits; this decides. Only what may be repeated is repeated: reads, and posts under an
idempotency key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from djactors.client._errors import ApiError, DjactorsError, UnreachableError

RETRIED: Final = frozenset({429, 502, 503, 504})
"""Statuses that say nothing about the request itself: the server is busy or away, or a proxy says so. 500 is a fault
that a repetition meets again."""


NONSENSE: Final = "an answer that is none of djactors: is the address the right one?"

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long and how often a request is tried. Times are in seconds.

    Attributes:
        timeout: for all attempts together, with the waits between them.
        attempt_timeout: for one attempt, from the connection to the last byte of the answer. `Client` cannot interrupt
            the look-up of a name, tries each address of a name for as long, and bounds only each wait for a server of
            https:// behind a proxy of https://.
        delay, max_delay: the first wait, and the longest one; each is twice the one before.
        jitter: the part of each wait that is random, from 0 to 1, so that clients do not come back in one moment.
        max_retry_after: the longest wait that a `Retry-After` can ask for; a longer one fails at once.
    """

    timeout: float = 30.0
    attempt_timeout: float = 10.0
    delay: float = 0.25
    max_delay: float = 5.0
    jitter: float = 0.5
    max_retry_after: float = 60.0

    def __post_init__(self) -> None:
        """Check what would otherwise fail far from here.

        Raises:
            ValueError: it names the field.
        """
        for name in ("timeout", "attempt_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0 seconds")
        for name in ("delay", "max_delay", "max_retry_after"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: must not be below 0 seconds")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter: must be from 0 to 1")


class Request(msgspec.Struct, frozen=True):
    """What is sent; a retry sends the same. `path` has its query already."""

    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    repeatable: bool = True


class Answer(msgspec.Struct, frozen=True):
    """A good answer."""

    status: int
    body: bytes


class Pause(msgspec.Struct, frozen=True):
    """Wait so many seconds, then try again; with `renew`, by another token."""

    seconds: float
    renew: bool = False


class Exchange:
    """One request, from its first attempt to its answer.

    Args:
        policy: how long and how often.
        random: gives numbers from 0 to 1.
        now: a monotonic clock, in seconds.
        repeatable: whether it may be sent again after no answer came.
        can_renew: whether there may be a fresher token after a 401.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        random: Callable[[], float],
        now: Callable[[], float],
        *,
        repeatable: bool,
        can_renew: bool,
    ) -> None:
        self._policy, self._random, self._now = policy, random, now
        self._repeatable, self._may_renew = repeatable, can_renew
        self._deadline = now() + policy.timeout
        self._failures = 0

    @property
    def attempt_seconds(self) -> float:
        """How long the next attempt may take."""
        # Never nothing: a wait that just fits is followed by an attempt.
        return max(0.001, min(self._policy.attempt_timeout, self._deadline - self._now()))

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer | Pause:
        """Take an answer; return it if it is the good one, or else what to do before the next attempt.

        Raises:
            ApiError: the server refused for good, or there is no time for another attempt.
        """
        if 200 <= status < 300:
            return Answer(status, body)
        error = error_of(status, headers, body)
        if status == 401 and self._may_renew:
            self._may_renew = False
            return Pause(0.0, renew=True)
        # 429 and 503 say that nothing was done, but for a batch that took too long.
        if status in RETRIED and self._repeatable:
            wait = self._next_wait()
            if error.retry_after is not None:
                wait = error.retry_after + wait * self._policy.jitter
                if error.retry_after > self._policy.max_retry_after:
                    raise error
            if self._now() + wait < self._deadline:
                return Pause(wait)
        raise error

    def failed(self, why: str) -> Pause:
        """No answer came: return what to do before the next attempt.

        Raises:
            UnreachableError: there is no time for one, or the request must not be repeated.
        """
        wait = self._next_wait()
        if not self._repeatable:
            raise UnreachableError(f"{why}; it is not sent again, as it has no idempotency key")
        if self._now() + wait >= self._deadline:
            raise UnreachableError(f"no answer within {self._policy.timeout:g} s, the last time: {why}")
        return Pause(wait)

    def _next_wait(self) -> float:
        policy = self._policy
        doubled = policy.delay * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(doubled, policy.max_delay) * (1 - policy.jitter * self._random())


def decoded(decoder: "msgspec.json.Decoder[T]", answer: Answer) -> T:
    """What a good answer says.

    Raises:
        DjactorsError: it is no JSON, or of another shape.
    """
    try:
        return decoder.decode(answer.body)
    except (ValueError, RecursionError):
        raise DjactorsError(NONSENSE) from None


def converted(ack: Mapping[str, Any], kind: type[T]) -> T:
    """What a good ack says.

    Raises:
        DjactorsError: it is of another shape.
    """
    try:
        return msgspec.convert(ack, kind)
    except ValueError:
        raise DjactorsError(NONSENSE) from None


class _Told(msgspec.Struct):
    code: str
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Told


_error_decoder = msgspec.json.Decoder(_ErrorBody)


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that an answer tells, with whatever it says of itself."""
    text = headers.get("retry-after", "").strip()
    # A number of more digits is no wait that anybody means. Ours sends no dates.
    retry_after = float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
    try:
        told = _error_decoder.decode(body).error
    except (ValueError, RecursionError):
        quoted = body[:200].decode(errors="replace").strip()
        told = _Told(f"http_{status}", f"not an answer of djactors: {quoted}" if quoted else "an empty answer")
    return ApiError(told.code, told.message, status=status, retry_after=retry_after)


def api_error_in(item: Mapping[str, Any]) -> ApiError | None:
    """The error of an ack, or of an item of a batch; None where it is good."""
    told = item.get("error")
    if not isinstance(told, Mapping):
        return None
    return ApiError(str(told.get("code", "internal")), str(told.get("message", "")))
