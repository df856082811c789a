"""Real homeservers as the stack needs them; Synapse on SQLite."""

import hashlib
import hmac
import itertools
import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import define, field, frozen

from tests.real.processes import REAL, Answer, Process, free_port, http

AS_TOKEN, HS_TOKEN = "as-token-of-a-test", "hs-token-of-a-test"
READER_TOKEN = "as-token-of-a-reader"
UNLIMITED = {"per_second": 10_000.0, "burst_count": 10_000}
LONGEST = 40.0
"""So many seconds for an answer: Synapse waits 30 for those that it hands requests on to."""
SHARED_SECRET = "registration-of-a-test-homeserver"
_numbers = itertools.count(1)


@frozen
class User:
    """A registered user."""

    user_id: str
    access_token: str


@define(eq=False)
class Homeserver(ABC):
    """A homeserver named `localhost:PORT`, where it serves federation over TLS."""

    directory: Path
    readable: str = field(default="", kw_only=True)
    """A regex of the users as whom an application service with READER_TOKEN may ask; empty: there
    is no such service."""
    port: int = field(factory=free_port, kw_only=True)
    tls_port: int = field(factory=free_port, kw_only=True)
    process: Process = field(init=False)
    admin: User = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"localhost:{self.tls_port}"

    @abstractmethod
    def start(self) -> None:
        """Start it, and register an admin."""

    def call(self, method: str, path: str, token: str = "", content: object = None) -> Answer:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http(method, self.url + path, body, headers, seconds=LONGEST)

    def register(self, name: str | None = None, admin: bool = False) -> User:
        name = name or f"user{next(_numbers)}"
        path = "/_synapse/admin/v1/register"
        nonce = self.call("GET", path).json()["nonce"]
        kind = "admin" if admin else "notadmin"
        mac = hmac.new(SHARED_SECRET.encode(), digestmod=hashlib.sha1)
        mac.update("\0".join([nonce, name, "password", kind]).encode())
        wanted = {
            "nonce": nonce,
            "username": name,
            "password": "password",
            "admin": admin,
            "mac": mac.hexdigest(),
        }
        answer = self.call("POST", path, content=wanted)
        assert answer.status == 200, answer.body
        fields = answer.json()
        return User(fields["user_id"], fields["access_token"])

    def create_room(self, user: User, version: str = "") -> str:
        """Make a room, of the homeserver's own version where none is named."""
        named = {"room_version": version} if version else {}
        answer = self.call(
            "POST",
            "/_matrix/client/v3/createRoom",
            user.access_token,
            {"preset": "public_chat", **named},
        )
        assert answer.status == 200, answer.body
        return str(answer.json()["room_id"])

    def set_state(self, user: User, room: str, event_type: str, content: object) -> Answer:
        path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{event_type}/"
        return self.call("PUT", path, user.access_token, content)

    def join(self, user: User, room: str, by: str = "") -> None:
        """Have a user join a room; `by` another homeserver that is in it, if theirs is not."""
        path = f"/_matrix/client/v3/join/{quote(room)}" + (f"?via={quote(by)}" if by else "")
        answer = self.call("POST", path, user.access_token, {})
        assert answer.status == 200, answer.body

    def openid(self, user: User) -> dict[str, Any]:
        path = f"/_matrix/client/v3/user/{quote(user.user_id)}/openid/request_token"
        answer = self.call("POST", path, user.access_token, {})
        assert answer.status == 200, answer.body
        fields: dict[str, Any] = answer.json()
        return fields

    def _write_certificate(self) -> None:
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
            "-keyout tls.key -out tls.crt"
        )
        subprocess.run(command.split(), cwd=self.directory, check=True, capture_output=True)

    def membership(self, user: User, room: str, how: str, of: User | None = None) -> None:
        """Have a user `join`, `leave`, `knock`, or `invite`, `kick`, `ban` another one."""
        content = {} if of is None else {"user_id": of.user_id}
        path = f"/_matrix/client/v3/rooms/{quote(room)}/{how}"
        if how in ("join", "knock"):
            path = f"/_matrix/client/v3/{how}/{quote(room)}"
        answer = self.call("POST", path, user.access_token, content)
        assert answer.status == 200, answer.body

    @abstractmethod
    def slow_down(self, user: User, per_second: int, burst: int | None = None) -> None:
        """Let a user send so many events a second, 0 for as many as they like."""

    def deactivate(self, user: User) -> None:
        """End a user's account, at their own wish."""
        identifier = {"type": "m.id.user", "user": user.user_id}
        auth = {"type": "m.login.password", "identifier": identifier, "password": "password"}
        path = "/_matrix/client/v3/account/deactivate"
        first = self.call("POST", path, user.access_token, {"auth": auth})
        if first.status == 401:
            auth["session"] = first.json()["session"]
            first = self.call("POST", path, user.access_token, {"auth": auth})
        assert first.status == 200, first.body

    def _write_reader(self) -> list[str]:
        """Write the registration of the application service that reads, if there is one."""
        if not self.readable:
            return []
        registration = self.directory / "reader.yaml"
        wanted = {
            "id": "reader",
            "as_token": READER_TOKEN,
            "hs_token": "hs-token-of-a-reader",
            "sender_localpart": "_reader",
            "namespaces": {
                "users": [{"exclusive": False, "regex": self.readable}],
                "rooms": [],
                "aliases": [],
            },
            "url": None,
            "rate_limited": False,
        }
        registration.write_text(json.dumps(wanted))  # JSON is YAML
        return [str(registration)]


