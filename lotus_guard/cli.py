"""The command-line face: `lotus-guard`."""

import os
from pathlib import Path

import click

from lotus_guard.commands.check import check
from lotus_guard.commands.common import Failed
from lotus_guard.commands.config import config
from lotus_guard.commands.explain import explain
from lotus_guard.commands.policy import policy
from lotus_guard.commands.rooms import rooms
from lotus_guard.commands.surroundings import INSTALLED, Unreadable, find_surroundings
from lotus_guard.commands.words import words
from lotus_guard.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="lotus-guard", message="%(prog)s %(version)s")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Read the guard's settings from this file, in the format of systemd's EnvironmentFile=. "
    "The environment overrides it. Default: "
    f"{INSTALLED}, if it can be read and the environment has none of the guard's settings.",
)
@click.pass_context
def main(context: click.Context, env_file: Path | None) -> None:
    """Check, query and configure the guard in front of lk-jwt-service.

    `rooms` and `explain` ask the running guard and need only its address. The other commands use
    the guard's settings, so run them as a user who can read those, usually root.
    """
    try:
        context.obj = find_surroundings(os.environ, env_file)
    except Unreadable as why:
        raise Failed(f"{why}; expected a readable settings file in --env-file") from None


for command in (check, config, explain, policy, rooms, words):
    main.add_command(command)

if __name__ == "__main__":
    main()
