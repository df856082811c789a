"""A video that says it is sound, and is nothing else in any word of its client's."""

from pathlib import Path

from tests.real.hostile.signalling import SignalProxy, as_sound
from tests.real.hostile.watching import mimes, yard_beside
from tests.real.processes import until
from tests.real.stack import NO_VIDEO, Stack, milliseconds


def test_a_video_declared_as_audio_is_gone_all_the_same(stack: Stack, tmp_path: Path) -> None:
    alice, bob = stack.users(2)
    room = stack.room(quality=NO_VIDEO)
    token = stack.ask(alice, room).json()["jwt"]
    with SignalProxy(stack.livekit.port, as_sound) as proxy, yard_beside(stack, tmp_path) as yard:
        watcher = yard.watcher(bob, room)
        newcomer = yard.join_with(token, proxy.url)
        since = yard.begin_publishing(newcomer, "video", "camera")
        listed = until(
            "it is there", lambda: mimes(stack.livekit, stack.livekit_room(room)), 10.0, 0.01
        )
        assert [each[:2] for each in listed] == [("AUDIO", "MICROPHONE")], "by its client's word"
        assert listed[0][2].startswith("video/"), "and what it is"
        lived = yard.lived(watcher, since)
        print(f"\nvideo declared as AUDIO, polling alone: lived {milliseconds(lived)} ms")
        assert lived < 4.0
