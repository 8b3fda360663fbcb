"""The commands about who may come in: `token` and `sign-out`."""

from __future__ import annotations

import click

from djactors.commands.common import (
    config_option,
    database_option,
    fail,
    person_options,
    sentence_of,
    server_options,
    settings_of,
    trusting,
)
from djactors.commands.manual import SIGNING, TOKEN, Manual
from djactors.config import SettingError
from djactors.domain.ids import MAX_ID

MAX_TTL = 10 * 365 * 24 * 3600
"""The longest life of a token, in seconds: ten years. A token cannot be taken back, so every token must end."""

MAX_NAME = 255
"""The most characters of a name, as in the schema."""


@click.command(
    cls=Manual,
    examples=[
        ("djactors token --tenant 1 --user 2", "for a person, for an hour."),
        ("djactors token --role service --ttl 86400", "for a backend of all tenants, for a day."),
    ],
    settings=SIGNING,
)
@click.option(
    "--tenant",
    "tenant_id",
    type=click.IntRange(1, MAX_ID),
    help="The tenant of the token. A service's token without one is good for all tenants; other roles need it.",
)
@click.option(
    "--user",
    "user_id",
    type=click.IntRange(1, MAX_ID),
    help="The person's id in the tenant. Every role but service needs it.",
)
@click.option(
    "--role",
    type=click.Choice(["user", "manager", "admin", "service"]),
    default="user",
    show_default=True,
    help="What the token allows; a role that user.upserted gave goes before it.",
)
@click.option("--name", help="The user's name.")
@click.option(
    "--ttl", type=click.IntRange(1, MAX_TTL), default=3600, show_default=True, help="Seconds until it expires."
)
@config_option
def token(
    tenant_id: int | None, user_id: int | None, role: str, name: str | None, ttl: int, config: str | None
) -> None:
    """Print a token: a JWT that is signed with JWT_SECRET.

    With DJACTORS_JWT_KEYS_FILE it is signed with the first secret in that file, whose `kid` goes to standard error. Use
    it for tests and for operating; your backend signs the tokens of people.
    """
    from djactors.operations.tokens import sign, signing_key

    settings = settings_of(config)
    if role != "service" and (tenant_id is None or user_id is None):
        raise click.UsageError(f"a token of role {role} needs --tenant and --user")
    if name is not None and not 1 <= len(name) <= MAX_NAME:
        raise click.UsageError(f"a name has 1 to {MAX_NAME} characters")
    try:
        click.echo(sign(settings, tenant_id=tenant_id, user_id=user_id, role=role, name=name, ttl=ttl))
        kid = signing_key(settings).kid
    except SettingError as error:
        fail(str(error))
    if kid is not None:
        click.echo(f"signed with kid {kid!r}", err=True)


@click.command(
    "sign-out",
    cls=Manual,
    examples=[
        ("djactors sign-out --tenant 1 --user 2 --url http://127.0.0.1:3000", "through the server."),
        ("djactors sign-out --tenant 1 --user 2", "in the database."),
    ],
    settings=["database", *SIGNING],
    variables=TOKEN,
)
@person_options
@server_options
@database_option
@config_option
def sign_out(
    tenant_id: int,
    user_id: int,
    url: str | None,
    token: str | None,
    ca: str | None,
    database: str | None,
    config: str | None,
) -> None:
    """Refuse all tokens of a user that were issued before now, and end the user's connections.

    With --url the server does it. Without, it is done in the database, which no server may have open if it is an SQLite
    file.
    """
    from djactors.operations import signing_out
    from djactors.operations.asking import NotDoneError
    from djactors.store.errors import DatabaseLocked, MigrationError, StoreError

    settings = settings_of(config, database=database)
    try:
        if url is not None:
            at = signing_out.through_server(settings, url, token, tenant_id, user_id, trusting(ca))
        else:
            at = signing_out.directly(settings.database, tenant_id, user_id)
    except DatabaseLocked as error:
        fail(f"{error}; or sign out through the server with --url")
    except (SettingError, NotDoneError, MigrationError, StoreError, OSError) as error:
        fail(sentence_of(error))
    click.echo(f"user {user_id} of tenant {tenant_id} is signed out: tokens issued before {at} are refused")
