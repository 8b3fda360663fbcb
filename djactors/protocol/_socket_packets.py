"""Socket.IO 5 packets: encoding each once, and decoding whatever a peer may send.

The text of a packet is `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`. Bytes anywhere in the arguments are
replaced by a placeholder `{"_placeholder":true,"num":n}` and follow as attachments. Source: the Socket.IO protocol
document, revision 5, "Packet encoding", and the reference parser where the document is silent.

Decoding is strict, and raises only `ProtocolError`:

    type             payload           ack id     attachments
    CONNECT          object, or none   none       none
    DISCONNECT       none              none       none
    EVENT            [name, ...]       optional   none; BINARY_EVENT 1 to 10
    ACK              [...]             required   none; BINARY_ACK 1 to 10
    CONNECT_ERROR    object            none       none

An event's name is a string. (The reference parser takes a number as well, but no handler can be registered for one.)
The name must not be reserved, because the stock client drops a connection that brings it a reserved name. Revision 5
has no query string in a namespace, so `/a?b=1` names a namespace of its own. Integers in JSON stay exact up to the
4,300 digits that Python converts; a number too large for a double is an error.

Encoding raises `ValueError` or `TypeError` for a mistake of the caller. NaN and infinities become `null`, as in
JavaScript.
"""

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec

from djactors.protocol._encoded_packets import EncodedPacket
from djactors.protocol._errors import ProtocolError

# The stock client refuses more attachments than this, so more are neither sent nor accepted.
MAX_ATTACHMENTS = 10

# One packet's attachments together may be as large as one engine message.
MAX_ATTACHMENT_BYTES = 1_000_000

# No real payload nests deeper, and every recursive reader of the data is safe far beyond it.
MAX_JSON_DEPTH = 64

# The next three bound what one packet costs to read, for nobody else has a turn meanwhile: together some 3 ms. What
# stands inside strings is counted too, as telling it apart costs more than the bounds are worth.
# So many lists and objects take half a millisecond with all that is checked of them; a megabyte of `[],` takes 70.
MAX_JSON_BRACKETS = 2_048

# One less than there are values in lists and objects: these take 1.5 ms if all are numbers with an exponent.
MAX_JSON_COMMAS = 4_096

# A number of 4,300 digits takes 85 µs: so many digits in long rows take 1 ms, a megabyte of them would take 20.
MAX_LONG_DIGITS = 50_000

# JavaScript counts ack ids exactly up to 2^53, which has 16 digits.
MAX_ACK_ID_DIGITS = 16

MAX_NAMESPACE_LENGTH = 128


class JsonLimits(msgspec.Struct, frozen=True):
    """What the JSON of one packet may hold. The defaults are for a server, which strangers write to."""

    brackets: int = MAX_JSON_BRACKETS
    commas: int = MAX_JSON_COMMAS
    long_digits: int = MAX_LONG_DIGITS


STRANGERS = JsonLimits()

RESERVED_EVENTS = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


class SocketPacketType(IntEnum):
    """The first character of a packet's text. An event or ack with bytes in it travels as one of the binary types."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_CONNECT = SocketPacketType.CONNECT
_DISCONNECT = SocketPacketType.DISCONNECT
_EVENT = SocketPacketType.EVENT
_ACK = SocketPacketType.ACK
_BINARY_EVENT = SocketPacketType.BINARY_EVENT
_BINARY_ACK = SocketPacketType.BINARY_ACK


class SocketPacket(msgspec.Struct, frozen=True):
    """One packet. `data` is a list for events (name first) and acks, a dict or `None` for the others.

    `attachments` is the number of attachments that are still due: above zero only in a packet that `decode_socket_text`
    returned.
    """

    type: SocketPacketType
    namespace: str = "/"
    data: Any = None
    ack_id: int | None = None
    attachments: int = 0


# ---------------------------------------------------------------------------------------------------- encoding

_encode_json = msgspec.json.Encoder().encode
_BINARY_OF = {_EVENT: _BINARY_EVENT, _ACK: _BINARY_ACK}
_PLAIN_OF = {_BINARY_EVENT: _EVENT, _BINARY_ACK: _ACK}


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return isinstance(value, bytes | bytearray | memoryview)
    for child in value:  # noqa: SIM110 - a generator would double the cost of every plain event
        if _has_bytes(child):
            return True
    return False


def _extract_bytes(value: Any, attachments: list[bytes]) -> Any:
    """Return a copy of `value` with placeholders, and append the bytes that they replace to `attachments`."""
    if isinstance(value, bytes | bytearray | memoryview):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, list | tuple):
        return [_extract_bytes(child, attachments) for child in value]
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            raise ValueError("an object that looks like a placeholder cannot go along with bytes")
        return {key: _extract_bytes(child, attachments) for key, child in value.items()}
    return value


def check_event_name(name: object) -> None:
    """Raise `TypeError` or `ValueError` for a name that no event can have."""
    if not isinstance(name, str):
        raise TypeError("an event name is a string")
    if name in RESERVED_EVENTS:
        raise ValueError(f"{name!r} is reserved: the stock client drops the connection over it")


def _check_shape(packet_type: SocketPacketType, data: Any, ack_id: int | None) -> None:
    """Check a packet that a caller sends against the module's table."""
    if packet_type is _EVENT or packet_type is _ACK:
        if not isinstance(data, list | tuple):
            raise TypeError("an event or ack takes a list")
        if packet_type is _EVENT:
            check_event_name(data[0] if data else None)
        elif ack_id is None:
            raise ValueError("an ack needs its id")
        return
    if ack_id is not None:
        raise ValueError(f"{packet_type.name} takes no ack id")
    if packet_type is _DISCONNECT:
        if data is not None:
            raise ValueError("DISCONNECT takes no payload")
    elif not isinstance(data, dict) and not (data is None and packet_type is _CONNECT):
        raise TypeError(f"{packet_type.name} takes an object")


