"""What the guard decided, why, and from which inputs: enough to decide it once more.

A *ruling* is what the pure code said; a *decision* is a ruling on record, with an id and a time.
`replay` runs the same pure functions over a ruling's inputs: whoever asks later why somebody was
refused gets an answer that can be checked, also after an upgrade.

As JSON, in the log, in the state file and on the operators' port:

    {"id": "k3v9t2xq", "at": 1790000000.123, "kind": "refused", "rule": "limit",
     "observed": false, "room": "!r:s", "user": "@u:s", "verdict": "refused",
     "why": "2 in the call or about to join, 2 allowed, this user not among them",
     "inputs": {"max_users": 2, "taken": 2, "is_seated": false}, "people": ["@a:s", "@b:s"]}
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any

from attrs import evolve, field, frozen

from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    RoomId,
    Rule,
    Source,
    SourcePolicy,
    Track,
)
from lotus_guard.core.narrow import narrow
from lotus_guard.core.seats import Person, may_sit
from lotus_guard.core.text import printable
from lotus_guard.rules.plan import Curb, Narrow, Remove, Silence, Step, plan

MOST_PEOPLE = 50
MOST_PEOPLE_BYTES = 4096
"""Of those who sit in a room, so many are written down, as far as they fit into so many bytes."""


class Deed(StrEnum):
    """What was done; the `kind` of a decision."""

    REFUSED = "refused"
    CHANGED = "changed"
    STEP = "step"
    FAIL_OPEN = "fail_open"
    UNENFORCED = "unenforced"
    """Nobody asked for anything: the calls that run were not looked at, or not by a policy."""


REQUEST = "request"
"""In place of a rule: the request itself could not be accepted, whatever the room's policy."""

_LET_THROUGH = "let through"
_UNENFORCED = "not enforced"
_REFUSED = "refused"


@frozen
class Ruling:
    """What the pure code said, and what it said it from."""

    deed: Deed
    rule: str
    """A `Rule`, or `REQUEST`."""
    verdict: str
    """In few words; `replay` gives the same ones."""
    why: str
    """A sentence. Names no user."""
    room: RoomId | None = None
    user: Person | None = None
    inputs: Mapping[str, Any] = field(factory=dict)
    """What JSON can hold. Names no user."""
    people: tuple[Person, ...] = ()
    """Who sat in the room."""


@frozen
class Decision:
    """A ruling on record."""

    id: str
    at: float
    """Seconds since the epoch."""
    observed: bool
    """It would have been done: the rule is told to observe only."""
    ruling: Ruling

    def as_json(self) -> dict[str, Any]:
        """Give the fields that the head of this module shows."""
        ruling = self.ruling
        return {
            "id": self.id,
            "at": round(self.at, 3),
            "kind": ruling.deed.value,
            "rule": str(ruling.rule),
            "observed": self.observed,
            "room": ruling.room,
            "user": ruling.user,
            "verdict": ruling.verdict,
            "why": ruling.why,
            "inputs": dict(ruling.inputs),
            "people": list(ruling.people),
        }


def from_json(fields: Mapping[str, Any]) -> Decision:
    """Read a decision back; raises KeyError, ValueError or TypeError for what is none."""
    ruling = Ruling(
        Deed(fields["kind"]),
        str(fields["rule"]),
        str(fields["verdict"]),
        str(fields["why"]),
        fields["room"],
        fields["user"],
        dict(fields["inputs"]),
        tuple(fields.get("people", ())),
    )
    return Decision(str(fields["id"]), float(fields["at"]), bool(fields["observed"]), ruling)


def masked(ruling: Ruling, mask: Callable[[Person], Person | None]) -> Ruling:
    """Replace every user in a ruling by what `mask` makes of him; None leaves him out."""
    people = tuple(shown for person in ruling.people if (shown := mask(person)) is not None)
    return evolve(ruling, user=mask(ruling.user) if ruling.user else None, people=people)


