"""What it takes to bring a live room back within its policies: a pure function.

Carrying a plan out and planning again gives nothing. A plan never grants (what we took is given
back by `rules.giving`), and never removes anybody but those whom `Seats.reassess` listed as being
in a full room without a seat. Who is no member of the room is put out by no plan, but one by one
(`enforce.member_watch`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeGuard

from attrs import field, frozen

from lotus_guard.core.membership import Standing
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    Source,
)
from lotus_guard.core.narrow import narrow
from lotus_guard.core.seats import Person
from lotus_guard.rules.rule import Forbid, Verdict, Withhold

VIDEO_SOURCES = frozenset({Source.CAMERA, Source.SCREEN_SHARE})
AUDIO_SOURCES = frozenset({Source.MICROPHONE, Source.SCREEN_SHARE_AUDIO})
NOTHING = Grant(can_publish=False, sources=())
_SOMEWHERE = LiveKitRoom("")


@frozen
class Ban:
    """What one rule forbids somebody to publish."""

    rule: str
    sources: frozenset[Source]
    why: str = ""
    """What the operator reads, where there is more to say than what is forbidden."""


Bans = tuple[Ban, ...]
"""What several rules forbid the same person, in the order of the rules."""


Verdicts = Iterable[tuple[str, Verdict]]
"""The verdicts of several rules on one person, by the rules' names."""


def bans_by(verdicts: Verdicts) -> Bans:
    """What rules forbid, by their names and verdicts."""
    return tuple(
        Ban(rule, verdict.sources, verdict.why)
        for rule, verdict in verdicts
        if forbids_any(verdict)
    )


def withheld_by(verdicts: Verdicts) -> Bans:
    """What may not be given back either: what rules forbid, and what they withhold."""
    return tuple(
        Ban(rule, verdict.sources)
        for rule, verdict in verdicts
        if isinstance(verdict, Forbid | Withhold)
    )


def forbids_any(verdict: Verdict) -> TypeGuard[Forbid]:
    """Whether a verdict forbids any source."""
    return isinstance(verdict, Forbid) and bool(verdict.sources)


def united(bans: Iterable[Ban]) -> frozenset[Source]:
    """What the rules forbid together."""
    return frozenset[Source]().union(*(ban.sources for ban in bans))


@frozen
class Step:
    """Something to do to one participant of one LiveKit room."""

    livekit_room: LiveKitRoom
    participant: Participant


@frozen
class Restraint(Step):
    """A step that takes away what somebody may publish."""

    grant: Grant = NOTHING
    """What is left to them."""
    bans: Bans = field(default=(), eq=False)
    """Why: what the rules forbid them."""


@frozen
class Narrow(Restraint):
    """Take forbidden sources from a participant who has them."""


@frozen
class Silence(Restraint):
    """Take the right to publish from a participant with a disguised track."""


@frozen
class Curb(Restraint):
    """Take from a participant everything that makes the room's list too long to be read.

    Without the list nobody else can be narrowed or put out. What they may publish is not known,
    for that would have to be read: the step leaves them nothing to publish, whatever it was.
    """


@frozen
class Remove(Step):
    """Put out somebody who came into a full room without a seat; one step for each session."""

    person: Person


@frozen
class Expel(Step):
    """Put out somebody who is not a member of the room; one step for each session."""

    person: Person
    standing: Standing
    """How they stand to the room, and who said so."""


@frozen
class GiveBack(Step):
    """A step that gives a participant back what we took, where no rule forbids it any more."""

    grant: Grant
    """What they have then."""
    granted: Grant = field(eq=False)
    """What upstream's tokens allowed them."""
    forbidden: frozenset[Source] = field(default=frozenset(), eq=False)
    """What the rules still forbid them."""


