"""HTTP as Go answers it; `tests/properties` asks a real `encoding/json` and `ServeMux`."""

from typing import Any

import pytest
from twisted.web.resource import Resource

from lotus_guard.sandbox.go_http import ServeMux, go_json
from tests.contract.subject import InMemory


class Echo(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        return bytes(request.uri)


@pytest.fixture
def server() -> InMemory:
    return InMemory(ServeMux(Echo(), ["/a/b", "/"]))


@pytest.mark.parametrize("path", ["/a/b", "/a/%62?x=//", "/"])
def test_a_known_path_is_served_as_it_came(server: InMemory, path: str) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.body) == (200, path.encode())


@pytest.mark.parametrize("path", ["/a", "/a/b/", "/a%2Fb", "/A/b", "/a/b/c"])
def test_another_path_is_not_found(server: InMemory, path: str) -> None:
    assert server.request("GET", path).status == 404


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("//a/b", "/a/b"),
        ("/a/./b/", "/a/b/"),
        ("/a/c/../b?q=//", "/a/b?q=//"),
        ("/../../a", "/a"),
        ("//", "/"),
    ],
)
def test_an_unclean_path_is_redirected(server: InMemory, path: str, cleaned: str) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.headers["location"]) == (307, cleaned)


def test_json_has_no_spaces_and_escapes_what_html_could_trip_over() -> None:
    written = go_json({"a": ["<&>\u2028", "\u00e9"], "b": 1})
    assert written == '{"a":["\\u003c\\u0026\\u003e\\u2028","\u00e9"],"b":1}'.encode()
