"""A refusal made by a real client, explained by `lotus-guard explain` as an operator runs it."""

import subprocess
import sys

from tests.real.homeserver import User
from tests.real.processes import until
from tests.real.stack import Stack


def explained(stack: Stack, user: User, room: str) -> str:
    """What `lotus-guard explain` tells of a user in a room."""
    done = subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", "explain", user.user_id, room],
        env={"PATH": "/usr/bin:/bin", **stack.guard.process.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print(f"\n$ lotus-guard explain {user.user_id} '{room}'\n{done.stdout}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_explain_tells_why_a_real_client_was_refused(stack: Stack) -> None:
    room = stack.room(limit={"max_users": 1})
    alice, carol = stack.users(2)
    client = stack.join(alice, room)
    until("they are seen", lambda: len(stack.identities(room)) == 1)
    refused = stack.ask(carol, room)
    assert refused.status == 403
    told = explained(stack, carol, room)
    client.disconnect()
    assert f"[{refused.headers['Lotus-Guard-Decision']}]  refused" in told
    assert "1 in the call or about to join, 1 allowed" in told
    assert f"seated  {alice.user_id}" in told
    assert "replay  the same: refused" in told
