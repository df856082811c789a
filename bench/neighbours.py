"""lk-jwt-service, Synapse and LiveKit: one nginx that answers from memory.

It is asked the same by every candidate, and answers some fifty thousand requests a second with one
core: it is never what a candidate waits for. What it used is shown beside each figure.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from bench.tools import program
from bench.traffic import DEVICE, PRESENT, Ask

PAGE = 500
"""Rooms on a page of Synapse's list; the guard asks for so many."""

CORS = (
    "add_header Access-Control-Allow-Origin *; add_header Access-Control-Allow-Methods POST; "
    "add_header Access-Control-Allow-Headers "
    "'Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token'; "
)


@frozen
class Ports:
    """Where they listen."""

    upstream: int
    synapse: int
    livekit: int


def frame(directory: Path, name: str, inner: str) -> list[str]:
    """Write the configuration of an nginx of one process; returns the command that runs it."""
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{folder}_temp_path {directory}/{folder};" for folder in folders)
    path = directory / f"{name}.conf"
    path.write_text(
        f"daemon off; master_process off; pid {directory}/{name}.pid; error_log stderr error;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; {temporary}\n"
        "  keepalive_requests 1000000000; keepalive_timeout 3600; tcp_nodelay on;\n"
        "  map_hash_max_size 131072; map_hash_bucket_size 512; open_file_cache max=100;\n"
        f"{inner}\n}}\n"
    )
    # In its environment, NGINX would mean sockets to take over.
    bare = ["/usr/bin/env", "--unset=NGINX", program("nginx")]
    return [*bare, "-e", "stderr", "-p", str(directory), "-c", str(path)]


def neighbours(
    directory: Path,
    ports: Ports,
    asks: Iterable[Ask],
    policies: Mapping[str, Mapping[str, Any]],
    livekit_rooms: Iterable[str],
    people: int = PRESENT,
) -> list[str]:
    """Write all three down; returns the command that runs them. `people` are in each room."""
    _write_livekit(directory, livekit_rooms, people)
    _write_pages(directory / "pages", list(policies))
    (directory / "everywhere").write_text(json.dumps({"joined_rooms": list(policies)}))
    asks = list(asks)
    answers = "\n".join(f"{ask.number} '{ask.answer}\\n';" for ask in asks)
    inner = (
        f"map $arg_n $answer {{ default '{{}}'; {answers} }}\n"
        f"{_states(policies)}\n"
        f"{_contents(policies)}\n"
        f"{_joined(asks)}\n"
        f"server {{ listen 127.0.0.1:{ports.upstream} backlog=4096; default_type application/json; "
        f"location / {{ {CORS} return 200 $answer; }} }}\n"
        f"server {{ listen 127.0.0.1:{ports.synapse}; default_type application/json; "
        "location / { return 200 $state; } "
        "location = /_matrix/client/v3/account/whoami "
        """{ return 200 '{"user_id": "@admin:bench"}'; } """
        "location /_synapse/admin/v1/users/ { return 200 $joined; } "
        # Whoever is in the calls is a member of all rooms: the member watch asks for them.
        "location ~ ^/_synapse/admin/v1/users/@there "
        f"{{ root {directory}; try_files /everywhere =404; }} "
        "location /_matrix/client/v3/rooms/ "
        "{ if ($content = '') { return 404 '{\"errcode\": \"M_NOT_FOUND\"}'; } "
        "return 200 $content; } "
        f"location = /_synapse/admin/v1/rooms {{ root {directory}/pages; "
        "try_files /$arg_from =404; } }\n"
        f"server {{ listen 127.0.0.1:{ports.livekit}; default_type application/protobuf; "
        # To nginx a POST to a file is an error, which it can be told to serve the file for.
        f"root {directory}; error_page 405 =200 $uri; }}\n"
    )
    return frame(directory, "neighbours", inner)


def _states(policies: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for room, events in policies.items():
        for event_type, content in events.items():
            event = {"type": event_type, "state_key": "", "content": content}
            path = f"/_synapse/admin/v1/rooms/{room}/state"
            lines.append(f"'{path}:{event_type}' '{json.dumps({'state': [event]})}';")
    return f'map "$uri:$arg_type" $state {{ default \'{{"state": []}}\'; {" ".join(lines)} }}'


def _contents(policies: Mapping[str, Mapping[str, Any]]) -> str:
    """What a member of a room reads there: whose member event, a policy, or nothing."""
    lines = [
        f"'/_matrix/client/v3/rooms/{room}/state/{event_type}/' '{json.dumps(content)}';"
        for room, events in policies.items()
        for event_type, content in events.items()
    ]
    lines.append("""'~/state/m\\.room\\.member/' '{"membership": "join"}';""")
    return f'map "$uri" $content {{ default ""; {" ".join(lines)} }}'


def _joined(asks: Iterable[Ask]) -> str:
    """Which room each user is in."""
    lines = []
    for ask in asks:
        rooms = json.dumps({"joined_rooms": [ask.room]})
        lines.append(f"'/_synapse/admin/v1/users/{ask.user}/joined_rooms' '{rooms}';")
    return f'map "$uri" $joined {{ default \'{{"joined_rooms": []}}\'; {" ".join(lines)} }}'


def _write_pages(folder: Path, rooms: list[str]) -> None:
    """Write Synapse's list of rooms; nginx takes no text of more than 4,096 characters."""
    folder.mkdir()
    for start in range(0, max(1, len(rooms)), PAGE):
        page: dict[str, Any] = {"rooms": _listed(rooms[start : start + PAGE])}
        if start + PAGE < len(rooms):
            page["next_batch"] = start + PAGE
        (folder / str(start)).write_text(json.dumps(page))


def _listed(rooms: list[str]) -> list[dict[str, Any]]:
    return [{"room_id": room, "state_events": 6} for room in rooms]


def _write_livekit(directory: Path, livekit_rooms: Iterable[str], present: int) -> None:
    folder = directory / "twirp" / "livekit.RoomService"
    folder.mkdir(parents=True, exist_ok=True)
    rooms = [
        lk_models.Room(name=livekit_room, num_participants=present)
        for livekit_room in livekit_rooms
    ]
    listed = lk_room.ListRoomsResponse(rooms=rooms)
    people = lk_room.ListParticipantsResponse(participants=map(_person, range(present)))
    (folder / "ListRooms").write_bytes(listed.SerializeToString())
    (folder / "ListParticipants").write_bytes(people.SerializeToString())


def _person(number: int) -> Any:
    """Make a participant who may publish a microphone, and does: no policy takes that away."""
    microphone = lk_models.TrackSource.MICROPHONE
    return lk_models.ParticipantInfo(
        sid=f"PA_{number}",
        identity=f"@there{number}:bench:{DEVICE}",
        state=lk_models.ParticipantInfo.State.ACTIVE,
        permission=lk_models.ParticipantPermission(
            can_publish=True, can_subscribe=True, can_publish_sources=[microphone]
        ),
        tracks=[lk_models.TrackInfo(sid=f"TR_{number}", source=microphone)],
    )
