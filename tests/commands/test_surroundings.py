"""Where the commands find the guard's settings."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lotus_guard.cli import main
from lotus_guard.commands.surroundings import (
    MOST_BYTES,
    STATE_DIRECTORY,
    Unreadable,
    find_surroundings,
)

NAME, OTHER = "LOTUS_GUARD_DEADLINE", "LIVEKIT_KEY"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "environment"
    path.write_text(f'# settings\n{NAME}=2\n{OTHER}="a key"\n')
    return path


def test_the_installed_file_is_read_where_the_environment_says_nothing(file: Path) -> None:
    found = find_surroundings({"HOME": "/root"}, installed=file)
    assert dict(found.texts) == {
        "HOME": "/root",
        NAME: "2",
        OTHER: "a key",
        "STATE_DIRECTORY": STATE_DIRECTORY,
    }
    assert (found.origin(NAME), found.origin("LOTUS_GUARD_LISTEN")) == (str(file), "default")
    told = find_surroundings({"STATE_DIRECTORY": "/own"}, installed=file)
    assert told.texts["STATE_DIRECTORY"] == "/own"


def test_it_is_not_read_where_the_environment_has_settings(file: Path) -> None:
    environment = {"LOTUS_GUARD_LISTEN": "tcp:1"}
    found = find_surroundings(environment, installed=file)
    assert (found.texts, found.file) == (environment, None)
    assert found.origin("LOTUS_GUARD_LISTEN") == "environment"


def test_a_file_that_is_named_is_read_in_any_case_and_the_environment_overrides_it(
    file: Path,
) -> None:
    found = find_surroundings({NAME: "3"}, file, Path("/nowhere"))
    assert dict(found.texts) == {NAME: "3", OTHER: "a key"}
    assert (found.origin(NAME), found.origin(OTHER)) == ("environment", str(file))


def test_a_file_that_cannot_be_read_matters_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "none").write_bytes(b"\xff")
    for name, why in (("gone", "No such file"), (".", "Is a directory"), ("long", "more than")):
        with pytest.raises(Unreadable, match=why):
            find_surroundings({}, tmp_path / name)
    with pytest.raises(Unreadable, match="utf-8"):
        find_surroundings({}, tmp_path / "none")
    assert find_surroundings({}, installed=tmp_path / "gone").unread is None
    assert find_surroundings({}, installed=tmp_path / "none").unread == tmp_path / "none"


def test_no_secret_of_it_is_in_what_a_traceback_would_show(file: Path) -> None:
    assert "a key" not in repr(find_surroundings({}, file))


def test_the_option_comes_before_the_command(file: Path, tmp_path: Path) -> None:
    arguments = ["--env-file", str(file), "config", "--changed"]
    done = CliRunner().invoke(main, arguments, env={NAME: None, OTHER: None})
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(NAME)]
    assert line.split()[1:] == ["2", str(file)]
    gone = CliRunner().invoke(main, ["--env-file", str(tmp_path / "gone"), "config"])
    assert gone.exit_code == 2
    assert "No such file or directory; expected a readable settings file" in gone.stderr


def test_a_line_that_systemd_ignores_is_named_where_a_setting_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text("# as for a shell\nexport LIVEKIT_KEY=a-secret-text\nLIVEKIT_URL=ws://h\n")
    done = CliRunner().invoke(main, ["--env-file", str(path), "config"])
    assert done.exit_code == 2
    assert "LIVEKIT_KEY: not set" in done.stderr
    assert f"{path} has lines that are not NAME=value (line 2): they are ignored" in done.stderr
    assert "a-secret-text" not in done.output
