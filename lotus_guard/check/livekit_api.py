"""How the check calls LiveKit's API, with tokens that it signs as the guard does."""

import json
from collections.abc import Mapping
from typing import Any

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import clock_offset_of, request
from lotus_guard.core.clock import MOST_APART
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.signing import Signing


async def call_livekit(
    context: CheckContext, method: str, grant: Mapping[str, Any], fields: Mapping[str, Any]
) -> HttpAnswer:
    """Make a call to LiveKit's RoomService; raises Outage.

    A token that was refused is signed again by LiveKit's own clock where that is far from ours:
    a clock is another finding than a key.
    """
    url = f"{context.config.livekit_api}/twirp/livekit.RoomService/{method}"
    http, body = context.http.livekit, json.dumps(fields).encode()
    answer = await request(http, "POST", url, authorization(context, grant), body)
    offset = clock_offset_of(answer, context.clocks.epoch())
    if answer.status == 401 and offset is not None and abs(offset) > MOST_APART:
        headers = authorization(context, grant, offset)
        answer = await request(http, "POST", url, headers, body)
    return answer


async def remove_room(context: CheckContext, room: str) -> bool:
    """Remove a room that the check made; returns whether it is gone."""
    try:
        answer = await call_livekit(context, "DeleteRoom", {"roomCreate": True}, {"room": room})
    except Outage:
        return False
    return answer.status in (200, 404)


def authorization(
    context: CheckContext, grant: Mapping[str, Any], offset: float = 0.0
) -> dict[str, str]:
    """Make the headers of a call; `offset` is how far ahead of ours LiveKit's clock is."""
    signing = Signing(context.config.credentials.livekit.value, offset)
    token = signing.token(grant, context.clocks.epoch(), sub=PREFIX).decode("ascii")
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
