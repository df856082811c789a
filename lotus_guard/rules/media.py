"""Whether people may publish a camera, and share a screen. The microphone is never forbidden.

io.lotus.room_quality  {"allow_camera": false, "allow_screenshare": false}
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

_FORBIDS = {
    "allow_camera": frozenset({Source.CAMERA}),
    # Element Call cannot stop a share whose audio alone is forbidden: the two go together
    # (docs/facts.md, Element Call: microphones and screens).
    "allow_screenshare": frozenset({Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO}),
}


@frozen
class SourcePolicy:
    """Which sources nobody may publish."""

    forbidden: frozenset[Source] = frozenset()
    """Never contains the microphone."""

    @property
    def restricts(self) -> bool:
        """Whether anything is forbidden."""
        return bool(self.forbidden)


class Media(Rule[SourcePolicy]):
    """The rule of `io.lotus.room_quality`; its name is older than its module's."""

    name = "sources"
    event = "io.lotus.room_quality"
    options = (
        Switch("allow_camera", "camera", "May anybody publish a camera?", True),
        Switch("allow_screenshare", "screenshare", "May anybody share a screen?", True),
    )
    title = "Camera and screen"
    heading = "Sources"
    clear_flag = ("media", "Only the rules for camera and screen.")
    examples = (
        Example(
            {"allow_camera": False, "allow_screenshare": False},
            "example_sources",
            "nobody publishes a camera, nobody a screen",
        ),
        Example({"allow_camera": False}, "No camera", "nobody publishes a camera"),
        Example({"allow_screenshare": False}, "No screen share", "nobody shares a screen"),
    )
    trial = Trial(
        "voice",
        {"allow_camera": False, "allow_screenshare": False},
        "A room for voices: the token's canPublishSources has the microphone alone.",
        ("alice",),
        is_grant_shown=True,
    )

    def read(self, content: Content | None) -> Reading[SourcePolicy]:
        """Read the event; only `false` forbids, and other fields are not ours."""
        forbidden: set[Source] = set()
        complaints = []
        for field, sources in _FORBIDS.items():
            value = (content or {}).get(field, True)
            if value is False:
                forbidden |= sources
            elif value is not True:
                complaints.append(f"{self.event}: {field} is {shown(value)}; only false forbids")
        return Reading(SourcePolicy(frozenset(forbidden)), tuple(complaints))

    def judge(self, policy: SourcePolicy, who: Who, facts: Facts) -> Verdict:
        """Forbid everybody the same."""
        return Forbid(policy.forbidden) if policy.forbidden else Allow()

    def show(self, policy: SourcePolicy) -> Shown:
        """Put the policy in words."""
        camera, screen = Source.CAMERA in policy.forbidden, Source.SCREEN_SHARE in policy.forbidden
        sentences = (
            "Nobody may publish a camera." if camera else "Cameras are allowed.",
            "Nobody may share a screen." if screen else "Screens may be shared.",
        )
        words = [("no camera", camera), ("no screen share", screen)]
        brief = [("no camera", camera), ("no screen", screen)]
        return Shown(
            sentences,
            tuple(each for each, holds in words if holds),
            tuple(each for each, holds in brief if holds),
            {"forbidden": sorted(policy.forbidden)},
        )
