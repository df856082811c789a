"""What the authorization service tells browsers, and how it answers other methods than POST."""

from lotus_guard.overload.http_limits import BoundedRequest

CORS = {
    "Content-Type": "application/json",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": (
        "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}


def let_browsers_read(request: BoundedRequest) -> None:
    """Set the CORS headers."""
    for name, value in CORS.items():
        request.setHeader(name, value)


def is_post(request: BoundedRequest) -> bool:
    """Whether the request is to be worked on; answers for every other method."""
    if request.method == b"POST":
        return True
    request.setResponseCode(200 if request.method == b"OPTIONS" else 405)
    request.setHeader("Content-Length", "0")
    return False
