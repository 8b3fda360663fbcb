"""What can be a handler, and how arguments are held to its annotations; what is wrong is said at once and by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from djactors.engine import BadArguments, Namespace, Socket, SocketServer
from djactors.engine._handlers import Call

if TYPE_CHECKING:
    from decimal import Decimal


class Move(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Person:
    name: str


def plain(socket: Socket, text: str, number: int = 1) -> None: ...
def untyped(socket, anything, *rest): ...
def structured(socket: Socket, move: Move, *people: Person) -> None: ...
def optional(socket: Socket, value: int | None) -> None: ...
def quoted(socket: "Socket", text: "str") -> None: ...
def binary(socket: Socket, data: bytes) -> None: ...


class Called:
    async def __call__(self, socket: Socket, text: str) -> None: ...


async def asynchronous(socket: Socket, text: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "args", "converted"),
    [
        (plain, ["a"], ["a"]),
        (plain, ["a", 5], ["a", 5]),
        (untyped, [None], [None]),
        (untyped, [{"a": [1.5]}, "b", b"c"], [{"a": [1.5]}, "b", b"c"]),
        (structured, [{"x": 1}], [Move(1)]),
        (structured, [{"x": 1, "y": 2}, {"name": "a"}, {"name": "b"}], [Move(1, 2), Person("a"), Person("b")]),
        (optional, [None], [None]),
        (quoted, ["a"], ["a"]),
        (binary, [b"\x00"], [b"\x00"]),
        (Called(), ["a"], ["a"]),
        (asynchronous, ["a"], ["a"]),
        (partial(plain, number=3), ["a"], ["a"]),
    ],
)
def test_arguments_that_fit_are_converted(handler: Callable[..., Any], args: list[Any], converted: list[Any]) -> None:
    assert Call(handler, "event").convert(args) == converted


@pytest.mark.parametrize(
    ("handler", "args", "message"),
    [
        (plain, [], "'event' came with 0 arguments, its handler takes 1 to 2"),
        (plain, ["a", 1, 2], "'event' came with 3 arguments, its handler takes 1 to 2"),
        (untyped, [], "'event' came with 0 arguments, its handler takes 1 or more"),
        (quoted, [], "'event' came with 0 arguments, its handler takes 1"),
        (plain, [1], "argument 1 of 'event': Expected `str`, got `int`"),
        (plain, ["a", True], "argument 2 of 'event': Expected `int`, got `bool`"),
        (structured, [{"y": 1}], "argument 1 of 'event': Object missing required field `x`"),
        (structured, [{"x": 1}, {"name": None}], "argument 2 of 'event': Expected `str`, got `null` - at `$.name`"),
        (binary, ["AAAA"], "argument 1 of 'event': Expected `bytes`, got `str`"),
        (Called(), [5], "argument 1 of 'event': Expected `str`, got `int`"),
    ],
)
def test_arguments_that_do_not_fit_are_named(handler: Callable[..., Any], args: list[Any], message: str) -> None:
    with pytest.raises(BadArguments) as raised:
        Call(handler, "event").convert(args)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("handler", "is_async"), [(plain, False), (asynchronous, True), (partial(asynchronous), True), (Called(), True)]
)
def test_it_is_known_what_is_to_be_awaited(handler: Callable[..., Any], is_async: bool) -> None:
    assert Call(handler, "event").is_async is is_async


def test_what_a_client_sent_is_not_quoted() -> None:
    with pytest.raises(BadArguments) as raised:
        Call(structured, "event").convert([{"x": "a secret"}])
    assert "secret" not in str(raised.value)


def no_socket() -> None: ...
def keywords_only(socket: Socket, *, text: str) -> None: ...
def only_rest(*args: Any) -> None: ...
def unspeakable(socket: Socket, value: int | bool | str | bytes) -> None: ...
def unresolved(socket: Socket, value: "Decimal") -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (no_socket, "must take the socket as its first parameter"),
        (only_rest, "must take the socket as its first parameter"),
        (keywords_only, "wants 'text' by name"),
        (unspeakable, "has an annotation that no argument can fit"),
        (unresolved, "has an annotation that cannot be resolved: name 'Decimal' is not defined"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_when_it_is_registered(handler: Callable[..., Any], message: str) -> None:
    namespace = Namespace()
    for register in (namespace.on("event"), namespace.on_connect, namespace.on_disconnect):
        with pytest.raises(TypeError, match=message):
            register(handler)


def test_a_handler_is_registered_once_and_given_back() -> None:
    namespace = Namespace("/chat")
    assert namespace.on("event")(plain) is plain
    with pytest.raises(ValueError, match="'event'"):
        namespace.on("event")
    for register in (namespace.on_connect, namespace.on_disconnect):
        assert register(plain) is plain
        with pytest.raises(ValueError, match="/chat"):
            register(plain)


@pytest.mark.parametrize("name", ["connect", "connect_error", "disconnect", "disconnecting"])
def test_a_reserved_event_is_never_emitted_by_a_client_so_nobody_may_wait_for_it(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        Namespace().on(name)


@pytest.mark.parametrize("name", ["", "chat", "/a,b", "/a\n", "/" + "x" * 200])
def test_a_namespace_that_no_client_could_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Namespace(name)


def test_a_server_has_each_namespace_once() -> None:
    with pytest.raises(ValueError, match="same name"):
        SocketServer(Namespace("/a"), Namespace("/a"), on_error=lambda error, peer: None)
