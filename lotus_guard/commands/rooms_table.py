"""Live rooms as a guard tells of them, and as a table."""

import json
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from rich.table import Table
from rich.text import Text

from lotus_guard.core.text import printable

MOST_NAMED = 4
"""Users who are named in a room's line; the others are counted."""
_COUNTS = (
    ("refused", "refused", ""),
    ("narrowed", "narrowed", ""),
    ("steps", "corrected live", ""),
    ("failed_open", "let through", "bold red"),
    ("strangers", "not known as members", "bold red"),
)


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
        people=int(fields["people"]),
        users=tuple(map(str, fields.get("users") or ())),
        seats=_seats_in(fields),
        policy=tuple(str(words) for rule in fields["policy"] for words in rule["brief"]),
        counts={name: int(fields.get(name) or 0) for name, _, _ in _COUNTS},
        raw=fields,
    )


def _seats_in(fields: dict[str, Any]) -> tuple[int, int] | None:
    numbers = [rule["seats"] for rule in fields["policy"] if rule["seats"] is not None]
    return (int(fields.get("taken") or 0), int(numbers[0])) if numbers else None


def arranged(found: Sequence[Room], part: str = "") -> list[Room]:
    """Choose the rooms with this in id or name: those under a policy first, then by people."""
    wanted = part.casefold()
    chosen = [
        each for each in found if wanted in each.id.casefold() or wanted in each.name.casefold()
    ]
    return sorted(chosen, key=lambda each: (not each.is_restricted, -each.people, each.id))


def table_of(found: Sequence[Room]) -> Table:
    """Draw rooms as a table; whatever strangers wrote is escaped, and never markup."""
    table = Table(header_style="bold")
    for name in ("Room", "People", "Seats", "Policy", "Enforced", "Who"):
        is_number = name in ("People", "Seats")
        table.add_column(
            name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for each in found:
        table.add_row(
            _called(each),
            Text(str(each.people)),
            _seats(each),
            _policy(each),
            _done(each),
            _who(each),
        )
    return table


def summary_of(found: Sequence[Room]) -> Text:
    """Sum rooms up in a sentence."""
    if not found:
        return Text("No live rooms.")
    people, restricted = sum(each.people for each in found), sum(e.is_restricted for e in found)
    return Text(f"Live rooms: {len(found)}, under a policy: {restricted}, people: {people}.")


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


def _done(room: Room) -> Text:
    parts = [
        Text(f"{room.counts[n]} {word}", style) for n, word, style in _COUNTS if room.counts[n]
    ]
    return Text(", ").join(parts) if parts else Text("-")


def _who(room: Room) -> Text:
    named = [printable(user, 60) for user in room.users[:MOST_NAMED]]
    if len(room.users) > MOST_NAMED:
        named.append(f"{len(room.users) - MOST_NAMED} more")
    return Text(", ".join(named))
