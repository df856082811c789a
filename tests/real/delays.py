"""How long the live loop takes on the real stack, as another participant sees it."""

import time

from tests.real.stack import NO_VIDEO, QUALITY, Stack


def policy_to_track_gone(stack: Stack) -> float:
    """Forbid cameras in a call with one; returns the seconds until others see it go."""
    alice, bob = stack.users(2)
    room = stack.room()
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    camera = alice_in.publish("video", "camera")
    bob_in.hears("track_subscribed", sid=camera["sid"])
    begun = time.time()
    stack.set_policy(room, QUALITY, NO_VIDEO)
    gone = bob_in.hears("track_unpublished", 10.0, sid=camera["sid"])
    alice_in.disconnect()
    bob_in.disconnect()
    return float(gone["at"] - begun)


def disguise(stack: Stack) -> float:
    """Publish a camera as a microphone; returns how long others had it, from `track_published`."""
    alice, bob = stack.users(2)
    room = stack.room(quality=NO_VIDEO)
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    bobs = bob_in.publish("audio", "microphone")
    alice_in.hears("track_published", sid=bobs["sid"])
    disguised = alice_in.publish("video", "microphone")
    assert disguised["ok"], "LiveKit checks only what is declared"
    shown = bob_in.hears("track_published", sid=disguised["sid"])
    assert (shown["kind"], shown["source"]) == ("video", "microphone")
    gone = bob_in.hears("track_unpublished", 10.0, sid=disguised["sid"])
    assert alice_in.publish("video", "microphone").get("refused")
    assert not alice_in.heard("track_unpublished", sid=bobs["sid"]), "nobody else's tracks"
    alice_in.disconnect()
    bob_in.disconnect()
    return float(gone["at"] - shown["at"])
