"""How the sandbox's services listen."""

from typing import Any

from twisted.web.resource import Resource

from lotus_guard.sandbox.site import MOST_BODY
from tests.contract.subject import InMemory


class Length(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"%d" % len(request.content.read())


def test_a_body_may_be_as_long_as_upstream_takes_one() -> None:
    server = InMemory(Length())  # on a sandbox_site
    assert server.request("POST", "/", body=b"x" * MOST_BODY).body == b"%d" % MOST_BODY
    assert server.request("POST", "/", body=b"x" * (MOST_BODY + 1)).body == b"0"
