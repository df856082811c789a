"""Rulings written down and read back, as the state file does."""

import json

from lotus_guard.rules.decision import Decision, Ruling, from_json


def on_record(ruling: Ruling) -> Decision:
    """Write a ruling down and read it back, as the state file does."""
    decision = Decision("abcdefgh", 1790000000.125, False, ruling)
    back = from_json(json.loads(json.dumps(decision.as_json())))
    assert back == decision
    return back
