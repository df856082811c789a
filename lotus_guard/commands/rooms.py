"""`lotus-guard rooms`: the live rooms, as the running guard sees them."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click
from attrs import define, field
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater

from lotus_guard.check.exchange import describe_outage
from lotus_guard.commands.common import (
    Failed,
    check_own_host,
    guard_address,
    guard_option,
    on_the_reactor,
)
from lotus_guard.commands.output import aligned, echo, make_console
from lotus_guard.commands.rooms_table import Room, arranged, listed, read_rooms, rows_of, summary_of
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.run.clocks import Clocks

SECONDS = 5.0
"""The deadline of one question to the guard."""
MOST_BYTES = 32 * 1024 * 1024
WATCHED_EVERY = 2.0
"""Seconds between two looks, unless --watch names others."""


class Lost(Exception):
    """The guard does not answer; holds why, in words."""


def _interval(_context: click.Context, _option: click.Parameter, value: float | None) -> Any:
    if value is not None and not 0.2 <= value <= 3600.0:
        raise click.BadParameter("expected seconds from 0.2 to 3600")
    return value


@click.command(short_help="List the live rooms.")
@click.option(
    "--room", "part", default="", metavar="TEXT", help="Only rooms with TEXT in their ID or name."
)
@click.option(
    "--watch",
    "every",
    type=float,
    is_flag=False,
    flag_value=WATCHED_EVERY,
    callback=_interval,
    metavar="[SECONDS]",
    help=f"Keep updating the list, by default every {WATCHED_EVERY:g} seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each update.")
@guard_option
def rooms(part: str, every: float | None, as_json: bool, guard: str) -> None:
    """List the live rooms: people, seats, policy, and what the guard has enforced.

    Asks the running guard, whose counts begin at its start. Rooms with a policy come first, then
    the most crowded. The guard knows who is in rooms with a policy; of other rooms it knows
    LiveKit's count.
    """
    address, console = guard_address(guard), make_console()

    async def work(clocks: Clocks, agents: Agents) -> None:
        asking = Asking(Http(agents.livekit, clocks.reactor), address, part)
        if every is None:
            show_once(console, await asking.first(), as_json)
            return
        watch = Watch(asking, console, clocks, every, as_json)
        await until_interrupted(clocks.reactor, watch)

    on_the_reactor(work)


async def until_interrupted(reactor: Any, watch: "Watch") -> None:
    """Watch until Ctrl-C. The reactor waits for the end of it, so that the terminal is tidied."""
    running, tidied = ensureDeferred(watch.run()), Deferred[None]()

    def end() -> Deferred[None]:
        watch.is_over = True
        running.cancel()
        return tidied

    reactor.addSystemEventTrigger("before", "shutdown", end)
    try:
        await running
    except (CancelledError, Failed):
        if not watch.is_over:
            raise
    finally:
        tidied.callback(None)


@define
class Asking:
    """Asks the guard for its rooms."""

    http: Http
    address: str
    part: str = ""
    """Only rooms with this in their id or name."""

    async def first(self) -> list[Room]:
        """Ask for the first time; raises Failed, with what to change, where nobody tells."""
        try:
            return await self.again()
        except Lost as lost:
            raise Failed(
                f"{lost}. Fix: start the guard, and name its operators' port in --guard or "
                "LOTUS_GUARD_ADMIN_LISTEN"
            ) from None

    async def again(self) -> list[Room]:
        """Ask; returns the wanted rooms in order. Raises Lost."""
        url = f"{self.address}/rooms"
        try:
            answer = await self.http.exchange(
                b"GET", url.encode("ascii"), {}, None, seconds=SECONDS, most=MOST_BYTES
            )
        except Outage as outage:
            raise Lost(f"no guard: {describe_outage(outage, self.address)}") from None
        check_own_host(answer.status, self.address)
        try:
            found = read_rooms(answer.body)
        except ValueError:
            raise Lost(f"{url} answered {answer.status}, but not as a guard does") from None
        return arranged(found, self.part)


def show_once(console: Console, found: Sequence[Room], as_json: bool) -> None:
    """Print the rooms as they are."""
    if as_json:
        click.echo(json.dumps({"rooms": [each.raw for each in found]}))
    elif console.is_terminal:
        console.print(*([listed(console, found)] if found else []), summary_of(found), sep="\n")
    else:
        for line in [*(aligned(rows_of(found)) if found else []), summary_of(found).plain]:
            echo(line)


@define(eq=False)
class Watch:
    """Shows the rooms again and again: in place on a terminal, otherwise a table each time."""

    asking: Asking
    console: Console
    clocks: Clocks
    every: float
    as_json: bool = False
    is_over: bool = False
    """An exchange that is cancelled fails as an outage does: this tells them apart."""
    _found: list[Room] = field(factory=list, init=False)
    _at: float = field(default=0.0, init=False)
    _lost: str = field(default="", init=False)

    async def run(self) -> None:
        """Show until cancelled; raises Failed where there is no guard to begin with."""
        self._keep(await self.asking.first())
        in_place = self.console.is_terminal and not self.console.is_dumb_terminal
        if not in_place or self.as_json:
            await self._go_on(self._print)
            return
        with Live(console=self.console, auto_refresh=False) as live:
            await self._go_on(lambda: live.update(self.picture(), refresh=True))

    async def _go_on(self, show: Callable[[], None]) -> None:
        while not self.is_over:
            show()
            await deferLater(self.clocks.reactor, self.every)
            await self.look()

    async def look(self) -> None:
        """Ask once more; a guard that does not answer is kept in mind, and asked again."""
        try:
            self._keep(await self.asking.again())
        except Lost as lost:
            self._lost = str(lost)

    def _keep(self, found: list[Room]) -> None:
        self._found, self._at, self._lost = found, self.clocks.epoch(), ""

    def picture(self) -> Group:
        """Draw what there is to say, and below it as many rooms as the terminal has lines for.

        In this order: rich cuts off at the bottom, and a lost guard must be seen in any case.
        """
        most = min(len(self._found), self.console.height)
        fitting = bisect_right(range(1, most + 1), False, key=lambda count: not self._fits(count))
        return self._drawn(max(1, fitting))

    def _fits(self, count: int) -> bool:
        """Measure: in a narrow terminal a room takes several lines."""
        return len(self.console.render_lines(self._drawn(count))) <= self.console.height

    def _drawn(self, count: int) -> Group:
        lines = [self._state(), summary_of(self._found)]
        if count < len(self._found):
            lines.append(
                Text(
                    f"{len(self._found) - count} more do not fit; use --room TEXT to choose", "dim"
                )
            )
        return Group(*lines, listed(self.console, self._found[:count]))

    def _state(self) -> Text:
        at = datetime.fromtimestamp(self._at).astimezone().strftime("%H:%M:%S")
        if self._lost:
            lost = f"GUARD LOST: {printable(self._lost, 300)}. Rooms as of {at}. Trying again."
            return Text(lost, "bold red")
        return Text(f"as of {at}, every {self.every:g} s; Ctrl-C ends", "dim")

    def _print(self) -> None:
        if self.as_json:
            told = {"lost": self._lost} if self._lost else {"rooms": [r.raw for r in self._found]}
            click.echo(json.dumps({"at": self.clocks.epoch(), **told}))
            return
        self.console.print(self._state())
        if not self._lost:
            show_once(self.console, self._found, as_json=False)
