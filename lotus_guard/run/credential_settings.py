"""The settings that give credentials: each stands in a variable, or in a file that one names.

`LIVEKIT_*` are read as lk-jwt-service reads them (docs/facts.md, lk-jwt-service: environment), so
that both can share one file: `LIVEKIT_KEY_FILE` wins over `…_FROM_FILE`, which win over the plain
ones, and blanks, CR and LF around a key or a secret do not count.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import (
    Credential,
    Credentials,
    Place,
    Unusable,
    fault_line,
    read_pair,
    read_pair_file,
)
from lotus_guard.run.registration import read_as_token, read_as_token_if_any, read_hs_token
from lotus_guard.run.setting import OUR_PREFIX, Texts, Variable

CREDENTIAL_VARIABLES = (
    Variable("LIVEKIT_KEY", "", "LiveKit's API key"),
    Variable("LIVEKIT_SECRET", "", "LiveKit's API secret", is_secret=True),
    Variable("LIVEKIT_KEY_FROM_FILE", "", "file with LiveKit's API key"),
    Variable("LIVEKIT_SECRET_FROM_FILE", "", "file with LiveKit's API secret"),
    Variable(
        "LIVEKIT_KEY_FILE",
        "",
        "file with LiveKit's API key and secret in one line, `key: secret`; overrides the settings "
        "for either",
    ),
    Variable(
        f"{OUR_PREFIX}SYNAPSE_TOKEN",
        "",
        "access token of a server admin, to read rooms' policies",
        is_secret=True,
    ),
    Variable(f"{OUR_PREFIX}SYNAPSE_TOKEN_FROM_FILE", "", "file with that token"),
    Variable(
        f"{OUR_PREFIX}PUSH_SECRET",
        "",
        "secret shared with the Synapse module, 16 characters or more; empty: no pushes",
        is_secret=True,
    ),
    Variable(f"{OUR_PREFIX}PUSH_SECRET_FROM_FILE", "", "file with that secret"),
    Variable(f"{OUR_PREFIX}REDIS_PASSWORD_FROM_FILE", "", "file with the password for Redis"),
    Variable(
        "LIVEKIT_HS_TOKEN",
        "",
        "hs_token in lk-jwt-service's registration, which identifies the homeserver",
        is_secret=True,
    ),
    Variable(
        "LIVEKIT_AS_TOKEN",
        "",
        "as_token in that registration, to read rooms' policies",
        is_secret=True,
    ),
    Variable(
        "LIVEKIT_AS_REGISTRATION_FILE",
        "",
        "lk-jwt-service's registration file; overrides LIVEKIT_HS_TOKEN and LIVEKIT_AS_TOKEN",
    ),
    Variable(
        f"{OUR_PREFIX}AS_REGISTRATION_FILE",
        "",
        "the guard's own registration file, to read rooms' policies on any homeserver; overrides "
        "lk-jwt-service's",
    ),
)
_REGISTRATION = "LIVEKIT_AS_REGISTRATION_FILE"
_OUR_REGISTRATION = f"{OUR_PREFIX}AS_REGISTRATION_FILE"
_SYNAPSE_TOKEN = f"{OUR_PREFIX}SYNAPSE_TOKEN"
_ANY_TOKEN = (
    f"{_SYNAPSE_TOKEN} or {_SYNAPSE_TOKEN}_FROM_FILE (an admin's, on Synapse), or "
    f"{_OUR_REGISTRATION} (an application service's with users, on any homeserver)"
)
_IN_REGISTRATION = ("LIVEKIT_HS_TOKEN", "LIVEKIT_AS_TOKEN")
_IN_KEY_FILE = ("LIVEKIT_KEY", "LIVEKIT_SECRET")
LEAST_PUSH_SECRET = 16
"""Characters."""

V = TypeVar("V")


def files_of(name: str) -> tuple[str, ...]:
    """The variables that may name a file which has this one's value; the first that is set wins."""
    if name in _IN_REGISTRATION:
        return (_REGISTRATION,)
    own = f"{name}_FROM_FILE"
    known = any(each.name == own for each in CREDENTIAL_VARIABLES)
    both = ("LIVEKIT_KEY_FILE",) if name in _IN_KEY_FILE else ()
    return (*both, *((own,) if known else ()))


