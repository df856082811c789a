"""Puts together what answers the moderators' panel."""

from collections.abc import Awaitable, Mapping, Sequence

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.model import Attendance, LiveKitRoom, RoomId
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.observe.room_report import RoomReport
from lotus_guard.overload.load_shedding import PANEL, PANEL_SECONDS, limiter
from lotus_guard.run.basics import Basics
from lotus_guard.run.clients import HomeserverClients, NeighbourClients
from lotus_guard.run.enforcement import CommonParts
from lotus_guard.web.panel.room import Levels, RoomDoor, Witnesses


def make_panel(
    basics: Basics,
    common: CommonParts,
    livekit: NeighbourClients[LiveKit],
    homeserver: HomeserverClients,
) -> RoomDoor | None:
    """Make what answers moderators; None where the panel is off.

    It asks in the lines of the background: nobody who waits for a token waits for it.
    """
    if not basics.config.panel:
        return None
    clocks = basics.clocks

    def power(room: RoomId) -> Awaitable[Levels]:
        return homeserver.background.power(room)

    witnesses = Witnesses(homeserver.openid.user, common.memberships.looked_up, power)
    return RoomDoor(
        witnesses,
        tuple(rule.event for rule in basics.rules),
        make_report(common, livekit, basics.config.gives_back).of,
        limiter(PANEL, clocks.reactor, PANEL_SECONDS),
        clocks.reactor,
        LogThrottle(clocks.now),
    )


def make_report(
    common: CommonParts, livekit: NeighbourClients[LiveKit], gives_back: bool
) -> RoomReport:
    """Make what describes a room to its moderators."""

    def ask(rooms: Sequence[LiveKitRoom]) -> Awaitable[Mapping[LiveKitRoom, Attendance]]:
        return common.presence.roll_call.thorough(livekit.background, rooms, {})

    kept = LastDecisions(common.memory.cluster.store, common.recorder)
    return RoomReport(ask, common.memory.directory, common.policies.seats, kept, gives_back)
