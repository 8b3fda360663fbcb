import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from djactors.protocol import binary_frame, text_frame

from .strategies import text, thorough


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "8100"),
        (1, "8101"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
    ],
)
def test_a_length_takes_the_shortest_of_its_three_forms(length: int, head: str) -> None:
    assert text_frame(b"x" * length) == bytes.fromhex(head) + b"x" * length


def test_a_string_and_its_utf8_make_the_same_frame() -> None:
    assert text_frame("4é€") == text_frame("4é€".encode()) == b"\x81\x06" + "4é€".encode()


def test_a_binary_frame_differs_from_a_text_frame_in_its_opcode_alone() -> None:
    assert binary_frame(b"\x00\xff") == b"\x82\x02\x00\xff"


@thorough
@given(st.lists(st.one_of(text, st.binary(), st.integers(100, 70_000).map(bytes)), min_size=1, max_size=5))
def test_frames_written_back_to_back_are_read_by_an_independent_websocket_parser(messages: list[str | bytes]) -> None:
    client = Connection(ConnectionType.CLIENT)
    frames = [text_frame(each) if isinstance(each, str) else binary_frame(each) for each in messages]
    client.receive_data(b"".join(frames))
    read: list[str | bytes] = []
    for event in client.events():
        assert isinstance(event, TextMessage | BytesMessage)
        assert event.message_finished
        read.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
    assert read == messages
