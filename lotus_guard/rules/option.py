"""What `lotus-guard policy set` takes for a rule, and how it changes the rule's event.

Fields that nobody names stay as they are, known to us or not: other clients may keep theirs there.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

MOST_COUNT = 2**53 - 1
"""The greatest integer that an event may hold (Matrix specification, "Canonical JSON")."""


@frozen
class Count:
    """A number of at least one, or none."""

    field: str
    flag: str
    """Without the dashes: `max-users`."""
    help: str
    off: str
    """The flag that takes the number away: `no-limit`."""
    off_help: str
    metavar: str = "N"

    def write(self, content: Mapping[str, Any], value: int | None) -> dict[str, Any]:
        """Change the content; None takes the number away."""
        if value is None:
            return {name: old for name, old in content.items() if name != self.field}
        return {**content, self.field: value}


@frozen
class Switch:
    """Something that is on or off."""

    field: str
    flag: str
    """Without the dashes; `camera` gives `--camera` and `--no-camera`."""
    help: str
    usual: bool
    """What holds when the event does not name it; this value is not written."""

    def write(self, content: Mapping[str, Any], value: bool) -> dict[str, Any]:
        """Change the content."""
        if content.get(self.field, self.usual) is value:
            return dict(content)
        return {**content, self.field: value}


Option = Count | Switch
