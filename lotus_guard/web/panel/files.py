"""The files of the panel, each by its own path: nothing else of the disk can be asked for.

A widget stands in a frame of whatever Matrix client shows it: on any web site, or in a desktop
client under a scheme of its own (`vector:`), which `frame-ancestors *` would shut out, as `*`
stands for HTTP alone. So the policy says nothing of frames. To be framed by a stranger harms
nobody: the page knows no cookie, and in a frame it speaks to the one that frames it and takes no
token.

It calls the homeserver that its user names, so it may connect to any by HTTPS, and on this machine
by HTTP. The script writes text nodes only; should it ever do otherwise, the policy lets no script
run that is not a file of ours, and refuses every string that is to become markup (Trusted Types).
"""

from hashlib import sha256
from importlib.resources import files

from attrs import frozen
from twisted.web.http_headers import Headers

from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest

HOME = "/panel/"
INDEX = "index.html"
SCRIPTS = (
    "page.js",
    "alone.js",
    "dom.js",
    "form.js",
    "guard.js",
    "homeserver.js",
    "people.js",
    "power.js",
    "rules.js",
    "texts.js",
    "trouble.js",
    "widget.js",
)
LANGUAGES = ("en", "de")
TYPES = {
    INDEX: b"text/html; charset=utf-8",
    "panel.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
    **dict.fromkeys(SCRIPTS, b"text/javascript; charset=utf-8"),
    **{f"texts/{language}.json": b"application/json" for language in LANGUAGES},
}
PATHS = (HOME, *(f"{HOME}{name}" for name in TYPES))
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self' https: http://localhost:* http://127.0.0.1:*",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    b"Content-Security-Policy": POLICY.encode("ascii"),
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Permissions-Policy": b"camera=(), microphone=(), geolocation=()",
    # A client may frame it without the right to its own origin: then even our own files are
    # another's to it. All may read them.
    b"Access-Control-Allow-Origin": b"*",
    b"Cross-Origin-Resource-Policy": b"cross-origin",
    b"Cache-Control": b"no-cache",  # the files of two releases would not fit together
}


@frozen
class File:
    """A file as it is served."""

    kind: bytes
    body: bytes
    tag: bytes
    """Its ETag, a hash of what is in it."""


class Files:
    """The files of the page, read once."""

    def __init__(self) -> None:
        here = files(__package__)
        self._by_path = {
            f"{HOME}{name}".encode("ascii"): _file(kind, here.joinpath(name).read_bytes())
            for name, kind in TYPES.items()
        }
        self._by_path[HOME.encode("ascii")] = self._by_path[f"{HOME}{INDEX}".encode("ascii")]

    def serve(self, request: ClientRequest, path: bytes, answers: Answers) -> None:
        """Answer a GET or HEAD for one of `PATHS`."""
        file = self._by_path[path]
        headers = Headers({name: [value] for name, value in HEADERS.items()})
        headers.setRawHeaders(b"ETag", [file.tag])
        known = b"".join(request.requestHeaders.getRawHeaders(b"If-None-Match", []))
        if file.tag in known:
            answers.finish(request, 304, None, headers, b"")
            return
        headers.setRawHeaders(b"Content-Type", [file.kind])
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(file.body)])
        answers.finish(request, 200, None, headers, file.body)


def _file(kind: bytes, body: bytes) -> File:
    return File(kind, body, b'"%s"' % sha256(body).hexdigest()[:32].encode("ascii"))
