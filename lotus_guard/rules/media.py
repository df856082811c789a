"""Whether people may publish a camera, and share a screen. The microphone is never forbidden.

io.lotus.room_quality  {"allow_camera": false, "allow_screenshare": false}
io.lotus.room_quality  {"allow_camera": false, "bypass": true}   but moderators may
"""

from attrs import frozen

from lotus_guard.core.model import Source
from lotus_guard.core.text import shown
from lotus_guard.rules.bypass import NOBODY, Bypass, BypassableRule, bypass_options, read_bypass
from lotus_guard.rules.option import Switch
from lotus_guard.rules.rule import (
    Allow,
    Content,
    Example,
    Facts,
    Forbid,
    Reading,
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
    bypass: Bypass = NOBODY
    """Who may publish them all the same."""

    @property
    def restricts(self) -> bool:
        """Whether anything is forbidden."""
        return bool(self.forbidden)


class Media(BypassableRule[SourcePolicy]):
    """The rule of `io.lotus.room_quality`; its name is older than its module's."""

    name = "sources"
    event = "io.lotus.room_quality"
    options = (
        Switch("allow_camera", "camera", "Whether people may publish a camera.", True),
        Switch("allow_screenshare", "screenshare", "Whether people may share a screen.", True),
        *bypass_options("media", "the rules for camera, screen and number of cameras"),
    )
    title = "Camera and screen"
    heading = "Sources"
    clear_flag = (
        "media",
        "Only io.lotus.room_quality, all of it: camera, screen, number of cameras, who is exempt.",
    )
    examples = (
        Example(
            {"allow_camera": False, "allow_screenshare": False},
            "example_sources",
            "nobody publishes a camera or a screen",
        ),
        Example({"allow_camera": False}, "No camera", "nobody publishes a camera"),
        Example({"allow_screenshare": False}, "No screen share", "nobody shares a screen"),
        Example(
            {"allow_camera": False, "bypass": True},
            "Only moderators show their camera",
            "nobody publishes a camera, except people who can set this rule",
        ),
    )
    trial = Trial(
        "voice",
        {"allow_camera": False, "allow_screenshare": False},
        "An audio-only room: the token's canPublishSources has only the microphone.",
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
        bypass, wrong = read_bypass(self.event, content or {})
        return Reading(SourcePolicy(frozenset(forbidden), bypass), (*complaints, *wrong))

    def has_use(self, policy: SourcePolicy) -> bool:
        """One may be exempt from what is forbidden."""
        return policy.restricts

    def judge(self, policy: SourcePolicy, who: Who, facts: Facts) -> Verdict:
        """Forbid everybody the same who is not exempt."""
        if not policy.forbidden:
            return Allow()
        if self.exempts(policy, who.user, facts.power):
            return Allow(is_exempt=True)
        return Forbid(policy.forbidden)

    def show(self, policy: SourcePolicy) -> Shown:
        """Put the policy in words."""
        camera, screen = Source.CAMERA in policy.forbidden, Source.SCREEN_SHARE in policy.forbidden
        sentences: tuple[str, ...] = (
            "Nobody may publish a camera." if camera else "Cameras are allowed.",
            "Nobody may share a screen." if screen else "Screens may be shared.",
        )
        if policy.bypass.is_any:
            nothing = "" if policy.restricts else " (nothing is restricted)"
            sentences += (f"Exempt from this{nothing}: {policy.bypass}.",)
        mark = policy.bypass.mark
        words = [("no camera", camera), ("no screen share", screen)]
        brief = [("no camera", camera), ("no screen", screen)]
        return Shown(
            sentences,
            tuple(mark(each) for each, holds in words if holds),
            tuple(mark(each) for each, holds in brief if holds),
            {
                "forbidden": sorted(policy.forbidden),
                "media_bypass": policy.bypass.whoever_may_set,
                "media_bypass_level": policy.bypass.level,
            },
        )
