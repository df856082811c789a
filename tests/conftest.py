"""Fixtures and profiles that all tests share."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import settings
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from lotus_guard.rules import RULES, Rules
from tests.built_site import site
from tests.chromium import browser
from tests.world import World, reactor

__all__ = ["browser", "site"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start what runs in the background deaf to Ctrl-C, and its children inherit that; some
    # tests are about Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("project", deadline=None)
settings.load_profile("project")


_stopped: list[bool] = []


def pytest_configure() -> None:
    """Take note when the reactor stops: it does at SIGTERM, as `timeout` sends it."""
    reactor.addSystemEventTrigger("after", "shutdown", _stopped.append, True)


def pytest_runtest_setup() -> None:
    """End the run where the reactor has stopped, which never starts again.

    Without it each test to come fails with "illegal switch in blockon", and hides the cause.
    """
    if _stopped:
        pytest.exit("a signal has stopped the reactor", returncode=1)


@pytest.fixture
def rules() -> Rules:
    """The rules of the guard; a test may have others."""
    return RULES


@pytest.fixture
def world(tmp_path: Path, rules: Rules) -> Iterator[World]:
    """A sandbox on loopback; the test starts the guard."""
    made = World(tmp_path, rules=rules)
    yield made
    pytest_twisted.blockon(made.stop())


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Every event of the log, while a test runs."""
    events: list[Any] = []

    @implementer(ILogObserver)
    def keep(event: Any) -> None:
        events.append(event)

    globalLogPublisher.addObserver(keep)
    yield events
    globalLogPublisher.removeObserver(keep)
