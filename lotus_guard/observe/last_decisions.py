"""The last decisions on a room and a user, from memory and from where they are kept."""

from typing import Protocol

from attrs import define

from lotus_guard.enforce.records import Recorder
from lotus_guard.rules.decision import Decision


class Kept(Protocol):
    """Where decisions are kept."""

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """Read the newest decisions on a room and a user."""

    async def decision(self, reference: str) -> Decision | None:
        """Find the decision with this id."""


@define(eq=False)
class LastDecisions:
    """Finds decisions; what is not written yet, or cannot be, is found in memory."""

    kept: Kept
    records: Recorder

    async def on(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """List up to so many decisions, newest first; `user` as records show them."""
        found = {each.id: each for each in await self.kept.decisions(room, user, most)}
        for each in self.records.recent:
            if room in (None, each.ruling.room) and user in (None, each.ruling.user):
                found[each.id] = each
        return sorted(found.values(), key=lambda each: each.at, reverse=True)[:most]

    async def with_id(self, reference: str) -> Decision | None:
        """Find the decision with this id, which whoever was refused can name."""
        for each in self.records.recent:
            if each.id == reference:
                return each
        return await self.kept.decision(reference)
