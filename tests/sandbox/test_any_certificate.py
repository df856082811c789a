"""TLS without verification, towards a server whose certificate nobody has signed."""

import subprocess
from pathlib import Path

import pytest
import treq
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.web.client import Agent, ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import Site

from lotus_guard.sandbox.any_certificate import AnyCertificate
from tests.world import reactor

OPENSSL = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=elsewhere")


@ensureDeferred
async def test_a_certificate_that_nobody_signed_is_taken_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [*OPENSSL, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    root = Resource()
    root.putChild(b"x", Leaf())
    where = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    listening = await serverFromString(reactor, where).listen(Site(root))
    url = f"https://localhost:{listening.getHost().port}/x".encode()
    trusting = Agent(reactor, contextFactory=AnyCertificate())
    assert await treq.content(await trusting.request(b"GET", url)) == b"here"
    with pytest.raises(ResponseNeverReceived):
        await Agent(reactor).request(b"GET", url)
    await listening.stopListening()


class Leaf(Resource):
    isLeaf = True

    def render_GET(self, _request: object) -> bytes:
        return b"here"
