"""HTTP as a service in Go answers it: how ServeMux routes, and how encoding/json writes."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.resource import IResource, Resource

from lotus_guard.overload.http_limits import BoundedRequest

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in ("<", ">", "&", "\u2028", "\u2029")}


def go_json(value: object) -> bytes:
    """Write JSON as Go does: no spaces, UTF-8, and what HTML could trip over as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8")


class ServeMux(Resource):
    """Routes by cleaned path, as Go's ServeMux does; other spellings are redirected to it."""

    isLeaf = True

    def __init__(self, inner: IResource, paths: Sequence[str]) -> None:
        super().__init__()
        self._inner = inner
        self._known = [path.encode().split(b"/") for path in paths]

    def render(self, request: BoundedRequest) -> Any:
        """Serve, redirect, or answer that nothing is there."""
        path, mark, query = request.uri.partition(b"?")
        cleaned = _clean(path)
        if cleaned != path:
            request.setResponseCode(307)
            request.setHeader(b"Location", cleaned + mark + query)
            return b""
        # Segments are decoded one by one: an escaped slash does not part them.
        if [unquote_to_bytes(segment) for segment in path.split(b"/")] not in self._known:
            request.setResponseCode(404)
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            return b"404 page not found\n"
        return self._inner.render(request)


def _clean(path: bytes) -> bytes:
    """Take `//`, `.` and `..` out of a path; the slash at its end stays."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if path.endswith(b"/") and kept else b""
    return b"/" + b"/".join(kept) + end
