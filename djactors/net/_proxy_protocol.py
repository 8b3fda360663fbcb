"""The PROXY protocol, version 2, as its receiver reads it: sans-IO.

A proxy that passes bytes on without reading them, such as haproxy in TCP mode, puts this header before the first byte
of a connection and names the client in it. The header is binary: twelve bytes of signature, version and command, family
and transport, a length, then addresses and optional fields (TLVs), which nothing here needs.

Source: "The PROXY protocol", versions 1 and 2, section 2.2, by Willy Tarreau.
"""

import socket
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

HEADER_BYTES: Final = 16
"""The signature, version and command, family and transport, and the length of the rest."""

MAX_REST: Final = 2048
"""Bytes after these: 216 for the longest addresses, and the fields that proxies add, such as a certificate's name."""

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_TCP4: Final = 0x11
_TCP6: Final = 0x21
# Each with the bytes of both addresses and ports: none; TCP and UDP over IPv4 and IPv6; streams and datagrams of Unix.
_FAMILIES: Final = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class ProxyHeaderError(Exception):
    """What came is no header of version 2. The message says what came and what was expected."""


class ProxyHeader(NamedTuple):
    """`client` is the text of the client's address; None if the proxy speaks for itself or does not say (`LOCAL`,
    `AF_UNSPEC`, Unix sockets, UDP). `size` is the number of bytes of the whole header.
    """

    client: str | None
    size: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read the header at the beginning of `data`; None if more bytes are needed. What follows is left alone.

    Raises:
        ProxyHeaderError: as soon as it is certain that this is no such header.
    """
    signature = data[: len(SIGNATURE)]
    if not SIGNATURE.startswith(signature):
        came = "version 1 of it" if data.startswith(b"PROXY"[: len(data)]) else "something else"
        raise ProxyHeaderError(f"{came} came where a header of version 2 of the PROXY protocol was expected")
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"the version and command 0x{data[12]:02x} are neither LOCAL nor PROXY of version 2")
    if len(data) > 13 and data[13] not in _FAMILIES:
        raise ProxyHeaderError(f"the family and transport 0x{data[13]:02x} are unknown")
    if len(data) < HEADER_BYTES:
        return None
    rest = int.from_bytes(data[14:16], "big")
    if rest > MAX_REST:
        raise ProxyHeaderError(f"the header has {rest} bytes of addresses and fields: at most {MAX_REST} are taken")
    if data[12] == _PROXY and rest < _FAMILIES[data[13]]:
        raise ProxyHeaderError(f"{rest} bytes are too few for the addresses of family and transport 0x{data[13]:02x}")
    size = HEADER_BYTES + rest
    if len(data) < size:
        return None
    client = None
    if data[12] == _PROXY and data[13] == _TCP4:
        client = socket.inet_ntop(socket.AF_INET, data[16:20])
    elif data[12] == _PROXY and data[13] == _TCP6:
        client = socket.inet_ntop(socket.AF_INET6, data[16:32])
    return ProxyHeader(client, size)
