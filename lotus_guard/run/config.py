"""The environment → one frozen Config, or every fault in it at once.

A setting is declared once: its variable, default and meaning, and the parser that checks it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from lotus_guard.enforce.credentials import Credentials, Unusable
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.overload.client_address import Network
from lotus_guard.rules.media import Media
from lotus_guard.rules.members import Members
from lotus_guard.run.contradictions import contradictions
from lotus_guard.run.credential_settings import CREDENTIAL_VARIABLES, InWords, read_credentials
from lotus_guard.run.modes import MODE, OBSERVE, STANDING_SETTINGS, read_observed, read_standing
from lotus_guard.run.parsers import (
    catalogues,
    count,
    endpoint,
    endpoint_or_none,
    networks,
    number,
    on_or_off,
    one_of,
    prefixes,
    seconds,
    url,
    url_or_none,
    whole_seconds,
    words,
)
from lotus_guard.run.setting import (
    OUR_PREFIX,
    Texts,
    Variable,
    composed,
    setting,
    settings_of,
    texts_of,
    variables_of,
)
from lotus_guard.run.state_settings import STATE, redis_address, state_path
from lotus_guard.run.unknown_settings import unknown_settings
from lotus_guard.words.files import Catalogues

MOST_WORKERS = 64

LIVEKIT_PUBLIC = "LIVEKIT_URL"
LIVEKIT_INTERNAL = f"{OUR_PREFIX}LIVEKIT_URL"


def _livekit_api(texts: Texts) -> str:
    """LiveKit's API is where its websocket is, unless the operator has another address for it."""
    name = LIVEKIT_INTERNAL if texts[LIVEKIT_INTERNAL] else LIVEKIT_PUBLIC
    text = texts[name]
    for websocket, plain in (("ws://", "http://"), ("wss://", "https://")):
        if text.startswith(websocket):
            text = plain + text.removeprefix(websocket)
    return url(name, text, "ws://, wss://, http:// or https:// and LiveKit's host")


