"""The authorization service as a process, in the place of lk-jwt-service.

It reads lk-jwt-service's own environment, so that the real binary can take its place, also that of
an application service (LIVEKIT_AS_TOKEN, LIVEKIT_HS_TOKEN, LIVEKIT_HS_SERVER_NAME), and
LOTUS_SANDBOX_READING, `go` or `rust`:

    python -m lotus_guard.sandbox.lk_jwt_service
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.python.log import startLogging
from twisted.web.client import Agent

from lotus_guard.sandbox.any_certificate import AnyCertificate
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_clients import (
    ask_server_over,
    federation_base,
    joined_over,
    room_maker,
    userinfo_over,
)
from lotus_guard.sandbox.authorization_state import AppService, AuthorizationState, Issuer
from lotus_guard.sandbox.generation import GENERATIONS
from lotus_guard.sandbox.site import sandbox_site


def main(reactor: Any, environment: Mapping[str, str] = os.environ) -> Deferred[None]:
    """Serve until the process is ended."""
    host, _, port = environment.get("LIVEKIT_JWT_BIND", ":8080").rpartition(":")
    trusting = environment.get("LIVEKIT_INSECURE_SKIP_VERIFY_TLS") == "YES_I_KNOW_WHAT_I_AM_DOING"
    agent = Agent(reactor, contextFactory=AnyCertificate()) if trusting else Agent(reactor)
    app = AuthorizationApp(read_state(environment, agent))
    listening = serverFromString(reactor, f"tcp:{port}:interface={host or '0.0.0.0'}")  # noqa: S104
    forever: Deferred[None] = Deferred()
    site = sandbox_site(app.resource())
    started: Deferred[None] = listening.listen(site).addCallback(lambda _: forever)
    return started


def read_state(environment: Mapping[str, str], agent: Agent) -> AuthorizationState:
    """Read the environment; raises SystemExit where lk-jwt-service would not start either."""
    key, secret = read_key_and_secret(environment)
    public = environment.get("LIVEKIT_URL") or ""
    if not public:
        raise SystemExit("LIVEKIT_URL is required")
    api = public.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
    return AuthorizationState(
        Issuer(key, secret, public),
        userinfo_over(agent, federation_base),
        room_maker(agent, api, key, secret),
        full_access=read_full_access(environment),
        generation=GENERATIONS[environment.get("LOTUS_SANDBOX_READING", "go")],
        behind=read_service(environment, agent),
    )


def read_service(environment: Mapping[str, str], agent: Agent) -> AppService | None:
    """Read what it is as an application service, if it is one."""
    names = ("LIVEKIT_AS_TOKEN", "LIVEKIT_HS_TOKEN", "LIVEKIT_HS_SERVER_NAME")
    as_token, hs_token, server = (environment.get(name, "") for name in names)
    if not (as_token or hs_token or server):
        return None
    if not (as_token and hs_token and server):
        raise SystemExit(f"{', '.join(names)}: set all of them, or none")
    entries = environment.get("LIVEKIT_CS_API_URL_OVERRIDES", "").split(",")
    overrides = dict(entry.split("=", 1) for entry in entries if entry)
    base = overrides.get(server, f"https://{server}")
    is_joined = joined_over(agent, base, as_token)
    ask_server = ask_server_over(agent, base, as_token)
    return AppService(hs_token, server, is_joined, ask_server)


def read_key_and_secret(environment: Mapping[str, str]) -> tuple[str, str]:
    """Read both where lk-jwt-service would; `LIVEKIT_KEY_FILE` goes before the others."""
    both = environment.get("LIVEKIT_KEY_FILE")
    if both:
        key, mark, secret = Path(both).read_text().partition(":")
        if not mark or ":" in secret:
            raise SystemExit("LIVEKIT_KEY_FILE: expected one line, `key: secret`")
    else:
        key, secret = (
            _read_file_or_variable(environment, name) for name in ("LIVEKIT_KEY", "LIVEKIT_SECRET")
        )
    key, secret = key.strip(" \r\n"), secret.strip(" \r\n")
    if not key or not secret:
        raise SystemExit("LIVEKIT_KEY and LIVEKIT_SECRET (or their files) are required")
    return key, secret


def read_full_access(environment: Mapping[str, str]) -> list[str]:
    """Read the homeservers whose users have full access."""
    names = environment.get("LIVEKIT_FULL_ACCESS_HOMESERVERS", "").replace(",", " ").split()
    if not names:
        raise SystemExit("LIVEKIT_FULL_ACCESS_HOMESERVERS is required: server names, or *")
    return names


def _read_file_or_variable(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(f"{name}_FROM_FILE")
    return Path(path).read_text() if path else environment.get(name, "")


if __name__ == "__main__":
    startLogging(sys.stderr)
    react(main)
