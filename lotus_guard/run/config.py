"""The environment → one frozen Config, or every fault in it at once.

`LIVEKIT_*` are read as lk-jwt-service reads them (docs/facts.md, lk-jwt-service: environment), so
that both can share one file: `LIVEKIT_KEY_FILE` wins over `…_FROM_FILE`, which win over the plain
ones, and blanks, CR and LF around a key or a secret do not count.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from attrs import define, field, fields, frozen
from twisted.internet.endpoints import serverFromString

from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import (
    Credential,
    Credentials,
    Place,
    Unusable,
    fault_line,
    read_pair,
    read_pair_file,
    read_text,
)
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.memory.redis_address import RedisAddress, is_redis, read_redis_address
from lotus_guard.overload.client_address import Network, networks_of
from lotus_guard.rules import RULES
from lotus_guard.rules.decision import REQUEST
from lotus_guard.run.address import is_host, leads_to, listening

OUR_PREFIX = "LOTUS_GUARD_"
MOST_WORKERS = 64
OBSERVABLE = (*(rule.name for rule in RULES), LIVE)

V = TypeVar("V")


def _ours(default: str, text: str) -> Any:
    return environ.var(default=default, help=text)


def _livekit(name: str, text: str) -> Any:
    return environ.var(default="", name=name, help=text)


@environ.config(prefix="LOTUS_GUARD")
class Variables:
    """Every variable that the guard reads, as text; its name, default and meaning in one place."""

    listen: str = _ours("tcp:8070", "Twisted endpoint of the public port")
    admin_listen: str = _ours(
        "tcp:8072:interface=127.0.0.1", "endpoint of the operators' port; empty: none"
    )
    upstream: str = _ours("http://127.0.0.1:8071", "address of lk-jwt-service")
    livekit_public: str = _livekit("LIVEKIT_URL", "LiveKit's public address (ws, wss, http, https)")
    livekit_key: str = _livekit("LIVEKIT_KEY", "LiveKit's API key")
    livekit_secret: str = _livekit("LIVEKIT_SECRET", "LiveKit's API secret")
    livekit_key_from_file: str = _livekit("LIVEKIT_KEY_FROM_FILE", "file with the API key")
    livekit_secret_from_file: str = _livekit("LIVEKIT_SECRET_FROM_FILE", "file with the secret")
    livekit_key_file: str = _livekit("LIVEKIT_KEY_FILE", "file with one line `key: secret`")
    livekit_url: str = _ours("", "LiveKit's internal API address; default: LIVEKIT_URL")
    synapse_url: str = _ours("", "Synapse's internal address")
    synapse_token: str = _ours("", "an admin's access token")
    synapse_token_from_file: str = _ours("", "file with an admin's access token")
    state: str = _ours(
        "",
        "what the guard remembers: a SQLite file (default: lotus-guard.sqlite), or for several "
        "guards redis://[user:password@]host[:port][/db], rediss:// with TLS",
    )
    redis_password_from_file: str = _ours("", "file with the password of Redis")
    reconcile_interval: str = _ours("2.0", "seconds between two passes of the live loop")
    policy_rate: str = _ours("50", "most look-ups a second that the live loop makes at Synapse")
    policy_poll: str = _ours("60", "seconds between looks at a policy while Synapse pushes changes")
    push_secret: str = _ours("", "secret shared with the Synapse module; empty: no pushes")
    push_secret_from_file: str = _ours("", "file with that secret")
    live_limit: str = _ours("on", "off: nobody is ever put out of a full call")
    deadline: str = _ours("1.0", "seconds a rule may keep a finished upstream answer waiting")
    policy_max_age: str = _ours("2.0", "seconds a policy may be served from the cache")
    policy_stale: str = _ours("600", "seconds a last known policy serves while Synapse is out")
    seat_hold: str = _ours("60", "seconds a seat is kept for a token that has not been used yet")
    seat_grace: str = _ours("10", "seconds a seat is kept for a user whose last device has gone")
    token_life: str = _ours("300", "most seconds until a token runs out in a room with a policy")
    mode: str = _ours("enforce", "observe: decide, record and count everything, change nothing")
    observe: str = _ours("", "rules that observe only: any of limit, sources, live; with commas")
    log_format: str = _ours("text", "json: one JSON object a line, decisions with all their inputs")
    log_users: str = _ours("yes", "users in logs and records: yes, hash (keyed), no")
    keep_decisions: str = _ours("7", "days that decisions are kept for `lotus-guard explain`")
    trusted_proxies: str = _ours(
        "loopback,private", "proxies that are believed whom they ask for: networks; with commas"
    )
    workers: str = _ours("1", "processes on one port; more than one share their seats in Redis")
    admin_hosts: str = _ours("", "host names by which the operators' port is opened; with commas")


@frozen
class Config:
    """What the guard is to do; every value checked."""

    listen: str
    admin_listen: str
    """Empty for no operators' port."""
    upstream: str
    livekit_api: str
    credentials: Credentials = field(repr=False)
    """Renewed while the guard runs; the properties below give what they are at the moment."""
    synapse_url: str
    state: Path
    """The SQLite file; unused where there is a Redis."""
    redis: RedisAddress | None
    reconcile_interval: float
    policy_rate: float
    policy_poll: float
    live_limit: bool
    deadline: float
    policy_max_age: float
    policy_stale: float
    seat_hold: float
    seat_grace: float
    token_life: int
    observed: frozenset[str]
    """Which of limit, sources, live and request observe only."""
    log_format: str
    log_users: str
    keep_decisions: float
    """Days."""
    trusted_proxies: tuple[Network, ...]
    admin_hosts: frozenset[str]
    workers: int

    @property
    def key(self) -> str:
        """LiveKit's API key."""
        return self.credentials.livekit.value.key

    @property
    def secret(self) -> str:
        """LiveKit's API secret."""
        return self.credentials.livekit.value.secret

    @property
    def synapse_token(self) -> str:
        """An admin's access token."""
        return self.credentials.synapse.value

    @property
    def push_secret(self) -> str:
        """What the Synapse module signs with; empty for no pushes."""
        return self.credentials.push.value


