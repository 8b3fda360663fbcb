"""The client that the settings describe, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.module_loading import import_string

from djactors.client import DjactorsError, signed_by
from djactors.domain.ids import MAX_ID
from djactors.outbox import client_for

if TYPE_CHECKING:
    import threading

    from djactors.client import BlockingToken, Client

URL = "DJACTORS_URL"
TOKEN = "DJACTORS_TOKEN"  # noqa: S105 - the name of a setting
SECRET = "DJACTORS_JWT_SECRET"  # noqa: S105
SECRET_VARIABLE = "JWT_SECRET"  # noqa: S105
"""Where the secret is in the environment: as the server and its commands know it."""

TENANT = "DJACTORS_TENANT_ID"
CA = "DJACTORS_CA_FILE"
NAMES = (URL, TOKEN, SECRET, TENANT, CA)


class WrongSettingError(Exception):
    """A setting is missing or wrong; the message names it and the mend."""


def client_of_settings(stop: threading.Event) -> Client:
    """A client of the server that the settings name.

    Raises:
        WrongSettingError: they do not describe one.
    """
    url, token, context = server_url(), service_token(), ssl_context()
    try:
        return client_for(url, token, stop, ssl_context=context)
    except (DjactorsError, ValueError) as error:
        argument, _, told = str(error).partition(": ")
        # What is no argument is a variable of the environment, and has its name already.
        name = {"url": URL, "token": TOKEN}.get(argument, argument)
        raise WrongSettingError(f"{name}: {told}") from None


def server_url() -> str:
    """The address of the server. It is checked without the HTTP client, because Django's checks run with most commands.

    Raises:
        WrongSettingError: it is missing or wrong.
    """
    url = getattr(settings, URL, None) or os.environ.get(URL)
    try:
        place = urlsplit(url) if isinstance(url, str) else None
        is_server = place is not None and place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        is_server = False
    if not isinstance(url, str) or not is_server:
        told = "is not set" if not url else f"{str(url)[:60]!r} is no address of a server"
        raise WrongSettingError(f"{URL}: {told}: write it like http://127.0.0.1:3000")
    return url


def service_token() -> BlockingToken:
    """What the requests are authorized by.

    Raises:
        WrongSettingError: it is missing or wrong.
    """
    token: Any = getattr(settings, TOKEN, None)
    secret: Any = getattr(settings, SECRET, None)
    if not token and not secret:
        token = os.environ.get(TOKEN)
        secret = None if token else os.environ.get(SECRET_VARIABLE)
    tenant: Any = getattr(settings, TENANT, None)
    if tenant is not None and not (type(tenant) is int and 1 <= tenant <= MAX_ID):
        raise WrongSettingError(f"{TENANT}: {tenant!r} is no id of a tenant: write a number from 1 on, or leave it out")
    if token and secret:
        raise WrongSettingError(f"{TOKEN}: is set, and so is {SECRET}: leave one of them out")
    if secret:
        try:
            return signed_by(str(secret), tenant)
        except DjactorsError as error:
            raise WrongSettingError(f"{SECRET}: {str(error).partition(': ')[2]}") from None
    if isinstance(token, str) and _is_dotted_path(token):
        try:
            token = import_string(token)
        except ImportError as error:
            raise WrongSettingError(f"{TOKEN}: {error}") from None
    if not token or not (isinstance(token, str) or callable(token)):
        raise WrongSettingError(
            f"{TOKEN}: is not set: write a service's token or a function that returns one, or set {SECRET} to the "
            "server's JWT_SECRET"
        )
    return token  # type: ignore[no-any-return]


def ssl_context() -> ssl.SSLContext | None:
    """What checks the server's certificate, where that is not what the system trusts.

    Raises:
        WrongSettingError: the file cannot be read.
    """
    file = getattr(settings, CA, None)
    if not file:
        return None
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        raise WrongSettingError(f"{CA}: {file} cannot be read: {error}") from None
    return context


def _is_dotted_path(text: str) -> bool:
    # A token has two dots, too, but begins with the letters that `{"` has in Base64.
    return not text.startswith("eyJ") and all(part.isidentifier() for part in text.split(".")) and "." in text
