"""The door and Klein's own router agree wherever the router does not change the path first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klein import Klein

from lotus_guard.web.panel.files import PATHS
from lotus_guard.web.public import PublicApp
from lotus_guard.web.routes import Routes


class Shop:
    """An app whose handlers say who they are."""

    app = Klein()

    @app.route("/a", methods=["POST"])
    async def post_a(self, _request: Any) -> Any:
        return self, "post_a"

    @app.route("/a/b")
    @app.route("/c", methods=["GET"])
    async def a_b(self, _request: Any) -> Any:
        return self, "a_b"

    @app.route("/", methods=["GET"])
    async def front(self, _request: Any) -> Any:
        return self, "front"

    @app.route("/", branch=True)
    async def rest(self, _request: Any, **_rest: Any) -> Any:
        return self, "rest"


SHOP = Shop()


def handled(method: bytes, path: bytes) -> str:
    awaited: Any = Routes(SHOP.app, SHOP).handler(method, path)(None)
    with pytest.raises(StopIteration) as stopped:
        awaited.send(None)
    instance, name = stopped.value.value
    assert instance is SHOP
    return str(name)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        (b"POST", b"/a", "post_a"),
        (b"GET", b"/a", "rest"),
        (b"BREW", b"/a/b", "a_b"),
        (b"HEAD", b"/c", "a_b"),
        (b"POST", b"/c", "rest"),
        (b"GET", b"/", "front"),
        (b"POST", b"/", "rest"),
        (b"POST", b"//a", "rest"),
        (b"POST", b"/a/", "rest"),
        (b"POST", b"/%61", "rest"),
        (b"POST", b"/\xff", "rest"),
        (b"POST", b"", "rest"),
        (b"\xff", b"/a", "rest"),
    ],
)
def test_a_path_has_one_spelling(method: bytes, path: bytes, name: str) -> None:
    assert handled(method, path) == name


PLAIN = st.from_regex(r"(/[a-z]{1,3}){1,3}", fullmatch=True)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"])


@given(METHODS, PLAIN | st.sampled_from(["/", "/a", "/a/b", "/c"]))
def test_of_a_plain_path_kleins_router_says_the_same(method: str, path: str) -> None:
    endpoint, _ = SHOP.app.url_map.bind("h").match(path, method)
    assert handled(method.encode(), path.encode()) == endpoint.removesuffix("_branch")


def test_an_app_that_leaves_something_over_is_refused() -> None:
    class Half:
        app = Klein()

        @app.route("/a")
        async def a(self, _request: Any) -> None:
            """Do nothing."""

    with pytest.raises(ValueError, match="no route takes what the others leave"):
        Routes(Half().app, Half())


def test_the_public_port_has_the_routes_that_its_head_lists() -> None:
    rules = {rule.rule: rule.methods for rule in PublicApp.app.url_map.iter_rules()}
    panel = {"/panel", "/panel/room", *PATHS}
    tokens = {"/get_token", "/sfu/get", "/sfu_webhook", "/", "/<path:__rest__>"}
    assert rules.keys() == tokens | panel
    assert rules["/get_token"] == rules["/sfu/get"] == {"POST"}
