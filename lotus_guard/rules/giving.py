"""What is given back to a participant: what we took, where no rule forbids it any more.

The law is the union of both sides: never more than upstream granted without what is forbidden
by now, and nothing of what they hold is lost. The claim (`core.claim`) knows whether it was us who
took what they lack.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from lotus_guard.core.claim import Claim
from lotus_guard.core.model import Attendance, Identity, LiveKitRoom, Participant
from lotus_guard.rules.plan import Bans, Curb, GiveBack, Silence, Step, is_disguised, united

GIVING = "give_back"
"""What stands in records in the place of a rule: none calls for what is given back."""

Key = tuple[LiveKitRoom, Identity]


def give_back(
    livekit_room: LiveKitRoom, participant: Participant, claim: Claim, bans: Bans
) -> GiveBack | None:
    """The step that gives a participant, just seen, what they may have; None for no change.

    A track that is not what it was declared as is no reason to give its publisher more.
    """
    forbidden = united(bans)
    if is_disguised(participant, forbidden):
        return None
    grant = claim.may_give(participant.grant, forbidden)
    if grant is None:
        return None
    return GiveBack(livekit_room, participant, grant, claim.granted, forbidden)


def forfeited(steps: Iterable[Step]) -> set[Key]:
    """Who gets nothing back: whoever is silenced for a disguise, or curbed."""
    return {key_of(step) for step in steps if isinstance(step, Silence | Curb)}


def key_of(step: Step) -> Key:
    """Whom a step is about."""
    return step.livekit_room, step.participant.identity


def missing(attendance: Attendance, identities: AbstractSet[Identity]) -> set[Identity]:
    """Those of these identities who are certain not to be in a LiveKit room."""
    if not attendance.is_whole:
        return set()
    there = {participant.identity for participant in attendance.participants}
    return set(identities) - there - set(attendance.loud) - set(attendance.doubtful)


def people(rooms: Mapping[LiveKitRoom, Attendance]) -> list[tuple[LiveKitRoom, Participant]]:
    """Everybody who was read in full, with where they are."""
    return [(name, each) for name, seen in rooms.items() for each in seen.participants]
