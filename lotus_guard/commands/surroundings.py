"""Where the commands find the settings: in their environment, or in the guard's own file."""

import os
from collections.abc import Mapping
from pathlib import Path

import click
from attrs import evolve, field, frozen

from lotus_guard.run.config import variable_names
from lotus_guard.run.env_file import parse_environment, passed_over

INSTALLED = Path("/etc/lotus-guard/environment")
"""Where `deploy/install` and the Debian package put the settings."""
STATE = "STATE_DIRECTORY"
STATE_DIRECTORY = "/var/lib/lotus-guard"
"""What systemd sets as that for an installed guard (`StateDirectory=lotus-guard`)."""
MOST_BYTES = 1024 * 1024
DEFAULT, ENVIRONMENT = "default", "environment"


class Unreadable(Exception):
    """A file of settings cannot be read; holds why, in words."""


@frozen
class Surroundings:
    """The settings as texts, and where each of them stands."""

    texts: Mapping[str, str] = field(repr=False)
    """What the guard would have as its environment."""
    file: Path | None = None
    """The file that settings were read from; None where there was none."""
    of_file: frozenset[str] = frozenset()
    """Names of those that stand in that file."""
    passed_over: tuple[int, ...] = ()
    """Numbers of lines in it that are no settings; systemd ignores them as well."""
    unread: Path | None = None
    """The installed file, where it is there and this user may not read it."""

    def origin(self, name: str) -> str:
        """Where a setting stands: `environment`, the file's path, or `default`."""
        if name in self.of_file:
            return str(self.file)
        return ENVIRONMENT if name in self.texts else DEFAULT


def find_surroundings(
    environment: Mapping[str, str], named: Path | None = None, installed: Path = INSTALLED
) -> Surroundings:
    """Read the named file, or the installed one where the environment has no setting of the guard.

    What stands in the environment as well overrides the file. Raises Unreadable where the named
    file cannot be read.
    """
    if named is not None:
        return _with_file(environment, named)
    own = Surroundings(environment)
    if not environment.keys().isdisjoint(variable_names()):
        return own
    try:
        found = _with_file(environment, installed)
    except Unreadable:
        return evolve(own, unread=installed if _is_there(installed) else None)
    if STATE in environment:
        return found
    return evolve(found, texts={**found.texts, STATE: STATE_DIRECTORY})


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # its directory is root's alone, as the package makes it
        return True


def _with_file(environment: Mapping[str, str], path: Path) -> Surroundings:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"cannot read {path}: {why}") from None
    found = parse_environment(text)
    names = found.keys() - environment.keys()
    lines = tuple(passed_over(text))
    return Surroundings({**found, **environment}, path, frozenset(names), lines)


def surroundings() -> Surroundings:
    """What `lotus-guard` has found for the command that runs."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Surroundings) if context else None
    return found or Surroundings(os.environ)