def read_credentials(texts: Texts) -> Credentials:
    """Read all credentials; raises Unusable with everything that is wrong with any of them."""
    faults: list[str] = []

    def read(name: str, paths: Sequence[str], work: Callable[[], V], empty: V) -> Credential[V]:
        """Read one that is read again where it stands in files; `empty` where it is faulty."""
        try:
            value = work()
        except Unusable as why:
            faults.extend(why.faults)
            value = empty
        files = tuple(path for path in paths if path)
        return Credential(name, value, files, work if files else None)

    synapse = _place(texts, _SYNAPSE_TOKEN)
    push = _place(texts, f"{OUR_PREFIX}PUSH_SECRET")
    redis = _place(texts, f"{OUR_PREFIX}REDIS_PASSWORD")
    found = Credentials(
        livekit=read(*_livekit(texts), KeyPair("", "")),
        synapse=read(
            synapse.shown,
            (synapse.path,),
            lambda: synapse.read_token() if synapse.is_set else "",
            "",
        ),
        push=read(push.shown, (push.path,), lambda: push.read_secret(LEAST_PUSH_SECRET), ""),
        redis=read(redis.shown, (redis.path,), lambda: redis.read_secret(0), ""),
        hs_token=read(*_hs_token(texts), ""),
        transactions=read(*_transactions(texts), ""),
        as_token=read(*_as_token(texts), ""),
    )
    if not (synapse.is_set or found.as_token.value or texts[_OUR_REGISTRATION]):
        faults.append(fault_line(_SYNAPSE_TOKEN, "not set", _ANY_TOKEN))
    faults = list(dict.fromkeys(faults))  # one registration may give two tokens
    if faults:
        raise Unusable(*faults)
    return found


def _livekit(texts: Texts) -> tuple[str, Sequence[str], Callable[[], KeyPair]]:
    """Where LiveKit's key and secret stand: what to call it, in which files, how to read them."""
    both = texts["LIVEKIT_KEY_FILE"]
    if both:
        return "LIVEKIT_KEY_FILE", (both,), lambda: read_pair_file("LIVEKIT_KEY_FILE", both)
    key, secret = _place(texts, "LIVEKIT_KEY"), _place(texts, "LIVEKIT_SECRET")
    name = f"{key.shown} with {secret.shown}"
    return name, (key.path, secret.path), lambda: read_pair(key, secret)


def _hs_token(texts: Texts) -> tuple[str, Sequence[str], Callable[[], str]]:
    """Where the homeserver's token stands, as lk-jwt-service reads it."""
    path = texts["LIVEKIT_AS_REGISTRATION_FILE"]
    if path:
        return _REGISTRATION, (path,), lambda: read_hs_token(_REGISTRATION, path)
    return "LIVEKIT_HS_TOKEN", (), lambda: texts["LIVEKIT_HS_TOKEN"].strip()


def _transactions(texts: Texts) -> tuple[str, Sequence[str], Callable[[], str]]:
    """Where the token stands that comes with transactions: our own registration's, if we have one.

    Else it is lk-jwt-service's, whose homeserver sends them to the guard in its place.
    """
    path = texts[_OUR_REGISTRATION]
    if path and texts.get(f"{OUR_PREFIX}TRANSACTIONS") == "on":
        return _OUR_REGISTRATION, (path,), lambda: read_hs_token(_OUR_REGISTRATION, path)
    return _hs_token(texts)


def _as_token(texts: Texts) -> tuple[str, Sequence[str], Callable[[], str]]:
    """Where the token stands with which an application service asks the homeserver.

    lk-jwt-service's own registration need not name any users: then its token serves for nothing of
    ours, and there is none (docs/facts.md, Any homeserver: who may ask what about a room).
    """
    path = texts[_OUR_REGISTRATION]
    if path:
        return _OUR_REGISTRATION, (path,), lambda: read_as_token(_OUR_REGISTRATION, path)
    path = texts[_REGISTRATION]
    if path:
        return _REGISTRATION, (path,), lambda: read_as_token_if_any(_REGISTRATION, path)
    place = Place("LIVEKIT_AS_TOKEN", texts["LIVEKIT_AS_TOKEN"], "")
    return place.name, (), lambda: place.read_token() if place.plain.strip() else ""


def _place(texts: Texts, name: str) -> Place:
    return Place(name, texts.get(name, ""), texts[f"{name}_FROM_FILE"])


class InWords:
    """The credentials of a configuration as they are at the moment, by what they are for."""

    credentials: Credentials

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
        """An admin's access token; empty where there is none."""
        return self.credentials.synapse.value

    @property
    def as_token(self) -> str:
        """An application service's token for users of ours; empty where there is none."""
        return self.credentials.as_token.value

    @property
    def has_application_service(self) -> bool:
        """Whether there is one, or a registration that may come to name users."""
        return bool(self.as_token or self.credentials.as_token.files)

    @property
    def push_secret(self) -> str:
        """What the Synapse module signs with; empty for no pushes."""
        return self.credentials.push.value
