"""What somebody wants of a room's policy → the new content of its state events.

Fields that the wish does not name stay, known to us or not: other clients may keep theirs there.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

Content = Mapping[str, Any]

MOST_USERS = 2**53 - 1
"""The greatest integer that an event may hold (Matrix specification, "Canonical JSON")."""


@frozen
class Wish:
    """What is to hold; None leaves a thing as it is."""

    max_users: int | None = None
    no_limit: bool = False
    camera: bool | None = None
    screenshare: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is wanted."""
        return self == Wish()


def limit_content(content: Content, wish: Wish) -> dict[str, Any]:
    """Write `io.lotus.voice_limit` as it is wanted."""
    if wish.no_limit:
        return {name: value for name, value in content.items() if name != "max_users"}
    return dict(content) if wish.max_users is None else {**content, "max_users": wish.max_users}


def sources_content(content: Content, wish: Wish) -> dict[str, Any]:
    """Write `io.lotus.room_quality` as it is wanted; what is allowed anyway is not written."""
    changed = dict(content)
    for name, wanted in (("allow_camera", wish.camera), ("allow_screenshare", wish.screenshare)):
        if wanted is not None and content.get(name, True) is not wanted:
            changed[name] = wanted
    return changed
