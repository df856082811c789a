"""The sandbox and a guard as one service; `tests/test_tap.py` runs it by twistd."""

import pytest
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IServiceCollection

from lotus_guard.run.config import Faulty
from lotus_guard.sandbox.service import make_sandbox_service
from tests.world import reactor


def test_three_neighbours_listen_beside_the_guard(capsys: pytest.CaptureFixture[str]) -> None:
    service = make_sandbox_service(reactor, {})
    parts = list(IServiceCollection(service))
    neighbours = [part for part in parts if isinstance(part, StreamServerEndpointService)]
    assert (len(neighbours), len(parts)) == (3, 4)
    said = capsys.readouterr().out
    assert "The guard is at http://127.0.0.1:8070" in said
    assert "live at http://127.0.0.1:8072/" in said


def test_what_the_environment_says_goes_before_the_sandboxes_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {"LOTUS_GUARD_LISTEN": "tcp:1234", "LOTUS_GUARD_ADMIN_LISTEN": ""}
    make_sandbox_service(reactor, settings)
    said = capsys.readouterr().out
    assert "The guard is at http://127.0.0.1:1234" in said
    assert "shows live" not in said


def test_a_faulty_environment_is_said() -> None:
    with pytest.raises(Faulty):
        make_sandbox_service(reactor, {"LOTUS_GUARD_DEADLINE": "never"})
