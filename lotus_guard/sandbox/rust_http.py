"""HTTP as the service in Rust answers it: how its router finds a path, and how serde writes."""

import json
from collections.abc import Sequence
from typing import Any

from twisted.web.resource import IResource, Resource

from lotus_guard.overload.http_limits import BoundedRequest


def rust_json(value: object) -> bytes:
    """Write JSON as serde does: no spaces, UTF-8, and no escape that is not needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class ExactPaths(Resource):
    """Routes by the path as it came: every other spelling is 404, without a body."""

    isLeaf = True

    def __init__(self, inner: IResource, paths: Sequence[str]) -> None:
        super().__init__()
        self._inner = inner
        self._known = {path.encode() for path in paths}

    def render(self, request: BoundedRequest) -> Any:
        """Serve, or answer that nothing is there."""
        if request.uri.partition(b"?")[0] in self._known:
            return self._inner.render(request)
        request.setResponseCode(404)
        request.setHeader("Content-Length", "0")
        return b""
