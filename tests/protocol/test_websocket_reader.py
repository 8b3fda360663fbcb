"""A client's frames are read as an independent parser reads them, however they arrive; what is refused says why."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from djactors.protocol import CloseFrame, FrameError, OtherFrame, PingFrame, WebSocketReader, close_frame, pong_frame

from .strategies import text, thorough

MAX = 1_000_000
# Ends what the bytes before it have begun, if it is short: one parser waits for a whole header, the other does not.
TAIL = bytes(150)
EURO = "€".encode()


def frame(first: int, payload: bytes = b"", key: bytes = b"\x12\x34\x56\x78") -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def read_all(reader: WebSocketReader) -> Iterator[object]:
    while (item := reader.read()) is not None:
        if not isinstance(item, OtherFrame):
            yield item


def ours(pieces: list[bytes]) -> list[object]:
    """What the reader makes of the pieces; the code of the refusal last, if there is one."""
    reader = WebSocketReader(MAX)
    seen: list[object] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            for item in read_all(reader):
                seen.append(item)
                if isinstance(item, CloseFrame):
                    return seen
        except FrameError as error:
            return [*seen, error.code]
    return seen


def theirs(pieces: list[bytes]) -> list[object]:
    """The same by wsproto, whose messages come in parts."""
    server = FrameProtocol(client=False, extensions=[])
    seen: list[object] = []
    parts: list[str | bytes] = []
    try:
        for piece in pieces:
            server.receive_bytes(piece)
            for read in server.received_frames():
                match read.opcode:
                    case Opcode.PING:
                        seen.append(PingFrame(bytes(read.payload)))  # type: ignore[arg-type]
                    case Opcode.CLOSE:
                        return [*seen, read.payload]
                    case Opcode.TEXT | Opcode.BINARY:
                        parts.append(read.payload)  # type: ignore[arg-type]
                        if read.message_finished:
                            seen.append(type(parts[0])().join(parts))  # type: ignore[arg-type]
                            parts = []
    except ParseFailed as error:
        seen.append(int(error.code))
    return seen


def comparable(items: list[object]) -> list[object]:
    return [(item.code, item.reason) if isinstance(item, CloseFrame) else item for item in items]


firsts = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0x09, 0x83, 0x8B, 0xC1, 0x91])
payloads = st.one_of(
    st.binary(max_size=130),
    text.map(str.encode),
    st.integers(0, 70_000).map(lambda size: b"x" * size),
    st.integers(0, 5_000).map(lambda code: code.to_bytes(2, "big") + b"why"),
)
keys = st.binary(min_size=4, max_size=4)


@example(sent=frame(0x01, b"\x80") + frame(0x89), cuts=[])
@thorough
@given(
    st.lists(st.one_of(st.builds(frame, firsts, payloads, keys), st.binary(max_size=12)), max_size=6).map(b"".join),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_any_bytes_in_any_pieces_mean_what_they_mean_to_an_independent_parser(sent: bytes, cuts: list[int]) -> None:
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(sent[start : start + cut])
        start += cut
    pieces.append(sent[start:] + TAIL)
    read, expected = comparable(ours(pieces)), theirs(pieces)
    if read[-1:] == [1009]:
        assert read[:-1] == expected  # which has no bound, and waits for more
    elif expected[-1:] == [1007]:
        # It reads the first parts of a text before the last has come. Here the frames between the parts come first:
        # pings, and then perhaps a close frame or a wrong one.
        before = len(expected) - 1
        assert read[:before] == expected[:-1]
        rest = [item for item in read[before:] if not isinstance(item, PingFrame)]
        assert rest in ([], [1007], [1002]) or (len(rest) == 1 and isinstance(rest[0], tuple))
    else:
        assert read == expected


@thorough
@given(st.lists(st.one_of(text, st.binary(max_size=300), st.just(b"y" * 70_000)), min_size=1, max_size=5), st.data())
def test_messages_in_any_fragments_come_out_whole(messages: list[str | bytes], data: st.DataObject) -> None:
    sent = b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        opcode = 1 if isinstance(message, str) else 2
        cut = data.draw(st.integers(0, len(payload)))
        if data.draw(st.booleans()):
            sent += frame(opcode, payload[:cut]) + frame(0x89, b"?") + frame(0x80, payload[cut:], os.urandom(4))
        else:
            sent += frame(0x80 | opcode, payload)
    reader = WebSocketReader(MAX)
    read = []
    for start in range(0, len(sent), 4096):
        reader.feed(sent[start : start + 4096])
        read += [item for item in read_all(reader) if not isinstance(item, PingFrame)]
    assert read == messages


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (frame(0xC1, b"x"), 1002),  # compressed, which was not agreed upon
        (frame(0x83, b"x"), 1002),
        (frame(0x8B), 1002),
        (frame(0x80, b"x"), 1002),  # goes on with nothing
        (frame(0x01, b"x") + frame(0x81, b"y"), 1002),
        (frame(0x09), 1002),
        (b"\x89\xfe\x00\x7e", 1002),  # a ping of 126 bytes
        (b"\x81\xfe\x00\x7d" + b"\0" * 4, 1002),  # 125 in two bytes
        (b"\x81\xff" + (65535).to_bytes(8, "big") + b"\0" * 4, 1002),
        (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + b"\0" * 4, 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x01, EURO[:1]) + frame(0x80, b"x"), 1007),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, (999).to_bytes(2, "big")), 1002),
        (frame(0x88, (1005).to_bytes(2, "big")), 1002),
        (frame(0x88, (5000).to_bytes(2, "big")), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
    ],
)
def test_a_breach_of_the_protocol_is_refused_with_its_code(sent: bytes, code: int) -> None:
    reader = WebSocketReader(MAX, sent)
    with pytest.raises(FrameError) as refused:
        list(read_all(reader))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "head",
    [
        frame(0x81, b"x" * 11)[:6],
        frame(0x02, b"x" * 10) + frame(0x80, b"x")[:6],
        b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0" * 4,
    ],
)
def test_too_large_a_message_is_refused_by_its_header(head: bytes) -> None:
    reader = WebSocketReader(10, head)
    with pytest.raises(FrameError) as refused:
        list(read_all(reader))
    assert refused.value.code == 1009


def test_a_message_of_just_the_bound_is_taken() -> None:
    assert list(read_all(WebSocketReader(10, frame(0x01, b"x" * 9) + frame(0x80, b"y")))) == ["x" * 9 + "y"]


def test_a_close_frame_says_as_much_of_its_reason_as_it_can() -> None:
    assert close_frame(1005) == b"\x88\x00"
    assert close_frame(1006) == close_frame(1000) == b"\x88\x02\x03\xe8"
    long = close_frame(4000, "€" * 50)
    assert long == b"\x88\x7d\x0f\xa0" + EURO * 41
    assert pong_frame(b"?") == b"\x8a\x01?"
