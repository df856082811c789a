"""The releases, and what the deployer remembers of them.

All is below /opt/lotus-guard:

- `releases/REVISION/{source,venv,finished}`; `finished` is written last
- `current`, `previous`: links to releases
- `pending`: JSON, a switch that is not known to be good yet
- `refused/REVISION`: why it is not tried again
- `backups/REVISION/`: state and unit from before the switch to it
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.lib import files
from deploy.lib.host import Exit, Host, Trouble

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")


@dataclass(frozen=True)
class Pending:
    """A switch under way: to which release, and from which."""

    revision: str
    before: str


class Releases:
    """What is on the disk, and the few ways to change it."""

    def __init__(self, host: Host) -> None:
        self.opt = host.opt
        self._pending, self._refused = host.opt / "pending", host.opt / "refused"

    def directory(self, revision: str) -> Path:
        """Return a release's directory."""
        if not _NAME.fullmatch(revision):
            raise Trouble(f"{revision!r} cannot be the name of a release", Exit.SOURCE)
        return self.opt / "releases" / revision

    @property
    def free_mb(self) -> float:
        """Return how much of the disk is free, also before anything is there."""
        there = next(each for each in (self.opt, *self.opt.parents) if each.is_dir())
        return shutil.disk_usage(there).free / 1e6

    def is_finished(self, revision: str) -> bool:
        """Return whether it was built to its end."""
        return (self.directory(revision) / "finished").exists()

    def finish(self, revision: str) -> None:
        """Bring a release to the disk, and mark it as whole after that."""
        os.sync()
        files.write(self.directory(revision) / "finished", "")

    def _named_by(self, link: str) -> str | None:
        path = self.opt / link
        return Path(os.readlink(path)).name if path.is_symlink() else None

    @property
    def current(self) -> str | None:
        """Name the release that `current` leads to."""
        return self._named_by("current")

    @property
    def previous(self) -> str | None:
        """Name the release before."""
        return self._named_by("previous")

    def point(self, link: str, revision: str | None) -> None:
        """Let `current` or `previous` lead to a release that is finished; None: nowhere."""
        if revision is None:
            files.remove(self.opt / link)
            return
        if not self.is_finished(revision):
            raise Trouble(f"release {revision} is not finished: {link} stays", Exit.BUG)
        files.point(self.opt / link, f"releases/{revision}")

    @property
    def pending(self) -> Pending | None:
        """Read which switch is under way."""
        text = files.read(self._pending)
        return Pending(**json.loads(text)) if text else None

    def begin(self, pending: Pending) -> None:
        """Write down that a switch begins."""
        files.write(self._pending, json.dumps(asdict(pending)))

    def end(self) -> None:
        """Write down that no switch is under way."""
        files.remove(self._pending)

    def refused(self, revision: str) -> str | None:
        """Return why a revision is not tried again; None for one that may be."""
        text = files.read(self._refused / revision)
        return None if text is None else text.decode(errors="replace")

    def refuse(self, revision: str, why: str) -> None:
        """Write down not to try a revision again."""
        files.write(self._refused / revision, why)

    def pardon(self, revision: str) -> None:
        """Let a revision be tried again."""
        files.remove(self._refused / revision)

    def forgive(self) -> list[str]:
        """Let every refused revision be tried again; gives them."""
        marks = sorted(self._refused.glob("*"))
        for mark in marks:
            files.remove(mark)
        return [mark.name for mark in marks]

    def backup(self, revision: str) -> Path:
        """Return the directory of the backup before the switch to a revision."""
        return self.opt / "backups" / revision

    def remove(self, revision: str) -> None:
        """Remove a release that nothing leads to; its mark first, so that no half of it counts."""
        if revision in (self.current, self.previous):
            return
        files.remove(self.directory(revision) / "finished")
        shutil.rmtree(self.directory(revision), ignore_errors=True)

    def tidy(self, keep: int) -> list[str]:
        """Remove half-built releases and the oldest but `keep`; gives what was removed."""
        pending = self.pending
        kept = {self.current, self.previous, *([pending.before] if pending else [])}
        there = sorted((self.opt / "releases").glob("*"), key=_age)
        removed = [path.name for path in there if not (path / "finished").exists()]
        whole = [path.name for path in there if path.name not in removed]
        spare = [name for name in whole if name not in kept]
        room = max(0, keep - (len(whole) - len(spare)))
        removed += spare[: max(0, len(spare) - room)]
        for name in removed:
            self.remove(name)
        for backup in sorted((self.opt / "backups").glob("*"), key=_age)[:-keep]:
            shutil.rmtree(backup, ignore_errors=True)
        return removed


def _age(path: Path) -> float:
    mark = path / "finished"
    try:
        return (mark if mark.exists() else path).stat().st_mtime
    except FileNotFoundError:
        return 0.0
