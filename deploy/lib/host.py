"""The host that is worked on: where things are, how commands are run, what is said."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

GUARD, SOCKET, UPSTREAM = (
    "voice-limit-guard.service",
    "voice-limit-guard.socket",
    "lk-jwt-service.service",
)
HOMESERVER_SOCKET = "voice-limit-guard-homeserver.socket"
DEPLOYER = "voice-limit-guard-deploy"
DROP_IN = f"{UPSTREAM}.d/port.conf"
WAITING = f"{GUARD}.d/waiting.conf"
"""The guard serves the homeserver alone until lk-jwt-service moves; without meaning afterwards."""
_NOT_HANDED_ON = ("PYTHON", "LOTUS_GUARD_", "LIVEKIT_", "GIT_")
_SHOWN_LINES = 25


class Exit(IntEnum):
    """What the exit codes mean; docs/deploying.md says what to do about each."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOURCE = 3
    NOT_NOW = 4
    REFUSED = 5
    ROLLED_BACK = 6
    HELPLESS = 7
    BUSY = 75


class Trouble(Exception):
    """Something is not as it must be: the sentence says what was found and what to change."""

    def __init__(self, text: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Print a line at once: the journal shows when each step began.

    Nobody may be there to read it (a lost connection, `| head`, a full disk): what is being done,
    or undone, goes on.
    """
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def tail(text: str) -> str:
    """Return the last lines of a command's output, set in."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-_SHOWN_LINES:])


def neutral(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment without what would turn a command into another one."""
    return {name: v for name, v in environment.items() if not name.startswith(_NOT_HANDED_ON)}


def run(
    command: Sequence[str | Path],
    code: Exit = Exit.REFUSED,
    env: Mapping[str, str] | None = None,
    seconds: float = 900.0,
    cwd: Path | None = None,
    accepted: Sequence[int] = (0,),
    apart: bool = False,
) -> str:
    """Run a command and give what it wrote; raises Trouble with its last lines where it fails.

    `accepted` are the exit codes that are no failure. With `apart`, what it wrote to stderr is
    shown where it fails and not given.
    """
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(  # noqa: S603  (no shell, and no word of it comes from outside)
            words,
            env=dict(neutral() if env is None else env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us, and we end all that it has started
            close_fds=False,  # the lock goes along (face.py); nothing else of ours can be inherited
        )
    except OSError as error:
        raise Trouble(f"{words[0]} cannot be run: {error.strerror}", code) from None
    try:
        text, apart_from_it = _output(process, seconds)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{words[0]} was not done within {seconds:g} s", code) from None
    if process.returncode not in accepted:
        text += apart_from_it
        raise Trouble(f"{' '.join(words)} ended with {process.returncode}:\n{tail(text)}", code)
    return text


def _output(process: subprocess.Popen[bytes], seconds: float) -> tuple[str, str]:
    """Wait for a process; where that comes to no good end, it and its children are killed."""
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return out.decode(errors="replace"), (err or b"").decode(errors="replace")


@dataclass(frozen=True)
class Host:
    """Paths and services; with another root, one that is made up for trying."""

    root: Path = Path("/")
    systemctl_command: str = "systemctl"

    @classmethod
    def of(cls, root: str, environment: Mapping[str, str]) -> "Host":
        """Make a Host of --root and $SYSTEMCTL; another root has no systemctl but that."""
        path = Path(root).resolve()
        own = "systemctl" if path == Path("/") else ""
        return cls(path, environment.get("SYSTEMCTL") or own)

    def path(self, absolute: str) -> Path:
        """Return a path below the root."""
        return self.root / absolute.lstrip("/")

    @property
    def opt(self) -> Path:
        """Where the releases are, and what the deployer remembers."""
        return self.path("/opt/lotus-guard")

    @property
    def command(self) -> Path:
        """Where people find `lotus-guard`."""
        return self.path("/usr/local/bin/lotus-guard")

    @property
    def packaged(self) -> Path:
        """What the Debian package installs."""
        return self.path("/usr/lib/lotus-guard/venv")

    @property
    def packages_record(self) -> Path:
        """What dpkg knows of the Debian package, until it is purged."""
        return self.path("/var/lib/dpkg/info/lotus-guard.list")

    @property
    def units(self) -> Path:
        """Where the administrator's units are."""
        return self.path("/etc/systemd/system")

    @property
    def environment_file(self) -> Path:
        """The environment of the guard's service."""
        return self.path("/etc/lotus-guard/environment")

    @property
    def deploy_file(self) -> Path:
        """Where the deployer's settings are."""
        return self.path("/etc/lotus-guard/deploy")

    @property
    def state(self) -> Path:
        """The guard's state directory."""
        return self.path("/var/lib/lotus-guard")

    @property
    def is_in_place(self) -> bool:
        """Return whether upstream is told to stand behind the guard: the one switch there is."""
        return (self.units / DROP_IN).exists()

    @property
    def waits(self) -> bool:
        """Return whether the guard serves the homeserver alone, before lk-jwt-service moves."""
        return (self.units / WAITING).exists() and not self.is_in_place

    @property
    def has_socket(self) -> bool:
        """Return whether systemd holds the guard's port."""
        return (self.units / SOCKET).exists()

    def demand_systemctl(self) -> None:
        """Raise Trouble where only the systemd of the machine itself could be asked."""
        if not self.systemctl_command:
            text = f"--root {self.root}: this machine's systemd does not run the units below it. "
            text += "Fix: use --dry-run, or set SYSTEMCTL=COMMAND in the environment"
            raise Trouble(text, Exit.USAGE)

    def systemctl(self, *words: str, seconds: float = 120.0) -> str:
        """Run systemctl; raises Trouble where it fails."""
        self.demand_systemctl()
        return run([self.systemctl_command, *words], seconds=seconds)

    def is_active(self, unit: str) -> bool:
        """Return whether a unit runs."""
        try:
            self.systemctl("is-active", "--quiet", unit)
        except Trouble:
            return False
        return True
