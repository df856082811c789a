"""The command-line face: `lotus-guard`."""

import click

from lotus_guard.commands.check import check
from lotus_guard.commands.explain import explain
from lotus_guard.commands.policy import policy
from lotus_guard.commands.rooms import rooms
from lotus_guard.commands.words import words


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """See, ask and trust a lotus_guard. Takes the same environment as the service."""


for command in (check, explain, policy, rooms, words):
    main.add_command(command)

if __name__ == "__main__":
    main()
