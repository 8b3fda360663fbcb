"""A Django app that publishes what a transaction wrote.

    # settings.py
    INSTALLED_APPS += ["djactors.django"]
    DJACTORS_URL = "http://127.0.0.1:3000"
    DJACTORS_JWT_SECRET = os.environ["JWT_SECRET"]

`publish` writes the event into a table of your database, which `manage.py migrate` makes; `manage.py djactors_outbox`
sends what is committed. `djactors.outbox` says what is promised.

Settings. What is not set is taken from the environment, as the commands of djactors do: `DJACTORS_URL`, and
`DJACTORS_TOKEN` or `JWT_SECRET`.

- `DJACTORS_URL`: the address of the server.
- `DJACTORS_TOKEN`: a service's token, a function that returns a fresh one, or the dotted path of such a function. Or
- `DJACTORS_JWT_SECRET`: the server's `JWT_SECRET`, with which tokens are signed.
- `DJACTORS_TENANT_ID`: the only tenant of the tokens that are signed; all tenants without it.
- `DJACTORS_CA_FILE`: the certificate of a CA to trust beside those of the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from djactors.domain.events import DomainEvent

__all__ = ["publish"]


def publish(event: DomainEvent, *, using: str | None = None) -> str:
    """Have an event sent if and only if the transaction around this call commits; without one, at once.

    It writes one row and talks to nobody. In async code call it by `sync_to_async`, as all of Django's ORM.

    Args:
        event: one of `djactors.domain.events`.
        using: the alias of the database of your transaction, if that is not the one which your routers name.

    Returns:
        The event's `id`; one that has none gets one.

    Raises:
        ApiError: the server would refuse the event; the message names the field.
    """
    # Models can be imported once all apps are there.
    from djactors.django.models import OutboxEvent

    return OutboxEvent.objects.publish(event, using=using)
