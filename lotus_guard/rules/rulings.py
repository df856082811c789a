"""Makes rulings, with the inputs behind them, and decides them once more from these inputs.

The inputs are kept for days, and another release may read them: their names never change.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from typing import Any

from attrs import frozen

from lotus_guard.core.claim import given
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    RoomId,
    Source,
    Track,
)
from lotus_guard.core.narrow import narrow
from lotus_guard.core.seats import Person
from lotus_guard.core.text import printable
from lotus_guard.rules import STANDING, Rules, members
from lotus_guard.rules.decision import REQUEST, Deed, Ruling
from lotus_guard.rules.plan import (
    Ban,
    Curb,
    Expel,
    GiveBack,
    Narrow,
    Remove,
    Restraint,
    Silence,
    Step,
    plan,
    united,
)
from lotus_guard.rules.rule import Refuse

MOST_PEOPLE = 50
MOST_PEOPLE_BYTES = 4096
"""Of those who have a seat in a room, so many are written down, as far as they fit."""

_UNGUARDED = "unguarded"
_UNENFORCED = "not enforced"
_REFUSED = "refused"
_PUT_OUT = "put out of the call"
_LEFT_ALONE = "left alone"


@frozen
class Cut:
    """What a token loses."""

    rule: str
    """The rule that takes it."""
    forbidden: frozenset[Source]
    """What all rules together forbid."""
    life: int
    """For how many seconds it may be valid at most; 0: as long as upstream says."""
    exempt: tuple[str, ...] = ()
    """The rules that would have kept the token back, were its holder not exempt from them."""


def refused(
    rule: str,
    room: RoomId,
    user: Person | None,
    refuse: Refuse,
    people: Iterable[Person] = (),
    door: str = "",
) -> Ruling:
    """A rule refuses somebody, who asked at another door than the public one; `people` sit."""
    inputs, shown = {**refuse.inputs, **_at(door)}, _some_of(people)
    return Ruling(Deed.REFUSED, rule, _REFUSED, refuse.why, room, user, inputs, shown)


def _at(door: str) -> dict[str, str]:
    return {"door": door} if door else {}


def _some_of(people: Iterable[Person]) -> tuple[Person, ...]:
    found, left = [], MOST_PEOPLE_BYTES
    for person in islice(people, MOST_PEOPLE):
        left -= len(person.encode("utf-8", "replace"))
        if left < 0:
            break
        found.append(person)
    return tuple(found)


def request_refused(status: int, errcode: str, why: str) -> Ruling:
    """A request cannot be accepted; nothing of its body is written down."""
    inputs = {"status": status, "errcode": errcode}
    return Ruling(Deed.REFUSED, REQUEST, _REFUSED, printable(why, 300), inputs=inputs)


def token_changed(
    room: RoomId, user: Person, grant: Grant, cut: Cut, seconds: float | None, door: str = ""
) -> Ruling:
    """A token says less than upstream's: fewer sources, a shorter life, or both.

    `grant` and `seconds` are upstream's; `seconds` None for a token without an end.
    """
    verdict, why, inputs = _change(grant, cut, seconds)
    if cut.exempt:
        why += f"; they are exempt from the {' and the '.join(cut.exempt)} rule, which would refuse"
    inputs = {**inputs, **_at(door)} if door else inputs
    return Ruling(Deed.CHANGED, cut.rule, verdict, why, room, user, inputs)


@lru_cache(maxsize=256)
def _change(grant: Grant, cut: Cut, seconds: float | None) -> tuple[str, str, Mapping[str, Any]]:
    """Put in words what a token loses; the words are the same for everybody in a room."""
    inputs = {
        "grant": _written(grant),
        "forbidden": sorted(cut.forbidden),
        "seconds": seconds,
        "life": cut.life,
    }
    takes = narrow(grant, cut.forbidden) is not grant
    why = _forbids(cut.forbidden) if takes else "a token is short-lived in a room with a policy"
    return _token_verdict(inputs), why, inputs


def takes_sources(ruling: Ruling) -> bool:
    """Whether a changed token lost sources, and not only some of its life."""
    return ruling.why.startswith((_FORBIDS, _FOR_DATA))


def step_taken(room: RoomId, person: Person, step: Step, rule: str, failure: str = "") -> Ruling:
    """A participant is to be brought within their room's policies."""
    participant = step.participant
    if isinstance(step, Expel):
        return _expelled(room, person, step, rule, failure)
    if isinstance(step, GiveBack):
        return _gave_back(room, person, step, rule, failure)
    forbidden = united(step.bans) if isinstance(step, Restraint) else frozenset()
    inputs: dict[str, Any] = {
        "grant": _written(participant.grant),
        "tracks": [[track.kind.value, track.source] for track in participant.tracks],
        "forbidden": sorted(forbidden),
        "is_standing": isinstance(step, Remove),
        "is_loud": isinstance(step, Curb),
    }
    if failure:
        inputs["failure"] = failure
    why = _reason(step, forbidden, rule) + (f"; it failed: {failure}" if failure else "")
    return Ruling(Deed.STEP, rule, _step_verdict(inputs), why, room, person, inputs)


