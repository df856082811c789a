"""What is said in the log of an outage: what it is about, and what an operator can do."""

from lotus_guard.enforce.ports import Outage, Reason

_FIXES = {
    Reason.SECRET: "give the guard the same LIVEKIT_KEY and LIVEKIT_SECRET as lk-jwt-service",
    Reason.UNAUTHORIZED: "set LOTUS_GUARD_SYNAPSE_TOKEN to an admin's valid access token, and "
    "LIVEKIT_KEY and LIVEKIT_SECRET to a pair that LiveKit knows",
    Reason.MAY_NOT_LOOK: "let the application service act as a user of this homeserver who is in "
    "that room (`lotus-guard check --as-user` tries it)",
    Reason.DNS: "correct the host name in LOTUS_GUARD_SYNAPSE_URL or LOTUS_GUARD_LIVEKIT_URL",
    Reason.REFUSED: "start Synapse or LiveKit, or correct LOTUS_GUARD_SYNAPSE_URL or "
    "LOTUS_GUARD_LIVEKIT_URL",
    Reason.TIMEOUT: "find out why it is slow or hangs (`lotus-guard check` asks each of them)",
    Reason.BUSY: "find out why Synapse or LiveKit is slow",
    Reason.OVERLOAD: "add processors, or see docs/overload.md",
    Reason.NOT_FOUND: "point LOTUS_GUARD_SYNAPSE_URL at Synapse (/_synapse/admin) and "
    "LOTUS_GUARD_LIVEKIT_URL at LiveKit (/twirp)",
}
_OF_ONE = {
    "Synapse": {
        Reason.UNAUTHORIZED: "set LOTUS_GUARD_SYNAPSE_TOKEN to an admin's valid access token",
        Reason.DNS: "correct the host name in LOTUS_GUARD_SYNAPSE_URL",
        Reason.REFUSED: "start Synapse, or correct LOTUS_GUARD_SYNAPSE_URL",
        Reason.BUSY: "find out why Synapse is slow",
        Reason.NOT_FOUND: "point LOTUS_GUARD_SYNAPSE_URL at Synapse (/_synapse/admin)",
    },
    "LiveKit": {
        Reason.UNAUTHORIZED: "set LIVEKIT_KEY and LIVEKIT_SECRET to a pair that LiveKit knows",
        Reason.DNS: "correct the host name in LOTUS_GUARD_LIVEKIT_URL",
        Reason.REFUSED: "start LiveKit, or correct LOTUS_GUARD_LIVEKIT_URL",
        Reason.BUSY: "find out why LiveKit is slow",
        Reason.NOT_FOUND: "point LOTUS_GUARD_LIVEKIT_URL at LiveKit (/twirp)",
    },
}
"""What to do where the outage's words name one of the two."""
_SUBJECTS = {
    "limit": "Seat limit",
    "sources": "Camera and screen rule",
    "cameras": "Camera limit",
    "members": "Members-only rule",
    "permission": "Call permission",
}


def fix_for(outage: Outage) -> str:
    """What to do, to be read after "Fix:"."""
    named = [fixes for name, fixes in _OF_ONE.items() if name in outage.detail]
    own = named[0].get(outage.reason) if len(named) == 1 else None
    return own or _FIXES.get(outage.reason, "see docs/troubleshooting.md")


def subject_of(rule: str) -> str:
    """What a rule is called at the beginning of a log line, by its name."""
    return _SUBJECTS.get(rule, f"The {rule} rule")
