"""The command-line face: `lotus-guard`."""

import click

from lotus_guard.commands.check import check


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """See, ask and trust a lotus_guard. Takes the same environment as the service."""


main.add_command(check)

if __name__ == "__main__":
    main()
