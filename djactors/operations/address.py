"""Where a server is, as `--url` says it, and whose certificates are trusted on the way, as `--ca` says it."""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult, urlsplit

SHOWN = 60
"""Characters of a wrong address that its message shows: enough to recognize it."""

PORTS = {"http": 80, "https": 443}
"""The schemes of servers, and the port that each has without another one."""


class NoAddressError(Exception):
    """The text is no address of a server; the message says how to write one."""


class NoCertificateError(Exception):
    """The file of certificates cannot be read; the message names it."""


def context_trusting(ca: str | None) -> ssl.SSLContext:
    """What checks a server's certificate: with the CAs of the system, and those in the file `ca` if there is one.

    Raises:
        NoCertificateError: the file cannot be read.
    """
    try:
        context = ssl.create_default_context()
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise NoCertificateError(f"--ca: {ca} cannot be read: {error}") from None
    return context


def place_of(url: str) -> SplitResult:
    """The parts of a server's address. Its port is known to be one, or to be left out.

    Raises:
        NoAddressError: it is none.
    """
    told = f"{url[:SHOWN]!r} is no address of a server: write it like https://host.example"
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError:
        raise NoAddressError(told) from None
    if place.scheme not in PORTS or not place.hostname or port == 0:
        raise NoAddressError(told)
    # A request could not be written with these.
    if not url.isprintable() or " " in url or not place.path.isascii():
        raise NoAddressError(told)
    if place.query or place.fragment or place.username is not None:
        raise NoAddressError(told)
    return place