MOST: Mapping[type[Step], int] = {
    Narrow: 200,
    Silence: 50,
    Curb: 50,
    Remove: 5,
    Expel: 20,
    GiveBack: 200,
}
"""How many steps of a kind one room may see in one pass, so that a bug cannot empty a room.

Removals are counted by person, all of whose sessions go: otherwise somebody who keeps coming back
with many would shield the others.
"""


def plan(
    rooms: Mapping[LiveKitRoom, Attendance],
    bans_of: Callable[[Participant], Bans],
    unseated: Sequence[Person],
    person: Callable[[Identity], Person],
) -> list[Step]:
    """List what is to be done in a Matrix room's LiveKit rooms.

    `unseated` lists people without a seat, newest first (`Seats.reassess`); they are removed in
    that order. Whoever is removed needs no other step.
    """
    removals = _removals(rooms, unseated, person)
    leaving = {(step.livekit_room, step.participant.identity) for step in removals}
    steps: list[Step] = list(removals)
    for livekit_room, attendance in rooms.items():
        for participant in attendance.participants:
            if (livekit_room, participant.identity) not in leaving:
                steps += restraints(livekit_room, participant, bans_of(participant))
        steps += [
            Curb(livekit_room, unread(identity))
            for identity in attendance.loud
            if (livekit_room, identity) not in leaving
        ]
    return steps


def restraints(livekit_room: LiveKitRoom, participant: Participant, bans: Bans) -> list[Step]:
    """List what is to be done to a participant who was read in full and stays: one step at most."""
    if not bans:
        return []
    forbidden = united(bans)
    if is_disguised(participant, forbidden) and participant.grant.can_publish:
        return [Silence(livekit_room, participant, bans=bans)]
    grant = narrow(participant.grant, forbidden)
    if grant is participant.grant:
        return []
    return [Narrow(livekit_room, participant, grant, bans)]


def taker(participant: Participant, bans: Bans) -> str | None:
    """Name the first rule that takes something from a participant; None where none does."""
    return next((ban.rule for ban in bans if restraints(_SOMEWHERE, participant, (ban,))), None)


def bounded(steps: Iterable[Step]) -> tuple[list[Step], int]:
    """Keep at most `MOST` steps of each kind, in order; returns how many were put off as well."""
    kept: list[Step] = []
    counted: dict[type[Step], set[object]] = {}
    put_off = 0
    for step in steps:
        among = counted.setdefault(type(step), set())
        what = step.person if isinstance(step, Remove) else len(among)
        if what in among or len(among) < MOST[type(step)]:
            among.add(what)
            kept.append(step)
        else:
            put_off += 1
    return kept, put_off


def _removals(
    rooms: Mapping[LiveKitRoom, Attendance],
    unseated: Sequence[Person],
    person: Callable[[Identity], Person],
) -> list[Remove]:
    order = {who: rank for rank, who in enumerate(unseated)}
    found = [
        (order[who], Remove(livekit_room, participant, who))
        for livekit_room, attendance in rooms.items()
        for participant in (*attendance.participants, *map(unread, attendance.loud))
        if (who := person(participant.identity)) in order
    ]
    return [step for _, step in sorted(found, key=lambda pair: pair[0])]


def unread(identity: Identity) -> Participant:
    """A participant of whom nothing is known but that they are there."""
    return Participant(identity, "", NOTHING)


def is_disguised(participant: Participant, forbidden: AbstractSet[Source]) -> bool:
    """Whether a track is of a kind that the policies forbid, declared as one that they allow.

    LiveKit checks only what the client declares (docs/facts.md, LiveKit: sources): a camera
    declared as a microphone gets through. Video may be a camera or a screen, and no honest client
    declares it as sound: it is an offence where either is forbidden. A screen sent as a camera
    cannot be told apart.
    """
    return any(
        (track.kind is Kind.VIDEO and track.source in AUDIO_SOURCES and forbidden & VIDEO_SOURCES)
        or (
            track.kind is Kind.AUDIO and track.source in VIDEO_SOURCES and forbidden & AUDIO_SOURCES
        )
        for track in participant.tracks
    )