class Faulty(Exception):
    """The environment does not make a configuration; `faults` has a line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def variable_names() -> list[str]:
    """List the names of all variables that the guard reads."""
    return [_name_of(each) for each in _fields()]


def help_text() -> str:
    """List all variables with their defaults and meanings."""
    lines = []
    for each in _fields():
        entry = each.metadata["environ_config"]
        default = f" [{entry.default}]" if entry.default else ""
        lines.append(f"  {_name_of(each)}{default}\n      {entry.help}")
    return "\n".join(lines)


def is_unconfigured(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment says nothing at all to the guard."""
    return not any(name.startswith((OUR_PREFIX, "LIVEKIT_")) for name in environment)


def read_config(environment: Mapping[str, str]) -> Config:
    """Make a Config of an environment; raises Faulty with every fault at once."""
    variables = environ.to_config(Variables, environ=dict(environment))
    check = _Check(environment)
    check.unknown_names()
    config = Config(
        listen=check.endpoint("LISTEN", variables.listen),
        admin_listen=variables.admin_listen
        and check.endpoint("ADMIN_LISTEN", variables.admin_listen),
        upstream=check.url("LOTUS_GUARD_UPSTREAM", variables.upstream),
        livekit_api=check.livekit(variables),
        credentials=check.credentials(variables),
        synapse_url=check.url("LOTUS_GUARD_SYNAPSE_URL", variables.synapse_url),
        state=_state_path(variables.state, environment),
        redis=check.redis(variables),
        reconcile_interval=check.seconds(
            "RECONCILE_INTERVAL", variables.reconcile_interval, least=0.1
        ),
        policy_rate=check.number("POLICY_RATE", variables.policy_rate, 1.0, "look-ups a second"),
        policy_poll=check.seconds("POLICY_POLL", variables.policy_poll),
        live_limit=check.one_of("LIVE_LIMIT", variables.live_limit, ("on", "off")) == "on",
        deadline=check.seconds("DEADLINE", variables.deadline, least=0.01),
        policy_max_age=check.seconds("POLICY_MAX_AGE", variables.policy_max_age),
        policy_stale=check.seconds("POLICY_STALE", variables.policy_stale),
        seat_hold=check.seconds("SEAT_HOLD", variables.seat_hold),
        seat_grace=check.seconds("SEAT_GRACE", variables.seat_grace),
        token_life=int(check.seconds("TOKEN_LIFE", variables.token_life)),
        observed=check.observed(variables.mode, variables.observe),
        log_format=check.one_of("LOG_FORMAT", variables.log_format, ("text", "json")),
        log_users=check.one_of("LOG_USERS", variables.log_users, ("yes", "hash", "no")),
        keep_decisions=check.number("KEEP_DECISIONS", variables.keep_decisions, 0.0, "days"),
        trusted_proxies=check.networks("TRUSTED_PROXIES", variables.trusted_proxies),
        admin_hosts=frozenset(_listed(variables.admin_hosts)),
        workers=check.workers(variables.workers),
    )
    check.addresses(config)
    check.sharing(config)
    if check.faults:
        raise Faulty(check.faults)
    return config


