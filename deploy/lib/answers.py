"""What the guard must be told, from the installer's environment or from whoever sits before it.

Secrets go where the unit takes them from: into the file of a credential where the unit loads one
(`LoadCredential=ID:PATH` with `Environment=NAME_FROM_FILE=%d/ID`), else into the environment file,
which systemd reads as root and hands over. A file that is there is never changed.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from getpass import getpass
from pathlib import Path

from deploy.lib import files
from deploy.lib.host import GUARD, Exit, Host, Trouble
from deploy.lib.unit import credentials, directives, quoted
from lotus_guard.run.env_file import parse_environment

WANTED = {
    "LIVEKIT_URL": "LiveKit's public address, as clients reach it (wss://…)",
    "LIVEKIT_KEY": "LiveKit's API key",
    "LIVEKIT_SECRET": "LiveKit's API secret",
    "LOTUS_GUARD_SYNAPSE_URL": "Synapse's address from here (http://127.0.0.1:8008)",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "an admin's access token for Synapse",
}
SECRET = ("LIVEKIT_SECRET", "LOTUS_GUARD_SYNAPSE_TOKEN", "LOTUS_GUARD_PUSH_SECRET")


def known_names(sample: str) -> set[str]:
    """List the variables that deploy/environment.sample has."""
    return set(re.findall(r"^#?([A-Z_]+)=", sample, re.MULTILINE))


def given(
    environment: Mapping[str, str], known: set[str], held: Mapping[str, str]
) -> dict[str, str]:
    """Return what the environment says that files, as `held`, do not say yet; raises Trouble."""
    found = {name: value for name, value in environment.items() if name in known and value}
    found = {n: v for n, v in found.items() if n.removesuffix("_FROM_FILE") not in held}
    _read_files(found, known)
    return {name: value for name, value in found.items() if name not in held}


def missing(found: Mapping[str, str], held: Mapping[str, str]) -> list[str]:
    """Name what the guard needs and nobody has said yet."""
    return [name for name in WANTED if not found.get(name) and name not in held]


def ask_for(names: Iterable[str]) -> dict[str, str]:
    """Ask a person for settings; secrets are not shown."""
    prompts = {name: f"{name}, {WANTED[name]}: " for name in names}
    return {
        name: (getpass(prompt) if name in SECRET else input(prompt)).strip()
        for name, prompt in prompts.items()
    }


def demand(found: Mapping[str, str], held: Mapping[str, str]) -> None:
    """Raise Trouble with all settings that are missing."""
    names = missing(found, held)
    if names:
        lines = "".join(f"\n  {name}: {WANTED[name]}" for name in names)
        raise Trouble(f"missing settings; set these environment variables:{lines}", Exit.USAGE)


def _read_files(found: dict[str, str], known: set[str]) -> None:
    """Take values out of the files that LIVEKIT_KEY_FILE and *_FROM_FILE name.

    The guard's user could not read them there. What the guard takes from a file only, it must get
    as a credential.
    """
    both = found.pop("LIVEKIT_KEY_FILE", "")
    if both:
        key, colon, secret = _text("LIVEKIT_KEY_FILE", both).partition(":")
        if not colon or not key.strip() or not secret.strip():
            text = f"LIVEKIT_KEY_FILE: {both} is malformed; expected one line `key: secret`"
            raise Trouble(text, Exit.USAGE)
        found.update(LIVEKIT_KEY=key.strip(), LIVEKIT_SECRET=secret.strip())
    for name in [name for name in found if name.endswith("_FROM_FILE")]:
        plain = name.removesuffix("_FROM_FILE")
        if plain not in known:
            text = f"{name}: the guard's user cannot read {found[name]}. Fix: use a credential: "
            raise Trouble(f"{text}`systemctl edit {GUARD}` (docs/systemd.md)", Exit.USAGE)
        found[plain] = _text(name, found.pop(name))


def _text(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        text = f"{name}: {path} cannot be read: {error}; expected a text file"
        raise Trouble(text, Exit.USAGE) from None


def secret_files(host: Host, texts: list[str]) -> dict[str, Path]:
    """Return the files that the unit takes variables from, by the variables' plain names."""
    found = {}
    for value in directives(texts, "Environment"):
        for name, identifier in re.findall(r"([A-Z_]+)_FROM_FILE=%d/([\w.-]+)", value):
            path = credentials(texts).get(identifier)
            if path:
                found[name] = host.path(path)
    return found


def held(host: Host, texts: list[str]) -> dict[str, str]:
    """Return what the environment file and the credentials' files say already."""
    text = files.read(host.environment_file)
    said = parse_environment(text.decode(errors="replace")) if text else {}
    found = {name: value for name, value in said.items() if value}
    for name in list(found):
        found.setdefault(name.removesuffix("_FROM_FILE"), found[name])
    if "LIVEKIT_KEY_FILE" in found:
        found.update(LIVEKIT_KEY="", LIVEKIT_SECRET="")
    found.update({name: "" for name, path in secret_files(host, texts).items() if path.exists()})
    return found


def store(host: Host, texts: list[str], values: Mapping[str, str]) -> None:
    """Write what was collected; raises Trouble at a value that no environment can hold.

    An environment file that is there is kept, and what is new is added at its end.
    """
    rest = dict(values)
    for name, path in secret_files(host, texts).items():
        if name in rest:
            files.write(path, f"{rest.pop(name)}\n", 0o600)
    there = files.read(host.environment_file)
    if not rest and there is not None:
        return
    try:
        lines = "".join(f"{name}={quoted(value)}\n" for name, value in sorted(rest.items()))
    except ValueError as error:
        raise Trouble(f"a value {error}", Exit.USAGE) from None
    kept = (there or b"").decode(errors="surrogateescape")
    joint = "\n" if kept and not kept.endswith("\n") else ""
    text = f"{kept}{joint}{lines}".encode(errors="surrogateescape")
    files.rewrite(host.environment_file, text, 0o640)


def at_a_terminal() -> bool:
    """Return whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()
