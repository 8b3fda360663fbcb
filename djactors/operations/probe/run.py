"""The probe's order: each check stands on those before it, and one that fails stops only what stands on it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import jwt
import trio

from djactors.config import SettingError, Settings
from djactors.domain.ids import id_of
from djactors.domain.reserved import PROBE_TENANT, PROBE_USER
from djactors.operations.probe import pages, reach
from djactors.operations.probe.delivery import Visit
from djactors.operations.probe.door import Door, NoAnswerError, NotTriedError
from djactors.operations.probe.lines import LostError
from djactors.operations.probe.report import Report, Result, WrongError, found, well
from djactors.operations.tokens import sign

PATIENCE: Final = 10.0
"""Seconds in which each answer must come. Monitors ask once a minute."""

TOKEN_SECONDS: Final = 300
"""The life of the token that the probe signs for itself, beside the time that it keeps quiet."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a probe.

    Attributes:
        url: the address that clients are given.
        token: of the reserved user, with the role service.
        origins: pages that must be allowed; `*` for all.
        idle: seconds to keep quiet, 0 for none.
        ca: a file with a CA to trust.
        patience: seconds in which each answer must come.
        clock: what durations are measured by.
        wall: Unix time.
        nearby: whether the server's machine is this one; None to find out.
    """

    url: str
    token: str
    origins: tuple[str, ...] = ()
    idle: float = 0.0
    ca: str | None = None
    patience: float = PATIENCE
    clock: Callable[[], float] = time.perf_counter
    wall: Callable[[], float] = time.time
    nearby: bool | None = field(default=None)


def token_for(settings: Settings, given: str | None, idle: float) -> str:
    """The token to probe with: the given one, that of the settings, or one that is signed here.

    Raises:
        NotTriedError: there is none, or it is somebody else's.
    """
    token = given or settings.probe_token
    if not token:
        try:
            return sign(
                settings,
                tenant_id=PROBE_TENANT,
                user_id=PROBE_USER,
                role="service",
                ttl=int(TOKEN_SECONDS + idle),
            )
        except SettingError as error:
            raise NotTriedError(f"--token: is missing, and none can be signed here: {error}") from None
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        ids = id_of(claims.get("tenantId")), id_of(claims.get("userId"))
        role = claims.get("role")
    except (jwt.PyJWTError, ValueError):
        raise NotTriedError("--token: is no JWT") from None
    if ids != (PROBE_TENANT, PROBE_USER) or role != "service":
        raise NotTriedError(
            "--token: is not the probe's: make one with `djactors token --role service --tenant "
            f"{PROBE_TENANT} --user {PROBE_USER}`, so that nobody else gets what it posts"
        )
    return token


async def probe(plan: Plan, report: Report) -> AsyncIterator[Result]:
    """Go through the door, and yield the result of each check when it is known.

    Raises:
        NotTriedError: nothing is there to probe.
    """
    door = Door(plan.url, patience=plan.patience, ca=plan.ca, clock=plan.clock)
    visit = Visit(door, plan.token, report, plan.wall)
    started = plan.clock()
    nearby = await reach.is_nearby(door)
    report.measure("connect", "tcp", plan.clock() - started)

    async def take(name: str, check: Callable[[], Awaitable[str]]) -> Result:
        try:
            result = well(name, await check())
        except WrongError as error:
            result = found(name, error)
        except (NoAnswerError, LostError) as error:
            result = found(name, WrongError(_ELSE.get(name, "not_djactors"), str(error), "an answer"))
        report.results.append(result)
        return result

    if door.scheme == "https":
        result = await take("certificate", lambda: reach.certificate(door, plan.wall()))
        yield result
        if not result.ok and result.finding != "certificate_ends_soon":
            return  # The token goes to nobody whom the certificate does not prove.
    result = await take("redirect", lambda: reach.redirect(door, reach.plain_door(door)))
    yield result
    if not result.ok and result.finding in ("redirects", "redirect_loses_body") and door.scheme == "http":
        return  # Everything else would be led away as well.
    dates: list[str] = []

    async def server() -> str:
        told, answer = await reach.server(door)
        try:
            dates.append(reach.clock(answer, plan.wall()))
        except WrongError as error:
            skewed.append(error)
        return told

    async def clock() -> str:
        await trio.lowlevel.checkpoint()
        if skewed:
            raise skewed[0]
        return dates[0]

    skewed: list[WrongError] = []
    result = await take("server", server)
    yield result
    if not result.ok:
        return
    yield await take("clock", clock)
    is_near = nearby if plan.nearby is None else plan.nearby
    yield await take("client address", lambda: reach.client_address(door, nearby=is_near))
    result = await take("token", visit.check_token)
    yield result
    may_deliver = result.ok
    checks: list[tuple[str, Callable[[], Awaitable[str]], bool]] = [
        ("polling", visit.polling, True),
        ("page", partial(pages.own_page, visit), False),
        ("websocket", visit.websocket, True),
        ("upgrade", visit.upgrade, True),
        ("foreign page", partial(pages.foreign_page, visit, plan.origins), False),
        ("listed page", partial(pages.listed_pages, visit, plan.origins), False),
        ("preflight", partial(pages.preflight, visit, plan.origins), False),
        ("batch", partial(reach.batch, visit), True),
        ("old client", partial(pages.old_client, visit), False),
        ("other parser", partial(pages.other_parser, visit), False),
        ("server clock", visit.server_clock, True),
    ]
    if plan.idle:
        checks.append(("idle", partial(visit.idle, plan.idle), True))
    checks.append(("delete", visit.tidy, True))
    for name, check, needs_token in checks:
        if may_deliver or not needs_token:
            yield await take(name, check)


_ELSE: Final = {
    "client address": "bad_gateway",
    "token": "authorization_lost",
    "polling": "polling_refused",
    "page": "polling_refused",
    "foreign page": "polling_refused",
    "listed page": "polling_refused",
    "preflight": "headers_not_allowed",
    "websocket": "websocket_not_passed",
    "upgrade": "upgrade_failed",
    "batch": "body_too_large",
    "old client": "old_protocol",
    "other parser": "other_parser",
    "delete": "delete_refused",
    "idle": "idle_cut",
}
"""The finding of a check whose request was not answered at all."""
