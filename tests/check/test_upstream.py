"""lk-jwt-service that is not there, is something else, or can be reached past the guard."""

from lotus_guard.check.finding import Level
from lotus_guard.sandbox.authorization import AuthorizationApp
from tests.check.breaks import Break, F, each_is_found
from tests.check.checked_stack import OUTSIDE, PUBLIC, CheckedStack, port_of
from tests.real.processes import free_port


def nobody_upstream(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_UPSTREAM"] = f"http://127.0.0.1:{free_port()}"


def upstream_is_down_for_the_guard_too(stack: CheckedStack) -> None:
    nobody_upstream(stack)
    upstream = stack.environment["LOTUS_GUARD_UPSTREAM"]
    stack.world.start_guard(LOTUS_GUARD_UPSTREAM=upstream)
    stack.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{port_of(stack.world.url)}"
    stack.public.target = stack.world.url


def upstream_is_the_proxy(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_UPSTREAM"] = stack.public_url


def upstream_is_something_else(stack: CheckedStack) -> None:
    stack.before("LOTUS_GUARD_UPSTREAM").page = (200, b"<html>welcome</html>")
    stack.user_token = ""


def upstream_is_open(stack: CheckedStack) -> None:
    authorization = AuthorizationApp(stack.world.sandbox.authorization).resource()
    stack.serve(authorization, OUTSIDE, port_of(stack.environment["LOTUS_GUARD_UPSTREAM"]))


def upstream_is_open_at_the_public_host(stack: CheckedStack) -> None:
    authorization = AuthorizationApp(stack.world.sandbox.authorization).resource()
    stack.serve(authorization, PUBLIC, port_of(stack.environment["LOTUS_GUARD_UPSTREAM"]))


BREAKS: list[tuple[Break, str, Level, str]] = [
    (nobody_upstream, "upstream", F, "LOTUS_GUARD_UPSTREAM=http://127.0.0.1:8071"),
    (upstream_is_down_for_the_guard_too, "upstream", F, "refused"),
    (upstream_is_the_proxy, "upstream", F, "a guard answers"),
    (upstream_is_something_else, "upstream", F, "200 text/html"),
    (upstream_is_open, "upstream-exposed", F, "LIVEKIT_JWT_BIND=127.0.0.1:8071"),
    (upstream_is_open_at_the_public_host, "upstream-exposed", F, PUBLIC),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)