def check_namespace(namespace: str) -> None:
    """Raise `ValueError` for a text that cannot be a namespace."""
    if not _NAMESPACE.fullmatch(namespace) or not namespace.isprintable():
        raise ValueError("a namespace starts with a slash, is printable and has no comma")


@lru_cache(maxsize=1024)
def _namespace_part(namespace: str) -> str:
    check_namespace(namespace)
    return "" if namespace == "/" else namespace + ","


def encode_socket_packet(packet: SocketPacket) -> EncodedPacket:
    """Encode a packet. Bytes anywhere in lists, tuples and dicts of an event or ack become attachments.

    Any value that msgspec encodes may be an argument. Bytes inside Structs are not looked for and become base64. It
    makes no difference whether `type` is a plain type or its binary one: the bytes in the arguments decide.

    Raises:
        ValueError, TypeError: the module's table forbids the packet's shape, there are more than 10 attachments or lone
            surrogates, or JSON cannot express an argument.
    """
    packet_type = _PLAIN_OF.get(packet.type, packet.type)
    data, ack_id = packet.data, packet.ack_id
    _check_shape(packet_type, data, ack_id)
    count = ""
    attachments: list[bytes] = []
    try:
        if packet_type in _BINARY_OF and _has_bytes(data):
            data = _extract_bytes(data, attachments)
            if len(attachments) > MAX_ATTACHMENTS:
                raise ValueError(f"a packet takes at most {MAX_ATTACHMENTS} attachments")
            packet_type = _BINARY_OF[packet_type]
            count = f"{len(attachments)}-"
        body = b"" if data is None else _encode_json(data)
    except RecursionError:
        raise ValueError("the arguments nest too deeply") from None
    if ack_id is not None and ack_id < 0:
        raise ValueError("an ack id is not negative")
    number = "" if ack_id is None else str(ack_id)
    head = f"4{int(packet_type)}{count}{_namespace_part(packet.namespace)}{number}"
    return EncodedPacket(head.encode() + body, tuple(attachments))


def encode_event(name: str, *args: Any, namespace: str = "/", ack_id: int | None = None) -> EncodedPacket:
    """Encode an event. With an `ack_id` the peer is asked to acknowledge it."""
    return encode_socket_packet(SocketPacket(_EVENT, namespace, [name, *args], ack_id))


@lru_cache(maxsize=1024)
def _event_head(name: str, namespace: str) -> bytes:
    check_event_name(name)
    return f"42{_namespace_part(namespace)}[".encode() + _encode_json(name)


def encode_events_json(events: Iterable[tuple[str, Sequence[bytes]]], *, namespace: str = "/") -> list[EncodedPacket]:
    """Encode events whose arguments are JSON already. Each argument is one value in UTF-8, which is not checked.

    A body for many clients is thus serialised once, and appending an offset costs only a concatenation.

    Args:
        events: the name and the arguments of each event.
        namespace: the namespace of all the events.
    """
    return [
        EncodedPacket(b",".join((_event_head(name, namespace), *raw_json_args)) + b"]")
        for name, raw_json_args in events
    ]


