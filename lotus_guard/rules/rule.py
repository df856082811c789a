"""What a per-room rule is: one class, in one module, in the list `RULES` of `lotus_guard.rules`.

A rule reads one state event, and judges one person by what it read. It is pure: the engine
(`lotus_guard.enforce`) fetches the event and the facts, asks the rule when a token is issued and
for everybody in each pass over a live call, and carries the verdict out. Everything else that the
guard does for a rule comes from what its class says about itself: pushes, records, metrics,
observe mode, `lotus-guard policy`, the status page, the documentation's tables, the sandbox.

The engine runs each rule on its own: an outage that keeps one rule from its verdict opens that
rule alone, and delays no other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from attrs import field, frozen

from lotus_guard.core.membership import Standing
from lotus_guard.core.model import Identity, Source, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Occupancy, Person
from lotus_guard.core.sentence import Sentence
from lotus_guard.rules.option import Option

Content = Mapping[str, Any]
"""The content of a state event, as its sender wrote it."""


class Policy(Protocol):
    """What a rule read in a room's event."""

    @property
    def restricts(self) -> bool:
        """Whether it restricts anything: a room in which no policy does is left alone."""


P = TypeVar("P", bound=Policy)


@frozen
class Reading(Generic[P]):
    """A policy, and what was wrong with the event it was read from."""

    policy: P
    complaints: tuple[str, ...] = ()
    set_at: float | None = None
    """When it was set, in seconds since the epoch by a homeserver's clock, where that is known."""
    is_unknown: bool = False
    """Whether the homeserver does not know the room: then there can be no policy."""


class Fact(Enum):
    """What a rule may need besides its event; the engine fetches it."""

    __hash__ = object.__hash__  # each is there once; asked for some ten times of each token

    ATTENDANCE = "attendance"
    """How many people are in the room's calls or about to join, and whether this one is."""
    MEMBERSHIP = "membership"
    """Whether they are a member of the Matrix room."""
    POWER = "power"
    """Who may do what in the Matrix room."""
    CAMERAS = "cameras"
    """How many cameras came on before theirs; in live calls alone."""


@frozen
class Place:
    """Somebody's place in the row of cameras, without those who are exempt."""

    ahead: int
    """How many cameras that may stay came before the last of theirs; of somebody without a camera,
    how many there are."""
    is_taken: bool
    """Whether they have published a camera, be it muted."""


@frozen
class Facts:
    """What the engine knows when it asks a rule; None for what the rule does not need."""

    occupancy: Occupancy | None = None
    standing: Standing | None = None
    power: PowerLevels | None = None
    """None as well where the homeserver does not say."""
    cameras: Place | None = None


@frozen
class Who:
    """Whom a verdict is about."""

    person: Person
    identity: Identity
    user: UserId | None = None
    """Their user id, where the request proved it."""


@frozen
class Allow:
    """The rule has nothing against it."""

    is_exempt: bool = False
    """Whether they may do what the rule forbids others."""


@frozen
class Forbid:
    """They may join, and publish none of these sources. Sets of several rules unite."""

    sources: frozenset[Source]
    why: str = ""
    """What the operator reads, where there is more to say than that the room forbids them."""


@frozen
class Withhold:
    """They keep what they have, and none of these sources is given back to them.

    In live calls alone: a token is as if the rule had nothing against it.
    """

    sources: frozenset[Source]


@frozen
class Refuse:
    """They get no token. Whoever is in the call already stays there."""

    sentence: Sentence
    """What the user reads, in their language; the engine adds the reference of the decision."""
    why: str
    """What the operator reads. Names no user."""
    inputs: Mapping[str, Any] = field(factory=dict)
    """What `replay` needs to refuse once more, as JSON can hold it. Names no user."""
    fields: Mapping[str, Any] = field(factory=dict)
    """What else the error says, for clients that show it well."""


Verdict = Allow | Forbid | Refuse | Withhold


@frozen
class Shown:
    """A policy in words and as JSON."""

    sentences: tuple[str, ...]
    """For `lotus-guard policy show`."""
    words: tuple[str, ...] = ()
    """Only what is restricted, in a few words each: for the status page."""
    brief: tuple[str, ...] = ()
    """The same in as few words as possible, for tables."""
    fields: Mapping[str, Any] = field(factory=dict)
    """For machines: `policy show --json`, GET /rooms."""


