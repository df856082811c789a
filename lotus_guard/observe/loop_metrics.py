"""Counts what the live loop does: passes, steps, and whether their effects are seen."""

from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.core.text import printable
from lotus_guard.observe.families import Families
from lotus_guard.rules.plan import Curb, Expel, GiveBack, Narrow, Remove, Silence, Step

_log = Logger()

_STEPS: dict[type[Step], str] = {
    Narrow: "narrow",
    Silence: "silence",
    Curb: "curb",
    Remove: "remove",
    Expel: "expel",
    GiveBack: "give_back",
}
ENFORCEMENT_SECONDS = (0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 60.0)
PASS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class LoopMetrics:
    """The live loop's passes and steps."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._declare_steps(families)
        self._declare_passes(families)

    def _declare_steps(self, families: Families) -> None:
        self.steps = families.counter(
            "lotus_guard_live_steps_total",
            "Steps the guard took in live calls, by kind and outcome",
            ("step", "outcome"),
        )
        self.step_checks = families.counter(
            "lotus_guard_live_steps_checked_total",
            "Steps in live calls, by whether the next look showed their effect",
            ("step", "effect"),
        )
        self.steps_put_off = families.counter(
            "lotus_guard_live_steps_put_off_total", "Steps left for the next pass"
        )
        self.enforcement_seconds = families.histogram(
            "lotus_guard_live_enforcement_seconds",
            "Time from a policy change, or a step's first try, until its effect was seen",
            ENFORCEMENT_SECONDS,
        )

    def _declare_passes(self, families: Families) -> None:
        self.passes = families.counter(
            "lotus_guard_live_passes_total",
            "Good passes of the live loop, in time or stretched",
            ("pace",),
        )
        self.pass_seconds = families.histogram(
            "lotus_guard_live_pass_seconds", "Time a good pass took", PASS_SECONDS
        )
        self.rooms: int | None = None
        """Rooms under a policy at the last good pass."""
        self.people: int | None = None
        """Participants in them."""
        self.partial_looks = families.counter(
            "lotus_guard_live_partial_looks_total",
            "Times the guard looked at a room and could not see everybody in it",
        )

    def stepped(self, step: Step, is_done: bool) -> None:
        """Count a step."""
        self.steps.labels(_STEPS[type(step)], "done" if is_done else "failed").inc()

    def deposed(self, step: Step) -> None:
        """Count a step that is another guard's by now."""
        self.steps.labels(_STEPS[type(step)], "deposed").inc()

    def confirmed(self, step: type[Step], seconds: float) -> None:
        """Count a step whose effect a look shows."""
        self.step_checks.labels(_STEPS[step], "seen").inc()
        self.enforcement_seconds.observe(seconds)

    def unconfirmed(self, step: type[Step]) -> None:
        """Count a step whose effect a look does not show."""
        self.step_checks.labels(_STEPS[step], "not_seen").inc()

    def put_off(self, room: RoomId, steps: int) -> None:
        """Count steps over the bound and log it, at most once a minute."""
        self.steps_put_off.inc(steps)
        if self._families.may_say("put_off"):
            _log.warn(
                "{room}: {steps} changes are left for the next pass",
                room=printable(room),
                steps=steps,
            )

    def passed(self, seconds: float, rooms: int, people: int, late: bool) -> None:
        """Record a good pass; a late one stretched the interval."""
        self.passes.labels("stretched" if late else "in_time").inc()
        self.pass_seconds.observe(seconds)
        self.rooms, self.people = rooms, people

    def saw_partly(self, room: RoomId) -> None:
        """Count a look that could not name everybody and log it, at most once a minute."""
        self.partial_looks.inc()
        if self._families.may_say("partly"):
            _log.warn(
                "{room} is flooded: its participants write more than the guard reads. Nobody is "
                "removed for what it could not see.",
                room=printable(room),
            )
