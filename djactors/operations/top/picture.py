"""The picture that `djactors top` shows: trouble first, then numbers, actors and users, as far as they fit.

Everything comes from the server, so texts are made harmless before they are shown: whoever may choose a name must not
drive the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from djactors.edge.survey import Node, UserField
from djactors.operations.top.looking import BARS, WINDOW, Look, harmless
from djactors.operations.top.trouble import Trouble, bound, nodes_of, seconds, troubles

LEVELS: Final = " ▁▂▃▄▅▆▇█"
NAME_WIDTH: Final = 17
"""Characters of the longest name of a number."""

BESIDE_BARS: Final = 70
"""Characters of a line that its charts leave to everything else."""

MAX_TROUBLES: Final = 5
"""Troubles that are shown: with more, the first ones matter."""

MIN_ACTORS: Final = 5
"""Lines that the actors get at least, before the users get any."""

ALL: Final = 10_000
"""The height of a picture that is printed and not shown: everything fits."""

MISSING: Final = "-"


def picture(
    look: Look | None, *, url: str, width: int, height: int = ALL, absent: str = "", ascii_only: bool = False
) -> RenderableType:
    """What is shown.

    Args:
        look: what the server said last; None if it has said nothing yet.
        url: of the server.
        width: characters in a line.
        height: lines.
        absent: since when it does not answer, and why; empty if it does.
        ascii_only: whether the terminal has letters of English only.
    """
    found = [] if look is None else troubles(look)
    if absent:
        found.insert(0, Trouble(absent, "is it running? what is below is what it said last"))
    parts: list[RenderableType] = [_head(look, url), *_trouble_lines(found, look)]
    if look is not None:
        parts += [Text(), _numbers(look, width, ascii_only=ascii_only), Text()]
        # All parts so far are lines, but for the numbers, which are five.
        left = height - len(parts) - 4
        actors = _actors(look)
        users = look.condition.users
        rows = max(MIN_ACTORS, left - 2 - min(len(users.rows), left // 3)) if users.rows else left - 1
        parts.append(_actor_table(actors, rows))
        left -= 1 + min(len(actors), rows)
        if left > 2 and users.rows:
            parts += [Text(), _user_table(users, left - 2)]
    return Group(*parts)


def _head(look: Look | None, url: str) -> Text:
    head = Text("djactors", style="bold", no_wrap=True, overflow="ellipsis")
    if look is not None:
        condition = look.condition
        uptime = timedelta(seconds=int(condition.uptime))
        head.append(f" {harmless(condition.version)}  up {uptime}  {harmless(condition.now)[11:19]} UTC")
    head.append(f"  {harmless(url)}", style="dim")
    return head


def _trouble_lines(found: Sequence[Trouble], look: Look | None) -> list[RenderableType]:
    if not found:
        return [Text("waiting for the first answer" if look is None else "no trouble", style="green")]
    lines: list[RenderableType] = []
    for trouble in found[:MAX_TROUBLES]:
        style = "bold red" if trouble.grave else "yellow"
        line = Text(f"{'!!' if trouble.grave else ' !'} {harmless(trouble.what)}", style=style)
        line.append(f" - {trouble.do}", style="dim")
        line.no_wrap, line.overflow = True, "ellipsis"
        lines.append(line)
    if len(found) > MAX_TROUBLES:
        lines.append(Text(f"   and {len(found) - MAX_TROUBLES} more", style="yellow"))
    return lines


def _numbers(look: Look, width: int, *, ascii_only: bool) -> Table:
    condition, rates = look.condition, look.rates
    store, sessions, users = condition.store, condition.sessions, condition.users
    bars = 0 if ascii_only else max(0, min(BARS, width - BESIDE_BARS))
    grid = Table.grid(padding=(0, 2))
    for name_width in (NAME_WIDTH, None, NAME_WIDTH, None):
        grid.add_column(no_wrap=True, overflow="ellipsis", min_width=name_width)
    grid.add_row(
        *_pair("events", f"{rates.events:.1f}/s {spark(rates.events_bars, bars)}"),
        *_pair("commit p50, p99", _quantiles(look.commit)),
    )
    grid.add_row(
        *_pair("deliveries", f"{rates.deliveries:.1f}/s {spark(rates.deliveries_bars, bars)}"),
        *_pair("delivery p50, p99", _quantiles(look.delivery)),
    )
    grid.add_row(
        *_pair("users", f"{users.total}, {users.sockets} sockets"),
        *_pair("longest turn", f"{seconds(condition.loop.worst)} in {condition.loop.window} s"),
    )
    refused = sum(count for key, count in look.grown.items() if key[0] == "djactors_refusals_total")
    grid.add_row(
        *_pair("sessions", f"{sessions.websocket} ws, {sessions.polling} polling"),
        *_pair("waiting", f"{store.writes_queued} writes, {store.reads_queued} reads"),
    )
    grid.add_row(
        *_pair("connections", str(condition.connections)),
        *_pair("refused", "/metrics is closed" if look.samples is None else f"{refused:.0f} in {WINDOW:.0f} s"),
    )
    return grid


def _pair(name: str, value: str) -> tuple[Text, Text]:
    return Text(name, style="dim"), Text(value)


def _quantiles(pair: tuple[float, float] | None) -> str:
    return MISSING if pair is None else f"up to {bound(pair[0])}, {bound(pair[1])}"


def _actors(look: Look) -> list[Node]:
    """The actors, those in trouble first, then as they start."""
    return sorted(nodes_of(look.condition.tree), key=lambda node: (node.state == "running", not node.crashes))


def _actor_table(actors: Sequence[Node], rows: int) -> Table:
    table = _table("actor", "state", "mailbox", "most", "refused", "crashes", "last error")
    for node in actors[: max(0, rows)]:
        mailbox = node.mailbox
        table.add_row(
            _name(node.name),
            _state(node.state),
            MISSING if mailbox is None else f"{mailbox.depth}/{mailbox.capacity}",
            MISSING if mailbox is None else str(mailbox.high_water),
            MISSING if mailbox is None else str(mailbox.refused),
            str(node.crashes),
            _name(node.last_error or ""),
        )
    return table


def _user_table(users: UserField, rows: int) -> Table:
    table = _table("user", "state", "mailbox", "sockets", "stale", "crashes", "name")
    for user in users.rows[: max(0, rows)]:
        mailbox = user.mailbox
        table.add_row(
            str(user.user_id),
            _state(user.state),
            MISSING if mailbox is None else f"{mailbox.depth}/{mailbox.capacity}",
            str(user.sockets),
            "yes" if user.stale else "",
            str(user.crashes),
            _name(user.name or ""),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    return table


def _name(text: str) -> Text:
    return Text(harmless(text))


def _state(state: str) -> Text:
    return Text(harmless(state), style="" if state == "running" else "bold red")


def spark(values: Sequence[int], bars: int) -> str:
    """A small chart of the last values."""
    shown = list(values)[len(values) - bars :] if bars else []
    most = max(shown, default=0)
    return "".join(LEVELS[-(-value * (len(LEVELS) - 1) // most)] if most else LEVELS[0] for value in shown)
