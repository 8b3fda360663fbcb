"""The two shells around `Exchange`: they send by httpx, wait, and try again; one blocks, one runs under Trio.

httpx, because it has both in one interface, with pools, time-outs, certificates and proxies. Redirects are not
followed: a token must not be taken elsewhere.
"""

import ssl
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

import httpx
import trio

from djactors.client._deadlines import DEADLINE, DeadlineTransport
from djactors.client._errors import DjactorsError, UnreachableError
from djactors.client._exchange import Answer, Exchange, Pause, Request, RetryPolicy
from djactors.client._proxies import names_a_host, proxy_for
from djactors.client._tokens import BlockingTokens, Tokens

MAX_ANSWER: Final = 32 * 2**20
"""Bytes of an answer that are read. The largest right one, to comments to a thousand people each, has 18 MB."""

FOREIGN: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
"""All errors of httpx."""

_TOO_LARGE = f"an answer of more than {MAX_ANSWER} bytes"


def checked_url(url: str) -> str:
    """The origin of a server, with a path in front of all routes if a proxy adds one.

    Raises:
        ValueError: it is none; the message says how to write it.
    """
    try:
        place = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        place = httpx.URL()
    is_server = place.scheme in ("http", "https") and names_a_host(place)
    if not is_server or place.query or place.fragment or place.userinfo:
        raise ValueError(f"url: {str(url)[:60]!r} is no address of a server: write it like https://notify.example.com")
    return str(place).rstrip("/")


def _headers(request: Request, token: str) -> list[tuple[str, str]]:
    fields = [("Authorization", f"Bearer {token}"), *request.headers]
    return fields if request.body is None else [*fields, ("Content-Type", "application/json")]


def _judged(exchange: Exchange, error: Exception, response: httpx.Response | None) -> Answer | Pause:
    """What to do after an error of httpx. Here they become errors of these clients.

    Raises:
        DjactorsError: nothing more can be done.
    """
    told = f"{type(error).__name__} {error}".strip()
    if isinstance(error, httpx.TransportError):
        return exchange.failed(told)
    if response is None:
        raise DjactorsError(f"the request failed: {told}") from None
    if not response.is_success:
        # The status is there, and says more than the body, which cannot be unpacked.
        return exchange.answered(response.status_code, response.headers, b"")
    raise DjactorsError(f"an answer that cannot be read: {told}: is the address the right one?") from None


class BlockingApi:
    """Requests of a program without an event loop, through the proxy of the environment. Threads may share it.

    Args:
        url: the server.
        tokens: who asks.
        policy: how long and how often.
        random: gives numbers from 0 to 1.
        ssl_context: for `https`.
        transport: another way than the network, for tests.
        now, wait: a monotonic clock, and how to wait by it.

    Raises:
        ValueError, DjactorsError: the address, or the proxy that the environment names for it, is wrong.
    """

    def __init__(
        self,
        url: str,
        tokens: BlockingTokens,
        policy: RetryPolicy,
        random: Callable[[], float],
        *,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = monotonic,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self._url, self._tokens, self._policy, self._random = checked_url(url), tokens, policy, random
        self._now, self._wait = now, wait
        if transport is None:
            transport = DeadlineTransport(now, ssl_context=ssl_context, proxy=proxy_for(self._url))
        self._http = httpx.Client(transport=transport, trust_env=False)

    def ask(self, request: Request) -> Answer:
        """Send a request until it is answered.

        Raises:
            ApiError: the server refused.
            UnreachableError: no answer came in time.
            DjactorsError: the answer cannot be read.
        """
        can_renew = self._tokens.can_renew
        exchange = Exchange(self._policy, self._random, self._now, repeatable=request.repeatable, can_renew=can_renew)
        token = self._tokens.get()
        while True:
            outcome = self._attempt(exchange, request, token)
            if isinstance(outcome, Answer):
                return outcome
            self._wait(outcome.seconds)
            token = self._tokens.get(fresh=outcome.renew)

    def _attempt(self, exchange: Exchange, request: Request, token: str) -> Answer | Pause:
        seconds = exchange.attempt_seconds
        ends = self._now() + seconds
        response: httpx.Response | None = None
        try:
            with self._http.stream(
                request.method,
                self._url + request.path,
                content=request.body,
                headers=_headers(request, token),
                # These are for each wait. The deadline bounds all of them together; in a transport of the caller's own,
                # the loop below does, as far as it can.
                timeout=seconds,
                extensions={DEADLINE: ends},
            ) as response:
                parts: list[bytes] = []
                size = 0
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER:
                        raise UnreachableError(_TOO_LARGE)
                    if self._now() > ends:
                        return exchange.failed("the answer did not end in time")
        except FOREIGN as error:
            return _judged(exchange, error, response)
        return exchange.answered(response.status_code, response.headers, b"".join(parts))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class TrioApi:
    """Requests of a Trio program; times are by Trio's clock. See `BlockingApi`.

    With `is_proxied`, they go through the proxy of the environment, as those of `BlockingApi` do.
    """

    def __init__(
        self,
        url: str,
        tokens: Tokens,
        policy: RetryPolicy,
        random: Callable[[], float],
        *,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        is_proxied: bool,
    ) -> None:
        self._url, self._tokens, self._policy, self._random = checked_url(url), tokens, policy, random
        if transport is None:
            proxy = proxy_for(self._url) if is_proxied else None
            transport = httpx.AsyncHTTPTransport(verify=ssl_context or True, proxy=proxy)
        self._http = httpx.AsyncClient(transport=transport, trust_env=False)

    async def ask(self, request: Request) -> Answer:
        """Send a request until it is answered. Cancelled, it may have been sent.

        Raises:
            ApiError: the server refused.
            UnreachableError: no answer came in time.
            DjactorsError: the answer cannot be read.
        """
        can_renew = self._tokens.can_renew
        exchange = Exchange(
            self._policy, self._random, trio.current_time, repeatable=request.repeatable, can_renew=can_renew
        )
        token = await self._tokens.get()
        while True:
            outcome = await self._attempt(exchange, request, token)
            if isinstance(outcome, Answer):
                return outcome
            await trio.sleep(outcome.seconds)
            token = await self._tokens.get(fresh=outcome.renew)

    async def _attempt(self, exchange: Exchange, request: Request, token: str) -> Answer | Pause:
        response: httpx.Response | None = None
        try:
            with trio.fail_after(exchange.attempt_seconds):
                async with self._http.stream(
                    request.method,
                    self._url + request.path,
                    content=request.body,
                    headers=_headers(request, token),
                    timeout=None,
                ) as response:
                    parts: list[bytes] = []
                    size = 0
                    async for part in response.aiter_bytes():
                        parts.append(part)
                        size += len(part)
                        if size > MAX_ANSWER:
                            raise UnreachableError(_TOO_LARGE)
        except trio.TooSlowError:
            return exchange.failed("no answer in time")
        except FOREIGN as error:
            return _judged(exchange, error, response)
        return exchange.answered(response.status_code, response.headers, b"".join(parts))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