@define(eq=False)
class Synapse(Homeserver):
    """Synapse on SQLite."""

    modules: list[Mapping[str, Any]] = field(factory=list)
    proxy_url: str = ""
    """Where requests for tokens are handed on to; empty: nowhere."""
    livekit_url: str = ""
    """The SFU that it announces then."""
    messages: Mapping[str, float] = field(factory=lambda: UNLIMITED)
    """How many messages a user may send, and requests to the application service with them."""
    more: Mapping[str, Any] = field(factory=dict)
    """More of its configuration."""

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_certificate()
        config = self.directory / "homeserver.yaml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        python = str(REAL / "venv" / "bin" / "python")
        base = [python, "-m", "synapse.app.homeserver", "--config-path", str(config)]
        subprocess.run([*base, "--generate-keys"], cwd=self.directory, check=True)
        self.process = Process("synapse", base, self.directory, self.port)
        self.process.start()
        self.admin = self.register("admin", admin=True)

    def slow_down(self, user: User, per_second: int, burst: int | None = None) -> None:
        """Let a user send so many events a second; 0: as many as they like."""
        path = f"/_synapse/admin/v1/users/{quote(user.user_id)}/override_ratelimit"
        wanted = {"messages_per_second": per_second, "burst_count": burst or per_second}
        answer = self.call("POST", path, self.admin.access_token, wanted)
        assert answer.status == 200, answer.body

    def _config(self) -> dict[str, Any]:
        return {
            "server_name": self.name,
            "report_stats": False,
            "pid_file": str(self.directory / "synapse.pid"),
            "signing_key_path": str(self.directory / "signing.key"),
            "media_store_path": str(self.directory / "media"),
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self.directory / "homeserver.db")},
            },
            "registration_shared_secret": SHARED_SECRET,
            "suppress_key_server_warning": True,
            "trusted_key_servers": [],
            # Two of them on this machine talk to each other.
            "federation_verify_certificates": False,
            "ip_range_blacklist": [],
            "tls_certificate_path": str(self.directory / "tls.crt"),
            "tls_private_key_path": str(self.directory / "tls.key"),
            "bcrypt_rounds": 4,
            "rc_message": dict(self.messages),
            "rc_registration": UNLIMITED,
            "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
            "rc_joins_per_room": UNLIMITED,
            "rc_login": {"address": UNLIMITED, "account": UNLIMITED},
            "rc_room_creation": UNLIMITED,
            "modules": self.modules,
            **(self._behind() if self.proxy_url else {}),
            "app_service_config_files": self._services(),
            "listeners": [
                self._listener(self.port, False, ["client", "openid"]),
                self._listener(self.tls_port, True, ["federation", "openid"]),
            ],
            **self.more,
        }

    def _services(self) -> list[str]:
        """The registrations of its application services."""
        proxy = [str(self.directory / "registration.yaml")] if self.proxy_url else []
        return [*proxy, *self._write_reader()]

    def _behind(self) -> dict[str, Any]:
        """An application service that takes requests for tokens (MSC4512)."""
        registration = self.directory / "registration.yaml"
        wanted = {
            "id": "lk-jwt-service",
            "as_token": AS_TOKEN,
            "hs_token": HS_TOKEN,
            "sender_localpart": "_lk_jwt_service",
            "namespaces": {"users": [{"exclusive": False, "regex": "@.*"}]},
            "url": None,
            "io.element.msc4502.scopes": ["urn:matrix:client:io.element.msc4502:rooms:is_joined"],
            "io.element.msc4512.proxy_prefix": "rtc/livekit",
            "io.element.msc4512.proxy_url": self.proxy_url,
        }
        registration.write_text(json.dumps(wanted))
        features = ("msc4143_enabled", "msc4502_enabled", "msc4512_enabled")
        return {
            "experimental_features": dict.fromkeys(features, True),
            "matrix_rtc": {"transports": [{"type": "livekit", "url": self.livekit_url}]},
        }

    def _listener(self, port: int, tls: bool, names: list[str]) -> dict[str, Any]:
        return {
            "port": port,
            "tls": tls,
            "type": "http",
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": names}],
        }
