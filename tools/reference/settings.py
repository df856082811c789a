"""The page of settings, from their declarations.

The code has each setting's name, default and meaning in a line, which `--help` prints too. Here is
what only the page has: the order, what kind of value is wanted, and what more there is to say.
"""

from collections.abc import Iterator

from lotus_guard.run.config import variables
from lotus_guard.run.setting import Variable
from tools.reference.markdown import cell, code, table

_HEAD = """\
# Settings

<!-- Written by `make reference` from the code: do not edit. -->

All settings are environment variables. `deploy/environment.sample` has them all with comments, and
`twistd lotus-guard --help` lists them. If settings are wrong, the guard names every fault at
once and exits with 2. `lotus-guard check` looks at the settings and at the whole stack behind
them.

Names that begin with `LIVEKIT_` are lk-jwt-service's own, read as lk-jwt-service reads them, so
both can share one file. All others begin with `LOTUS_GUARD_`. A setting whose name ends in `_FILE`
names a file with a secret; the guard reads it again when it changes
([Operating the guard](operating.md#new-credentials)).
Lists are separated by commas. No default means: not set.

"""
_OTHERS = "Others"

Rows = dict[str, tuple[str, str]]
"""What kind of value a setting takes, and what more there is to say; by its name."""

GROUPS: dict[str, Rows] = {
    "Ports": {
        "LOTUS_GUARD_LISTEN": ("endpoint", ""),
        "LOTUS_GUARD_ADMIN_LISTEN": (
            "endpoint",
            "It also takes the Synapse module's pushes ([Operating the guard](operating.md)).",
        ),
        "LOTUS_GUARD_ADMIN_HOSTS": ("host names", ""),
        "LOTUS_GUARD_HOMESERVER_LISTEN": (
            "endpoint",
            "See [Behind the homeserver](homeserver.md).",
        ),
        "LOTUS_GUARD_TRANSACTIONS": (
            "`on` or `off`",
            "Any homeserver then tells the guard of changes ([Faster than polling](hints.md)).",
        ),
        "LOTUS_GUARD_TRUSTED_PROXIES": (
            "networks",
            "`private` is RFC 1918 and its like. Only these "
            "are trusted to say which client a request comes from "
            "([Reverse proxies](proxies.md)).",
        ),
        "LOTUS_GUARD_WORKERS": (
            "number",
            "See [Several guards](several.md).",
        ),
    },
    "lk-jwt-service": {
        "LOTUS_GUARD_UPSTREAM": ("URL", "It must not be reachable from outside."),
        "LIVEKIT_AS_REGISTRATION_FILE": (
            "file",
            "See [Behind the homeserver](homeserver.md).",
        ),
        "LIVEKIT_HS_TOKEN": ("secret", ""),
        "LIVEKIT_AS_TOKEN": ("secret", "Used if the registration names users."),
    },
    "LiveKit": {
        "LIVEKIT_URL": ("URL", "Clients connect to it."),
        "LOTUS_GUARD_LIVEKIT_URL": ("URL", ""),
        "LIVEKIT_KEY": ("text", ""),
        "LIVEKIT_SECRET": ("secret", ""),
        "LIVEKIT_KEY_FROM_FILE": ("file", ""),
        "LIVEKIT_SECRET_FROM_FILE": ("file", ""),
        "LIVEKIT_KEY_FILE": ("file", ""),
    },
    "The homeserver": {
        "LOTUS_GUARD_SYNAPSE_URL": (
            "URL",
            "A homeserver other than Synapse needs an `as_token` "
            "([Any homeserver](any-homeserver.md)).",
        ),
        "LOTUS_GUARD_SYNAPSE_TOKEN": ("secret", "Without one, an `as_token` is needed."),
        "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": ("file", ""),
        "LOTUS_GUARD_AS_REGISTRATION_FILE": (
            "file",
            "See [Any homeserver](any-homeserver.md).",
        ),
        "LOTUS_GUARD_OPENID_URL": ("URL", "See [The panel](panel.md)."),
        "LOTUS_GUARD_PUSH_SECRET": ("secret", "See [Hints](hints.md)."),
        "LOTUS_GUARD_PUSH_SECRET_FROM_FILE": ("file", ""),
    },
    "What is enforced": {
        "LOTUS_GUARD_MODE": ("`enforce` or `observe`", ""),
        "LOTUS_GUARD_OBSERVE": (
            "names of rules",
            "`live` stands for everything in live calls.",
        ),
        "LOTUS_GUARD_MEMBERS": (
            "`on`, `off` or `observe`",
            "With `off`, every user of the homeserver may join, as with lk-jwt-service alone "
            "([Members only](members.md)).",
        ),
        "LOTUS_GUARD_CALL_PERMISSION": (
            "`on`, `off` or `observe`",
            "See [Who may start a call](moderators.md#who-may-start-a-call-and-who-may-join).",
        ),
        "LOTUS_GUARD_LIVE_LIMIT": ("`on` or `off`", ""),
        "LOTUS_GUARD_GIVE_BACK": (
            "`on` or `off`",
            "With `off`, people have to join again ([Giving back](giving-back.md)).",
        ),
        "LOTUS_GUARD_DATA_SLOTS": (
            "prefixes",
            "See [Slots in which nobody talks](homeserver.md#slots-in-which-nobody-talks).",
        ),
        "LOTUS_GUARD_PANEL": ("`on` or `off`", "See [The panel](panel.md)."),
        "LOTUS_GUARD_WORDS": ("directory", "See [Words and languages](words.md)."),
    },
    "Tokens and seats": {
        "LOTUS_GUARD_DEADLINE": (
            "seconds",
            "See [Failures](failures.md).",
        ),
        "LOTUS_GUARD_SEAT_HOLD": (
            "seconds",
            "If the user was in the call when they asked for the token, it is kept for at most "
            "20 s after they hang up.",
        ),
        "LOTUS_GUARD_SEAT_GRACE": ("seconds", ""),
        "LOTUS_GUARD_TOKEN_LIFE": ("whole seconds", ""),
    },
    "Live calls and look-ups": {
        "LOTUS_GUARD_RECONCILE_INTERVAL": ("seconds", ""),
        "LOTUS_GUARD_POLICY_RATE": (
            "look-ups per second",
            "With more live rooms than that, known policies still hold, and the guard notices "
            "changes later. It asks first about rooms with people in them, then about the room "
            "that has waited longest. Rooms that Synapse does not know get a tenth of them.",
        ),
        "LOTUS_GUARD_POLICY_POLL": ("seconds", ""),
        "LOTUS_GUARD_POLICY_MAX_AGE": ("seconds", ""),
        "LOTUS_GUARD_POLICY_STALE": ("seconds", ""),
    },
    "Memory and log": {
        "LOTUS_GUARD_STATE": (
            "file or URL",
            "See [Several guards](several.md).",
        ),
        "LOTUS_GUARD_REDIS_PASSWORD_FROM_FILE": ("file", "Used if the address has no password."),
        "LOTUS_GUARD_KEEP_DECISIONS": ("days", ""),
        "LOTUS_GUARD_LOG_FORMAT": ("`text` or `json`", ""),
        "LOTUS_GUARD_LOG_LEVEL": ("name of a level", ""),
        "LOTUS_GUARD_LOG_USERS": ("`yes`, `hash` or `no`", ""),
    },
}


def settings_page() -> str:
    """Write the page."""
    return _HEAD + "\n".join(_sections())


def ungrouped() -> set[str]:
    """List the settings that no group names, which come last on the page."""
    return _declared().keys() - {name for rows in GROUPS.values() for name in rows}


def _sections() -> Iterator[str]:
    declared = _declared()
    others: Rows = {name: ("", "") for name in declared if name in ungrouped()}
    for title, rows in {**GROUPS, _OTHERS: others}.items():
        lines = [
            (code(name), code(declared[name].default), kind, _meaning(declared[name].help, more))
            for name, (kind, more) in rows.items()
            if name in declared
        ]
        if lines:
            yield f"## {title}\n\n{table(('setting', 'default', 'value', 'meaning'), lines)}"


def _declared() -> dict[str, Variable]:
    return {each.name: each for each in variables()}


def _meaning(text: str, more: str) -> str:
    first, _, rest = text.partition(" ")
    if first.endswith(":"):
        first = f"{code(first[:-1])}:"
    elif first.isalpha():
        first = first[:1].upper() + first[1:]
    return f"{cell(f'{first} {rest}').rstrip('.')}. {more}".rstrip()
