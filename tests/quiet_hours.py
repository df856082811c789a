"""A rule that the guard does not have: nobody publishes video while the event says so.

    io.lotus.quiet_hours   {"quiet": true}

It is here to show that a rule takes one module and one entry in `RULES`: tests put this very file
beside the others.
"""

from attrs import frozen

from lotus_guard.core.model import Source
from lotus_guard.core.text import shown
from lotus_guard.rules.option import Switch
from lotus_guard.rules.rule import (
    Allow,
    Content,
    Example,
    Facts,
    Forbid,
    Reading,
    Rule,
    Shown,
    Trial,
    Verdict,
    Who,
)

VIDEO = frozenset({Source.CAMERA, Source.SCREEN_SHARE})


@frozen
class QuietPolicy:
    """Whether it is quiet."""

    is_quiet: bool = False

    @property
    def restricts(self) -> bool:
        """Whether it is quiet."""
        return self.is_quiet


class QuietHours(Rule[QuietPolicy]):
    """The rule of `io.lotus.quiet_hours`."""

    name = "quiet"
    event = "io.lotus.quiet_hours"
    options = (Switch("quiet", "quiet", "May nobody publish video?", False),)
    title = "Quiet hours"
    heading = "Quiet"
    clear_flag = ("quiet-hours", "Only the quiet hours.")
    examples = (Example({"quiet": True}, "No video", "nobody publishes video"),)
    trial = Trial("quiet", {"quiet": True}, "A quiet room: no video.", ("alice",), True)

    def read(self, content: Content | None) -> Reading[QuietPolicy]:
        """Read the event; only `true` makes a room quiet."""
        value = (content or {}).get("quiet", False)
        if isinstance(value, bool):
            return Reading(QuietPolicy(value))
        return Reading(QuietPolicy(), (f"{self.event}: quiet is {shown(value)}",))

    def judge(self, policy: QuietPolicy, who: Who, facts: Facts) -> Verdict:
        """Forbid video."""
        return Forbid(VIDEO) if policy.is_quiet else Allow()

    def show(self, policy: QuietPolicy) -> Shown:
        """Put it in words."""
        fields = {"quiet": policy.is_quiet}
        if not policy.is_quiet:
            return Shown(("Video is allowed.",), fields=fields)
        return Shown(("Nobody may publish video.",), ("no video",), ("no video",), fields)
