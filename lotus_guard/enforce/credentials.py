"""What proves who we are, and by what others prove it to us: renewed while the guard runs.

A value stands in a variable, which a process is given once, or in files (`…_FROM_FILE`,
`LIVEKIT_KEY_FILE`), which are read again:

- when they have changed and then stood still from one look to the next (`look`, once a second), so
  that what is being written is not taken for what was meant;
- at once when whoever used the value was refused (`renewed`), and at SIGHUP (`reload`).

A file that cannot be read, or holds nothing of use, changes nothing: the last value serves on. Only
regular files are read again, and a bounded part of them: a pipe would hold the whole guard up.
"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.ports import Now

_log = Logger()

LOOK_SECONDS = 1.0
FORMER_SECONDS = 600.0
"""For so long after a change others may still sign with what was valid before it."""
MOST_FORMER = 2
MOST_BYTES = 64 * 1024
_BLANKS = " \r\n"
EXPECTED = "; expected "
"""Between what is wrong with a setting and what it may be."""

V = TypeVar("V")


class Unusable(Exception):
    """There is no credential where one should be; a line for each fault, none of which repeats it.

    Each line reads `NAME: what was found; expected what it may be`.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def fault_line(name: str, found: str, wanted: str) -> str:
    """Write what is wrong with a setting, and what is expected of it."""
    return f"{name}: {found}{EXPECTED}{wanted}"


@frozen
class Place:
    """Where a credential stands: in a variable, or in the file that another one names."""

    name: str
    plain: str = field(repr=False)
    path: str
    """Empty where it stands in the variable."""

    @property
    def shown(self) -> str:
        """The variable that says where it stands."""
        return f"{self.name}_FROM_FILE" if self.path else self.name

    @property
    def is_set(self) -> bool:
        """Whether there is one at all."""
        return bool(self.plain or self.path)

    def read(self) -> str:
        """Read it, without blanks and line ends around it; raises Unusable."""
        text = read_text(self.shown, self.path) if self.path else self.plain
        text = text.strip(_BLANKS)
        if not text:
            found = "empty" if self.path else "not set"
            raise Unusable(fault_line(self.shown, found, f"{self.name} or {self.name}_FROM_FILE"))
        return text

    def read_token(self) -> str:
        """Read an access token; raises Unusable."""
        text = self.read()
        if not text.isascii() or not text.isprintable() or " " in text:
            found = "contains blanks or characters that no access token has"
            raise Unusable(fault_line(self.name, found, "an access token"))
        return text

    def read_secret(self, least: int) -> str:
        """Read a secret of so many characters that need not be there; raises Unusable."""
        text = self.read() if self.is_set else ""
        if 0 < len(text) < least:
            found = f"only {len(text)} characters"
            raise Unusable(fault_line(self.name, found, f"{least} or more random ones"))
        return text


def read_text(name: str, path: str) -> str:
    """Read the file that a variable names; raises Unusable."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) <= MOST_BYTES:
            return data.decode("utf-8")
        why = f"it is longer than {MOST_BYTES} bytes"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
    found = f"cannot read {path!r} ({why})"
    raise Unusable(fault_line(name, found, "a file that this user can read"))


def read_pair(key: Place, secret: Place) -> KeyPair:
    """Read LiveKit's key and secret from a place each; raises Unusable with all that is wrong."""
    found: list[str] = []
    faults: list[str] = []
    for place in (key, secret):
        try:
            found.append(place.read())
        except Unusable as why:
            faults += why.faults
    if faults:
        raise Unusable(*faults)
    return KeyPair(*found)


def read_pair_file(name: str, path: str) -> KeyPair:
    """Read LiveKit's key and secret from one line `key: secret`; raises Unusable."""
    key, colon, secret = read_text(name, path).partition(":")
    key, secret = key.strip(_BLANKS), secret.strip(_BLANKS)
    if not colon or not key or not secret or ":" in secret or "\n" in key + secret:
        raise Unusable(fault_line(name, "not in the right form", "one line `key: secret`"))
    return KeyPair(key, secret)


