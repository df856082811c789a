"""Real WebRTC clients in one process, driven by JSON lines: commands in, events out.

Runs in `.real/venv`, where the `livekit` package is. Commands have an `id` that their answer
repeats, and a `client` that names one of the clients in this process:

    {"id": 1, "client": "a", "do": "connect", "url": ..., "token": ...}
    {"id": 2, "client": "a", "do": "publish", "kind": "video", "source": "camera"}
    {"id": 3, "client": "a", "do": "unpublish", "sid": ...}
    {"id": 4, "client": "a", "do": "frames"}      video frames received so far, by track sid
    {"id": 5, "client": "a", "do": "state"}       what the client believes it is and may
    {"id": 6, "client": "a", "do": "share", "text": ...}    send data to everybody
    {"id": 7, "client": "a", "do": "disconnect"}

Every event carries `at`, seconds since the epoch.
"""

import asyncio
import json
import sys
import time

from livekit import rtc

SOURCES = {
    "camera": rtc.TrackSource.SOURCE_CAMERA,
    "microphone": rtc.TrackSource.SOURCE_MICROPHONE,
    "screen_share": rtc.TrackSource.SOURCE_SCREENSHARE,
    "screen_share_audio": rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO,
}
NAMES = {number: name for name, number in SOURCES.items()}
WIDTH, HEIGHT = 320, 180
# The SFU never answers a publication that it refuses. Silence alone could be a busy machine, so it
# is a refusal only where the SFU has also told the client that it may not publish this source.
REFUSED_AFTER = 3.0
PATIENCE = 25.0


def emit(**fields):
    sys.stdout.write(json.dumps({"at": time.time(), **fields}) + "\n")
    sys.stdout.flush()


class Refused(Exception):
    """The SFU does not let us publish this."""


def permission_of(person):
    permission = person.permissions
    sources = [NAMES.get(number, "unknown") for number in permission.can_publish_sources]
    return {"can_publish": permission.can_publish, "sources": sources}


class Client:
    def __init__(self, name):
        self.name = name
        self.room = rtc.Room()
        self.frames = {}
        self.tasks = []
        for event in ("track_published", "track_unpublished"):
            self.room.on(event, self._track(event))
        for event in ("track_subscribed", "track_unsubscribed"):
            self.room.on(event, self._subscription(event))
        for event in ("participant_connected", "participant_disconnected"):
            self.room.on(event, self._person(event))
        self.room.on("participant_permissions_changed", self._permission)
        self.room.on("data_received", lambda p: self._emit("data", text=p.data.decode()))
        self.room.on("local_track_unpublished", lambda p: self._emit("local_gone", sid=p.sid))
        self.room.on("disconnected", lambda reason: self._emit("disconnected", reason=str(reason)))

    def _emit(self, event, **fields):
        emit(client=self.name, event=event, **fields)

    def _track(self, event):
        def heard(publication, person):
            self._emit(
                event,
                sid=publication.sid,
                identity=person.identity,
                kind="video" if publication.kind == rtc.TrackKind.KIND_VIDEO else "audio",
                source=NAMES.get(publication.source, "unknown"),
            )

        return heard

    def _subscription(self, event):
        def heard(track, publication, person):
            self._track(event)(publication, person)
            if event == "track_subscribed" and track.kind == rtc.TrackKind.KIND_VIDEO:
                self.tasks.append(asyncio.ensure_future(self._count(track, publication.sid)))

        return heard

    def _person(self, event):
        return lambda person: self._emit(event, identity=person.identity)

    def _permission(self, person, *_):
        self._emit("permissions", identity=person.identity, **permission_of(person))

    async def _count(self, track, sid):
        self.frames[sid] = 0
        async for _ in rtc.VideoStream(track):
            self.frames[sid] += 1

    async def connect(self, url, token, subscribe=True, **_):
        options = rtc.RoomOptions(auto_subscribe=subscribe)
        await asyncio.wait_for(self.room.connect(url, token, options), 20.0)
        return {"identity": self.room.local_participant.identity}

    async def publish(self, kind, source, name_length=0, **_):
        name = "n" * name_length or source
        if kind == "video":
            media = rtc.VideoSource(WIDTH, HEIGHT)
            track = rtc.LocalVideoTrack.create_video_track(name, media)
            feed = self._feed_video(media)
        else:
            media = rtc.AudioSource(48000, 1)
            track = rtc.LocalAudioTrack.create_audio_track(name, media)
            feed = self._feed_audio(media)
        options = rtc.TrackPublishOptions(source=SOURCES[source], simulcast=False)
        publishing = self.room.local_participant.publish_track(track, options)
        publishing = asyncio.ensure_future(publishing)
        done, _ = await asyncio.wait({publishing}, timeout=REFUSED_AFTER)
        if not done and not self._may_publish(source):
            publishing.cancel()
            feed.close()
            raise Refused(f"no answer, and {source} is not among what the SFU allows")
        publication = await asyncio.wait_for(publishing, PATIENCE)
        self.tasks.append(asyncio.ensure_future(feed))
        return {"sid": publication.sid}

    def _may_publish(self, source):
        allowed = permission_of(self.room.local_participant)
        return allowed["can_publish"] and (not allowed["sources"] or source in allowed["sources"])

    async def _feed_video(self, media):
        shade = 0
        while True:
            shade = (shade + 16) % 256
            data = bytearray([shade, 128, 255 - shade, 255]) * (WIDTH * HEIGHT)
            media.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, data))
            await asyncio.sleep(0.1)

    async def _feed_audio(self, media):
        frame = rtc.AudioFrame.create(48000, 1, 480)
        while True:
            await media.capture_frame(frame)

    async def unpublish(self, sid, **_):
        await self.room.local_participant.unpublish_track(sid)
        return {}

    async def share(self, text, **_):
        await asyncio.wait_for(self.room.local_participant.publish_data(text), 10.0)
        return {}

    async def metadata(self, length, **_):
        await asyncio.wait_for(self.room.local_participant.set_metadata("m" * length), 10.0)
        return {}

    async def frames_received(self, **_):
        return {"frames": dict(self.frames)}

    async def state(self, **_):
        me = self.room.local_participant
        return {
            "connected": self.room.isconnected(),
            "people": sorted(self.room.remote_participants),
            **permission_of(me),
        }

    async def disconnect(self, **_):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait_for(self.room.disconnect(), 10.0)
        return {}


async def serve(client, command):
    work = {
        "connect": client.connect,
        "publish": client.publish,
        "unpublish": client.unpublish,
        "share": client.share,
        "metadata": client.metadata,
        "frames": client.frames_received,
        "state": client.state,
        "disconnect": client.disconnect,
    }[command["do"]]
    try:
        answer = {"ok": True, **await work(**command)}
    except Exception as error:
        refused = isinstance(error, Refused)
        answer = {"ok": False, "refused": refused, "error": f"{type(error).__name__}: {error}"}
    emit(id=command["id"], **answer)


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    clients, running = {}, set()
    emit(event="ready")
    while line := await lines.readline():
        command = json.loads(line)
        name = command["client"]
        if command["do"] == "connect" or name not in clients:
            clients[name] = Client(name)
        task = asyncio.ensure_future(serve(clients[name], command))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
