"""What is in the way of an installation: another way of installing, or a setting."""

import re
from collections.abc import Iterable

from deploy.lib import files
from deploy.lib.homeserver import REGISTRATION
from deploy.lib.host import Exit, Host, Trouble
from deploy.lib.releases import Releases
from deploy.lib.unit import directives
from lotus_guard.run.env_file import parse_environment

CREDENTIALS = "/run/credentials/"
"""Where systemd puts them: a path below it is what the guard's user can read."""


def refuse_a_second_way(host: Host, releases: Releases) -> None:
    """Raise Trouble where the guard was installed in another way.

    Units in /etc would hide those of the Debian package, and apt would not know of it; and what is
    left of a package takes /etc/lotus-guard with it when it is purged, whoever uses that by then.
    """
    if host.packaged.exists():
        raise Trouble(
            f"the Debian package lotus-guard is installed ({host.packaged}), and the two cannot be "
            "mixed. Fix: keep a copy of /etc/lotus-guard and run `apt purge lotus-guard` first, or "
            "leave the guard to apt"
        )
    if host.packages_record.exists():
        raise Trouble(
            "the Debian package lotus-guard was removed but not purged: purging it later would "
            "remove this installation's /etc/lotus-guard and state. Fix: copy /etc/lotus-guard, "
            "run `apt purge lotus-guard`, and put the copy back"
        )
    current = host.opt / "current"
    name = releases.current
    if (current.exists() and name is None) or (name is not None and not releases.is_finished(name)):
        raise Trouble(
            f"{current} is not a link to a release: a guard was installed there by hand. Fix: "
            f"mv {current} {host.opt}/by-hand, and run this again",
            Exit.USAGE,
        )


def refuse_a_bare_registration(host: Host) -> None:
    """Raise Trouble where the settings name the registration itself.

    They override the unit's `Environment=`, and the guard's own user cannot read root's files.
    """
    text = (files.read(host.environment_file) or b"").decode(errors="replace")
    named = parse_environment(text).get(REGISTRATION, "")
    if named and not named.startswith(CREDENTIALS):
        raise Trouble(
            f"found {REGISTRATION}={named} in {host.environment_file}. Fix: remove that line; "
            "the unit hands the file over as a credential (if lk-jwt-service's unit does not name "
            "the file, set it in the environment of this command)",
            Exit.USAGE,
        )


def runs_in_a_container(texts: Iterable[str]) -> bool:
    """Return whether a unit, with its drop-ins, starts a container."""
    commands = directives(texts, "ExecStart")
    return any(re.search(r"\b(docker|podman|nerdctl)\b", command) for command in commands)
