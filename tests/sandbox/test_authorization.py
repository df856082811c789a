"""The sandbox's authorization service: what the contract suite does not ask a real one for."""

from tests.contract.authorization import (
    BAD_JSON,
    refusal,
)
from tests.sandbox.token_service import SERVER, Service

DELAY = {"delay_id": "d", "delay_timeout": 1000}


def test_a_room_is_made_for_each_token() -> None:
    service = Service()
    room = service.ask.room_of(service.ask.legacy())
    service.ask.claims(service.ask.post("/get_token", service.ask.modern()))
    assert service.made == [room, room]


def test_no_room_no_token() -> None:
    service = Service()
    service.broken = True
    answer = service.ask.post("/sfu/get", service.ask.legacy())
    assert refusal(answer) == (500, "M_UNKNOWN")


def test_guests_make_no_room_and_delegate_nothing() -> None:
    service = Service(full_access=("home.example.com",))
    ask = service.ask
    assert ask.room_of(ask.legacy())
    assert service.made == []
    for path, fields in (("/sfu/get", ask.legacy(**DELAY)), ("/get_token", ask.modern(**DELAY))):
        assert refusal(ask.post(path, fields)) == BAD_JSON
    delegated = ask.post("/delegate_delayed_leave", ask.modern(**DELAY))
    assert refusal(delegated) == (403, "M_FORBIDDEN")


def test_full_access_delegates_without_a_room() -> None:
    service = Service(full_access=("other.example.com", SERVER))
    answer = service.ask.post("/delegate_delayed_leave", service.ask.modern(**DELAY))
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert service.made == []


def test_webhooks_arrive_as_they_were_sent() -> None:
    service = Service()
    headers = {"Authorization": "token"}
    service.ask.server.request("POST", "/sfu_webhook", headers, b'{"a": 1}\xff')
    assert service.state.webhooks == [(b'{"a": 1}\xff', "token")]