# ---------------------------------------------------------------------------------------------------- decoding

# ASCII digits only: \d and int() take the digits of every script.
_HEAD = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*)(?:,|\Z))?([0-9]*)")
_NAMESPACE = re.compile(rf"/[^,]{{0,{MAX_NAMESPACE_LENGTH - 1}}}")

# Rows of digits are looked for at such distances, so that any of twice that length is seen.
_DIGITS_STEP = 256


def _read_float(literal: str) -> float:
    """Return the number that a literal of JSON stands for; infinity raises `ValueError`, as JSON has none.

    For msgspec's `float_hook`: its own reader takes 8 µs for such as `1e300`, so that a megabyte of them held up the
    loop for more than a second. Python's takes a quarter of one for any.
    """
    number = float(literal)
    if not isfinite(number):
        raise ValueError("a number is out of range")
    return number


_read_list = msgspec.json.Decoder(list[Any], float_hook=_read_float).decode
_read_object = msgspec.json.Decoder(dict[str, Any], float_hook=_read_float).decode


def _check_depth(value: Any) -> None:
    """Bound the nesting, so that recursive readers of the data are safe. This check goes level by level instead."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise ProtocolError("json_depth", f"JSON nests deeper than {MAX_JSON_DEPTH}")


def _check_work(text: str, limits: JsonLimits) -> None:
    """Bound what reading takes besides lists and objects. See the bounds."""
    if text.count(",") > limits.commas:
        raise ProtocolError("json_commas", f"JSON of more than {limits.commas} values")
    if len(text) > limits.long_digits:
        rows = sum(text[at : at + _DIGITS_STEP].isdigit() for at in range(0, len(text), _DIGITS_STEP))
        if rows * _DIGITS_STEP > limits.long_digits:
            raise ProtocolError("json_digits", f"JSON of more than {limits.long_digits} digits in long rows")


def _read_json(text: str, limits: JsonLimits, *, as_list: bool) -> Any:
    brackets = text.count("[") + text.count("{")
    if brackets > limits.brackets:
        raise ProtocolError("json_brackets", f"JSON of more than {limits.brackets} lists and objects")
    # A short text can hold no more than a moment's work besides.
    if len(text) > limits.commas:
        _check_work(text, limits)
    try:
        value = _read_list(text) if as_list else _read_object(text)
    except RecursionError:
        raise ProtocolError("json_depth", f"JSON nests deeper than {MAX_JSON_DEPTH}") from None
    except ValueError:  # bad JSON, the wrong shape, lone surrogates, numbers out of range
        raise ProtocolError("payload", "the payload is not JSON of the shape that its packet takes") from None
    # Each level of nesting takes a bracket, so most packets have too few brackets to be too deep.
    if brackets > MAX_JSON_DEPTH:
        _check_depth(value)
    return value


def decode_socket_text(text: str, limits: JsonLimits = STRANGERS) -> SocketPacket:
    """Read a packet's text. For a binary packet, this is the first part, and the placeholders stay in `data`."""
    head = _HEAD.match(text)
    if head is None:
        raise ProtocolError("packet_type", "unknown Socket.IO packet type")
    digit, count, namespace, number = head.groups()
    packet_type = _TYPES[digit]

    attachments = 0
    if packet_type is _BINARY_EVENT or packet_type is _BINARY_ACK:
        # Two digits are enough for the bound. A longer number is not converted, and is refused.
        attachments = int(count) if count and len(count) <= 2 else 0
        if not 0 < attachments <= MAX_ATTACHMENTS:
            raise ProtocolError("attachments", f"a binary packet announces 1 to {MAX_ATTACHMENTS} attachments")
    elif count is not None:
        raise ProtocolError("attachments", "a packet without bytes announces attachments")

    if namespace is None:
        namespace = "/"
    elif len(namespace) > MAX_NAMESPACE_LENGTH or not namespace.isprintable():
        raise ProtocolError("namespace", f"a namespace is printable and up to {MAX_NAMESPACE_LENGTH} long")

    if len(number) > MAX_ACK_ID_DIGITS:
        raise ProtocolError("ack_id", f"an ack id has at most {MAX_ACK_ID_DIGITS} digits")
    ack_id = int(number) if number else None

    payload = text[head.end() :]
    data = _read_payload(packet_type, payload, ack_id, limits)
    return SocketPacket(packet_type, namespace, data, ack_id, attachments)


