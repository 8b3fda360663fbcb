"""What a client does with an event before it is sent, without any I/O."""

from collections.abc import Callable
from uuid import uuid4

import msgspec

from djactors.client._errors import ApiError
from djactors.domain.errors import Refused
from djactors.domain.events import DomainEvent, check_event


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return str(uuid4())


def prepared(event: DomainEvent, new_key: Callable[[], str] = new_key) -> DomainEvent:
    """The event as it is sent: checked as the server checks it, and with an idempotency key.

    Args:
        event: one of `djactors.domain.events`. It keeps its `id` if it has one.
        new_key: makes the key of an event without `id`; by default a random UUID.

    Raises:
        ApiError: the server would refuse it; the message names the field.
    """
    try:
        checked = check_event(event)
    except Refused as refused:
        raise ApiError(str(refused.code), refused.message, status=400) from None
    return checked if checked.id is not None else msgspec.structs.replace(checked, id=new_key())
