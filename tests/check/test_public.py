"""A proxy before the guard that loses requests, or what browsers need."""

from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from tests.check.breaks import Break, F, W, each_is_found
from tests.check.checked_stack import PUBLIC, CheckedStack
from tests.real.processes import free_port


def the_proxy_goes_past(stack: CheckedStack) -> None:
    stack.public.target = stack.environment["LOTUS_GUARD_UPSTREAM"]


def the_proxy_goes_elsewhere(stack: CheckedStack) -> None:
    stack.public.page = (200, b"<html>\x1b]0;welcome\x07</html>")


def the_proxy_is_gone(stack: CheckedStack) -> None:
    stack.public_url = f"http://{PUBLIC}:{free_port()}"


def slashes_are_redirected(stack: CheckedStack) -> None:
    stack.public.redirects_slashes = True


def only_get_token(stack: CheckedStack) -> None:
    stack.public.only = ("/get_token", "/delegate_delayed_leave")


def only_sfu_get(stack: CheckedStack) -> None:
    stack.public.only = ("/sfu/get", "/delegate_delayed_leave")


def cors_is_lost(stack: CheckedStack) -> None:
    stack.public.cors = lambda _request, _status, _values: []


def cors_is_lost_on_refusals(stack: CheckedStack) -> None:
    """As with nginx's add_header without `always`."""
    stack.public.cors = lambda _request, status, values: values if status < 300 else []


def cors_is_lost_on_options(stack: CheckedStack) -> None:
    stack.public.cors = lambda request, _status, values: (
        [] if request.method == b"OPTIONS" else values
    )


def cors_is_doubled(stack: CheckedStack) -> None:
    stack.public.cors = lambda request, _status, values: (
        values if request.method == b"OPTIONS" else ["*", *values]
    )


def cors_is_doubled_on_options(stack: CheckedStack) -> None:
    stack.public.cors = lambda request, _status, values: (
        ["*, *"] if request.method == b"OPTIONS" else values
    )


def cors_is_for_others(stack: CheckedStack) -> None:
    stack.public.cors = lambda _request, _status, _values: ["https://call.example.org"]


def slashes_reach_the_guard(stack: CheckedStack) -> None:
    stack.public.merges = False


BREAKS: list[tuple[Break, str, Level, str]] = [
    (the_proxy_goes_past, "public-route", F, "bypasses the guard"),
    (the_proxy_goes_elsewhere, "public-route", F, "200 text/html"),
    (the_proxy_is_gone, "public-route", F, "refused"),
    (slashes_are_redirected, "public-slashes", W, "301"),
    (only_get_token, "public-endpoints", F, "/sfu/get does not"),
    (only_sfu_get, "public-endpoints", F, "/get_token does not"),
    (cors_is_lost, "public-cors", F, "an answer to POST has no"),
    (cors_is_lost_on_refusals, "public-cors", F, "a refusal has no"),
    (cors_is_lost_on_options, "public-cors", F, "an answer to OPTIONS has no"),
    (cors_is_doubled, "public-cors", F, "2 times"),
    (cors_is_doubled_on_options, "public-cors", F, "OPTIONS has Access-Control-Allow-Origin 2"),
    (cors_is_for_others, "public-cors", F, "allows https://call.example.org only"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_slashes_that_reach_the_guard_are_served(stack: CheckedStack) -> None:
    slashes_reach_the_guard(stack)
    found = await stack.check()
    assert found["public-slashes"].level is Level.OK