@frozen
class Config(InWords):
    """What the guard is to do; every value checked."""

    listen: str = setting("LISTEN", "tcp:8070", "Twisted endpoint of the public port", endpoint)
    admin_listen: str = setting(
        "ADMIN_LISTEN",
        "tcp:8072:interface=127.0.0.1",
        "endpoint of the operators' port; empty: none",
        endpoint_or_none,
    )
    homeserver_listen: str = setting(
        "HOMESERVER_LISTEN",
        "",
        "endpoint of the port for the homeserver, which hands token requests on; empty: none",
        endpoint_or_none,
    )
    transactions: bool = setting(
        "TRANSACTIONS",
        "off",
        "on: the port for the homeserver takes an application service's transactions",
        on_or_off,
    )
    upstream: str = setting("UPSTREAM", "http://127.0.0.1:8071", "address of lk-jwt-service", url)
    livekit_api: str = composed(
        _livekit_api,
        Variable(LIVEKIT_PUBLIC, "", "LiveKit's public address (ws, wss, http, https)"),
        Variable(LIVEKIT_INTERNAL, "", "LiveKit's internal API address; default: LIVEKIT_URL"),
    )
    credentials: Credentials = composed(read_credentials, *CREDENTIAL_VARIABLES, repr=False)
    """Renewed while the guard runs; the properties below give what they are at the moment."""
    synapse_url: str = setting(
        "SYNAPSE_URL", "", "the homeserver's internal address: Synapse's, or another's", url
    )
    state: Path = composed(state_path, STATE)
    """The SQLite file; unused where there is a Redis."""
    redis: RedisAddress | None = composed(redis_address)
    reconcile_interval: float = setting(
        "RECONCILE_INTERVAL", "2.0", "seconds between two passes of the live loop", seconds(0.1)
    )
    policy_rate: float = setting(
        "POLICY_RATE",
        "50",
        "most look-ups a second that the live loop makes at Synapse",
        number(1.0, "look-ups a second"),
    )
    policy_poll: float = setting(
        "POLICY_POLL",
        "60",
        "seconds between looks at a policy while Synapse pushes changes",
        seconds(),
    )
    live_limit: bool = setting(
        "LIVE_LIMIT", "on", "off: nobody is ever put out of a full call", on_or_off
    )
    give_back: bool = setting(
        "GIVE_BACK",
        "off",
        "on: what was taken in a call is given back once no rule forbids it any more",
        on_or_off,
    )
    deadline: float = setting(
        "DEADLINE",
        "1.0",
        "seconds a rule may keep a finished upstream answer waiting",
        seconds(0.01),
    )
    policy_max_age: float = setting(
        "POLICY_MAX_AGE", "2.0", "seconds a policy may be served from the cache", seconds()
    )
    policy_stale: float = setting(
        "POLICY_STALE",
        "600",
        "seconds a last known policy serves while Synapse is out",
        seconds(),
    )
    seat_hold: float = setting(
        "SEAT_HOLD",
        "60",
        "seconds a seat is kept for a token that has not been used yet",
        seconds(),
    )
    seat_grace: float = setting(
        "SEAT_GRACE",
        "10",
        "seconds a seat is kept for a user whose last device has gone",
        seconds(),
    )
    token_life: int = setting(
        "TOKEN_LIFE",
        "300",
        "most seconds until a token runs out in a room with a policy",
        whole_seconds,
    )
    observed: frozenset[str] = composed(read_observed, MODE, OBSERVE)
    """Which of members, limit, sources, live and request observe only."""
    standing: frozenset[str] = composed(read_standing, *STANDING_SETTINGS.values())
    """The rules that hold in every room and are asked at all."""
    panel: bool = setting(
        "PANEL", "on", "off: no panel for moderators at /panel/ of the public port", on_or_off
    )
    openid: str = setting(
        "OPENID_URL",
        "",
        "where the homeserver serves openid/userinfo; default: LOTUS_GUARD_SYNAPSE_URL",
        url_or_none,
    )
    log_format: str = setting(
        "LOG_FORMAT",
        "text",
        "json: one JSON object a line, decisions with all their inputs",
        one_of("text", "json"),
    )
    log_users: str = setting(
        "LOG_USERS",
        "yes",
        "users in logs and records: yes, hash (keyed), no",
        one_of("yes", "hash", "no"),
    )
    languages: Catalogues = setting(
        "WORDS",
        "",
        "directory of <language>.json: what users are told, in more languages or other words",
        catalogues,
    )
    keep_decisions: float = setting(
        "KEEP_DECISIONS",
        "7",
        "days that decisions are kept for `lotus-guard explain`",
        number(0.0, "days"),
    )
    """Days."""
    data_slots: tuple[str, ...] = setting(
        "DATA_SLOTS",
        "",
        "how the names of slots begin in which nobody talks (a whiteboard); with commas",
        prefixes,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        "loopback,private",
        "proxies that are believed whom they ask for: networks; with commas",
        networks,
    )
    workers: int = setting(
        "WORKERS",
        "1",
        "processes on one port; more than one share their seats in Redis",
        count(MOST_WORKERS),
    )
    admin_hosts: frozenset[str] = setting(
        "ADMIN_HOSTS",
        "",
        "host names by which the operators' port is opened; with commas",
        words,
    )

    @property
    def members(self) -> bool:
        """Whether calls are for the members of their room."""
        return Members.name in self.standing

    @property
    def openid_url(self) -> str:
        """Where the homeserver is asked whose an OpenID token is."""
        return self.openid or self.synapse_url

    @property
    def gives_back(self) -> bool:
        """Whether anything is given back: not where what is taken is only observed."""
        return self.give_back and not self.observed & {LIVE, Media.name}


class Faulty(Exception):
    """The environment does not make a configuration; `faults` has a line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def variables() -> list[Variable]:
    """List all variables that the guard reads."""
    return variables_of(Config)


def variable_names() -> list[str]:
    """List their names."""
    return [each.name for each in variables()]


def help_text() -> str:
    """List all variables with their defaults and meanings."""
    lines = []
    for each in variables():
        default = f" [{each.default}]" if each.default else ""
        lines.append(f"  {each.name}{default}\n      {each.help}")
    return "\n".join(lines)


def read_config(environment: Mapping[str, str]) -> Config:
    """Make a Config of an environment; raises Faulty with every fault at once."""
    texts = texts_of(Config, environment)
    faults = unknown_settings(environment, variable_names())
    values: dict[str, Any] = {}
    for name, each in settings_of(Config).items():
        try:
            values[name] = each.read(texts)
        except Unusable as why:
            faults += why.faults
    faults += contradictions(values)
    if faults:
        raise Faulty(faults)
    return Config(**values)
