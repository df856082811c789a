"""The token path: requests/s, latency, CPU and memory of what one could put before lk-jwt-service.

Direct, nginx as a plain proxy, a thread-per-connection guard (`bench/threaded_guard.py`) and
lotus_guard, side by side in one run, over three kinds of room. lk-jwt-service, Synapse and LiveKit
are one nginx that answers from memory. wrk makes the load. Wants `wrk` and `nginx` on PATH
(Debian's packages), or their paths in $WRK and $NGINX.

    python bench/token_path.py [--seconds 4] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lotus_guard.core.model import RoomId  # noqa: E402
from lotus_guard.core.naming import ROOM_SLOT, alias_of  # noqa: E402

KEY, SECRET = "bench", "a-secret-for-the-benchmark-of-32-bytes"
KINDS: dict[str, dict[str, Any]] = {
    "open": {},
    "sources": {"io.lotus.room_quality": {"allow_camera": False}},
    "both": {
        "io.lotus.room_quality": {"allow_camera": False},
        "io.lotus.voice_limit": {"max_users": 5},
    },
}
SYNAPSE, LIVEKIT, GUARD, PLAIN, THREADED = 8381, 8382, 8380, 8383, 8384
UPSTREAM = {kind: 8391 + number for number, kind in enumerate(KINDS)}
TICKS = os.sysconf("SC_CLK_TCK")


def room_of(kind: str) -> str:
    return f"!{kind}:bench"


def tool(name: str) -> str:
    found = os.environ.get(name.upper()) or shutil.which(name)
    if not found:
        sys.exit(f"{name} is not there: install Debian's package, or set ${name.upper()}")
    return found


def token(kind: str) -> str:
    now = int(time.time())
    video = {
        "roomJoin": True,
        "room": alias_of(RoomId(room_of(kind)), ROOM_SLOT),
        "canPublish": True,
        "canSubscribe": True,
        "canUpdateOwnMetadata": True,
    }
    sub = "@alice:bench:PHONE"
    claims = {"iss": KEY, "sub": sub, "nbf": now, "exp": now + 3600, "video": video}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def nginx_config(directory: Path) -> str:
    """Write the configuration of the nginx that stands for all neighbours."""
    servers = []
    for kind, port in UPSTREAM.items():
        answer = json.dumps({"url": "wss://sfu.bench", "jwt": token(kind)})
        servers.append(
            f"server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ "
            f"add_header Access-Control-Allow-Origin *; return 200 '{answer}'; }} }}"
        )
    states = []
    for kind, events in KINDS.items():
        for event_type, content in events.items():
            event = {"type": event_type, "state_key": "", "content": content}
            path = f"/_synapse/admin/v1/rooms/{room_of(kind)}/state"
            states.append(f"'{path}:{event_type}' '{json.dumps({'state': [event]})}';")
    return f"""
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  map_hash_bucket_size 512;
  map "$uri:$arg_type" $state {{ default '{{"state": []}}'; {" ".join(states)} }}
  {" ".join(servers)}
  server {{ listen 127.0.0.1:{SYNAPSE}; default_type application/json;
    location / {{ return 200 $state; }} }}
  server {{ listen 127.0.0.1:{LIVEKIT}; default_type application/protobuf;
    location / {{ return 200 ''; }} }}
}}
"""


def plain_config(directory: Path, upstream: int) -> str:
    return f"""
