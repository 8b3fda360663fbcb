"""The handlers that a program registers for a namespace, and the check of an event's arguments by their annotations.

The arguments come from a client, so they may be any JSON values. A handler that says `text: str` always gets a `str`:
msgspec converts the arguments to the annotated types, dataclasses and `msgspec.Struct` included, and an event that does
not fit never reaches its handler. A parameter without an annotation, or with `Any`, takes any value as it is.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter, iscoroutinefunction, isroutine, signature
from typing import Any, get_type_hints

import msgspec

# Converts one argument. Bytes that arrived as an attachment stay bytes.
_convert = msgspec.convert
_BUILTIN = (bytes, bytearray, memoryview)
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class BadArguments(Exception):  # noqa: N818 - the client's fault, told to `on_error` to be seen in development
    """An event's arguments do not fit its handler. The message names the event and never quotes the client."""


class Call:
    """A handler, whose first parameter is the socket.

    Raises `TypeError` if the handler cannot be called with arguments by position, if its annotations cannot be
    resolved, or if no argument can be converted to one of them.
    """

    __slots__ = ("_required", "_rest", "_types", "handler", "is_async", "name")

    def __init__(self, handler: Callable[..., Any], name: str) -> None:
        self.handler = handler
        self.name = name
        function = _function_of(handler)
        self.is_async = iscoroutinefunction(function)
        try:
            hints = get_type_hints(function)
        except NameError as error:
            raise TypeError(f"the handler of {name!r} has an annotation that cannot be resolved: {error}") from error
        parameters = list(signature(handler).parameters.values())
        if not parameters or parameters[0].kind not in _POSITIONAL:
            raise TypeError(f"the handler of {name!r} must take the socket as its first parameter")
        self._types: list[Any] = []
        self._required = 0
        self._rest: Any = None
        for parameter in parameters[1:]:
            wanted = hints.get(parameter.name, Any)
            _check_type(wanted, name)
            if parameter.kind in _POSITIONAL:
                self._types.append(wanted)
                self._required += parameter.default is Parameter.empty
            elif parameter.kind is Parameter.VAR_POSITIONAL:
                self._rest = wanted
            elif parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is Parameter.empty:
                raise TypeError(f"the handler of {name!r} wants {parameter.name!r} by name: arguments come by position")

    def convert(self, args: Sequence[Any]) -> list[Any]:
        """Convert the arguments to the handler's types and return them. Raises `BadArguments` if they do not fit."""
        types = self._types
        if len(args) < self._required or (len(args) > len(types) and self._rest is None):
            raise BadArguments(f"{self.name!r} came with {len(args)} arguments, its handler takes {self._count()}")
        converted = []
        for number, value in enumerate(args):
            wanted = types[number] if number < len(types) else self._rest
            if wanted is Any:
                converted.append(value)
                continue
            try:
                converted.append(_convert(value, wanted, builtin_types=_BUILTIN))
            except msgspec.ValidationError as error:
                raise BadArguments(f"argument {number + 1} of {self.name!r}: {error}") from None
        return converted

    def _count(self) -> str:
        if self._rest is not None:
            return f"{self._required} or more"
        most = len(self._types)
        return str(most) if self._required == most else f"{self._required} to {most}"


def _function_of(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its annotations, behind a `functools.partial` or a callable object."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler if isroutine(handler) else type(handler).__call__


def _check_type(wanted: Any, name: str) -> None:
    try:
        _convert(None, wanted, builtin_types=_BUILTIN)
    except msgspec.ValidationError:
        pass  # msgspec knows the type; only the probing value does not fit
    except TypeError as error:
        raise TypeError(f"the handler of {name!r} has an annotation that no argument can fit: {error}") from error


class Handlers:
    """The functions that a namespace's sockets call."""

    __slots__ = ("connect", "disconnect", "events")

    def __init__(self) -> None:
        self.connect: Call | None = None
        self.disconnect: Call | None = None
        self.events: dict[str, Call] = {}
