"""Trusted proxies, and what they say about the client: `X-Forwarded-For` and `X-Forwarded-Host`.

Rules:
  * The headers count only on connections from addresses that are trusted. Anybody else could write anything into them.
  * A proxy adds the address that it was called from at the right end, so the rightmost address that is not itself a
    trusted proxy is the client. What stands left of it was sent by the client and is not read.
  * Where the walk from the right meets something that is no address, it stops: the proxy right of it counts.
  * `X-Forwarded-Host` says for which host the client asked, where the proxy put its own name into `Host`. The rightmost
    value is the one that the trusted proxy wrote. `X-Forwarded-Proto` has no use here: nothing depends on the scheme.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from djactors.net._shares import UNIX_PEER

MAX_HOPS: Final = 16
"""Entries of `X-Forwarded-For` that are read: more proxies than stand in a row anywhere."""

_MAX_ENTRY: Final = 64
"""Characters of an address with brackets, zone and port."""

_REMEMBERED: Final = 4096
"""Headers whose client is remembered, 1 MiB: a person's requests repeat theirs, and to read one takes 10 µs."""

_MAX_REMEMBERED: Final = 128
"""Characters of a header that is remembered: two or three addresses."""

_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[^\]]*)?\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?", re.ASCII)
_HOST: Final = re.compile(r"[!-~]{1,255}", re.ASCII)

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The addresses and networks whose word counts.

    Args:
        networks: such as `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`; `unix` for whoever comes by a Unix socket.

    Raises:
        ValueError: one of them is no address and no network, or is everybody's; the message names it.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        named = tuple(networks)
        self._trusts_unix = UNIX_PEER in named
        self._networks = tuple(_network(each) for each in named if each != UNIX_PEER)
        self._client = lru_cache(maxsize=_REMEMBERED)(self._walk)

    def trusts(self, peer: str) -> bool:
        """Whether this address is a trusted proxy's."""
        if peer == UNIX_PEER:
            return self._trusts_unix
        address = _address(peer)
        return address is not None and self._has(address)

    def client(self, peer: str, forwarded: str | None) -> str:
        """The client behind a trusted proxy at `peer`, by all `X-Forwarded-For` headers joined with commas."""
        if forwarded is None:
            return peer
        return (self._client if len(forwarded) <= _MAX_REMEMBERED else self._walk)(peer, forwarded)

    def _has(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _walk(self, peer: str, forwarded: str) -> str:
        found = peer
        end = len(forwarded)
        for _ in range(MAX_HOPS):
            start = forwarded.rfind(",", 0, end)
            entry = forwarded[max(start + 1, end - 2 * _MAX_ENTRY) : end].strip(" \t")
            address = _address(entry)
            if address is None:
                break
            found = str(address)
            if start < 0 or not self._has(address):
                break
            end = start
        return found


def forwarded_host(header: str | None) -> str | None:
    """The host that a trusted proxy was asked for, by all `X-Forwarded-Host` headers joined with commas."""
    if header is None:
        return None
    host = header.rpartition(",")[2].strip(" \t")
    return host if _HOST.fullmatch(host) else None


def _network(text: str) -> _Network:
    network = ipaddress.ip_network(text)
    if network.prefixlen == 0:
        # The walk would then end at the left, which the client wrote.
        raise ValueError(f"{text} trusts everybody, who could then claim any address")
    return network


def _address(text: str) -> _Address | None:
    """An address with or without brackets, zone and port; a mapped IPv4 address is that address."""
    if len(text) > _MAX_ENTRY:
        return None
    match = _WITH_PORT.fullmatch(text)
    bare = (match[1] or match[2]) if match is not None else text.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