@define(eq=False)
class Credential(Generic[V]):
    """One credential: what it is now, and what it was before."""

    name: str
    """The variable that says where it stands."""
    value: V = field(repr=False)
    files: tuple[str, ...] = ()
    """Empty where it stands in the environment."""
    read: Callable[[], V] | None = field(default=None, repr=False)
    """Reads it again; raises Unusable."""
    now: Now = time.monotonic
    _former: list[tuple[V, float]] = field(factory=list, init=False, repr=False)
    """What it was, and until when."""
    _taken: object = field(init=False, repr=False)
    """How the files were when they were read."""
    _noticed: object = field(default=None, init=False, repr=False)
    _read_at: float = field(default=float("-inf"), init=False)
    _complaint: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._taken = self._signature()

    def known(self) -> Sequence[V]:
        """List what it is and what it was: to read what only upstream can have sent."""
        return [self.value, *(value for value, _ in self._former)]

    def believed(self) -> Sequence[V]:
        """List what it is and what it was until a moment ago: for what anybody may have sent."""
        now = self.now()
        recent = [value for value, until in self._former if now - until <= FORMER_SECONDS]
        return [self.value, *recent]

    def look(self) -> None:
        """Read files that have changed and stand still since the last look."""
        seen = self._signature()
        if seen != self._taken and seen == self._noticed:
            self.again()
        self._noticed = seen

    def renewed(self, used: V) -> bool:
        """Whether it is another than the one that was refused; looks at the files at once."""
        is_due = self.now() - self._read_at >= LOOK_SECONDS or self._signature() != self._taken
        if self.value == used and is_due:
            self.again()
        return self.value != used

    def again(self) -> str:
        """Read it again; returns in a few words what came of it."""
        if self.read is None:
            return "comes from the environment"
        self._read_at, seen = self.now(), self._signature()
        try:
            if seen is None:
                raise Unusable(fault_line(self.name, "not a regular file", "a regular file"))
            value = self.read()
        except Unusable as why:
            self._complain(why)
            return "unreadable, keeping the last one"
        self._taken, self._complaint = seen, ""
        if value == self.value:
            return "unchanged"
        self._former = [(self.value, self._read_at), *self._former][:MOST_FORMER]
        self.value = value
        _log.info("Reloaded {name} from its file", name=self.name)
        return "reloaded"

    def _complain(self, why: Unusable) -> None:
        if str(why) != self._complaint:
            _log.error(
                "Could not reload a credential, keeping the last one: {why}",
                why="; ".join(why.faults),
            )
        self._complaint = str(why)

    def _signature(self) -> object:
        """What changes with the files; None where one is of a kind that is not read again."""
        return _signature_of(self.files)


def _signature_of(files: Sequence[str]) -> object:
    found: list[Any] = []
    for path in files:
        try:
            seen = os.stat(path)
        except (OSError, ValueError):
            found.append(None)
            continue
        if not stat.S_ISREG(seen.st_mode):
            return None
        found.append((seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    return tuple(found)


@frozen
class Credentials:
    """All that a guard has."""

    livekit: Credential[KeyPair]
    synapse: Credential[str]
    """An admin's access token; empty where the homeserver is asked in another way."""
    push: Credential[str]
    """Empty for no pushes."""
    redis: Credential[str]
    """Empty for no password, or for one in Redis' address."""
    hs_token: Credential[str]
    """What our homeserver proves itself by, at the port for it; empty: nobody asks for it."""
    as_token: Credential[str]
    """By which rooms are read as users of our homeserver; empty: in another way."""
    transactions: Credential[str]
    """What our homeserver proves itself by when it sends transactions."""

    def _all(self) -> tuple[Credential[Any], ...]:
        return (
            self.livekit,
            self.synapse,
            self.push,
            self.redis,
            self.hs_token,
            self.as_token,
            self.transactions,
        )

    def look(self) -> None:
        """Look whether a file has changed; never raises."""
        for each in self._all():
            try:
                each.look()
            except Exception:
                _log.failure("Could not check a credential")

    def reload(self) -> None:
        """Read all files again, and say in a line what came of it; never raises."""
        said = []
        for each in self._all():
            try:
                said += [f"{each.name}: {each.again()}"] if each.files else []
            except Exception:
                _log.failure("Could not check a credential")
                said.append(f"{each.name}: failed, see the traceback")
        _log.info(
            "Reload: {said}. Settings from the environment need a restart.",
            said="; ".join(said) or "no credential comes from a file",
        )
