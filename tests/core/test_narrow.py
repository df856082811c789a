"""What is left of a grant, in examples; its laws are in tests/properties/test_narrow.py."""

import pytest

from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import narrow

CAMERA, SHARE, SOUND = Source.CAMERA, Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO


@pytest.mark.parametrize(
    ("sources", "forbidden", "left"),
    [
        ((), {CAMERA}, ("microphone", "screen_share", "screen_share_audio")),
        (("camera", "microphone"), {CAMERA}, ("microphone",)),
        (("CAMERA", "microphone"), {CAMERA}, ("microphone",)),
        (("microphone",), {CAMERA}, ("microphone",)),
        (("hologram", "camera"), {CAMERA, SHARE, SOUND}, ("hologram",)),
    ],
)
def test_what_is_left(
    sources: tuple[str, ...], forbidden: set[Source], left: tuple[str, ...]
) -> None:
    assert narrow(Grant(True, sources), forbidden) == Grant(True, left)


def test_where_nothing_is_left_nothing_may_be_published() -> None:
    """An empty list would mean everything."""
    assert narrow(Grant(True, ("camera",)), {CAMERA}) == Grant(False, ())


def test_where_there_is_nothing_to_take_it_is_the_same_one() -> None:
    for grant in (Grant(False, ()), Grant(True, ("microphone",))):
        assert narrow(grant, {CAMERA}) is grant
    every = Grant(True, ())
    assert narrow(every, set()) is every
