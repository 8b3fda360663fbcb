"""A server in this process: it records each event once, by its id, and can be told to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import msgspec

from djactors.client import ApiError, DjactorsError, Published, UnreachableError

LOST = UnreachableError("the answer was lost")
IMPORTING = ApiError("tenant_importing", "the tenant is being imported")


class Server:
    """What `djactors.Client` is to an outbox.

    Attributes:
        recorded: the bodies by their `id`, in the order in which they came first.
        requests: the bodies of each request, the repeated ones as well.
        outcomes: what an event is answered instead of being recorded, by its `id`.
        importing: the tenants that are being imported.
        before, after: called around each request; they may raise what the client raises.
    """

    def __init__(self) -> None:
        self.recorded: dict[str, bytes] = {}
        self.requests: list[list[bytes]] = []
        self.outcomes: dict[str, DjactorsError] = {}
        self.importing: set[int] = set()
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.refused_whole: Mapping[str, ApiError] = {}

    def publish_json(self, bodies: Sequence[bytes]) -> Sequence[Published | DjactorsError]:
        """See `djactors.Client.publish_json`."""
        keys = [decoded(body)["id"] for body in bodies]
        try:
            self.before()
            self.requests.append(list(bodies))
            whole = next((self.refused_whole[key] for key in keys if key in self.refused_whole), None)
            if whole is not None:
                raise whole
            answers = [self._take(key, body) for key, body in zip(keys, bodies, strict=True)]
            self.after()
        except DjactorsError as error:
            return [error] * len(bodies)
        return answers

    def _take(self, key: str, body: bytes) -> Published | DjactorsError:
        if key in self.outcomes:
            return self.outcomes[key]
        if decoded(body)["tenantId"] in self.importing:
            return IMPORTING
        assert self.recorded.setdefault(key, body) == body, "another body under the same key is refused"
        return Published(len(self.recorded), len(self.recorded), [], [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def titles(self) -> list[str]:
        """The titles of what is recorded, in order."""
        return [decoded(body)["title"] for body in self.recorded.values()]


def decoded(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])
