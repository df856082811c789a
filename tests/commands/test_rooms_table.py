"""Live rooms in order, and as a table in which whatever strangers wrote stays text."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from lotus_guard.commands.rooms_table import (
    HEADER,
    Room,
    arranged,
    listed,
    rows_of,
    summary_of,
    widths_of,
)
from tests.commands.live_rooms import HOSTILE, room


def drawn(*found: Room, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(listed(console, found))
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
        width=400,
    )
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("[bold red]") == 3, "read as text, not as markup"
    assert "[/bold]" in text
    assert max(map(len, text.splitlines())) <= 400


def test_a_limit_that_nobody_can_mean_is_cut() -> None:
    huge = int("9" * 4299)
    found = [room(room=name, people=huge, max_users=huge) for name in ("!a:s", "!b:s")]
    assert f"/{2**53}" in drawn(*found)


def test_a_room_says_what_is_special_about_it() -> None:
    crowd = room(max_users=3, taken=1, users=[f"@u{n}:s" for n in range(9)], failed_open=2, steps=1)
    text = drawn(crowd)
    assert "1/3" in text
    assert "1 changed live," in text
    assert "2 unguarded" in text
    assert "@u3:s, 5 more" in text
    assert "@u4:s" not in text
    assert "No live rooms." in drawn()


CROWD = room(
    room="!abcdefghijklmnopqr:matrix.example.org",
    name="The kitchen of all of us",
    people=5,
    users=[f"@someone{n}:matrix.example.org" for n in range(5)],
    taken=5,
    max_users=5,
    forbidden=["camera", "screen_share"],
    refused=3,
    failed_open=1,
)


@pytest.mark.parametrize("width", [44, 60, 80, 100, 120, 160, 300])
def test_nothing_is_broken_within_words(width: int) -> None:
    text = drawn(CROWD, width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    words = set(text.replace("\u2502", " ").split())
    told = " ".join(cell for row in rows_of([CROWD])[1:] for cell in row)
    assert set(told.split()) - words == set()


def test_a_table_is_as_wide_as_its_words_and_no_wider_than_the_terminal() -> None:
    rows = [("one", "two words"), ("three", "x")]
    assert widths_of(rows, 80) == [5, 9]
    assert widths_of(rows, 5 + 5 + 7) == [5, 5]
    assert widths_of(rows, 5 + 5 + 6) is None
    assert widths_of([("12 refused,\n2 changed",)], 15) == [11], "a number stays with its word"
    assert widths_of([("12 refused,\n2 changed",)], 14) is None


def test_for_pipes_there_is_a_row_for_each_room_with_its_id_first() -> None:
    header, crowd, other = rows_of([CROWD, room(room="!b:s", people=2)])
    assert header == ("ROOM", *(name.upper() for name in HEADER[1:]), "NAME")
    assert crowd[:3] == ("!abcdefghijklmnopqr:matrix.example.org", "5", "5/5")
    assert crowd[-1] == "The kitchen of all of us"
    assert other == ("!b:s", "2", "-", "-", "-", "-", "-")
    hostile = rows_of([room(room=HOSTILE, name=HOSTILE, users=[HOSTILE])])[1]
    assert all(cell.isprintable() for cell in hostile)


def test_what_is_alarming_stands_out_in_a_narrow_terminal_too() -> None:
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True, color_system="standard")
    console.print(listed(console, [CROWD]))
    assert "\x1b[1;31m1 unguarded\x1b[0m" in out.getvalue()
