"""LiveKit's API: not there, not LiveKit's, another key, rooms for anybody."""

from typing import Any

from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from tests.check.breaks import OTHER_SECRET, Break, F, W, each_is_found, livekit_yaml
from tests.check.checked_stack import CheckedStack
from tests.check.proxy import Proxy
from tests.real.processes import free_port
from tests.world import http_answer


def livekit_has_another_secret(stack: CheckedStack) -> None:
    stack.world.sandbox.sfu.secret = OTHER_SECRET
    stack.user_token = ""  # else upstream's finding, whose secret is another as well, comes too


def livekit_is_a_proxy(stack: CheckedStack) -> None:
    proxy = stack.before("LOTUS_GUARD_LIVEKIT_URL")
    proxy.only = ("/rtc", "/rtc/validate")


def livekit_wants_a_password(stack: CheckedStack) -> None:
    class Asking(Proxy):
        def _finish(self, request: Any, status: int, headers: Any, body: bytes) -> None:
            super()._finish(request, 401, {b"WWW-Authenticate": [b"Basic"]}, b"")

    url = stack.environment["LOTUS_GUARD_LIVEKIT_URL"]
    stack.environment["LOTUS_GUARD_LIVEKIT_URL"] = stack.serve(Asking(url))


def livekit_is_refused(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_LIVEKIT_URL"] = f"ws://127.0.0.1:{free_port()}"


def livekit_has_no_tls(stack: CheckedStack) -> None:
    url = stack.world.serve(http_answer(b"", "400 Bad Request"))
    stack.environment["LOTUS_GUARD_LIVEKIT_URL"] = url.replace("http://", "wss://")


def livekit_makes_rooms(stack: CheckedStack) -> None:
    stack.world.sandbox.sfu.auto_create = True


BREAKS: list[tuple[Break, str, Level, str]] = [
    (livekit_has_another_secret, "livekit-key", F, "LIVEKIT_SECRET"),
    (livekit_is_a_proxy, "livekit", F, "LOTUS_GUARD_LIVEKIT_URL=http://127.0.0.1:7880"),
    (livekit_wants_a_password, "livekit", F, "LOTUS_GUARD_LIVEKIT_URL=http://127.0.0.1:7880"),
    (livekit_is_refused, "livekit", F, "refused"),
    (livekit_has_no_tls, "livekit", F, "TLS"),
    (livekit_makes_rooms, "auto-create", W, "room: {auto_create: false}"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_where_livekit_does_not_say_the_file_tells_of_auto_create(
    stack: CheckedStack,
) -> None:
    proxy = stack.before("LOTUS_GUARD_LIVEKIT_URL")
    proxy.only = tuple(
        f"/twirp/livekit.RoomService/{name}" for name in ("ListRooms", "CreateRoom", "DeleteRoom")
    )
    assert (await stack.check())["auto-create"].level is Level.NOTE
    livekit_yaml(stack)
    assert (await stack.check())["auto-create"].level is Level.OK
    livekit_yaml(stack, auto_create=True)
    assert (await stack.check())["auto-create"].level is W
