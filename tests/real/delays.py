"""How long the live loop takes on the real stack, as another participant sees it."""

import time

from tests.real.stack import NO_VIDEO, QUALITY, Stack


def policy_to_track_gone(stack: Stack) -> float:
    """Forbid cameras in a call with one; returns the seconds until others see it go."""
    alice, bob = stack.users(2)
    room = stack.room()
    hers, his = stack.join(alice, room), stack.join(bob, room)
    camera = hers.publish("video", "camera")
    his.hears("track_subscribed", sid=camera["sid"])
    begun = time.time()
    stack.set_policy(room, QUALITY, NO_VIDEO)
    gone = his.hears("track_unpublished", 10.0, sid=camera["sid"])
    hers.disconnect()
    his.disconnect()
    return float(gone["at"] - begun)


def disguise(stack: Stack) -> float:
    """Publish a camera as a microphone; returns how long others had it, from `track_published`."""
    alice, bob = stack.users(2)
    room = stack.room(quality=NO_VIDEO)
    hers, his = stack.join(alice, room), stack.join(bob, room)
    bobs = his.publish("audio", "microphone")
    hers.hears("track_published", sid=bobs["sid"])
    disguised = hers.publish("video", "microphone")
    assert disguised["ok"], "LiveKit checks only what is declared"
    shown = his.hears("track_published", sid=disguised["sid"])
    assert (shown["kind"], shown["source"]) == ("video", "microphone")
    gone = his.hears("track_unpublished", 10.0, sid=disguised["sid"])
    assert hers.publish("video", "microphone").get("refused")
    assert not hers.heard("track_unpublished", sid=bobs["sid"]), "nobody else's tracks"
    hers.disconnect()
    his.disconnect()
    return float(gone["at"] - shown["at"])
