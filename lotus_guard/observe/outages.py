"""What an operator can do about an outage, in a few words for the log."""

from lotus_guard.enforce.ports import Outage, Reason

_WANTED = {
    Reason.SECRET: "LIVEKIT_KEY and LIVEKIT_SECRET must be the very ones lk-jwt-service signs with",
    Reason.UNAUTHORIZED: "give LOTUS_GUARD_SYNAPSE_TOKEN an admin's valid access token, and see "
    "that LiveKit knows LIVEKIT_KEY and LIVEKIT_SECRET",
    Reason.MAY_NOT_LOOK: "a user of our homeserver in that room, as whom the application service "
    "may act (`lotus-guard check --as-user` tries it)",
    Reason.DNS: "the host name in LOTUS_GUARD_SYNAPSE_URL or LOTUS_GUARD_LIVEKIT_URL must resolve",
    Reason.REFUSED: "start Synapse or LiveKit, or correct LOTUS_GUARD_SYNAPSE_URL or "
    "LOTUS_GUARD_LIVEKIT_URL",
    Reason.TIMEOUT: "see why it is slow or hangs (`lotus-guard check` asks all of them)",
    Reason.BUSY: "Synapse or LiveKit is slow, see there",
    Reason.OVERLOAD: "more processors, or see docs/troubleshooting.md",
    Reason.NOT_FOUND: "LOTUS_GUARD_SYNAPSE_URL must reach /_synapse/admin, LOTUS_GUARD_LIVEKIT_URL "
    "must reach /twirp",
}


def wanted(outage: Outage) -> str:
    """What to do, to be read after "Wanted:"."""
    return _WANTED.get(outage.reason, "see docs/troubleshooting.md")
