"""A plain proxy of Klein and treq as they come: no rule at all, and nothing tuned.

Only for comparison in `bench/token_path.py`: the target for CPU a request was set where such a
proxy costs 0.55–0.64 ms, and milliseconds of different machines do not compare.

    klein_proxy.py PORT UPSTREAM_PORT
"""

import sys
from typing import Any

import treq
from klein import Klein
from twisted.web.http_headers import Headers

PORT, UPSTREAM = (int(text) for text in sys.argv[1:3])
DROPPED = (b"connection", b"content-length", b"transfer-encoding")

app = Klein()


@app.route("/", branch=True, methods=["POST"])
async def forward(request: Any) -> bytes:
    """Hand a request on and its answer back."""
    headers = Headers()
    for name, values in request.requestHeaders.getAllRawHeaders():
        if name.lower() not in DROPPED:
            headers.setRawHeaders(name, values)
    url = f"http://127.0.0.1:{UPSTREAM}{request.uri.decode('ascii')}"
    reply = await treq.post(url, data=request.content.read(), headers=headers)
    body: bytes = await reply.content()
    request.setResponseCode(reply.code)
    for name, values in reply.headers.getAllRawHeaders():
        if name.lower() not in DROPPED:
            request.responseHeaders.setRawHeaders(name, values)
    return body


if __name__ == "__main__":
    app.run("127.0.0.1", PORT, logFile=open("/dev/null", "w"))  # noqa: SIM115
