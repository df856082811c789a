"""The page says what the simulation prints, and what it says of the code is so."""

import re

import pytest

from bench.capacity import Load, demand
from bench.costs import read
from bench.scaling import (
    DEPLOYMENTS,
    NOT_BUILT,
    OTHERS,
    PAGE,
    REMEDIES,
    REQUESTS,
    SECONDS,
    SEED,
    put_in,
    rounded,
    tables,
)
from lotus_guard.memory import redis_scripts
from lotus_guard.memory.redis_address import read_redis_address
from lotus_guard.memory.redis_scripts import Script


def test_the_tables_of_the_page_are_what_is_printed() -> None:
    page = PAGE.read_text()
    for heading, table in tables(Load(), read(), SECONDS, SEED):
        assert put_in(page, heading, table) == page, (
            f"{heading}: run python -m bench.scaling --write"
        )


def test_the_page_shows_every_unit_cost() -> None:
    kinds = ("", ": with Redis", ": another worker", ": Redis", ": news", ": commands", ": bytes")
    shown = {f"{name}{kind}" for name in (*REQUESTS, *OTHERS) for kind in kinds}
    assert read().keys() - shown == set(), "measured for nothing, or no more"


def test_a_table_is_put_in_below_its_heading() -> None:
    page = "## A\n\n| 1 |\n|---|\n\n## B\n\n| 2 |\n|---|\n| 3 |\n\nend\n"
    assert put_in(page, "B", "| new |") == "## A\n\n| 1 |\n|---|\n\n## B\n\n| new |\n\nend\n"
    with pytest.raises(ValueError, match="C"):
        put_in(page, "C", "| new |")


def test_for_whatever_may_be_full_there_is_something_to_do() -> None:
    parts = {name for there in DEPLOYMENTS for name in demand(there, Load(), 100.0, read())}
    assert parts == REMEDIES.keys()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (3.21, "3.2"), (12.3, "12"), (98_765.0, "99,000"), (1_234.0, "1,200")],
)
def test_two_digits_are_shown(value: float, shown: str) -> None:
    assert rounded(value) == shown


def test_some_scripts_need_two_keys() -> None:
    """In a cluster these would have to be in one slot; the page says which they are."""
    scripts = [each for each in vars(redis_scripts).values() if isinstance(each, Script)]
    assert len(scripts) >= 5
    assert [each.name for each in scripts if "KEYS[2]" in each.lua] == [
        "change",
        "lead",
        "name",
    ]


def test_a_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="not a cluster"):
        read_redis_address("redis+cluster://node:6379/0")


def slot(key: str) -> int:
    """The slot that Redis Cluster puts a key in: CRC16 of the key, or of what is in its braces."""
    tagged = re.search(r"\{([^}]+)\}", key)
    value = 0
    for byte in (tagged[1] if tagged else key).encode():
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value % 16384


def test_leader_and_term_are_in_different_slots() -> None:
    assert slot("lotus_guard:aliases") == 3038, "as a redis-server of 7.0 says"
    assert slot("lotus_guard:leader") != slot("lotus_guard:term")
    assert slot("{lotus_guard}:leader") == slot("{lotus_guard}:term") == 2120


def test_what_is_not_built_is_marked() -> None:
    table = next(tables(Load(), read(), SECONDS, SEED))[1]
    marked = [row.split("|")[1].strip() for row in table.splitlines() if f"{NOT_BUILT} |" in row]
    assert marked == [f"{each.name}{NOT_BUILT}" for each in DEPLOYMENTS if not each.is_built]