def _expelled(room: RoomId, person: Person, step: Expel, rule: str, failure: str) -> Ruling:
    inputs = members.inputs(step.standing)
    if failure:
        inputs["failure"] = failure
    why = members.why(step.standing) + (f"; it failed: {failure}" if failure else "")
    return Ruling(Deed.STEP, rule, _step_verdict(inputs), why, room, person, inputs)


def _gave_back(room: RoomId, person: Person, step: GiveBack, rule: str, failure: str) -> Ruling:
    inputs: dict[str, Any] = {
        "grant": _written(step.participant.grant),
        "granted": _written(step.granted),
        "forbidden": sorted(step.forbidden),
    }
    if failure:
        inputs["failure"] = failure
    why = "no rule forbids any more what was taken" + (f"; it failed: {failure}" if failure else "")
    return Ruling(Deed.STEP, rule, _step_verdict(inputs), why, room, person, inputs)


def let_through(
    rule: str, reason: str, detail: str, room: RoomId | None, user: Person | None
) -> Ruling:
    """A token goes out without a rule, because the guard could not find out what it needs."""
    why, inputs = _trouble(reason, detail)
    return Ruling(Deed.FAIL_OPEN, rule, _UNGUARDED, why, room, user, inputs)


def not_enforced(rule: str, reason: str, detail: str) -> Ruling:
    """Running calls go on without a rule, because the guard could not find out what it needs.

    It names no room: clients open rooms, and each would make a ruling of its own.
    """
    why, inputs = _trouble(reason, detail)
    return Ruling(Deed.UNENFORCED, rule, _UNENFORCED, why, inputs=inputs)


def _trouble(reason: str, detail: str) -> tuple[str, dict[str, Any]]:
    inputs = {"reason": str(reason), "detail": printable(detail)}
    return f"{inputs['detail']} ({reason})", inputs


def replay(ruling: Ruling, rules: Rules) -> str | None:
    """Decide once more from a ruling's inputs; the verdict, or None where there is nothing to run.

    Of a request that could not be read, and of a fail-open, no input is kept that the pure code
    could be run on. Raises KeyError, ValueError or TypeError for inputs that are not ours.
    """
    if ruling.deed is Deed.REFUSED:
        every = (*STANDING, *rules)
        rule = next((rule for rule in every if rule.name == ruling.rule), None)
        return rule.replay(ruling.inputs) if rule else None
    if ruling.deed is Deed.CHANGED:
        return _token_verdict(ruling.inputs)
    if ruling.deed is Deed.STEP:
        return _step_verdict(ruling.inputs)
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
    if "membership" in inputs:
        return _PUT_OUT if members.standing_from(inputs).is_outside else _LEFT_ALONE
    if "granted" in inputs:
        return _give_verdict(inputs)
    livekit_room, who = LiveKitRoom("room"), Identity("identity")
    tracks = tuple(Track(Kind(kind), str(source)) for kind, source in inputs["tracks"])
    participants = (Participant(who, "", _read(inputs["grant"]), tracks),)
    is_loud = inputs.get("is_loud", False)  # older releases did not write it
    room = {livekit_room: Attendance(0.0, (), (who,)) if is_loud else Attendance(0.0, participants)}
    bans = (Ban("", frozenset(Source(name) for name in inputs["forbidden"])),)
    unseated = [who] if inputs["is_standing"] else []
    steps = plan(room, lambda _participant: bans, unseated, lambda identity: identity)
    if not steps:
        return _LEFT_ALONE
    (step,) = steps
    if isinstance(step, Narrow):
        return f"narrowed: {_shown(step.grant)}"
    if isinstance(step, Curb):
        return "curbed"
    return "silenced" if isinstance(step, Silence) else _PUT_OUT


def _give_verdict(inputs: Mapping[str, Any]) -> str:
    forbidden = {Source(name) for name in inputs["forbidden"]}
    grant = given(_read(inputs["grant"]), _read(inputs["granted"]), forbidden)
    return _LEFT_ALONE if grant is None else f"given back: {_shown(grant)}"


_FORBIDS = "the room forbids "
_FOR_DATA = "the slot is for data: nobody may talk there in a room with a seat limit"


def _forbids(forbidden: AbstractSet[Source]) -> str:
    """No rule forbids the microphone (rules.media): where it is, the slot is for data."""
    if Source.MICROPHONE in forbidden:
        return _FOR_DATA
    return f"{_FORBIDS}{', '.join(sorted(forbidden))}"


def _reason(step: Step, forbidden: AbstractSet[Source], rule: str) -> str:
    if isinstance(step, Remove):
        return "joined a full call without a seat"
    if isinstance(step, Curb):
        return "wrote so much data that the guard could not read who is in the call"
    if isinstance(step, Silence):
        return "published a track that is not what it claims to be"
    bans = step.bans if isinstance(step, Restraint) else ()
    return next((ban.why for ban in bans if ban.rule == rule and ban.why), "") or _forbids(
        forbidden
    )
