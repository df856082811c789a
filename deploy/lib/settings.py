"""What the deployer is told: /etc/lotus-guard/deploy, and LOTUS_DEPLOY_* in the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.lib.files import read
from deploy.lib.host import Exit, Host, Trouble
from lotus_guard.run.env_file import parse_environment

PREFIX = "LOTUS_DEPLOY_"
DEFAULTS = {
    "SOURCE": "",
    "BRANCH": "main",
    "PROBE_SECONDS": "30",
    "START_SECONDS": "30",
    "KEEP": "5",
    "FREE_MB": "400",
    "USER_TOKEN_FILE": "",
}


@dataclass(frozen=True)
class Settings:
    """How to deploy."""

    source: str = ""
    """A git remote or a directory."""
    branch: str = "main"
    probe_seconds: float = 30.0
    """How long a release is watched before it counts as good."""
    start_seconds: float = 30.0
    """How long a service may take until it answers."""
    keep: int = 5
    """How many releases are kept."""
    free_mb: float = 400.0
    """How much of the disk must be free before a release is built: about three releases' worth."""
    user_token: str = ""
    """A Matrix user's access token, to get a real call token with; may be empty."""


def read_settings(host: Host, environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises Trouble at one that makes no sense."""
    text = read(host.deploy_file)
    found = {**DEFAULTS, **parse_environment(text.decode(errors="replace") if text else "")}
    for name in DEFAULTS:
        found[name] = environment.get(f"{PREFIX}{name}") or found[name]
    unknown = sorted(set(found) - set(DEFAULTS))
    if unknown:
        text_of = f"{host.deploy_file} has {', '.join(unknown)}; expected {', '.join(DEFAULTS)}"
        raise Trouble(text_of, Exit.USAGE)
    return Settings(
        found["SOURCE"],
        found["BRANCH"],
        _number("PROBE_SECONDS", found["PROBE_SECONDS"], 0.0),
        _number("START_SECONDS", found["START_SECONDS"], 1.0),
        int(_number("KEEP", found["KEEP"], 2.0)),
        _number("FREE_MB", found["FREE_MB"], 0.0, 1e9),
        _token(found["USER_TOKEN_FILE"]),
    )


def _number(name: str, text: str, least: float, most: float = 3600.0) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        text = f"{name} is {text!r}; expected a number from {least:g} to {most:.0f}"
        raise Trouble(text, Exit.USAGE)
    return value


def _token(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        text = f"USER_TOKEN_FILE {path} cannot be read: {error}; expected a file with a token"
        raise Trouble(text, Exit.USAGE) from None
