"""The commands that describe: the API for machines, and the command line for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from djactors.commands.manual import Manual

SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Manual,
    examples=[
        ("djactors openapi > openapi.json", "writes the description into a file."),
    ],
)
def openapi() -> None:
    """Print the description of the HTTP routes, in OpenAPI 3.1.

    It is what a server gives out at /api/openapi.json. Generators make clients of it, and mock servers and tests read
    it. No server and no settings are needed.
    """
    from djactors.edge.table import openapi_text

    click.echo(openapi_text(), nl=False)


@click.command(
    cls=Manual,
    examples=[
        ("djactors asyncapi > asyncapi.json", "writes the description into a file."),
    ],
)
def asyncapi() -> None:
    """Print the description of the Socket.IO events, in AsyncAPI 3.

    It is what a server gives out at /api/asyncapi.json: what clients emit, how that is acknowledged, and what the
    server emits. No server and no settings are needed.
    """
    from djactors.edge.table import asyncapi_text

    click.echo(asyncapi_text(), nl=False)


@click.command(
    cls=Manual,
    examples=[
        ('eval "$(djactors completion bash)"', "in ~/.bashrc."),
        ('eval "$(djactors completion zsh)"', "in ~/.zshrc, behind compinit."),
        ("djactors completion fish > ~/.config/fish/completions/djactors.fish", "once."),
    ],
)
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL (bash, zsh or fish) complete commands and options.

    bash needs version 4.4 or newer.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    program = ctx.find_root().command
    click.echo(kind(program, {}, "djactors", "_DJACTORS_COMPLETE").source())
