"""Where hints meet: from LiveKit, from the homeserver, from the other guards, and to them."""

from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.hints import Pushes, Webhooks
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.transactions import Changes
from lotus_guard.rules.push import Unsigned
from lotus_guard.run.cluster import Cluster

_log = Logger()

OnMember: TypeAlias = Callable[[RoomId, UserId, Membership], None]
"""Told how somebody stands to a room now, by the homeserver's own word."""


def nobody(_room: RoomId, _user: UserId, _membership: Membership) -> None:
    """Do nothing: nobody is to be told."""


@define(eq=False)
class Hints:
    """Hands each hint to whom it concerns, here and at the other guards.

    What the others tell is verified as if it had come from outside, and told to nobody again.
    """

    webhooks: Webhooks
    pushes: Pushes
    _policies: AllPolicies
    _live: Live
    _cluster: Cluster
    on_member: OnMember = nobody
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.webhooks.now)

    def push(self, body: bytes, header: str) -> None:
        """Take in what Synapse's module tells; raises Unsigned."""
        room = self._take(body, header)
        self._cluster.tell_push(room, body, header)

    def changes(self, changes: Changes) -> None:
        """Take in what the homeserver tells in its transactions."""
        self.on_changes(changes)
        self._cluster.tell_changes(changes)

    def issued(self, room: RoomId) -> None:
        """Take note that a token was given out for a room."""
        self._live.candidates.expect(room)
        self._cluster.tell_issued(room)

    # --- what the other guards tell ---

    def on_push(self, body: bytes, header: str) -> None:
        """Take in a push that another guard got."""
        try:
            self._take(body, header)
        except Unsigned as why:
            more = self._throttle.more("push")
            if more is not None:
                _log.debug(
                    "Refused a push that another guard passed on: {why}{more}",
                    why=why,
                    more=more,
                )

    def on_old_push(self, body: bytes, header: str) -> None:
        """Take in a push that another guard got before this one listened."""
        self.pushes.recall(body, header, self._policies)

    def on_webhook(self, body: bytes, authorization: str) -> None:
        """Take in a webhook that another guard got."""
        self.webhooks.take(body, authorization, is_heard=True)

    def on_issued(self, room: RoomId) -> None:
        """Take note that another guard has given out a token for a room."""
        self._live.candidates.expect(room)

    def on_changes(self, changes: Changes) -> None:
        """Take in what the homeserver told another guard: of policies, only that they changed."""
        for room in changes.rooms:
            self._policies.outdated(room)
            self._live.wake(room)
        for room, user, membership in changes.members:
            self._member(room, user, membership)

    def _member(self, room: RoomId, user: UserId, membership: Membership) -> None:
        try:
            self.on_member(room, user, membership)
        except Exception:  # what else came with it is good
            _log.failure("Could not process a membership change")

    def _take(self, body: bytes, header: str) -> RoomId | None:
        taken = self.pushes.take(body, header, self._policies)
        if taken.room and taken.power:
            self._policies.powers.outdated(taken.room)
        if taken.room:
            self._live.wake(taken.room)
        for each in taken.members:
            self._member(each.room, each.user, each.membership)
        return taken.room
