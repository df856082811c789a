"""What `lotus-guard policy set` takes: the options of every rule, read and checked."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from lotus_guard.rules import Rules
from lotus_guard.rules.option import MOST_COUNT, Count, Option

D = TypeVar("D")
Wishes = Mapping[Option, Any]
"""What is to hold; what is not named stays as it is."""


def add_options(rules: Rules, command: D) -> D:
    """Add the options of all rules to a command, in their order."""
    made = [made for rule in rules for option in rule.options for made in _decorators(option)]
    for decorate in reversed(made):
        command = decorate(command)
    return command


def _decorators(option: Option) -> list[Callable[[Any], Any]]:
    if isinstance(option, Count):
        number = click.option(
            f"--{option.flag}",
            parameter_of(option.flag),
            type=click.IntRange(1, MOST_COUNT),
            metavar=option.metavar,
            help=option.help,
        )
        off = click.option(
            f"--{option.off}", parameter_of(option.off), is_flag=True, help=option.off_help
        )
        return [number, off]
    names = f"--{option.flag}/--no-{option.flag}"
    return [click.option(names, parameter_of(option.flag), default=None, help=option.help)]


def read_wishes(rules: Rules, given: Mapping[str, Any]) -> Wishes:
    """Read what was given on the command line; raises click.UsageError where it makes no sense."""
    options = [option for rule in rules for option in rule.options]
    wishes: dict[Option, Any] = {}
    for option in options:
        value = given[parameter_of(option.flag)]
        is_off = isinstance(option, Count) and given[parameter_of(option.off)]
        if isinstance(option, Count) and is_off and value is not None:
            raise click.UsageError(
                f"--{option.flag} and --{option.off} contradict each other; expected one of them"
            )
        if is_off or value is not None:
            wishes[option] = value
    if not wishes:
        named = [name for option in options for name in _spellings(option)]
        wanted = f"{', '.join(named[:-1])} or {named[-1]}"
        raise click.UsageError(f"nothing to set; expected {wanted}")
    return wishes


def _spellings(option: Option) -> list[str]:
    if isinstance(option, Count):
        return [f"--{option.flag} {option.metavar}", f"--{option.off}"]
    return [f"--{option.flag}", f"--no-{option.flag}"]


def parameter_of(flag: str) -> str:
    """The name under which click hands a flag over."""
    return flag.replace("-", "_")
