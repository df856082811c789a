"""HTTP as the service in Rust answers it."""

import pytest
from twisted.web.static import Data

from lotus_guard.sandbox.rust_http import ExactPaths, rust_json
from tests.contract.subject import InMemory

SERVER = InMemory(ExactPaths(Data(b"found", "text/plain"), ("/a/b",)))


def test_json_has_no_escape_that_is_not_needed() -> None:
    assert rust_json({"a": '<é&>\u2028"\n'}) == '{"a":"<é&>\u2028\\"\\n"}'.encode()


@pytest.mark.parametrize("path", ["/a/b", "/a/b?c=d", "/a/b?"])
def test_a_path_is_found_as_it_is_written(path: str) -> None:
    assert SERVER.request("GET", path).body == b"found"


@pytest.mark.parametrize("path", ["/", "/a/b/", "//a/b", "/a/./b", "/x/../a/b", "/a/%62", "/A/b"])
def test_every_other_spelling_is_not_found(path: str) -> None:
    answer = SERVER.request("POST", path)
    assert (answer.status, answer.body) == (404, b"")
    assert "content-type" not in answer.headers
