"""`lotus-guard words`: the languages there are, what they lack, and faults before the start."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from lotus_guard.cli import main
from lotus_guard.words.files import words_of
from tests.saying import ENGLISH


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["words", *[str(each) for each in arguments]])


def test_our_own_languages_are_whole() -> None:
    most = len(ENGLISH.texts)
    assert run().output == f"de: all {most} texts\nen: all {most} texts\n"


def test_an_operators_language_is_listed_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "pl.json").write_text('{"not_a_member": "Nie jesteś w tym pokoju."}')
    (tmp_path / "de.json").write_text('{"not_a_member": "Sie sind nicht in diesem Raum."}')
    most = len(ENGLISH.texts)
    lines = run(tmp_path).output.splitlines()
    assert lines[0] == f"de: all {most} texts"
    assert lines[2] == (
        f"pl: 1 of {most} texts; in English: reference, call_full, call_full_people, "
        "too_many_calls, start_level, …"
    )


def test_what_is_missing_is_printed_as_a_file_to_translate(tmp_path: Path) -> None:
    (tmp_path / "pl.json").write_text('{"not_a_member": "Nie jesteś w tym pokoju."}')
    missing = json.loads(run(tmp_path, "--missing", "PL").output)
    assert {**missing, "not_a_member": ENGLISH.texts["not_a_member"]} == dict(ENGLISH.texts)
    (tmp_path / "pl.json").write_text(json.dumps(missing))
    assert words_of(tmp_path) == {"pl": missing}
    assert json.loads(run("--missing", "de").output) == {}
    assert json.loads(run("--missing", "fr").output) == dict(ENGLISH.texts)


def test_a_faulty_file_ends_the_command_with_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "pl.json").write_text('{"hello": 1, "not_a_member": "{who}"}')
    done = run(tmp_path)
    assert done.exit_code == 2
    assert done.output == (
        "lotus-guard: these translations cannot be used:\n"
        f"  {tmp_path}/pl.json: 'hello' is an unknown key; expected the keys of English\n"
        f"  {tmp_path}/pl.json: not_a_member has {{who}}; expected no fields\n"
    )
