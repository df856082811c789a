"""A real Dendrite on SQLite, its queue in memory."""

import json
from base64 import b64encode
from typing import Any

from attrs import define

from tests.real.homeserver import SHARED_SECRET, Homeserver, User
from tests.real.processes import REAL, Process

DATABASES = {
    "room_server": "database",
    "sync_api": "database",
    "federation_api": "database",
    "key_server": "database",
    "media_api": "database",
    "mscs": "database",
    "relay_api": "database",
    "user_api": "account_database",
}
"""Where each of its parts wants to be told of its own database: on SQLite they share none."""
LEAST_BCRYPT_COST = 4


@define(eq=False)
class Dendrite(Homeserver):
    """Dendrite."""

    def start(self) -> None:
        """Start it, and register an admin."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_certificate()
        self._write_key()
        (self.directory / "dendrite.yaml").write_text(json.dumps(self._config()))  # JSON is YAML
        command = [
            str(REAL / "bin" / "dendrite"),
            "--config=dendrite.yaml",
            f"--http-bind-address=127.0.0.1:{self.port}",
            f"--https-bind-address=127.0.0.1:{self.tls_port}",
            "--tls-cert=tls.crt",
            "--tls-key=tls.key",
        ]
        self.process = Process("dendrite", command, self.directory, self.port)
        self.process.start()
        self.admin = self.register("admin", admin=True)

    def slow_down(self, user: User, per_second: int, burst: int | None = None) -> None:
        """Leave them as fast as they like: it has no pace of a user's own."""
        assert per_second == 0, "Dendrite slows down nobody"

    def _write_key(self) -> None:
        """Write the key it signs events with: any 32 bytes are one."""
        seed = b64encode(b"a-key-of-a-test-homeserver-32-by").decode()
        kind = "MATRIX PRIVATE KEY"
        text = f"-----BEGIN {kind}-----\nKey-ID: ed25519:test\n\n{seed}\n-----END {kind}-----\n"
        (self.directory / "matrix_key.pem").write_text(text)

    def _config(self) -> dict[str, Any]:
        parts: dict[str, dict[str, Any]] = {
            part: {name: {"connection_string": f"file:{part}.db"}}
            for part, name in DATABASES.items()
        }
        parts["media_api"]["base_path"] = str(self.directory / "media")
        parts["user_api"]["bcrypt_cost"] = LEAST_BCRYPT_COST
        parts["federation_api"]["disable_tls_validation"] = True
        return {
            "version": 2,
            "global": {
                "server_name": self.name,
                "private_key": "matrix_key.pem",
                "jetstream": {"in_memory": True, "storage_path": str(self.directory)},
                "trusted_third_party_id_servers": [],
            },
            "client_api": {
                "registration_disabled": True,
                "registration_shared_secret": SHARED_SECRET,
                "rate_limiting": {"enabled": False},
            },
            "app_service_api": {"config_files": self._write_reader()},
            "logging": [{"type": "std", "level": "warn"}],
            **parts,
        }