@frozen
class Example:
    """A content worth showing."""

    content: Content
    title: str
    """What it does, as the start of a sentence: `No camera`, or a key of the catalogue that has
    this in each language."""
    meaning: str
    """The same for a table: `nobody publishes a camera`."""


@frozen
class Trial:
    """A room of the sandbox where the rule can be tried out."""

    room: str
    """The local part of its id."""
    content: Content
    text: str
    """What is to be seen there."""
    askers: tuple[str, ...]
    """Who asks for a token, one after the other."""
    is_grant_shown: bool = False
    """Whether to look at what the token allows."""


class AnyRule(ABC):
    """What every rule has: a name, what it needs to know, and how its refusals are decided anew."""

    name: ClassVar[str]
    """In metrics, records and `LOTUS_GUARD_OBSERVE`."""
    needs: ClassVar[frozenset[Fact]] = frozenset()
    judges_tokens: ClassVar[bool] = True
    """Whether it is asked when a token is issued, and not in live calls alone."""
    title: ClassVar[str]
    """On the status page."""

    def replay(self, inputs: Mapping[str, Any]) -> str | None:
        """Decide a refusal once more from its inputs: `refused` or `admitted`.

        None where there is nothing to decide. Raises KeyError, ValueError or TypeError for inputs
        that another release wrote.
        """
        return None


class StandingRule(AnyRule):
    """A rule that holds in every room, whatever the room's state says."""

    setting: ClassVar[str]
    """The setting that switches it `on`, `off`, or has it `observe`; without the prefix."""
    usual: ClassVar[str]
    """What that setting is where nobody sets it."""
    help: ClassVar[str]
    """What that setting means."""

    @abstractmethod
    def judge(self, who: Who, facts: Facts) -> Verdict:
        """Judge one person by the facts that the rule needs: they are all there."""


class Rule(AnyRule, Generic[P]):
    """A rule that a room's state sets."""

    event: ClassVar[str]
    """The type of the state event, whose state key is empty."""
    options: ClassVar[tuple[Option, ...]]
    """What `lotus-guard policy set` takes."""
    heading: ClassVar[str]
    """In `lotus-guard policy show`: at most eight letters."""
    clear_flag: ClassVar[tuple[str, str]]
    """The option that has `lotus-guard policy clear` clear this rule alone, and its help."""
    examples: ClassVar[tuple[Example, ...]]
    """For docs/rules.md and the landing page; the first one shows the most common use."""
    trial: ClassVar[Trial]

    @abstractmethod
    def read(self, content: Content | None) -> Reading[P]:
        """Read the event's content; None where there is no event.

        Lenient: what makes no sense restricts nothing, for a moderator's typing error must not
        end calls. The complaints say what was wrong.
        """

    @abstractmethod
    def judge(self, policy: P, who: Who, facts: Facts) -> Verdict:
        """Judge one person: when a token is issued to them, and in each pass while they are in.

        The facts that the rule needs are there when a token is issued; in a pass there are the
        power levels of a policy that needs them, and the place among the cameras.
        """

    @abstractmethod
    def show(self, policy: P) -> Shown:
        """Put a policy in words."""

    def seats(self, policy: P) -> int | None:
        """How many different people may be in the room's calls; None for any number.

        A rule that answers with a number has the engine claim a seat for whoever it admits, and
        put out whoever came into a full room without one.
        """
        return None

    def cameras(self, policy: P) -> int | None:
        """How many cameras may be on at once in the room's calls; None for any number.

        A rule that answers with a number needs `Fact.CAMERAS`.
        """
        return None

    def needs_power(self, policy: P) -> bool:
        """Whether a policy makes a difference by the room's power levels.

        Where they are not known, nobody is exempt from such a policy when a token is issued, and
        nothing is taken by it in live calls.
        """
        return False

    def exempts(self, policy: P, user: UserId | None, power: PowerLevels | None) -> bool:
        """Whether a policy holds for others than this user. Nobody is exempt who is not known."""
        return False

    def is_strict(self, policy: P) -> bool:
        """Whether what was seen last counts where LiveKit is slow, however long ago that was.

        Otherwise a look of the last minute does, and without one the rule lets the call through.
        """
        return False

    def doubts(self, policy: P, power: PowerLevels) -> tuple[str, ...]:
        """Complaints of a policy that makes no sense in a room with these power levels."""
        return ()

    def fields(self) -> frozenset[str]:
        """The fields of the event that are this rule's."""
        return frozenset(option.field for option in self.options)
