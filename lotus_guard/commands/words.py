"""`lotus-guard words`: what users are told, in which languages, and whether files are right."""

import json
from collections.abc import Mapping
from pathlib import Path

import click

from lotus_guard.commands.common import Failed
from lotus_guard.core.sentence import Text
from lotus_guard.words.files import ENGLISH, FaultyWords, built_in, words_of

MOST_NAMED = 5


@click.command(short_help="List and check translations.")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option(
    "--missing", metavar="LANGUAGE", help="Print the texts that LANGUAGE lacks, for translation."
)
def words(directory: Path | None, missing: str | None) -> None:
    """List the languages of messages to users, and check translations in DIRECTORY.

    DIRECTORY has a file per language, such as pl.json for Polish; it is what LOTUS_GUARD_WORDS
    names. Exits with 2 if a file is wrong, and says what to change.
    """
    ours = {tag: catalogue.texts for tag, catalogue in built_in().items()}
    try:
        theirs = words_of(directory) if directory else {}
    except FaultyWords as why:
        lines = "".join(f"\n  {fault}" for fault in why.faults)
        raise Failed(f"these translations cannot be used:{lines}") from None
    spoken = ours | {tag: {**ours.get(tag, {}), **theirs[tag]} for tag in theirs}
    if missing is None:
        for tag in sorted(spoken):
            click.echo(_line(tag, spoken[tag], ours[ENGLISH]))
        return
    lacking = _lacking(spoken.get(missing.lower(), {}), ours[ENGLISH])
    click.echo(json.dumps({key: ours[ENGLISH][key] for key in lacking}, indent=2))


def _line(tag: str, has: Mapping[str, Text], english: Mapping[str, Text]) -> str:
    lacking = _lacking(has, english)
    if not lacking:
        return f"{tag}: all {len(english)} texts"
    named = ", ".join(lacking[:MOST_NAMED]) + (", …" if len(lacking) > MOST_NAMED else "")
    most = len(english)
    return f"{tag}: {most - len(lacking)} of {most} texts; in English: {named}"


def _lacking(has: Mapping[str, Text], english: Mapping[str, Text]) -> list[str]:
    return [key for key in english if key not in has]