def _fields() -> Any:
    return fields(Variables)  # type: ignore[arg-type]  # environ.config makes an attrs class of it


def _name_of(attribute: Any) -> str:
    return attribute.metadata["environ_config"].name or f"{OUR_PREFIX}{attribute.name.upper()}"


def _state_path(text: str, environment: Mapping[str, str]) -> Path:
    # systemd sets STATE_DIRECTORY to one or more paths with colons between them.
    base = Path(environment.get("STATE_DIRECTORY", "").split(":")[0])
    return base / (text or "lotus-guard.sqlite")


@define
class _Check:
    """Collects faults; every method gives a usable value, right or not."""

    environment: Mapping[str, str]
    faults: list[str] = field(factory=list)

    def fault(self, name: str, found: str, wanted: str) -> None:
        self.faults.append(fault_line(name, found, wanted))

    def unknown_names(self) -> None:
        known = set(variable_names())
        for name in sorted(self.environment):
            if name.startswith(OUR_PREFIX) and name not in known:
                self.fault(name, "is no variable of ours", "a name that --help lists")

    def endpoint(self, name: str, text: str) -> str:
        from twisted.internet import reactor  # a parser wants one; nothing is opened here

        try:
            port = getattr(serverFromString(reactor, text), "_port", 0)
            usable = 0 <= int(port) <= 65535
        except Exception:  # its parsers raise whatever they like
            usable = False
        if not usable:
            self.fault(OUR_PREFIX + name, f"found {text!r}", "a Twisted endpoint such as tcp:8070")
        return text

    def addresses(self, config: Config) -> None:
        """Find two listeners on one port, and an upstream that is the guard itself."""
        public, operators = listening(config.listen), listening(config.admin_listen)
        if public and operators and public.port == operators.port and public.port:
            found = f"both listeners have port {public.port}"
            self.fault(OUR_PREFIX + "ADMIN_LISTEN", found, "a port of its own")
        for own in (public, operators):
            if own and leads_to(config.upstream, own):
                found = f"{_shown(config.upstream)} is the guard itself"
                self.fault(OUR_PREFIX + "UPSTREAM", found, "lk-jwt-service's address")

    def url(self, name: str, text: str, wanted: str = "http://host:port or https://host") -> str:
        try:
            parts = urlsplit(text)
            parts.port  # noqa: B018  (raises ValueError for a port that is none)
            usable = (
                text.isascii()
                and parts.scheme in ("http", "https")
                and is_host(parts.hostname or "")
            )
        except ValueError:
            usable = False
        if not text:
            self.fault(name, "not set", wanted)
        elif not usable:
            # With a user's password in it, it is not for showing.
            self.fault(name, f"found {'an address' if '@' in text else _shown(text)}", wanted)
        elif parts.username or parts.password or parts.query or parts.fragment:
            self.fault(name, "found a user name, query or fragment in it", wanted)
        return text.rstrip("/")

    def livekit(self, variables: Variables) -> str:
        name = "LOTUS_GUARD_LIVEKIT_URL" if variables.livekit_url else "LIVEKIT_URL"
        text = variables.livekit_url or variables.livekit_public
        for websocket, plain in (("ws://", "http://"), ("wss://", "https://")):
            if text.startswith(websocket):
                text = plain + text.removeprefix(websocket)
        return self.url(name, text, "ws://, wss://, http:// or https:// and LiveKit's host")

    def credentials(self, variables: Variables) -> Credentials:
        synapse = Place(
            "LOTUS_GUARD_SYNAPSE_TOKEN", variables.synapse_token, variables.synapse_token_from_file
        )
        push = Place(
            "LOTUS_GUARD_PUSH_SECRET", variables.push_secret, variables.push_secret_from_file
        )
        redis = Place("LOTUS_GUARD_REDIS_PASSWORD", "", variables.redis_password_from_file)
        return Credentials(
            livekit=self.livekit_pair(variables),
            synapse=self.credential(synapse.shown, (synapse.path,), synapse.read_token, ""),
            push=self.credential(push.shown, (push.path,), lambda: push.read_secret(16), ""),
            redis=self.credential(redis.shown, (redis.path,), lambda: redis.read_secret(0), ""),
        )

    def livekit_pair(self, variables: Variables) -> Credential[KeyPair]:
        empty, both = KeyPair("", ""), variables.livekit_key_file
        if both:
            name = "LIVEKIT_KEY_FILE"
            return self.credential(name, (both,), lambda: read_pair_file(name, both), empty)
        key = Place("LIVEKIT_KEY", variables.livekit_key, variables.livekit_key_from_file)
        secret = Place(
            "LIVEKIT_SECRET", variables.livekit_secret, variables.livekit_secret_from_file
        )
        name = f"{key.shown} with {secret.shown}"
        paths = (key.path, secret.path)
        return self.credential(name, paths, lambda: read_pair(key, secret), empty)

    def credential(
        self, name: str, paths: Sequence[str], read: Callable[[], V], empty: V
    ) -> Credential[V]:
        """Make a credential that is read again where it stands in files; `empty` where faulty."""
        try:
            value = read()
        except Unusable as why:
            self.faults += why.faults
            value = empty
        files = tuple(path for path in paths if path)
        return Credential(name, value, files, read if files else None)

    def redis(self, variables: Variables) -> RedisAddress | None:
        if not is_redis(variables.state):
            return None
        try:
            address = read_redis_address(variables.state)
        except ValueError as why:
            wanted = "a file, or redis://[user:password@]host[:port][/database][?prefix=…]"
            self.fault("LOTUS_GUARD_STATE", str(why), wanted)
            return None
        try:
            if address.ca and not read_text("LOTUS_GUARD_STATE", address.ca):
                self.fault("LOTUS_GUARD_STATE", f"{address.ca} is empty", "a certificate")
        except Unusable as why:
            self.faults += why.faults
        return address

    def workers(self, text: str) -> int:
        if text.isdecimal() and 1 <= int(text) <= MOST_WORKERS:
            return int(text)
        self.fault("LOTUS_GUARD_WORKERS", f"found {_shown(text)}", f"1 to {MOST_WORKERS}")
        return 1

    def sharing(self, config: Config) -> None:
        """Find what several workers cannot share."""
        if config.workers == 1:
            return
        if config.redis is None:
            found = f"{config.workers} workers, and a state that they cannot share"
            self.fault("LOTUS_GUARD_WORKERS", found, "LOTUS_GUARD_STATE=redis://… with it, or 1")
        own = listening(config.listen)
        if own is None or not own.port:
            found = f"{_shown(config.listen)} is no port that {config.workers} workers can share"
            self.fault("LOTUS_GUARD_LISTEN", found, "tcp:<port>")

    def one_of(self, name: str, text: str, allowed: tuple[str, ...]) -> str:
        if text not in allowed:
            wanted = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
            self.fault(OUR_PREFIX + name, f"found {_shown(text)}", wanted)
            return allowed[0]
        return text

    def networks(self, name: str, text: str) -> tuple[Network, ...]:
        try:
            return networks_of(text)
        except ValueError as why:
            wanted = "addresses, networks such as 192.0.2.0/24, loopback, private; with commas"
            self.fault(OUR_PREFIX + name, f"found {_shown(str(why))}", wanted)
            return ()

    def observed(self, mode: str, rules: str) -> frozenset[str]:
        if self.one_of("MODE", mode, ("enforce", "observe")) == "observe":
            return frozenset({*OBSERVABLE, REQUEST})
        named = _listed(rules)
        unknown = ", ".join(sorted(set(named) - set(OBSERVABLE)))
        if unknown:
            wanted = f"any of {', '.join(OBSERVABLE)}"
            self.fault(OUR_PREFIX + "OBSERVE", f"found {_shown(unknown)}", wanted)
        return frozenset(named)

    def seconds(self, name: str, text: str, least: float = 0.0) -> float:
        return self.number(name, text, least, "seconds")

    def number(self, name: str, text: str, least: float, unit: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if least <= value <= 86400.0:  # which NaN and infinity are not either
            return value
        self.fault(OUR_PREFIX + name, f"found {_shown(text)}", f"{unit} from {least:g} to 86400")
        return least


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


__all__ = ["Config", "Faulty", "Variables", "help_text", "is_unconfigured", "read_config"]
