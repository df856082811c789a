"""How a homeserver hands requests for tokens on to an application service (MSC4512).

As Synapse 1.163 does (docs/facts.md, lk-jwt-service: behind a homeserver): path, query and body
go on byte for byte, with a few of the headers, the service's `hs_token`, and who asks. Its answer
comes back as it is.
"""

from twisted.logger import Logger

from lotus_guard.core.homeserver_wire import USER_HEADER
from lotus_guard.overload.http_limits import BoundedRequest
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.synapse_state import Account, Proxy

HANDED_ON = (b"Content-Type", b"Accept", b"Accept-Language")

_log = Logger()


async def hand_on(proxy: Proxy, account: Account, request: BoundedRequest) -> bytes:
    """Hand a client's request on and answer what comes back; raises MatrixError."""
    headers = {
        name: request.requestHeaders.getRawHeaders(name, [b""])[0]
        for name in HANDED_ON
        if request.requestHeaders.hasHeader(name)
    }
    headers[b"Authorization"] = f"Bearer {proxy.hs_token}".encode()
    headers[USER_HEADER] = account.user_id.encode()
    url = proxy.url.encode() + _without_access_token(request.uri)
    try:
        answer = await proxy.hand_on(request.method, url, headers, request.content.read())
    except Exception:
        _log.failure("A request could not be handed on")
        raise MatrixError(500, "M_UNKNOWN", "Internal server error") from None
    request.setResponseCode(answer.status)
    for name, values in answer.headers.items():
        request.responseHeaders.setRawHeaders(name, list(values))
    return answer.body


def _without_access_token(uri: bytes) -> bytes:
    path, mark, query = uri.partition(b"?")
    kept = [each for each in query.split(b"&") if each and not each.startswith(b"access_token=")]
    return path + (mark if kept else b"") + b"&".join(kept)
