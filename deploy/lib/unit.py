"""What the guard's service gets as its environment, as systemd would put it together.

systemd.exec(5): `Environment=` first, then `EnvironmentFile=` over it. `%d` is the directory of
the credentials; here it stands for the files that they are loaded from.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

from deploy.lib.files import read
from deploy.lib.host import GUARD, UPSTREAM, Host
from lotus_guard.run.env_file import parse_environment

UNIT_PLACES = (
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/system",
    "/etc/systemd/system",
)
"""Where units are; what comes later wins."""
DEFAULT_LISTEN = "tcp:8070"
DEFAULT_OPERATORS = "tcp:8072:interface=127.0.0.1"
DEFAULT_UPSTREAM = "http://127.0.0.1:8071"
DEFAULT_STATE = "lotus-guard.sqlite"


def quoted(value: str) -> str:
    """Write a value as an EnvironmentFile has it; raises ValueError for one of several lines."""
    if not value.isprintable():
        raise ValueError("has a line end or another character that cannot be printed")
    if re.fullmatch(r"[\w@%+=:,./-]*", value):  # a shell, which may read it too, takes it as it is
        return value
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def directives(texts: Iterable[str], name: str) -> list[str]:
    """Return the values of a directive, in order; an empty one forgets those before it."""
    values: list[str] = []
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                values = [*values, value.strip()] if value.strip() else []
    return values


def unit_texts(host: Host, unit: bytes | None = None) -> list[str]:
    """Read the guard's unit and its drop-ins, as they are installed.

    With `unit`, that one takes the place of the unit; the drop-ins stay, for they are the
    operator's and may load their credentials.
    """
    drop_ins = sorted((host.units / f"{GUARD}.d").glob("*.conf"))
    found = [unit or read(host.units / GUARD), *(read(path) for path in drop_ins)]
    return [text.decode(errors="replace") for text in found if text is not None]


def upstream_texts(host: Host, unit: str = UPSTREAM) -> list[str]:
    """Read the unit of lk-jwt-service and its drop-ins, wherever they are; empty: there is none."""
    found: dict[str, Path] = {}
    for place in UNIT_PLACES:
        directory = host.path(place)
        for path in (directory / unit, *(directory / f"{unit}.d").glob("*.conf")):
            if path.is_file():
                found[path.name] = path
    names = [unit, *sorted(name for name in found if name != unit)]
    return [found[name].read_text(errors="replace") for name in names if name in found]


def credentials(texts: Iterable[str]) -> dict[str, str]:
    """Return the files that credentials are loaded from, by the credentials' names."""
    found = {}
    for value in directives(texts, "LoadCredential"):
        name, colon, path = value.partition(":")
        if colon:
            found[name] = path
    return found


def service_environment(host: Host, texts: list[str] | None = None) -> dict[str, str]:
    """Put together what the service would get; `texts` are another unit's, not yet installed."""
    texts = unit_texts(host) if texts is None else texts
    return environment_of(host, texts, [host.environment_file])


def environment_of(host: Host, texts: list[str], default: Sequence[Path] = ()) -> dict[str, str]:
    """Put together what a service would get; `default` are the files of one that names none."""
    files = credentials(texts)
    named = [host.path(value.lstrip("-")) for value in directives(texts, "EnvironmentFile")]

    def expanded(value: str) -> str:
        for name, path in files.items():
            value = value.replace(f"%d/{name}", str(host.path(path)))
        return value.replace("%%", "%")

    found: dict[str, str] = {}
    for value in directives(texts, "Environment"):
        for word in shlex.split(expanded(value)):
            name, _, found[name] = word.partition("=")
    for path in named or default:
        text = read(path)
        found.update(parse_environment(text.decode(errors="replace")) if text else {})
    return found


def _interface_and_port(endpoint: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"tcp6?:(?:port=)?(\d+)(:.*)?", endpoint)
    if match is None:
        return None
    interface = re.search(r":interface=((?:\\:|[^:])+)", match[2] or "")
    return interface[1].replace("\\:", ":") if interface else "", match[1]


def address(endpoint: str) -> str | None:
    """Return the URL of a `tcp:` endpoint as this machine reaches it; None where it is no such."""
    found = _interface_and_port(endpoint)
    if found is None:
        return None
    host, port = found
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen_stream(endpoint: str) -> str | None:
    """Return a `tcp:` endpoint as `ListenStream=` has it; None where that cannot say it."""
    found = _interface_and_port(endpoint)
    if found is None:
        return None
    everywhere = "::" if endpoint.startswith("tcp6:") else "0.0.0.0"  # noqa: S104
    host = {"": everywhere, "localhost": "127.0.0.1"}.get(found[0], found[0])
    try:
        version = ip_address(host).version
    except ValueError:  # a name, which systemd does not look up
        return None
    return f"[{host}]:{found[1]}" if version == 6 else f"{host}:{found[1]}"


class Service:
    """Where the guard's service answers, and what it works with."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.public = address(environment.get("LOTUS_GUARD_LISTEN", DEFAULT_LISTEN))
        self.operators = address(environment.get("LOTUS_GUARD_ADMIN_LISTEN", DEFAULT_OPERATORS))
        self.homeserver = address(environment.get("LOTUS_GUARD_HOMESERVER_LISTEN", ""))
        self.upstream = environment.get("LOTUS_GUARD_UPSTREAM", DEFAULT_UPSTREAM).rstrip("/")

    @property
    def shares_its_state(self) -> bool:
        """Return whether what it remembers is in Redis, where other guards have it as well."""
        return "://" in self.environment.get("LOTUS_GUARD_STATE", "")

    def state_file(self, directory: Path) -> Path | None:
        """Return the state file where systemd says STATE_DIRECTORY; None where there is none."""
        if self.shares_its_state:
            return None
        return directory / (self.environment.get("LOTUS_GUARD_STATE") or DEFAULT_STATE)