def _read_payload(packet_type: SocketPacketType, payload: str, ack_id: int | None, limits: JsonLimits) -> Any:
    plain_type = _PLAIN_OF.get(packet_type, packet_type)
    if plain_type is _EVENT:
        data = _read_json(payload, limits, as_list=True)
        if not data or not isinstance(data[0], str) or data[0] in RESERVED_EVENTS:
            raise ProtocolError("event_name", "an event starts with its name, a string that is not reserved")
        return data
    if plain_type is _ACK:
        if ack_id is None:
            raise ProtocolError("ack_id", "an ack needs the id of its event")
        return _read_json(payload, limits, as_list=True)
    if ack_id is not None:
        raise ProtocolError("ack_id", f"{plain_type.name} takes no ack id")
    if plain_type is _DISCONNECT:
        if payload:
            raise ProtocolError("payload", "DISCONNECT takes no payload")
        return None
    if plain_type is _CONNECT and not payload:
        return None
    return _read_json(payload, limits, as_list=False)


_TYPES = {str(int(packet_type)): packet_type for packet_type in SocketPacketType}


def _find_placeholders(data: list[Any], count: int) -> list[tuple[Any, Any]]:
    """Return the place of each attachment, as (container, key), in the order of their numbers."""
    places: list[tuple[Any, Any] | None] = [None] * count
    waiting: list[Any] = [data]
    while waiting:
        node = waiting.pop()
        children: Iterable[tuple[Any, Any]] = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in children:
            if isinstance(child, list):
                waiting.append(child)
            elif isinstance(child, dict):
                if child.get("_placeholder") is not True:
                    waiting.append(child)
                    continue
                number = child.get("num")
                # `isinstance` would let True and False pass, which are ints in Python.
                if type(number) is not int or not 0 <= number < count or places[number] is not None:
                    raise ProtocolError("placeholder", "a placeholder names no attachment, or one already taken")
                places[number] = (node, key)
    found = [place for place in places if place is not None]
    if len(found) < count:
        raise ProtocolError("placeholder", "an attachment without a placeholder")
    return found


class _Unfinished:
    """A packet that waits for attachments: their places, in order, and the attachments that have come."""

    __slots__ = ("packet", "places", "received")

    def __init__(self, packet: SocketPacket) -> None:
        self.packet = packet
        self.places = _find_placeholders(packet.data, packet.attachments)
        self.received: list[bytes] = []


class SocketPacketDecoder:
    """Puts a peer's Engine.IO messages together into packets. Servers and clients use it alike.

    The decoder holds at most one unfinished packet: its JSON and at most `max_attachment_bytes` of attachments. After a
    `ProtocolError` the decoder cannot be used any more: close the connection.
    """

    __slots__ = ("_due", "_json_limits", "_max_attachment_bytes")

    def __init__(self, max_attachment_bytes: int = MAX_ATTACHMENT_BYTES, json_limits: JsonLimits = STRANGERS) -> None:
        self._max_attachment_bytes = max_attachment_bytes
        self._json_limits = json_limits
        self._due: _Unfinished | None = None

    @property
    def awaits_attachments(self) -> bool:
        """Whether a packet is unfinished."""
        return self._due is not None

    def receive(self, message: str | bytes) -> SocketPacket | None:
        """Take one message and return the packet that it completes, `None` while attachments are still due.

        An event or ack with bytes is returned with the plain type, EVENT or ACK.
        """
        if not isinstance(message, str):
            return self._receive_attachment(message)
        if self._due is not None:
            raise ProtocolError("attachments", "text while attachments are due")
        packet = decode_socket_text(message, self._json_limits)
        if not packet.attachments:
            return packet
        self._due = _Unfinished(packet)
        return None

    def _receive_attachment(self, data: bytes) -> SocketPacket | None:
        due = self._due
        if due is None:
            raise ProtocolError("unannounced_bytes", "a message of bytes that no packet announced")
        packet, received = due.packet, due.received
        if sum(map(len, received)) + len(data) > self._max_attachment_bytes:
            raise ProtocolError("attachment_bytes", f"attachments are over {self._max_attachment_bytes} bytes")
        received.append(data)
        if len(received) < packet.attachments:
            return None
        for (container, key), attachment in zip(due.places, received, strict=True):
            container[key] = attachment
        self._due = None
        return SocketPacket(_PLAIN_OF[packet.type], packet.namespace, packet.data, packet.ack_id)
