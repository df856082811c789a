"""What compose.yaml needs to try the guard out: configuration, secrets, accounts. NOT FOR USE.

`trial.py files FOLDER` writes what is not there yet; every secret in it is made at random, and
readable by all who see the folder. `trial.py accounts FOLDER` waits for Synapse, registers admin,
alice and bob with one password, prints it, and leaves the admin's access token for the guard.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Any

SERVER_NAME = "localhost:8448"
SYNAPSE_USER = 991
"""The user and group that Synapse's image runs it as."""
WAIT_SECONDS = 120.0
ACCOUNTS = {"admin": True, "alice": False, "bob": False}
"""Who is registered, and whether they may do everything."""
UNLIMITED = {"per_second": 1000, "burst_count": 1000}


def write_files(folder: Path) -> None:
    """Write configuration and secrets, unless an earlier run has."""
    if (folder / "homeserver.yaml").exists():
        return
    data = folder / "synapse"
    data.mkdir(parents=True)
    key, secret = f"trial-{token_hex(4)}", token_urlsafe(32)
    registration = token_urlsafe(32)
    _certificate(folder)
    seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
    _write(folder / "signing.key", f"ed25519 a_trial {seed}\n")
    _write(folder / "livekit-key-and-secret", f"{key}: {secret}\n")
    _write(folder / "registration-secret", registration)
    _write(folder / "livekit.yaml", json.dumps(_livekit(key, secret), indent=2))
    if os.geteuid() == 0:
        os.chown(data, SYNAPSE_USER, SYNAPSE_USER)
    # Last, since it tells that the others are there.
    _write(folder / "homeserver.yaml", json.dumps(_homeserver(folder, registration), indent=2))


def make_accounts(folder: Path) -> None:
    """Register the accounts, unless an earlier run has, and leave the admin's token."""
    token = folder / "synapse-token"
    if token.exists():
        return
    secret = (folder / "registration-secret").read_text()
    password = token_urlsafe(12)
    _wait_for_synapse()
    tokens = {name: _register(name, password, all_, secret) for name, all_ in ACCOUNTS.items()}
    _write(folder / "password", password)
    _write(token, tokens["admin"])
    _say(f"Accounts {', '.join(ACCOUNTS)} on http://127.0.0.1:8008, password {password}")


def _homeserver(folder: Path, registration: str) -> Mapping[str, Any]:
    focus = {"type": "livekit", "livekit_service_url": "http://127.0.0.1:8070"}
    return {
        "server_name": SERVER_NAME,
        "public_baseurl": "http://127.0.0.1:8008/",
        "serve_server_wellknown": False,
        # What Element Call looks for: the guard, and events that are sent after a delay.
        "extra_well_known_client_content": {"org.matrix.msc4143.rtc_foci": [focus]},
        "max_event_delay_duration": "24h",
        "experimental_features": {"msc3266_enabled": True, "msc4222_enabled": True},
        "report_stats": False,
        "pid_file": str(folder / "synapse" / "pid"),
        "signing_key_path": str(folder / "signing.key"),
        "media_store_path": str(folder / "synapse" / "media"),
        "macaroon_secret_key": token_urlsafe(32),
        "form_secret": token_urlsafe(32),
        "registration_shared_secret": registration,
        "database": {
            "name": "sqlite3",
            "args": {"database": str(folder / "synapse" / "homeserver.db")},
        },
        "suppress_key_server_warning": True,
        "trusted_key_servers": [],
        "tls_certificate_path": str(folder / "tls.crt"),
        "tls_private_key_path": str(folder / "tls.key"),
        "rc_message": UNLIMITED,
        "rc_login": {"address": UNLIMITED, "account": UNLIMITED},
        "listeners": [
            _listener(8008, False, "client", "0.0.0.0"),  # noqa: S104  (pod's port is loopback)
            _listener(8448, True, "federation", "127.0.0.1"),
        ],
    }


def _listener(port: int, tls: bool, kind: str, address: str) -> Mapping[str, Any]:
    return {
        "port": port,
        "tls": tls,
        "type": "http",
        "bind_addresses": [address],
        "resources": [{"names": [kind, "openid"]}],
    }


def _livekit(key: str, secret: str) -> Mapping[str, Any]:
    return {
        "port": 7880,
        "keys": {key: secret},
        "room": {"auto_create": False},
        "webhook": {"api_key": key, "urls": ["http://127.0.0.1:8070/sfu_webhook"]},
        # Clients are told to come to this machine's loopback, where compose has the port.
        "rtc": {
            "udp_port": 7882,
            "tcp_port": 0,
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            "enable_loopback_candidate": True,
        },
    }


def _certificate(folder: Path) -> None:
    """Write a self-signed certificate, by which lk-jwt-service reaches Synapse."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / "tls.key", private.decode())
    _write(folder / "tls.crt", certificate.public_bytes(pem).decode())


def _register(name: str, password: str, admin: bool, secret: str) -> str:
    path = "/_synapse/admin/v1/register"
    nonce = _call("GET", path)["nonce"]
    kind = "admin" if admin else "notadmin"
    text = "\0".join([nonce, name, password, kind])
    # The scheme is Synapse's (admin_api/register_api): HMAC-SHA1 with the shared secret.
    mac = hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()
    fields = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac}
    return str(_call("POST", path, fields)["access_token"])


def _wait_for_synapse() -> None:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            _call("GET", "/_matrix/client/versions")
            return
        except (OSError, HTTPException) as error:
            if time.monotonic() > end:
                raise SystemExit(f"Synapse on :8008 does not answer: {error}") from error
            time.sleep(0.5)


def _call(method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
    connection = HTTPConnection("127.0.0.1", 8008, timeout=30.0)
    try:
        connection.request(method, path, None if fields is None else json.dumps(fields))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise SystemExit(f"Synapse answers {method} {path} with {response.status}: {body!r}")
    return json.loads(body)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)  # several users of several containers read it


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    commands = {"files": write_files, "accounts": make_accounts}
    if len(arguments) != 2 or arguments[0] not in commands:
        raise SystemExit("usage: trial.py files|accounts FOLDER")
    commands[arguments[0]](Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
