"""What the guard decided, why, and from which inputs: enough to decide it once more.

A *ruling* is what the pure code said; a *decision* is a ruling on record, with an id and a time.
`rulings.py` makes rulings, and decides them once more from their inputs: whoever asks later why
somebody was refused gets an answer that can be checked, even after an upgrade.

As JSON, in the log, in the state file and on the operators' port:

    {"id": "k3v9t2xq", "at": 1790000000.123, "kind": "refused", "rule": "limit",
     "observed": false, "room": "!r:s", "user": "@u:s", "verdict": "refused",
     "why": "2 in the call or about to join, 2 allowed, this user not among them",
     "inputs": {"max_users": 2, "taken": 2, "is_seated": false}, "people": ["@a:s", "@b:s"]}
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Person

DECISION_FIELD = "io.lotus.decision"
"""In a refusal's body: the id of the decision."""


class Deed(StrEnum):
    """What was done; the `kind` of a decision."""

    REFUSED = "refused"
    CHANGED = "changed"
    STEP = "step"
    FAIL_OPEN = "fail_open"
    UNENFORCED = "unenforced"
    """A running call went without a rule, though nobody had asked for a token."""


REQUEST = "request"
"""In place of a rule: the request itself could not be accepted, whatever the room's policy."""


@frozen
class Ruling:
    """What the pure code said, and from which inputs."""

    deed: Deed
    rule: str
    """The name of a rule, or `REQUEST`."""
    verdict: str
    """In a few words; a replay says the same."""
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
    """Whether nothing was changed, because the rule only observes."""
    ruling: Ruling

    def as_json(self) -> dict[str, Any]:
        """The fields that the head of this module shows."""
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


def id_in_json(reference: str) -> str:
    """Write how the JSON of the decision with this id begins."""
    return f'{{"id": {json.dumps(reference)}'


def from_json(fields: Mapping[str, Any]) -> Decision:
    """Read a decision back; raises KeyError, ValueError or TypeError for anything else."""
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
    """Replace every user in a ruling by what `mask` makes of them; None leaves them out."""
    user = mask(ruling.user) if ruling.user else None
    people = ruling.people
    if people:
        people = tuple(shown for person in people if (shown := mask(person)) is not None)
    if user == ruling.user and people == ruling.people:
        return ruling
    return Ruling(
        ruling.deed,
        ruling.rule,
        ruling.verdict,
        ruling.why,
        ruling.room,
        user,
        ruling.inputs,
        people,
    )