daemon off; worker_processes 1; pid {directory}/plain.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{PLAIN}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
    proxy_set_header Connection ""; }} }}
}}
"""


@contextmanager
def running(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server until the block ends; gives its pid once it listens."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        for _ in range(200):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            sys.exit(f"nobody listens on {port}: {' '.join(command[:3])}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def nginx(directory: Path, name: str, config: str) -> list[str]:
    path = directory / f"{name}.conf"
    path.write_text(config)
    return [tool("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(path)]


@contextmanager
def candidate(name: str, kind: str, directory: Path) -> Iterator[tuple[int, int | None]]:
    """Start one of the candidates before one kind of upstream; gives its port and its pid."""
    upstream = UPSTREAM[kind]
    if name == "direct":
        yield upstream, None
    elif name == "nginx":
        with running(nginx(directory, "plain", plain_config(directory, upstream)), PLAIN) as pid:
            yield PLAIN, pid
    elif name == "threaded":
        ports = [str(port) for port in (THREADED, upstream, SYNAPSE, LIVEKIT)]
        script = str(ROOT / "bench" / "threaded_guard.py")
        with running([sys.executable, script, *ports, KEY, SECRET], THREADED) as pid:
            yield THREADED, pid
    else:
        with running(guard_command(), GUARD, guard_environment(upstream, directory)) as pid:
            time.sleep(1.0)
            yield GUARD, pid


def guard_command() -> list[str]:
    return [
        str(Path(sys.executable).with_name("twistd")),
        "--nodaemon",
        "--pidfile=",
        "--logfile=/dev/null",
        "lotus-guard",
    ]


def guard_environment(upstream: int, directory: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{GUARD}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": "",
        "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "LIVEKIT_URL": f"http://127.0.0.1:{LIVEKIT}",
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": SECRET,
        "LOTUS_GUARD_SYNAPSE_URL": f"http://127.0.0.1:{SYNAPSE}",
        "LOTUS_GUARD_SYNAPSE_TOKEN": "t",
        "LOTUS_GUARD_STATE": str(directory / "state.sqlite"),
    }


def cpu(pid: int) -> float:
    """Give the CPU seconds that a process has used, its children apart."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid: int) -> float:
    """Give a process's resident memory in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


LUA = """
wrk.method = "POST"
wrk.body = [[{BODY}]]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format('{{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def load(
    port: int, kind: str, connections: int, seconds: float, directory: Path
) -> dict[str, float]:
    openid = {"access_token": "o", "token_type": "Bearer", "matrix_server_name": "bench"}
    body = {"room": room_of(kind), "openid_token": openid, "device_id": "PHONE"}
    script = directory / "load.lua"
    script.write_text(LUA.replace("{BODY}", json.dumps(body)).replace("{{", "{").replace("}}", "}"))
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/sfu/get"], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(name: str, kind: str, seconds: float, directory: Path) -> list[dict[str, Any]]:
    """Measure one candidate on one kind of room with 1 and with 32 connections."""
    rows = []
    with candidate(name, kind, directory) as (port, pid):
        load(port, kind, 32, 1.0, directory)  # warm
        for connections in (1, 32):
            before = cpu(pid) if pid else 0.0
            found = load(port, kind, connections, seconds, directory)
            used = cpu(pid) - before if pid else 0.0
            rows.append(
                {
                    "candidate": name,
                    "kind": kind,
                    "connections": connections,
                    "rate": found["requests"] / found["seconds"],
                    "p50": found["p50"],
                    "p99": found["p99"],
                    "cpu": 1000 * used / max(1.0, found["requests"]),
                    "rss": rss(pid) if pid else 0.0,
                    "errors": found["errors"],
                }
            )
    return rows


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["kind"], row["connections"], row["candidate"])
        grouped.setdefault(key, []).append(row)
    numbers = ("rate", "p50", "p99", "cpu", "rss", "errors")
    return [
        {
            **same[0],
            **{number: statistics.median(row[number] for row in same) for number in numbers},
        }
        for same in grouped.values()
    ]


def show(rows: list[dict[str, Any]]) -> None:
    heads = ("room", "conns", "candidate", "requests/s", "p50 ms", "p99 ms", "CPU ms/request")
    print(f"| {' | '.join((*heads, 'RSS MiB', 'errors'))} |")
    print(f"|{'---|' * 9}")
    for row in rows:
        print(
            f"| {row['kind']} | {row['connections']} | {row['candidate']} | {row['rate']:.0f} "
            f"| {row['p50']:.2f} | {row['p99']:.2f} | {row['cpu']:.3f} | {row['rss']:.0f} "
            f"| {row['errors']:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="direct,nginx,threaded,ours")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running(nginx(directory, "all", nginx_config(directory)), SYNAPSE):
            for number in range(options.rounds):
                for kind in options.kinds.split(","):
                    for each in options.only.split(","):
                        print(f"round {number + 1}: {kind}, {each}", file=sys.stderr, flush=True)
                        rows += measure(each, kind, options.seconds, directory)
    found = medians(rows)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
