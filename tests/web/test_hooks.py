"""A long body is taken from LiveKit alone: its head says whose it is."""

from typing import Any

import pytest
from twisted.web.http_headers import Headers

from lotus_guard.core.webhook import MOST_WEBHOOK
from lotus_guard.web.hooks import most_bytes


class Known:
    """Takes one word for LiveKit's."""

    def are_livekits(self, authorization: str) -> bool:
        return authorization == "livekit's"

    def take(self, body: bytes, authorization: str) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ([], None),
        ([b"a stranger's"], None),
        ([b"livekit's"], MOST_WEBHOOK),
        ([b"livekit's", b"a stranger's"], None),
        ([b"a stranger's", b"livekit's"], MOST_WEBHOOK),
        ([b"\xff\xfe"], None),
    ],
)
def test_the_last_authorization_counts(values: list[bytes], most: Any) -> None:
    assert most_bytes(Known(), Headers({b"Authorization": values})) == most
