"""The checks of the door itself: certificate, redirects, whether it is the server that answers, clocks, addresses."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import trio

from djactors.operations.probe.delivery import Visit, judge_skew
from djactors.operations.probe.door import Answer, Door, NoAnswerError, NotTriedError
from djactors.operations.probe.report import WrongError

DAYS: Final = 14
"""Days that a certificate must still be good for. Those of Let's Encrypt are renewed thirty days before their end."""

LARGE: Final = 1_500_000
"""Bytes of a batch that the server takes with its default of 2 MiB, and nginx with its default of 1 MiB does not."""

_LOSE: Final = (301, 302, 303)
_REDIRECTS: Final = (*_LOSE, 307, 308)
_GATEWAY: Final = (502, 503, 504)

# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED and _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH.
_EXPIRED: Final = (9, 10)
_NAME: Final = (62, 64)


async def certificate(door: Door, wall: float) -> str:
    """The certificate is for this name, signed by somebody whom clients trust, and good for a while."""
    try:
        stream = await door.connect()
    except ssl.SSLCertVerificationError as error:
        code = error.verify_code
        finding = {**dict.fromkeys(_EXPIRED, "certificate_expired"), **dict.fromkeys(_NAME, "certificate_name")}.get(
            code, "certificate_untrusted"
        )
        raise WrongError(finding, error.verify_message, f"a good certificate for {door.host}") from None
    except ssl.SSLError as error:
        raise WrongError("not_djactors", f"no TLS: {error}", "TLS, as the address begins with https") from None
    assert isinstance(stream, trio.SSLStream)
    ends = str((stream.getpeercert() or {}).get("notAfter", ""))
    await trio.aclose_forcefully(stream)
    days = (ssl.cert_time_to_seconds(ends) - wall) / 86400
    if days < DAYS:
        raise WrongError("certificate_ends_soon", f"it ends {ends}, in {days:.1f} days", f"{DAYS} days or more")
    return f"good for {days:.0f} days"


async def redirect(door: Door, plain: Door | None) -> str:
    """The address is the one that answers; and where clients use http, they are told to come by https with their
    body."""
    answer = await door.request("POST", "/api/events", headers=[("Content-Type", "application/json")], body=b"{}")
    if answer.status in _REDIRECTS:
        finding = "redirect_loses_body" if answer.status in _LOSE else "redirects"
        raise WrongError(finding, _where(answer), "an answer, as to a POST without a token")
    if plain is None:
        return "none"
    try:
        answer = await plain.request("POST", "/api/events", body=b"{}")
    except NoAnswerError:
        return "nothing answers by http"
    if answer.status in _LOSE:
        raise WrongError("redirect_loses_body", f"{plain.url} → {_where(answer)}", "308, or no answer")
    return f"{plain.url} → {answer.status}"


def _where(answer: Answer) -> str:
    return f"{answer.status} to {answer.headers.get('location', 'nowhere')}"


def plain_door(door: Door) -> Door | None:
    """The same name by http, for an address that has https at its usual port."""
    if door.scheme != "https" or door.port != 443:
        return None
    try:
        return Door(f"http://{door.host_header}{door.base}", patience=door.patience, clock=door.clock)
    except NotTriedError:
        return None


async def server(door: Door) -> tuple[str, Answer]:
    """It is djactors that answers. Returns what is told, and the answer."""
    try:
        answer = await door.request("GET", "/healthz")
    except NoAnswerError as error:
        raise WrongError("bad_gateway", str(error), '200 {"status":"ok"}') from None
    if answer.status in _GATEWAY:
        raise WrongError("bad_gateway", answer.told(), '200 {"status":"ok"}')
    if answer.status != 200 or answer.body.strip() != b'{"status":"ok"}':
        raise WrongError("not_djactors", answer.told(), '200 {"status":"ok"}')
    return "answers", answer


def clock(answer: Answer, wall: float) -> str:
    """The clock of whoever writes the Date: the server, or a proxy such as nginx."""
    text = answer.headers.get("date")
    if text is None:
        return "no Date"
    try:
        skew = parsedate_to_datetime(text).timestamp() - wall
    except ValueError:
        raise WrongError("clock_skew", f"Date: {text[:60]}", "a date as in RFC 9110") from None
    # It has no fractions: half a second is lost on average.
    return judge_skew(skew + 0.5, "Date")


async def client_address(door: Door, *, nearby: bool) -> str:
    """The server knows clients by their addresses, and believes no client's own word.

    /metrics is for addresses of the server's machine by default, so its answer tells what address the server sees.

    Args:
        door: the way to the server.
        nearby: whether this is the server's machine as far as can be seen, so that the answer is right.
    """

    async def readable(headers: Sequence[tuple[str, str]]) -> bool:
        answer = await door.request("GET", "/metrics", headers=headers)
        return answer.status == 200 and b"djactors_" in answer.body

    forged = [("X-Forwarded-For", "127.0.0.1")]
    if await readable([]):
        if nearby:
            return "not seen from the server's own machine: probe from another one"
        raise WrongError("proxy_not_trusted", "/metrics → 200", "404, as to a client on another machine")
    if await readable(forged):
        raise WrongError("address_forged", "/metrics with X-Forwarded-For: 127.0.0.1 → 200", "404, as without it")
    return "as it is"


async def is_nearby(door: Door) -> bool:
    """Whether the door is on this machine: both ends of a connection have one address, or that of the loopback."""
    stream = await door.connect_tcp()
    here, there = stream.socket.getsockname()[0], stream.socket.getpeername()[0]
    await trio.aclose_forcefully(stream)
    return bool(here == there or there in ("127.0.0.1", "::1"))


async def batch(visit: Visit) -> str:
    """A large batch passes: an empty one, with as many blanks as events have bytes."""
    body = b"[" + b" " * (LARGE - 2) + b"]"
    answer = await visit.door.request("POST", "/api/events/batch", headers=visit.bearer, body=body)
    if answer.status == 413 and b'"error"' not in answer.body:
        raise WrongError("body_too_large", answer.told(), f"a batch of {LARGE} bytes to pass")
    return f"{LARGE} bytes → {answer.status}"
