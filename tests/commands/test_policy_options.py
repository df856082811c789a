"""The options of every rule on the command line: what they are called, and what makes no sense."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from lotus_guard.commands.policy_options import add_options, parameter_of, read_wishes
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.option import MOST_COUNT
from tests.quiet_hours import QuietHours

(MOST, *_), (CAMERA, SCREEN, *_), (QUIET,) = (
    Limit().options,
    Media().options,
    QuietHours().options,
)
MORE = (*RULES, QuietHours())


def wishes_of(*arguments: str, rules: Rules = MORE) -> Any:
    """Read a command line; what is wished for, or what click says against it."""
    read: list[Any] = []

    def command(**given: Any) -> None:
        read.append(read_wishes(rules, given))

    done = CliRunner().invoke(click.command()(add_options(rules, command)), arguments)
    return read[0] if read else done.output


@pytest.mark.parametrize(
    ("arguments", "wishes"),
    [
        (("--max-users", "5"), {MOST: 5}),
        (("--max-users", str(MOST_COUNT)), {MOST: MOST_COUNT}),
        (("--no-limit",), {MOST: None}),
        (("--camera",), {CAMERA: True}),
        (("--no-camera", "--no-screenshare"), {CAMERA: False, SCREEN: False}),
        (("--quiet", "--no-limit"), {QUIET: True, MOST: None}),
    ],
)
def test_what_is_named_is_wished_for_and_nothing_else(
    arguments: tuple[str, ...], wishes: dict[Any, Any]
) -> None:
    assert wishes_of(*arguments) == wishes


@pytest.mark.parametrize("number", ["0", "-1", "five", "1.0", str(MOST_COUNT + 1)])
def test_a_number_that_no_event_could_hold_or_that_limits_nothing_is_refused(number: str) -> None:
    assert "--max-users" in wishes_of("--max-users", number)


def test_a_number_and_none_at_once_make_no_sense() -> None:
    told = wishes_of("--max-users", "5", "--no-limit")
    assert "--max-users and --no-limit contradict each other; expected one of them" in told


def test_where_nothing_is_named_all_that_could_be_is() -> None:
    told = " ".join(wishes_of(rules=(Limit(), Media(), QuietHours())).split())
    assert "nothing to set; expected --max-users N, --no-limit, --limit-bypass, " in told
    assert "--no-screenshare, --media-bypass, " in told
    assert "--quiet or --no-quiet" in told


def test_the_help_has_the_options_in_the_order_of_the_rules() -> None:
    told = wishes_of("--help")
    flags = ["--max-users N", "--no-limit", "--camera / --no-camera", "--quiet / --no-quiet"]
    places = [told.index(flag) for flag in flags]
    assert places == sorted(places)
    assert MOST.help.split()[0] in told


def test_click_hands_a_flag_over_by_a_name_of_python() -> None:
    assert parameter_of("max-users") == "max_users"
