"""The environment → one frozen Config, or every fault in it at once.

A setting is declared once: its variable, default and meaning, and the parser that checks it.
"""

from collections.abc import Iterable, Mapping
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
    Faulty,
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
    return url(name, text, "ws://, wss://, http:// or https:// with LiveKit's host")


@frozen
class Config(InWords):
    """What the guard is to do; every value checked."""

    listen: str = setting(
        "LISTEN",
        "tcp:8070",
        "the public port, as a Twisted endpoint; clients reach it through your reverse proxy",
        endpoint,
    )
    admin_listen: str = setting(
        "ADMIN_LISTEN",
        "tcp:8072:interface=127.0.0.1",
        "the operators' port: status page, metrics, health; empty: none",
        endpoint_or_none,
    )
    homeserver_listen: str = setting(
        "HOMESERVER_LISTEN",
        "",
        "the port for a homeserver that forwards token requests; empty: none",
        endpoint_or_none,
    )
    transactions: bool = setting(
        "TRANSACTIONS",
        "off",
        "on: the homeserver's port accepts transactions, as an application service",
        on_or_off,
    )
    upstream: str = setting("UPSTREAM", "http://127.0.0.1:8071", "lk-jwt-service's address", url)
    livekit_api: str = composed(
        _livekit_api,
        Variable(
            LIVEKIT_PUBLIC, "", "LiveKit's public address: ws://, wss://, http:// or https://"
        ),
        Variable(LIVEKIT_INTERNAL, "", "LiveKit's address from this machine; default: LIVEKIT_URL"),
    )
    credentials: Credentials = composed(read_credentials, *CREDENTIAL_VARIABLES, repr=False)
    """Renewed while the guard runs; the properties below give what they are at the moment."""
    synapse_url: str = setting(
        "SYNAPSE_URL", "", "the homeserver's address from this machine (Synapse or another)", url
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
        "how many policies per second the live loop may look up at the homeserver",
        number(1.0, "look-ups per second"),
    )
    policy_poll: float = setting(
        "POLICY_POLL",
        "60",
        "seconds between two looks at a policy while Synapse pushes changes",
        seconds(),
    )
    live_limit: bool = setting(
        "LIVE_LIMIT",
        "on",
        "off: never remove anybody from a call that is over its limit",
        on_or_off,
    )
    give_back: bool = setting(
        "GIVE_BACK",
        "off",
        "on: give people in a call back what the guard took, once no rule forbids it",
        on_or_off,
    )
    deadline: float = setting(
        "DEADLINE",
        "1.0",
        "seconds the rules may delay a token; after that it goes out unguarded",
        seconds(0.01),
    )
    policy_max_age: float = setting(
        "POLICY_MAX_AGE",
        "2.0",
        "seconds a policy is used before the homeserver is asked again",
        seconds(),
    )
    policy_stale: float = setting(
        "POLICY_STALE",
        "600",
        "seconds the last known policy is used while the homeserver is down",
        seconds(),
    )
    seat_hold: float = setting(
        "SEAT_HOLD",
        "60",
        "seconds a seat is held for a token that has not been used yet",
        seconds(),
    )
    seat_grace: float = setting(
        "SEAT_GRACE",
        "10",
        "seconds a seat is held after a user's last device has left",
        seconds(),
    )
    token_life: int = setting(
        "TOKEN_LIFE",
        "300",
        "longest life of a token, in seconds, in a room with a policy; 0: unchanged",
        whole_seconds,
    )
    observed: frozenset[str] = composed(read_observed, MODE, OBSERVE)
    """Which of members, limit, sources, live and request observe only."""
    standing: frozenset[str] = composed(read_standing, *STANDING_SETTINGS.values())
    """The rules that hold in every room and are asked at all."""
    panel: bool = setting(
        "PANEL", "on", "off: no panel for moderators at /panel/ on the public port", on_or_off
    )
    openid: str = setting(
        "OPENID_URL",
        "",
        "where the homeserver serves openid/userinfo, which tells the panel who is using it; "
        "default: LOTUS_GUARD_SYNAPSE_URL",
        url_or_none,
    )
    log_format: str = setting(
        "LOG_FORMAT",
        "text",
        "text, or json: one JSON object per line, with every input of each decision",
        one_of("text", "json"),
    )
    log_level: str = setting(
        "LOG_LEVEL",
        "info",
        "lowest level of log lines to write: debug, info, warn or error",
        one_of("debug", "info", "warn", "error"),
    )
    log_users: str = setting(
        "LOG_USERS",
        "yes",
        "user IDs in logs and records: yes, hash (a keyed hash) or no",
        one_of("yes", "hash", "no"),
    )
    languages: Catalogues = setting(
        "WORDS",
        "",
        "directory of <language>.json files with messages to users, translated or reworded",
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
        "prefixes of slots without audio, such as a whiteboard's; separated by commas",
        prefixes,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        "loopback,private",
        "proxies trusted to name the client: addresses, networks, loopback, private; "
        "separated by commas",
        networks,
    )
    workers: int = setting(
        "WORKERS",
        "1",
        "number of processes; more than one needs LOTUS_GUARD_STATE=redis://…",
        count(MOST_WORKERS),
    )
    admin_hosts: frozenset[str] = setting(
        "ADMIN_HOSTS",
        "",
        "host names under which you open the operators' port; separated by commas",
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


def variables() -> list[Variable]:
    """List all variables that the guard reads."""
    return variables_of(Config)


def variable_names() -> list[str]:
    """List their names."""
    return [each.name for each in variables()]


def read_config(environment: Mapping[str, str]) -> Config:
    """Make a Config of an environment; raises Faulty with every fault at once."""
    values, faults = _read(environment, list(settings_of(Config)))
    faults = [*unknown_settings(environment, variable_names()), *faults, *contradictions(values)]
    if faults:
        raise Faulty(faults)
    return Config(**values)


def read_some(environment: Mapping[str, str], *names: str) -> dict[str, Any]:
    """Read these fields of a Config, and no others; raises Faulty with every fault in them."""
    values, faults = _read(environment, names)
    if faults:
        raise Faulty(faults)
    return values


def _read(environment: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    texts, settings = texts_of(Config, environment), settings_of(Config)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for name in names:
        try:
            values[name] = settings[name].read(texts)
        except Unusable as why:
            faults += why.faults
    return values, faults
