"""LiveKit's own configuration file, where it can be read: only what the check asks of it.

Names and defaults are those of livekit-server (docs/facts.md, LiveKit: configuration).
"""

from collections.abc import Mapping
from pathlib import Path

import yaml
from attrs import field, frozen

from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.core.objects import part_of

NAME = "livekit-config"


@frozen
class LiveKitFile:
    """What the file says."""

    path: str
    auto_create: bool
    urls: tuple[str, ...]
    api_key: str
    keys: Mapping[str, str] = field(repr=False)


class UnusableFile(Exception):
    """A file that cannot be read, or is none of LiveKit's."""


def read_livekit_file(path: Path) -> LiveKitFile:
    """Read the file; raises UnusableFile with what is wrong with it."""
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise UnusableFile(f"cannot read {path} ({why})") from None
    except yaml.YAMLError:
        raise UnusableFile(f"{path} is not YAML") from None
    if not isinstance(fields, dict):
        raise UnusableFile(f"{path} has no settings in it")
    room, webhook, keys = (part_of(fields, name) for name in ("room", "webhook", "keys"))
    urls = webhook.get("urls")
    return LiveKitFile(
        str(path),
        room.get("auto_create") is not False,
        tuple(str(url) for url in urls) if isinstance(urls, list) else (),
        str(webhook.get("api_key") or ""),
        {str(key): str(secret) for key, secret in keys.items()},
    )


def unusable(why: UnusableFile) -> Finding:
    """The finding on a file that is of no use."""
    return warning(NAME, str(why), "point --livekit-config at LiveKit's livekit.yaml")


def check_file(file: LiveKitFile, key: str, secret: str) -> Finding:
    """Compare the file's keys with ours; asks nobody."""
    if not file.keys:
        return note(NAME, f"{file.path} has no keys in it; they are elsewhere")
    if file.keys.get(key) != secret:
        seen = f"{file.path} has another secret for LIVEKIT_KEY, or does not have that key"
        wanted = "set LIVEKIT_KEY and LIVEKIT_SECRET to a pair from `keys` in that file"
        return fault(NAME, seen, wanted)
    return ok(NAME, f"{file.path} has LIVEKIT_KEY with this secret")
