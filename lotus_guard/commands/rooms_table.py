"""Live rooms as a guard tells of them, and how they are listed."""

import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from attrs import field, frozen
from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from lotus_guard.commands.output import folded
from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.text import printable

MOST_NAMED = 4
"""Users who are named in a room's line; the others are counted."""
_COUNTS = (
    ("refused", "refused", ""),
    ("narrowed", "changed", ""),
    ("steps", "changed live", ""),
    ("failed_open", "unguarded", "bold red"),
    ("strangers", "not known to be members", "bold red"),
)
_ALARMING = re.compile("|".join(rf"\d+ {words}" for _, words, style in _COUNTS if style))
MOST_NUMBER = 2**53
"""As large as a number in an event may be; Python does not write sums of much larger ones."""
HEADER = ("Room", "People", "Seats", "Policy", "Enforced", "Who")
NUMBERS = ("People", "Seats")


@frozen
class Room:
    """A live room as GET /rooms of the operators' port shows it (`observe.rooms`)."""

    id: str
    name: str
    """Empty where it has none."""
    people: int
    users: tuple[str, ...]
    seats: tuple[int, int] | None
    """How many are taken and how many there are; None where people are not counted."""
    policy: tuple[str, ...]
    """What is restricted, in a few words each."""
    counts: dict[str, int]
    raw: dict[str, Any] = field(eq=False, repr=False)
    """All that was told, for `--json`."""

    @property
    def is_restricted(self) -> bool:
        """Whether a policy holds in it."""
        return bool(self.policy)


def read_rooms(body: bytes) -> list[Room]:
    """Read what the guard tells; raises ValueError where it was no guard."""
    try:
        return [_room(each) for each in json.loads(body)["rooms"]]
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a list of rooms: {error}") from None


def _room(fields: dict[str, Any]) -> Room:
    return Room(
        id=str(fields["room"]),
        name=str(fields.get("name") or ""),
        people=_number(fields["people"]),
        users=tuple(map(str, fields.get("users") or ())),
        seats=_seats_in(fields),
        policy=tuple(str(words) for rule in fields["policy"] for words in rule["brief"]),
        counts={name: _number(fields.get(name) or 0) for name, _, _ in _COUNTS},
        raw=fields,
    )


def _seats_in(fields: dict[str, Any]) -> tuple[int, int] | None:
    numbers = [rule["seats"] for rule in fields["policy"] if rule["seats"] is not None]
    return (_number(fields.get("taken") or 0), _number(numbers[0])) if numbers else None


def _number(value: Any) -> int:
    """Read a number of people; of one so large that nobody can mean it, as much as is sensible."""
    return min(int(value), MOST_NUMBER)


def arranged(found: Sequence[Room], part: str = "") -> list[Room]:
    """Choose the rooms with this in id or name: those under a policy first, then by people."""
    wanted = part.casefold()
    chosen = [
        each for each in found if wanted in each.id.casefold() or wanted in each.name.casefold()
    ]
    return sorted(chosen, key=lambda each: (not each.is_restricted, -each.people, each.id))


def listed(console: Console, found: Sequence[Room]) -> RenderableType:
    """Draw rooms for a terminal: as a table where all words fit, otherwise some lines for each.

    Whatever strangers wrote is escaped, and never markup.
    """
    rows = [_cells(each, between=",\n") for each in found]
    widths = widths_of([HEADER, *[[cell.plain for cell in row] for row in rows]], console.width)
    if widths is None:
        return Group(*chain.from_iterable(_block(each, console.width) for each in found))
    table = Table(header_style="bold")
    for name, width in zip(HEADER, widths, strict=True):
        justify: JustifyMethod = "right" if name in NUMBERS else "left"
        table.add_column(name, justify=justify, width=width, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def widths_of(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """How wide each column of a table is to be; None where a word would be broken."""
    columns = list(zip(*rows, strict=True))
    least = [max(cell_len(w) for cell in each for w in _words(cell)) for each in columns]
    whole = [max(cell_len(x) for cell in each for x in cell.split("\n")) for each in columns]
    left = width - (3 * len(columns) + 1) - sum(least)  # two blanks and a line for each column
    if left < 0:
        return None
    wanted = [most - few for most, few in zip(whole, least, strict=True)]
    share = min(1.0, left / max(1, sum(wanted)))
    return [few + int(more * share) for few, more in zip(least, wanted, strict=True)]


def _words(cell: str) -> list[str]:
    """What stays on one line: each word, with the number in front of it."""
    return re.findall(r"\d+ \S+|\S+", cell) or [""]


def _cells(room: Room, between: str = ", ") -> list[Text]:
    people, done = Text(str(room.people)), _done(room, between)
    return [_called(room), people, _seats(room), _policy(room), done, _who(room)]


def _block(room: Room, width: int) -> list[Text]:
    """Describe a room in some lines, broken between words."""
    called, people, seats, policy, done, who = (cell.plain for cell in _cells(room))
    lines = [Text(line, "bold") for line in folded(called, width)]
    of = f"  seats: {seats}" if room.seats else ""
    details = [f"people: {people}{of}", f"policy: {policy}", f"enforced: {done}", f"who: {who}"]
    for detail in details:
        if not detail.endswith((": -", ": ")):
            lines += [Text(line) for line in folded(f"  {detail}", width, 4)]
    for line in lines:
        line.highlight_regex(_ALARMING, "bold red")
    return lines


def rows_of(found: Sequence[Room]) -> list[tuple[str, ...]]:
    """Describe rooms for pipes: a header, and a row for each; the id comes first."""
    rows = [("ROOM", *(name.upper() for name in HEADER[1:]), "NAME")]
    for each in found:
        cells = [cell.plain or "-" for cell in _cells(each)[1:]]
        rows.append((printable(each.id, MOST_ID), *cells, printable(each.name, 60) or "-"))
    return rows


def summary_of(found: Sequence[Room]) -> Text:
    """Sum rooms up in a sentence."""
    if not found:
        return Text("No live rooms.")
    people, restricted = sum(each.people for each in found), sum(e.is_restricted for e in found)
    return Text(f"Live rooms: {len(found)}, with a policy: {restricted}, people: {people}.")


def _called(room: Room) -> Text:
    text = Text()
    if room.name:
        text.append(printable(room.name, 60), "bold").append("  ")
    return text.append(printable(room.id, 80), "dim" if room.name else "")


def _seats(room: Room) -> Text:
    if room.seats is None:
        return Text("-")
    taken, most = room.seats
    return Text(f"{taken}/{most}", "bold yellow" if taken >= most else "")


def _policy(room: Room) -> Text:
    return Text(", ".join(printable(words, 60) for words in room.policy) or "-")


def _done(room: Room, between: str) -> Text:
    parts = [
        Text(f"{room.counts[n]} {word}", style) for n, word, style in _COUNTS if room.counts[n]
    ]
    return Text(between).join(parts) if parts else Text("-")


def _who(room: Room) -> Text:
    named = [printable(user, 60) for user in room.users[:MOST_NAMED]]
    if len(room.users) > MOST_NAMED:
        named.append(f"{len(room.users) - MOST_NAMED} more")
    return Text(", ".join(named))
