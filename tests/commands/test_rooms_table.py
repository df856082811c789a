"""Live rooms in order, and as a table in which whatever strangers wrote stays text."""

import io

from rich.console import Console

from lotus_guard.commands.rooms_table import Room, arranged, summary_of, table_of
from tests.commands.live_rooms import HOSTILE, room


def drawn(*found: Room, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table_of(found))
    console.print(summary_of(found))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_rooms_are_put_in_order_and_chosen() -> None:
    found = [
        room(room="!a:s", people=9),
        room(room="!b:s", people=1, forbidden=["camera"]),
        room(room="!c:s", people=3, max_users=5, name="Küche"),
        room(room="!d:s", people=9),
    ]
    assert [each.id for each in arranged(found)] == ["!c:s", "!b:s", "!a:s", "!d:s"]
    assert [each.id for each in arranged(found, "KÜCHE")] == ["!c:s"]
    assert [each.id for each in arranged(found, "!D:")] == ["!d:s"]
    assert arranged(found, "nowhere") == []


def test_hostile_names_do_not_reach_the_terminal() -> None:
    text = drawn(
        room(room=HOSTILE, name=HOSTILE, users=[HOSTILE], forbidden=[HOSTILE], max_users=1),
        room(room="!" + "x" * 5000, name="[/bold]", people=10**9),
    )
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("[bold red]") == 3, "read as text, not as markup"
    assert "[/bold]" in text
    assert max(map(len, text.splitlines())) <= 200


def test_a_room_says_what_is_special_about_it() -> None:
    crowd = room(max_users=3, taken=1, users=[f"@u{n}:s" for n in range(9)], failed_open=2, steps=1)
    text = drawn(crowd)
    assert "1/3" in text
    assert "1 corrected live, 2 let through" in text
    assert "@u3:s, 5 more" in text
    assert "@u4:s" not in text
    assert "No live rooms." in drawn()
