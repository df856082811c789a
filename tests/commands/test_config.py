"""`lotus-guard config`: every setting, its value and where it comes from."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lotus_guard.cli import main
from lotus_guard.commands.config import masked, settings_in
from lotus_guard.commands.surroundings import Surroundings
from lotus_guard.run.config import variable_names, variables
from tests.test_docs import GOOD

SECRET = "a-secret-that-must-never-be-printed"
NOTHING: dict[str, str | None] = dict.fromkeys(variable_names())


def run(*arguments: str, **more: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments], env={**NOTHING, **GOOD, **more})


def rows(done: Result) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}


def test_every_setting_is_listed_with_its_value_and_origin() -> None:
    done = run(LOTUS_GUARD_DEADLINE="2.5")
    assert (done.exit_code, done.stderr) == (0, "")
    found = rows(done)
    assert found.pop("SETTING") == ["VALUE", "FROM"]
    assert list(found) == variable_names()
    assert found["LOTUS_GUARD_DEADLINE"] == ["2.5", "environment"]
    assert found["LOTUS_GUARD_LISTEN"] == ["tcp:8070", "default"]
    assert found["LOTUS_GUARD_WORDS"] == ["-", "default"]


def test_only_those_that_differ_from_their_default(tmp_path: Path) -> None:
    done = run("--changed", LOTUS_GUARD_DEADLINE="1.0", LOTUS_GUARD_MODE="observe")
    assert sorted(rows(done)) == sorted(["SETTING", *GOOD, "LOTUS_GUARD_MODE"])


@pytest.mark.parametrize("name", [each.name for each in variables() if each.is_secret])
def test_no_secret_is_printed(name: str) -> None:
    for arguments in ((), ("--json",), ("--changed",)):
        done = run(*arguments, **{name: SECRET})
        assert SECRET not in done.output
        assert "***" in done.output


def test_every_setting_that_is_a_secret_is_declared_as_one() -> None:
    words = ("SECRET", "TOKEN", "PASSWORD")
    named = {n for n in variable_names() if any(w in n for w in words) and "_FILE" not in n}
    assert named - {"LOTUS_GUARD_TOKEN_LIFE"} == {e.name for e in variables() if e.is_secret}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:p@ss/word@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://:pw@host", "rediss://***@host"),
        ("http://u:pw@h", "http://***@h"),
        ("user:pw@host", "***@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("tcp:8070", "tcp:8070"),
        ("", ""),
    ],
)
def test_no_password_of_an_address_is_shown(text: str, shown: str) -> None:
    assert masked(text, is_secret=False) == shown


def test_what_stands_in_a_file_names_that_file(tmp_path: Path) -> None:
    def origins(**texts: str) -> dict[str, tuple[str, str]]:
        found: Any = settings_in(Surroundings({"LIVEKIT_SECRET": SECRET, **texts}))
        return {each.name: (each.value, each.origin) for each in found}

    own = origins(LIVEKIT_SECRET_FROM_FILE="/own", LOTUS_GUARD_PUSH_SECRET_FROM_FILE="/push")
    assert own["LIVEKIT_SECRET"] == ("(in that file)", "/own")
    assert own["LIVEKIT_KEY"] == ("", "default")
    assert own["LOTUS_GUARD_PUSH_SECRET"] == ("(in that file)", "/push")
    both = origins(LIVEKIT_KEY_FILE="/both", LIVEKIT_SECRET_FROM_FILE="/own")
    assert both["LIVEKIT_SECRET"] == both["LIVEKIT_KEY"] == ("(in that file)", "/both")
    registered = origins(LIVEKIT_AS_REGISTRATION_FILE="/reg")
    assert registered["LIVEKIT_AS_TOKEN"] == ("(in that file)", "/reg")


def test_for_machines_it_is_json() -> None:
    done = run("--json", "--changed", LOTUS_GUARD_MODE="observe")
    (mode,) = [e for e in json.loads(done.stdout)["settings"] if e["name"] == "LOTUS_GUARD_MODE"]
    assert (mode["value"], mode["origin"], mode["is_default"]) == ("observe", "environment", False)


def test_wrong_settings_are_listed_all_the_same_and_end_with_2() -> None:
    done = run(LOTUS_GUARD_DEADLINE="\x1b[31msoon", LOTUS_GUARD_DEADLIEN="1")
    assert done.exit_code == 2
    assert "LOTUS_GUARD_DEADLINE" in rows(done)
    assert "\x1b" not in done.output
    assert "did you mean LOTUS_GUARD_DEADLINE?" in done.stderr
