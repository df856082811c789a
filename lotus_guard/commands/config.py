"""`lotus-guard config`: the settings that hold, and where each comes from."""

import json
import re
import sys
from collections.abc import Iterable

import click
from attrs import asdict, frozen
from rich.console import Console

from lotus_guard.commands.common import unusable
from lotus_guard.commands.output import aligned, echo, make_console, say
from lotus_guard.commands.surroundings import DEFAULT, Surroundings, surroundings
from lotus_guard.core.text import printable
from lotus_guard.run.config import read_config, variables
from lotus_guard.run.credential_settings import files_of
from lotus_guard.run.setting import Faulty, Variable

MASKED = "***"
IN_FILE = "(in that file)"
MOST_SHOWN = 300
_PASSWORD = re.compile(r"(?:(?<=://)|^(?!\w+://)).*(?=@)", re.DOTALL)
"""Whatever stands before the last @ of an address, however it is written."""


@frozen
class Shown:
    """A setting as it is shown: no secret is in it."""

    name: str
    value: str
    origin: str
    """`environment`, `default`, or the path of a file."""
    is_default: bool
    help: str


@click.command(short_help="Print all settings and where they come from.")
@click.option("--changed", is_flag=True, help="Only settings that differ from their default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
def config(changed: bool, as_json: bool) -> None:
    """Print every setting, its value and where it comes from.

    Secrets are shown as ***. A guard started now would use these settings; a running guard keeps
    those of its start. Exits with 2 if a setting is missing or wrong.
    """
    found = surroundings()
    shown = [each for each in settings_in(found) if not (changed and each.is_default)]
    if as_json:
        click.echo(json.dumps({"settings": [asdict(each) for each in shown]}, indent=1))
    else:
        _print(shown)
    try:
        read_config(found.texts)
    except Faulty as faulty:
        failed = unusable(found, faulty)
        failed.show()
        sys.exit(failed.exit_code)


def settings_in(found: Surroundings) -> list[Shown]:
    """Describe every setting as it is found."""
    return [_shown(each, found) for each in variables()]


def _shown(variable: Variable, found: Surroundings) -> Shown:
    name, texts = variable.name, found.texts
    text = texts.get(name, variable.default)
    origin = found.origin(name)
    path = next((texts[each] for each in files_of(name) if texts.get(each)), "")
    if path:
        value, origin = IN_FILE, path
    else:
        value = masked(text, variable.is_secret)
    is_default = not path and text == variable.default
    shown = printable(value, MOST_SHOWN), printable(origin, MOST_SHOWN)
    return Shown(name, *shown, is_default, variable.help)


def masked(text: str, is_secret: bool) -> str:
    """Hide what nobody may read over the operator's shoulder: secrets, and passwords in URLs."""
    return MASKED if is_secret and text else _PASSWORD.sub(MASKED, text)


def _print(shown: Iterable[Shown]) -> None:
    rows = [(each.name, each.value or "-", each.origin) for each in shown]
    console = make_console()
    lines = aligned([("SETTING", "VALUE", "FROM"), *rows])
    if not console.is_terminal or all(len(line) <= console.width for line in lines):
        for line in lines:
            echo(line)
        return
    for name, value, origin in rows:
        _print_narrow(console, name, value, origin)


def _print_narrow(console: Console, name: str, value: str, origin: str) -> None:
    say(console, name, style="bold" if origin != DEFAULT else "")
    say(console, f"    {value}", indent=4)
    say(console, f"    from: {origin}", indent=4)
