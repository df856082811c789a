"""What stands for Synapse's module and LiveKit tells what they do, and is believed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.hinting import PUSH_SECRET, hinting, joins
from bench.traffic import KEY, LIMIT, QUALITY, SECRET, Ask, Table, claims_of
from lotus_guard.core.membership import Membership
from lotus_guard.core.webhook import EventKind, read_event
from lotus_guard.rules import RULES
from lotus_guard.rules.push import HEADER, Push, read_push
from tests.bench.serving import Quiet, serving
from tests.real.processes import until

Heard = list[tuple[str, bytes, str]]
"""Paths, bodies, and what they are signed with."""


@contextmanager
def operators() -> Iterator[tuple[str, Heard]]:
    """Run what stands for a guard's operators' port, and keeps what it is told."""
    heard: Heard = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signed = self.headers[HEADER] or self.headers["Authorization"]
            heard.append((self.path, body, signed))
            self.send_response(204)
            self.end_headers()

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}", heard


def pushes(heard: Heard) -> list[Push]:
    """Read the pushes among what was heard, as a guard does."""
    return [
        read_push(body, signed, PUSH_SECRET, time.time(), RULES)
        for path, body, signed in heard
        if path == "/policy"
    ]


TABLE = Table(rooms=1, users=1)


def test_the_first_sign_says_that_all_is_pushed_that_the_guard_reads() -> None:
    with operators() as (url, heard), hinting(url, every=60.0):
        (push,) = pushes(heard)
    assert push.is_complete
    assert push.covers_members
    assert push.covers_power
    assert push.room is None


@pytest.mark.parametrize("ask", TABLE.asks, ids=lambda ask: f"{ask.kind}{ask.path}")
def test_a_join_is_told_by_the_homeserver_and_then_by_livekit(ask: Ask) -> None:
    with operators() as (url, heard):
        joins(url, TABLE, ask, 7)
    told, policies = pushes(heard)
    (member,) = told.members
    assert (member.room, member.user) == (ask.room, ask.user)
    assert member.membership is Membership.JOIN
    assert told.covers_members
    assert policies.room == ask.room
    assert policies.is_complete
    path, body, signed = heard[-1]
    event = read_event(body, signed, KEY, SECRET)
    assert path == "/webhook"
    assert event is not None
    assert event.kind is EventKind.JOINED
    assert event.identity == claims_of(ask.answer)["sub"]
    assert event.livekit_room == claims_of(ask.answer)["video"]["room"]


def test_policies_are_told_as_they_are() -> None:
    (ask,) = TABLE.of("limit + sources")
    with operators() as (url, heard):
        joins(url, TABLE, ask, 7)
    body = heard[1][1].decode()
    assert LIMIT in body
    assert QUALITY in body
    assert '"allow_camera": false' in body


def test_signs_go_on_until_the_end_with_a_join_beside_each() -> None:
    with operators() as (url, heard):
        with hinting(url, TABLE, every=0.01):
            until("two joins", lambda: [path for path, *_ in heard].count("/webhook") >= 2)
        count = len(heard)
        time.sleep(0.05)
        assert len(heard) == count