def seat_refused(
    room: RoomId, user: Person, limit: int, taken: int, people: Iterable[Person] = ()
) -> Ruling:
    """Rule that a call is full: no seat is free, and this user has none."""
    return Ruling(
        Deed.REFUSED,
        Rule.LIMIT,
        _REFUSED,
        f"{taken} in the call or about to join, {limit} allowed, this user not among them",
        room,
        user,
        {"max_users": limit, "taken": taken, "is_seated": False},
        _some_of(people),
    )


def _some_of(people: Iterable[Person]) -> tuple[Person, ...]:
    found, left = [], MOST_PEOPLE_BYTES
    for person in islice(people, MOST_PEOPLE):
        left -= len(person.encode("utf-8", "replace"))
        if left < 0:
            break
        found.append(person)
    return tuple(found)


def slots_refused(room: RoomId, user: Person | None, most: int) -> Ruling:
    """Rule that a room has more LiveKit rooms already than any honest client opens."""
    why = f"the room has {most} slots in use; only its ordinary call takes more people"
    return Ruling(Deed.REFUSED, Rule.LIMIT, _REFUSED, why, room, user, {"slots": most})


def hoard_refused(room: RoomId, user: Person) -> Ruling:
    """Rule that a user has been given tokens for more identities than any honest client has."""
    why = "the user has had tokens for too many devices or page loads within an hour"
    return Ruling(Deed.REFUSED, Rule.LIMIT, _REFUSED, why, room, user)


def request_refused(status: int, errcode: str, why: str) -> Ruling:
    """Rule that a request cannot be accepted; nothing of its body is written down."""
    inputs = {"status": status, "errcode": errcode}
    return Ruling(Deed.REFUSED, REQUEST, _REFUSED, printable(why, 300), inputs=inputs)


def token_changed(
    room: RoomId,
    user: Person,
    grant: Grant,
    forbidden: AbstractSet[Source],
    seconds: float | None,
    life: int,
) -> Ruling:
    """Rule that a token says less than upstream's: fewer sources, a shorter life, or both.

    `grant` and `seconds` are upstream's; `seconds` None for a token without an end.
    """
    rule, verdict, why, inputs = _change(grant, frozenset(forbidden), seconds, life)
    return Ruling(Deed.CHANGED, rule, verdict, why, room, user, inputs)


@lru_cache(maxsize=256)
def _change(
    grant: Grant, forbidden: frozenset[Source], seconds: float | None, life: int
) -> tuple[Rule, str, str, Mapping[str, Any]]:
    """Say what a token loses, in the words that are the same for all the people of a room."""
    inputs = {
        "grant": _written(grant),
        "forbidden": sorted(forbidden),
        "seconds": seconds,
        "life": life,
    }
    takes = narrow(grant, forbidden) is not grant
    why = f"the room forbids {', '.join(sorted(forbidden))}" if takes else "the room has a policy"
    return Rule.SOURCES if takes else Rule.LIMIT, _token_verdict(inputs), why, inputs


def step_taken(
    room: RoomId,
    person: Person,
    step: Step,
    forbidden: AbstractSet[Source],
    failure: str = "",
) -> Ruling:
    """Rule that a participant is to be brought within his room's policy."""
    participant = step.participant
    inputs: dict[str, Any] = {
        "grant": _written(participant.grant),
        "tracks": [[track.kind.value, track.source] for track in participant.tracks],
        "forbidden": sorted(forbidden),
        "is_standing": isinstance(step, Remove),
        "is_loud": isinstance(step, Curb),
    }
    if failure:
        inputs["failure"] = failure
    rule = Rule.LIMIT if isinstance(step, Remove) else Rule.SOURCES
    why = _reason(step, forbidden) + (f"; it failed: {failure}" if failure else "")
    return Ruling(Deed.STEP, rule, _step_verdict(inputs), why, room, person, inputs)


