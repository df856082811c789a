"""Who a token was issued to, as far as it is known."""

from attrs import frozen

from lotus_guard.core.model import Identity, RoomId, UserId
from lotus_guard.core.seats import Person
from lotus_guard.core.wire import Endpoint, TokenRequest
from lotus_guard.rules.rule import Who


@frozen
class Asked:
    """What a request for a token said, and how far that may be believed."""

    request: TokenRequest
    at_token_endpoint: bool

    @property
    def door(self) -> str:
        """Where it was asked, if not at the public port."""
        endpoint = self.request.endpoint
        return endpoint if endpoint in (Endpoint.HOMESERVER, Endpoint.FEDERATION) else ""


@frozen
class Recipient:
    """Somebody to whom upstream issued a token, and for which room."""

    room: RoomId
    person: Person
    identity: Identity
    arrived: float
    """When the request came in."""
    due: float
    """When each rule must have found out what its verdict rests on."""
    user: UserId | None = None
    """Who they are, where the request proved it."""
    is_for_data: bool = False
    """Whether it is for a slot in which nobody talks: they take no seat there."""
    door: str = ""
    """Where they asked, if not at the public port."""

    @property
    def who(self) -> Who:
        """What a rule may know of them."""
        return Who(self.person, self.identity, self.user)
