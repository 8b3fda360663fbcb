"""How a command has a running server do something: a POST with a token, and its answer."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from djactors.config import SettingError, Settings
from djactors.operations.address import NoAddressError, place_of
from djactors.operations.tokens import sign

OWN_TOKEN_SECONDS = 60
"""The life of the token that a command signs for itself."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read. The right ones have some hundreds."""


class NotDoneError(Exception):
    """The server did not do it; the message says why, and what to do. `status` is of its answer, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UntrustedError(NotDoneError):
    """The server's certificate is not trusted, and will not be however often the server is asked."""


def ask(
    settings: Settings,
    url: str,
    token: str | None,
    path: str,
    body: Mapping[str, Any],
    timeout: float,
    *,
    of_all: bool = False,
    ssl_context: ssl.SSLContext | None = None,
) -> dict[str, Any]:
    """The server's answer to a POST.

    Args:
        settings: has the secret for the token.
        url: where the server is.
        token: without one, the command signs one of a service for itself.
        path: the route.
        body: with the `tenantId`.
        timeout: seconds in which the server must answer.
        of_all: whether the token that is signed names no tenant.
        ssl_context: what checks the server's certificate, if not the CAs of the system do.

    Raises:
        SettingError: there is neither a token nor a secret.
        NotDoneError: the server is not there, or refused.
    """
    try:
        place_of(url)
    except NoAddressError as error:
        raise NotDoneError(f"--url: {error}") from None
    if token is not None:
        if not _fits_a_header(token):
            raise NotDoneError("--token: is no token, which has neither blanks nor ends of lines: copy it again")
    else:
        try:
            tenant_id = None if of_all else body["tenantId"]
            token = sign(settings, tenant_id=tenant_id, role="service", ttl=OWN_TOKEN_SECONDS)
        except SettingError as error:
            raise SettingError(f"--token: is missing, and none can be signed here: {error}") from None
    request = urllib.request.Request(  # noqa: S310 - `place_of` looked at the scheme
        f"{url.rstrip('/')}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=ssl_context) as response:  # noqa: S310
            answer = json.loads(response.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            said = f"{url} answered {error.code}: {_message(error)}"
        raise NotDoneError(said, error.code) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            why = error.reason.verify_message
            raise UntrustedError(
                f"{url} has a certificate that is not trusted ({why}): name a CA of your own with --ca"
            ) from None
        raise NotDoneError(f"{url} cannot be reached: {error.reason}: is the server running there?") from None
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        # So answers what is no web server, or one that breaks off.
        raise _another(url) from None
    if not isinstance(answer, dict):
        raise _another(url)
    return answer


def _another(url: str) -> NotDoneError:
    return NotDoneError(f"{url} is no djactors server: its answer is another one")


def _fits_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(MAX_ANSWER))["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, http.client.HTTPException):
        return "it is no djactors server, or one stands before it"
