"""A claim as JSON, for the state file or a Redis that several guards share:

    {"granted": grant, "carried": [[grant, since, until], ...],
     "session": null or [sid, grant, is_there], "former": [grant, when it was changed],
     "under_way": [grant, ...], "settles": seconds, "lasts": seconds}

A grant is null for nothing, else the list of its sources: an empty list means every source. An
`until` without end is null. There is a `former` only where a session has one. A claim that is over
is `{}`.
"""

import json
from math import inf
from typing import Any

from lotus_guard.core.claim import MOST_GRANTS, OVER, Carried, Claim, Session
from lotus_guard.core.model import Grant
from lotus_guard.core.objects import json_object

MOST_CLAIM = 8 * 1024
"""Bytes of a claim; the guard writes some hundreds."""
_NOTHING = Grant(can_publish=False, sources=())


def write_claim(claim: Claim) -> str:
    """Write a claim as JSON; the same text for the same claim."""
    if claim.is_over:
        return "{}"
    session = claim.session
    document: dict[str, Any] = {
        "granted": _write(claim.granted),
        "carried": [_write_carried(each) for each in claim.carried],
        "session": session and [session.sid, _write(session.held), session.is_there],
        "under_way": [_write(each) for each in claim.under_way],
        "settles": round(claim.settles, 3),
        "lasts": round(claim.lasts, 3),
    }
    if session and session.former:
        document["former"] = [_write(session.former), round(session.changed, 3)]
    return json.dumps(document, separators=(",", ":"))


def read_claim(text: str) -> Claim:
    """Read a claim; what is none of ours is one that is over."""
    document = json_object(text) if len(text) <= MOST_CLAIM else None
    try:
        return _read_claim(document) if document else OVER
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError):
        return OVER


def _read_claim(document: dict[str, Any]) -> Claim:
    carried = [_read_carried(*each) for each in document["carried"]]
    session = document["session"]
    former, changed = document.get("former", (None, 0.0))
    return Claim(
        _read(document["granted"]),
        tuple(carried)[-MOST_GRANTS:],
        session
        and Session(
            str(session[0]),
            _read(session[1]),
            bool(session[2]),
            _read(former) if changed else None,
            float(changed),
        ),
        tuple(map(_read, document["under_way"]))[-MOST_GRANTS:],
        float(document["settles"]),
        float(document["lasts"]),
    )


def _write_carried(carried: Carried) -> list[Any]:
    until = None if carried.until == inf else round(carried.until, 3)
    return [_write(carried.grant), round(carried.since, 3), until]


def _read_carried(grant: Any, since: Any, until: Any) -> Carried:
    return Carried(_read(grant), float(since), inf if until is None else float(until))


def _write(grant: Grant) -> list[str] | None:
    return list(grant.sources) if grant.can_publish else None


def _read(written: Any) -> Grant:
    if written is None:
        return _NOTHING
    if not isinstance(written, list) or not all(isinstance(name, str) for name in written):
        raise ValueError("no grant")
    return Grant(True, tuple(written))
