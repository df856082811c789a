"""A room's turn to be worked on, as those see it who work on the room."""

from typing import Protocol


class Turn(Protocol):
    """A room's turn to be worked on."""

    @property
    def is_poll(self) -> bool:
        """Whether it is a pass that asks, and not a hint."""

    def again(self, seconds: float) -> None:
        """Have the room worked on once more, after so many seconds."""

    def excuse(self, seconds: float) -> None:
        """Note that the turn waited so long for others."""
