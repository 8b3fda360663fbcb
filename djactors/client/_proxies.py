"""The proxy of the environment by which the clients that publish reach a server, if there is one.

httpx would do this by itself. But it looks at all the variables at once, so that a proxy which is not even used for
this server could keep a program from starting, and its error names no variable.
"""

import os
from importlib.util import find_spec
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx

from djactors.client._errors import DjactorsError

MAX_PORT: Final = 65535
"""The largest port of TCP. httpx takes larger ones, and then connects to another port."""

_PORTS: Final = {"http": 80, "https": 443}


def names_a_host(place: httpx.URL) -> bool:
    """Whether a URL has a host that can be looked up, and no port that there is not."""
    try:
        # As the look-up will do it. Letters of other alphabets are in ASCII here, by newer rules than Python's own.
        place.raw_host.decode("ascii").encode("idna")
    except UnicodeError:
        return False
    # httpx writes letters that no host can have with a percent sign.
    return bool(place.host) and "%" not in place.host and (place.port is None or 0 < place.port <= MAX_PORT)


def proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy for a server, whose address has been checked; None if it is reached directly.

    Raises:
        DjactorsError: the variable that names the proxy is wrong. The message does not show its value, which may hold a
            password.
    """
    place = httpx.URL(url)
    # `NO_PROXY` may name an address of IPv6 without brackets, and may have a port.
    if proxy_bypass(place.host) or proxy_bypass(f"{place.host}:{place.port or _PORTS[place.scheme]}"):
        return None
    named = getproxies()
    for scheme in (place.scheme, "all"):
        if text := named.get(scheme):
            return _proxy_at(text, _variable_of(scheme))
    return None


def _proxy_at(text: str, variable: str) -> httpx.Proxy:
    mend = "unset it, or name the server's host in NO_PROXY"
    try:
        proxy = httpx.Proxy(text if "://" in text else f"http://{text}")
    except (httpx.InvalidURL, ValueError):
        proxy = None
    if proxy is None or not names_a_host(proxy.url):
        raise DjactorsError(
            f"{variable}: is no address of a proxy: write it like http://proxy.example.com:3128 or "
            f"socks5://proxy.example.com:1080, {mend}"
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise DjactorsError(
            f"{variable}: names a SOCKS proxy, and the package that speaks to one is not installed: "
            f"install httpx[socks], {mend}"
        )
    return proxy


def _variable_of(scheme: str) -> str:
    # As `getproxies` does: small letters come before capitals.
    names = [name for name, value in os.environ.items() if name.lower() == f"{scheme}_proxy" and value]
    return max(names, default=f"the system's proxy for {scheme}")
