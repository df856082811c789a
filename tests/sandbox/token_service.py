"""The sandbox's authorization service in memory, between a made-up homeserver and SFU."""

from collections.abc import Mapping
from typing import Any

from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_state import AuthorizationState, Issuer
from tests.contract.authorization import (
    AuthorizationSubject,
)
from tests.contract.subject import InMemory

KEY, SECRET = "key", "a-secret-for-tests-of-32-bytes-or-more"
USER, SERVER = "@user:example.com", "example.com"


class Service:
    """The service in memory, and what it asked of the others."""

    def __init__(self, full_access: tuple[str, ...] = ("*",), user: str = USER) -> None:
        self.made: list[str] = []
        self.broken = False

        async def userinfo(_server: str, _token: str) -> str:
            return user

        async def create_room(name: str) -> None:
            if self.broken:
                raise RuntimeError("no SFU")
            self.made.append(name)

        self.issuer = Issuer(KEY, SECRET, "ws://sfu")
        self.state = AuthorizationState(self.issuer, userinfo, create_room, full_access)
        openid: Mapping[str, Any] = {"access_token": "t", "matrix_server_name": SERVER}
        server = InMemory(AuthorizationApp(self.state).resource())
        self.ask = AuthorizationSubject(server, KEY, SECRET, "ws://sfu", USER, openid)