def let_through(
    rule: Rule, reason: str, detail: str, room: RoomId | None, user: Person | None
) -> Ruling:
    """Rule that a token goes out unguarded, because something of ours is in trouble."""
    why, inputs = _trouble(reason, detail)
    return Ruling(Deed.FAIL_OPEN, rule, _LET_THROUGH, why, room, user, inputs)


def not_enforced(rule: Rule, reason: str, detail: str) -> Ruling:
    """Rule that the calls that run go on without a rule, because something of ours is in trouble.

    It names no room: clients open rooms, and each would make a ruling of its own.
    """
    why, inputs = _trouble(reason, detail)
    return Ruling(Deed.UNENFORCED, rule, _UNENFORCED, why, inputs=inputs)


def _trouble(reason: str, detail: str) -> tuple[str, dict[str, Any]]:
    inputs = {"reason": str(reason), "detail": printable(detail)}
    return f"{reason}: {inputs['detail']}", inputs


def replay(ruling: Ruling) -> str | None:
    """Decide once more from a ruling's inputs; the verdict, or None where there is nothing to run.

    Of a request that could not be read, and of a fail-open, no input is kept that the pure code
    could be run on. Raises KeyError, ValueError or TypeError for inputs that are not ours.
    """
    inputs = ruling.inputs
    if ruling.deed is Deed.REFUSED and "max_users" in inputs:
        passes = may_sit(inputs["max_users"], inputs["taken"], inputs["is_seated"])
        return "admitted" if passes else _REFUSED
    if ruling.deed is Deed.CHANGED:
        return _token_verdict(inputs)
    if ruling.deed is Deed.STEP:
        return _step_verdict(inputs)
    return None


def _written(grant: Grant) -> dict[str, Any]:
    return {"can_publish": grant.can_publish, "sources": list(grant.sources)}


def _read(written: Mapping[str, Any]) -> Grant:
    return Grant(bool(written["can_publish"]), tuple(written["sources"]))


def _shown(grant: Grant) -> str:
    if not grant.can_publish:
        return "may publish nothing"
    return f"may publish {', '.join(map(printable, grant.sources)) or 'everything'}"


def _token_verdict(inputs: Mapping[str, Any]) -> str:
    grant = narrow(_read(inputs["grant"]), {Source(name) for name in inputs["forbidden"]})
    seconds, life = inputs["seconds"], inputs["life"]
    if seconds is None:
        return _shown(grant)
    return f"{_shown(grant)}, valid for {min(seconds, life) if life else seconds:.0f} s"


def _step_verdict(inputs: Mapping[str, Any]) -> str:
    """Plan for this one participant alone, and name the step that comes of it."""
    livekit_room, who = LiveKitRoom("alias"), Identity("identity")
    tracks = tuple(Track(Kind(kind), str(source)) for kind, source in inputs["tracks"])
    participants = (Participant(who, "", _read(inputs["grant"]), tracks),)
    is_loud = inputs.get("is_loud", False)  # not in decisions of before
    room = {livekit_room: Attendance(0.0, (), (who,)) if is_loud else Attendance(0.0, participants)}
    policy = SourcePolicy(frozenset(Source(name) for name in inputs["forbidden"]))
    steps = plan(room, policy, [who] if inputs["is_standing"] else [], lambda identity: identity)
    if not steps:
        return "left alone"
    (step,) = steps
    if isinstance(step, Narrow):
        return f"narrowed: {_shown(step.grant)}"
    if isinstance(step, Curb):
        return "curbed"
    return "silenced" if isinstance(step, Silence) else "put out of the call"


def _reason(step: Step, forbidden: AbstractSet[Source]) -> str:
    if isinstance(step, Remove):
        return "came into a full room without a seat"
    if isinstance(step, Curb):
        return "wrote so much that nobody could read who is in the call"
    if isinstance(step, Silence):
        return "published a track that is not what it was declared as"
    return f"the room forbids {', '.join(sorted(forbidden))}"
