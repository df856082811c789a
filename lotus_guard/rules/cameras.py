"""At most so many cameras at once in a room's calls; the first who show theirs keep it.

    io.lotus.room_quality   {"max_cameras": 4}
    io.lotus.room_quality   {"max_cameras": 4, "bypass": true}   moderators' are not counted

The event is the one of `rules/media.py`, and whoever is exempt by it is exempt from both. A token
tells nothing of a camera that will be, so no token is judged: in a live call whoever has put on one
too many loses the right to it at the next look. A muted camera holds a place, behind all that are
on (enforce/stage.py).
"""

from attrs import frozen

from lotus_guard.core.model import Source
from lotus_guard.core.text import shown
from lotus_guard.rules.bypass import NOBODY, Bypass, BypassableRule, read_bypass
from lotus_guard.rules.media import Media
from lotus_guard.rules.option import Count
from lotus_guard.rules.rule import (
    Allow,
    Content,
    Example,
    Fact,
    Facts,
    Forbid,
    Reading,
    Shown,
    Trial,
    Verdict,
    Who,
    Withhold,
)

MAX_CAMERAS = "max_cameras"
CAMERA = frozenset({Source.CAMERA})


@frozen
class CamerasPolicy:
    """How many cameras may be on at once, and whose are not counted."""

    max_cameras: int | None = None
    """At least 1, or None for any number."""
    bypass: Bypass = NOBODY
    """Whose cameras are not counted, and never taken."""

    @property
    def restricts(self) -> bool:
        """Whether there is such a number."""
        return self.max_cameras is not None


class Cameras(BypassableRule[CamerasPolicy]):
    """The rule of `max_cameras` in `io.lotus.room_quality`."""

    name = "cameras"
    event = Media.event
    needs = frozenset({Fact.CAMERAS})
    judges_tokens = False
    options = (
        Count(
            MAX_CAMERAS,
            "max-cameras",
            "At most N cameras at once in the room's calls.",
            "no-max-cameras",
            "Any number of cameras.",
        ),
    )
    title = "Cameras at once"
    heading = "Cameras"
    clear_flag = ("cameras", "Only the number of cameras.")
    examples = (
        Example(
            {MAX_CAMERAS: 4},
            "example_cameras",
            "at most four cameras at once in the room's calls",
        ),
        Example(
            {MAX_CAMERAS: 4, "bypass": True},
            "At most four cameras, and moderators' on top",
            "at most four cameras at once, not counting those of people who can set this rule",
        ),
    )
    trial = Trial(
        "stage",
        {MAX_CAMERAS: 1},
        "One camera at once: tokens stay as they are; in a live call the second camera is cut off.",
        ("alice",),
        is_grant_shown=True,
    )

    def read(self, content: Content | None) -> Reading[CamerasPolicy]:
        """Read the event; only an integer of at least 1 counts.

        What is wrong with the exceptions, the rule for camera and screen complains of.
        """
        bypass, _ = read_bypass(self.event, content or {})
        value = (content or {}).get(MAX_CAMERAS)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return Reading(CamerasPolicy(value, bypass))
        if MAX_CAMERAS not in (content or {}):
            return Reading(CamerasPolicy(None, bypass))
        wanted = "a number of cameras is an integer of at least 1"
        if value == 0 and not isinstance(value, bool):
            wanted += "; for none at all: allow_camera: false"
        complaint = f"{self.event}: {MAX_CAMERAS} is {shown(value)}; {wanted}"
        return Reading(CamerasPolicy(None, bypass), (complaint,))

    def has_use(self, policy: CamerasPolicy) -> bool:
        """One may be exempt from a number."""
        return policy.restricts

    def cameras(self, policy: CamerasPolicy) -> int | None:
        """As many as the policy says."""
        return policy.max_cameras

    def judge(self, policy: CamerasPolicy, who: Who, facts: Facts) -> Verdict:
        """Forbid the camera of whoever came with one too many.

        Somebody without a camera keeps the right while all places are taken, and does not get it
        back.
        """
        most, place = policy.max_cameras, facts.cameras
        if most is None or place is None:
            return Allow()
        if self.exempts(policy, who.user, facts.power):
            return Allow(is_exempt=True)
        if place.ahead < most:
            return Allow()
        if not place.is_taken:
            return Withhold(CAMERA)
        return Forbid(CAMERA, f"there are more cameras than the {most} that the room allows")

    def show(self, policy: CamerasPolicy) -> Shown:
        """Put the number in words."""
        most, fields = policy.max_cameras, {MAX_CAMERAS: policy.max_cameras}
        if most is None:
            return Shown(("Any number of cameras may be on.",), fields=fields)
        cameras = "1 camera" if most == 1 else f"{most} cameras"
        sentences = [f"At most {cameras} may be on at once."]
        if policy.bypass.is_any:
            sentences.append(f"Not counted: {policy.bypass}.")
        words = policy.bypass.mark(f"at most {cameras}")
        return Shown(tuple(sentences), (words,), (words,), fields)
