"""The public port: transparency, and inputs closed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import URI

from lotus_guard.adapters.http import BoundedBody, TooLong
from lotus_guard.adapters.upstream import Upstream
from lotus_guard.admission import MOST_SLOTS
from lotus_guard.core.hoard import MOST_IN_ROOM
from lotus_guard.core.model import Alias, Identity, RoomId
from lotus_guard.core.policy import LIMIT_EVENT, SOURCES_EVENT
from lotus_guard.ports import Allowance, Outage, Reason
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.world import Got, World, http_answer, reactor, token_request

CORS = "Access-Control-Allow-Origin"


class Recorder(Protocol):
    """An upstream that writes down what it gets, byte for byte, and answers one thing."""

    def __init__(self, got: list[bytes], answer: bytes) -> None:
        self.got, self.answer = got, answer
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if blank and len(body) >= length:
            self.got.append(self.buffer)
            self.buffer = b""
            self.transport.write(self.answer)  # type: ignore[union-attr]


def recording(world: World, answer: bytes, **settings: str) -> list[bytes]:
    got: list[bytes] = []
    factory = Factory()
    factory.buildProtocol = lambda _address: Recorder(got, answer)  # type: ignore[method-assign,assignment]
    port = world._listen(0, factory)
    world.start_guard(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{port}", **settings)
    return got


def parts(raw: bytes) -> tuple[bytes, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = (line.decode().partition(": ") for line in lines)
    return first, {name.lower(): value for name, _, value in pairs}, body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("OPTIONS", "/get_token"),
        ("PUT", "/some/path?with=a&query=b%20c"),
        ("DELETE", "/sfu%2Fget;x=y"),
        ("PATCH", "/a//b/../c"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_requests_go_through_as_they_were(world: World, method: str, path: str) -> None:
    got = recording(world, b"HTTP/1.1 418 Teapot\r\nX-Own: 1\r\nContent-Length: 0\r\n\r\n")
    answer = await world.request(method, path, b"body" if method == "PUT" else b"")
    assert answer.status == 418
    assert answer.headers["X-Own"] == "1"
    assert "Server" not in answer.headers
    assert "Content-Type" not in answer.headers
    first, _, body = parts(got[0])
    assert first == f"{method} {path} HTTP/1.1".encode()
    assert body == (b"body" if method == "PUT" else b"")


@pytest_twisted.ensureDeferred
async def test_headers_that_must_not_reach_upstream_and_those_that_must(world: World) -> None:
    got = recording(world, http_answer(b"{}"))
    await world.request(
        "POST",
        "/other",
        b"x",
        {
            "X-Matrix-User-Identifier": "@admin:s",
            "x_matrix_user_identifier": "@admin:s",
            "X-Matrix-Origin": "s",
            "Accept-Encoding": "gzip",
            "Range": "bytes=0-1",
            "Connection": "close, X-Secret-Hop",
            "X-Secret-Hop": "1",
            "Authorization": "Bearer kept",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "Origin": "https://call.example",
        },
    )
    _, headers, _ = parts(got[0])
    assert not {
        "x-matrix-user-identifier",
        "x_matrix_user_identifier",
        "x-matrix-origin",
        "accept-encoding",
        "range",
        "x-secret-hop",
    } & set(headers)
    assert headers["authorization"] == "Bearer kept"
    assert headers["origin"] == "https://call.example"
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == headers["host"]


@pytest_twisted.ensureDeferred
async def test_a_webhook_goes_through_byte_for_byte(world: World) -> None:
    got = recording(world, http_answer(b""))
    body = b'{ "event" : "room_started",\n "\xc3\xa4": 1 }'
    await world.request("POST", "/sfu_webhook", body, {"Authorization": "a.b.c"})
    _, headers, received = parts(got[0])
    assert received == body
    assert headers["authorization"] == "a.b.c"


@pytest_twisted.ensureDeferred
async def test_a_request_body_over_64_kib_is_refused_with_cors(world: World) -> None:
    world.start_guard()
    for size, status in ((64 * 1024, 400), (64 * 1024 + 1, 413), (5_000_000, 413)):
        got = await world.request("POST", "/get_token", b"x" * size)
        assert got.status == status
        assert got.headers[CORS] == "*"
    assert got.json()["errcode"] == "M_TOO_LARGE"


@pytest_twisted.ensureDeferred
async def test_a_body_of_unknown_length_is_bounded_as_well(world: World) -> None:
    world.start_guard()
    head = b"POST /get_token HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    answer = await raw(world, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest_twisted.ensureDeferred
async def test_nobody_is_refused_on_a_look_from_before_he_asked(world: World) -> None:
    world.start_guard(LOTUS_GUARD_SEAT_GRACE="0")
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    alice = world.sandbox.sfu.join((await world.ask("alice", TWO)).json()["jwt"])
    assert (await world.ask("bob", TWO)).status == 403
    (alias,) = world.sandbox.sfu.rooms
    world.sandbox.sfu.leave(alias, alice.identity)
    assert (await world.ask("bob", TWO)).status == 200


@pytest_twisted.ensureDeferred
async def test_who_was_let_in_during_an_outage_is_counted_after_it(world: World) -> None:
    world.start_guard()
    presence = world.guard.live.presence
    good = presence.service
    presence.service = Dead()  # type: ignore[assignment]
    for name in ("alice", "bob", "carol"):
        assert (await world.ask(name, TWO)).status == 200
    presence.service = good
    got = await world.ask("dave", TWO)
    assert got.json()["io.lotus.limit"] == {"max_users": 2, "users": 3}


class Dead:
    """A LiveKit that is away."""

    async def attendance(self, *_args: Any) -> Any:
        raise Outage(Reason.REFUSED, "made up")

    ping = attendance


def test_an_answer_of_unknown_length_is_bounded() -> None:
    body = BoundedBody(Allowance(10))
    failures: list[Any] = []
    body.done.addErrback(failures.append)
    body.dataReceived(b"12345")
    assert not failures
    body.dataReceived(b"678901")
    assert failures[0].check(TooLong)


@pytest_twisted.ensureDeferred
async def test_a_long_answer_is_streamed_through(world: World) -> None:
    long = b"x" * 3_000_000
    recording(world, http_answer(long))
    got = await world.request("GET", "/long")
    assert got.body == long


@pytest_twisted.ensureDeferred
async def test_a_token_request_cannot_be_answered_at_such_length(world: World) -> None:
    """Only a client could have made a token answer that long, to have it unjudged."""
    recording(world, http_answer(b'{"jwt":"' + b"x" * 3_000_000 + b'"}'))
    assert (await world.ask("alice", VOICE)).status == 502


@pytest_twisted.ensureDeferred
async def test_the_longest_ids_still_get_their_token_judged(world: World) -> None:
    """`<` grows to six bytes in a token, and stands in it twice, all in base64."""
    world.start_guard()
    got = await world.ask("alice", VOICE, device="<" * 255)
    assert got.status == 200
    assert got.sources == ["microphone"]


@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", None])
@pytest_twisted.ensureDeferred
async def test_upstream_breaking_off_is_a_502_with_cors(world: World, body: bytes | None) -> None:
    class Cut(Protocol):
        def dataReceived(self, data: bytes) -> None:
            if body:
                self.transport.write(body)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    factory = Factory.forProtocol(Cut)
    world.start_guard(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{world._listen(0, factory)}")
    got = await world.ask("alice", OPEN)
    assert got.status == 502
    assert got.headers[CORS] == "*"
    assert got.json()["errcode"] == "M_UNKNOWN"


# Inputs closed.

SPELLINGS = [
    *("/sfu/get", "/sfu/g%65t", "/sfu/get?x=1", "/%73fu/get", "/sfu/./get"),
    *("/sfu/get;", "/sfu/get?", "/sfu/get;?"),  # the HTTP client drops what is empty
]
TOKEN = '"openid_token":{"access_token":"openid-alice","matrix_server_name":"sandbox"}'
AMBIGUOUS = {
    "a key twice": f'{{"room":"{OPEN}","room":"{VOICE}",{TOKEN}}}',
    "a key in another case": f'{{"room":"{OPEN}","Room":"{VOICE}",{TOKEN}}}',
    "a key in another case alone": f'{{"ROOM":"{VOICE}",{TOKEN}}}',
    "a long s": f'{{"room":"{VOICE}","openid_token":{{"acce\u017fs_token":"openid-alice"}}}}',
    "trailing data": f'{{"room":"{VOICE}",{TOKEN}}} {{"room":"{OPEN}"}}',
    "half a character": f'{{"room":"{VOICE}","device_id":"\\ud800",{TOKEN}}}',
    "NaN": f'{{"room":"{VOICE}","delay_timeout":NaN,{TOKEN}}}',
    "depth": f'{{"room":"{VOICE}","x":{"[" * 40}{"]" * 40},{TOKEN}}}',
    "no object": "[]",
    "nothing": "",
    "no JSON": "room=x",
    "a byte order mark": f'\ufeff{{"room":"{VOICE}",{TOKEN}}}',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
@pytest_twisted.ensureDeferred
async def test_what_two_readers_could_read_differently_is_refused(
    world: World, body: str, spelling: str
) -> None:
    world.start_guard()
    got = await world.request("POST", spelling, body.encode("utf-8"))
    assert got.status == 400
    assert got.json()["errcode"] in ("M_BAD_JSON", "M_NOT_JSON")
    assert got.headers[CORS] == "*"


@pytest_twisted.ensureDeferred
async def test_broken_utf_8_and_utf_16_are_refused(world: World) -> None:
    world.start_guard()
    plain = token_request("alice", VOICE)
    for body in (plain.replace(b"PHONE", b"\xff\xfe"), plain.decode().encode("utf-16")):
        assert (await world.request("POST", "/sfu/get", body)).status == 400


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest_twisted.ensureDeferred
async def test_no_spelling_of_the_path_gets_around_a_policy(world: World, spelling: str) -> None:
    world.start_guard()
    got = await world.request("POST", spelling, token_request("alice", VOICE))
    assert got.status in (301, 307, 308, 404) or got.sources == ["microphone"]


ODD_TARGETS = [b"1http://x/sfu/get", b"x?://h/sfu/get", b"_://h/sfu/get", b"sfu/get", b"x:/sfu/get"]


@pytest.mark.parametrize("target", [*ODD_TARGETS, b"http://h/sfu/get", b"HTTPS://h/sfu/get;"])
@pytest_twisted.ensureDeferred
async def test_no_form_of_the_target_gets_around_the_strict_reading(
    world: World, target: bytes
) -> None:
    world.start_guard()
    body = AMBIGUOUS["a key twice"].encode()
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = await raw(world, head % (target, len(body)) + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Access-Control-Allow-Origin: *" in answer


async def raw(world: World, data: bytes) -> bytes:
    """Send bytes and give all that comes back."""
    done: Deferred[bytes] = Deferred()

    class Client(Protocol):
        received = b""

        def connectionMade(self) -> None:
            self.transport.write(data)  # type: ignore[union-attr]

        def dataReceived(self, more: bytes) -> None:
            self.received += more

        def connectionLost(self, reason: Any = None) -> None:
            done.callback(self.received)

    port = int(world.url.rpartition(":")[2])
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
    return await done


@pytest.mark.parametrize(
    ("raw_target", "wanted"),
    [
        (b"/sfu/get;", b"/sfu/get"),
        (b"/sfu/get?", b"/sfu/get"),
        (b"http://h/sfu/get;?", b"/sfu/get"),
        (b"/a;b=c?d#e", b"/a;b=c?d%23e"),
        (b"/\xff \x00", b"/%FF%20%00"),
        (b"http://h", b"/"),
    ],
)
def test_what_is_looked_at_is_what_goes_out(raw_target: bytes, wanted: bytes) -> None:
    assert Upstream(None, b"http://u", reactor).target_of(raw_target) == wanted  # type: ignore[arg-type]


@given(st.from_regex(rb"/?(/[a-zA-Z0-9_;.%]{0,4}){1,3}(\?[a-z0-9_=&;%]{0,6}){0,2}", fullmatch=True))
@example(b"/sfu/get?n=1")
def test_a_plain_target_goes_out_as_the_client_below_would_write_it(target: bytes) -> None:
    upstream = Upstream(None, b"http://u", reactor)  # type: ignore[arg-type]
    assert upstream.target_of(target) == URI.fromBytes(b"http://u" + target).originForm


@pytest_twisted.ensureDeferred
async def test_an_ambiguous_body_that_got_a_token_elsewhere_is_refused(world: World) -> None:
    issuer = world.sandbox.authorization.issuer
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    for body in ("a key twice", "trailing data", "a byte order mark"):
        got = await world.request("POST", "/unknown/path", AMBIGUOUS[body].encode())
        assert got.status == 400


@pytest_twisted.ensureDeferred
async def test_a_token_on_a_path_that_we_do_not_know_is_judged_by_what_is_in_it(
    world: World,
) -> None:
    issuer = world.sandbox.authorization.issuer
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    # The request's hash proves the room ...
    body = token_request("alice", VOICE)
    assert (await world.request("POST", "/unknown/path", body)).sources == ["microphone"]
    # ... and from then on no request is needed.
    assert (await world.request("GET", "/unknown/path")).sources == ["microphone"]


@pytest_twisted.ensureDeferred
async def test_an_alias_once_learnt_stays_bound_to_its_room(world: World) -> None:
    """Random aliases, as MSC4195 plans them: nobody talks a room's call away from its policy."""
    world.start_guard()
    world.sandbox.authorization.issuer.alias = lambda _room, _slot: "random-1"  # type: ignore[assignment,return-value]
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    assert (await world.ask("alice", OPEN)).sources == ["microphone"]


@pytest_twisted.ensureDeferred
async def test_who_asks_for_anothers_identity_gets_no_seat_by_it_and_takes_none(
    world: World,
) -> None:
    """`@x:sandbox` with the device `8448:D`, and `@x:sandbox:8448` with the device `D`."""
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    names = {"one": "@x:sandbox:8448", "other": "@x:sandbox"}
    world.sandbox.homeserver.openid.update({f"openid-{n}": u for n, u in names.items()})

    async def ask(name: str, device: str) -> Got:
        server = names[name].partition(":")[2].encode()
        body = token_request(name, TWO, device=device)
        body = body.replace(b'_name": "sandbox"', b'_name": "' + server + b'"')
        return await world.request("POST", "/sfu/get", body)

    world.sandbox.sfu.join((await ask("one", "D")).json()["jwt"])
    assert (await ask("other", "D")).status == 403
    assert (await ask("other", "8448:D")).status == 403
    assert (await ask("one", "NEW")).status == 200, "a rejoin passes"
    assert (await ask("other", "8448:NEW")).status == 403


@pytest_twisted.ensureDeferred
async def test_both_endpoints_give_the_same_verdict(world: World) -> None:
    world.start_guard()
    for endpoint in ("/sfu/get", "/get_token"):
        assert (await world.ask("alice", TWO, endpoint)).status == 200
        assert (await world.ask("bob", TWO, endpoint)).status == 200
    for endpoint in ("/sfu/get", "/get_token"):
        got = await world.ask("carol", TWO, endpoint)
        assert got.status == 403
        assert got.headers["Content-Type"] == "application/json"
        assert got.headers[CORS] == "*"
        decision = got.headers["Lotus-Guard-Decision"]
        assert got.headers["Access-Control-Expose-Headers"] == "Lotus-Guard-Decision"
        assert got.json()["io.lotus.decision"] == decision
        assert got.json()["error"] == (
            "This call is full: it is limited to 2 people, and 2 are in it or about to join. "
            f"Try again when someone has left. (Reference: {decision})"
        )
        assert got.json()["io.lotus.limit"] == {"max_users": 2, "users": 2}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("endpoint", ["/sfu/get", "/get_token"])
async def test_an_address_with_a_slash_at_its_end_works_and_is_judged(
    world: World, endpoint: str
) -> None:
    world.start_guard()
    body = token_request("alice", VOICE, endpoint)
    for spelling in (f"/{endpoint}", f"//{endpoint}?x=1"):
        got = await world.request("POST", spelling, body)
        assert (got.status, got.sources) == (200, ["microphone"])
    assert (await world.request("POST", f"/{endpoint}/", body)).status in (307, 404)
    twice = b'{"room":"a","room":"b"}'
    assert (await world.request("POST", f"/{endpoint}", twice)).status == 400


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "path", ["/get_token", "/sfu/get", "/delegate_delayed_leave", "/sfu_webhook", "/healthz"]
)
async def test_all_of_upstreams_paths_take_a_slash_before_them(world: World, path: str) -> None:
    """Whose base URL ends in a slash gets what everybody gets: the preflight and CORS as well."""
    world.start_guard()
    for method in ("OPTIONS", "POST", "GET", "HEAD"):
        wanted = await world.request(method, path, b"{}")
        for slashes in ("/", "//"):
            got = await world.request(method, slashes + path + "?x=1", b"{}")
            assert (got.status, got.body) == (wanted.status, wanted.body)
            allowed = "Access-Control-Allow-Origin"
            assert got.headers.get(allowed) == wanted.headers.get(allowed)
    assert (await world.request("POST", f"//x{path}", b"{}")).status in (307, 404)


@pytest_twisted.ensureDeferred
async def test_empty_slots_are_no_flood(world: World) -> None:
    world.start_guard()
    for number in range(70):
        await world.ask("alice", TWO, "/get_token", slot=f"slot{number}")
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_slot_is_the_clients_to_choose_and_opens_no_seat(world: World) -> None:
    world.start_guard()
    for number in range(30):
        name = ("alice", "bob")[number % 2]
        got = await world.ask(name, TWO, "/get_token", slot=f"slot{number}")
        assert got.status == 200
    assert (await world.ask("carol", TWO, "/get_token", slot="another")).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_people_in_all_the_slots_that_may_be_are_seen(world: World) -> None:
    world.start_guard()
    for number in range(MOST_SLOTS - 1):
        got = await world.ask("alice", TWO, "/get_token", slot=f"slot{number}")
        world.sandbox.sfu.join(got.json()["jwt"])
    assert (await world.ask("alice", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_no_user_opens_more_slots_than_can_be_looked_at(world: World) -> None:
    world.start_guard()
    for number in range(MOST_SLOTS - 1):
        got = await world.ask("alice", OPEN, "/get_token", slot=f"slot{number}")
        assert got.status == 200
    assert (await world.ask("alice", OPEN, "/get_token", slot="one too many")).status == 403
    assert (await world.ask("alice", OPEN, "/get_token", slot="slot1")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token", slot="m.call#room")).status == 200
    assert (await world.ask("bob", OPEN)).status == 200
    assert (await world.ask("alice", VOICE, "/get_token", slot="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_bound_that_is_only_observed_opens_no_other_rule(world: World) -> None:
    """Whoever has used up slots or devices is judged as anybody is, and nothing is remembered."""
    world.start_guard(LOTUS_GUARD_OBSERVE="limit")
    knowledge = world.guard.knowledge
    for number in range(MOST_SLOTS + 3):
        got = await world.ask("alice", VOICE, "/get_token", slot=f"slot{number}")
        assert (got.status, got.sources) == (200, ["microphone"]), number
    assert len(knowledge.aliases_of(RoomId(VOICE))) == MOST_SLOTS
    for number in range(MOST_IN_ROOM + 3):
        got = await world.ask("alice", VOICE, "/get_token", member=f"m-{number}")
        assert (got.status, got.sources) == (200, ["microphone"]), number
    assert world.fail_opens() == {}
    seen = {each.ruling.why for each in world.guard.overview.records.recent if each.observed}
    assert any("slots in use" in why for why in seen)
    assert any("too many devices" in why for why in seen)


@pytest_twisted.ensureDeferred
async def test_a_request_to_an_unknown_path_is_not_believed_without_proof(world: World) -> None:
    issuer = world.sandbox.authorization.issuer
    issuer.alias = lambda _room, _slot: Alias("random-1")
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    lie = token_request("alice", OPEN)
    assert (await world.request("POST", "/unknown/path", lie)).sources is None
    assert world.fail_opens()["sources", "unknown_room"] == 1.0
    # The lie has not bound the alias: at a token endpoint the room is still to be learnt.
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]


@pytest_twisted.ensureDeferred
async def test_a_slow_upstream_does_not_age_the_policy(world: World) -> None:
    """A client can hold upstream up for as long as his own homeserver likes."""
    world.start_guard(LOTUS_GUARD_POLICY_MAX_AGE="2")
    ask = world.sandbox.authorization._userinfo
    states = world.sandbox.homeserver

    async def slow(server: str, token: str) -> str:
        states.set_state(OPEN, SOURCES_EVENT, {"allow_camera": False})
        await wait(world, 2.2)
        return str(await ask(server, token))

    world.sandbox.authorization._userinfo = slow
    assert "camera" not in (await world.ask("alice", OPEN)).sources


async def wait(world: World, seconds: float) -> None:
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds, lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_rewritten_answer_keeps_every_other_byte(world: World) -> None:
    world.start_guard(LOTUS_GUARD_TOKEN_LIFE="0")
    plain = await world.ask("alice", VOICE, base=world.sandbox.addresses.authorization)
    ours = await world.ask("alice", VOICE)
    added = {"Lotus-Guard-Decision", "Access-Control-Expose-Headers"}
    assert ours.headers.keys() == plain.headers.keys() | added
    assert ours.body.replace(ours.json()["jwt"].encode(), b"") == plain.body.replace(
        plain.json()["jwt"].encode(), b""
    )
    before, after = plain.claims, ours.claims
    assert after["video"].pop("canPublishSources") == ["microphone"]
    for moving in ("iat", "nbf", "exp"):
        before.pop(moving), after.pop(moving)
    assert before == after


@pytest_twisted.ensureDeferred
async def test_a_client_who_goes_away_is_no_failure_of_upstreams(world: World) -> None:
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve())
    waiting = ensureDeferred(world.ask("alice", OPEN))
    await wait(world, 0.2)
    waiting.addErrback(lambda _failure: None)
    waiting.cancel()
    await wait(world, 0.2)
    (failures,) = world.guard.metrics.upstream_failures.collect()
    assert failures.samples == [], "whatever the reason"
    await world.guard.gate.drained()


@pytest_twisted.ensureDeferred
async def test_agents_and_recorders_are_nobody(world: World) -> None:
    world.start_guard()
    await world.ask("alice", TWO)
    (alias,) = world.sandbox.sfu.rooms
    people = world.sandbox.sfu.rooms[alias]
    token = (await world.ask("alice", TWO)).json()["jwt"]
    agent = world.sandbox.sfu.join(token)
    people["agent"] = type(agent)(identity="agent", kind=type(agent).Kind.AGENT, state=2)
    people["egress"] = type(agent)(identity="egress", kind=type(agent).Kind.EGRESS, state=2)
    await wait(world, 1.1)  # for the next look
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403


@pytest_twisted.ensureDeferred
async def test_a_token_of_another_secret_goes_out_untouched(world: World) -> None:
    world.start_guard()
    world.sandbox.authorization.issuer.secret = "another-secret-of-more-than-32-characters"
    got = await world.ask("alice", VOICE)
    assert got.sources is None
    assert world.fail_opens() == {("limit", "secret"): 1.0, ("sources", "secret"): 1.0}


def senseless(value: Any) -> Callable[[World], None]:
    return lambda world: world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": value})


@pytest.mark.parametrize("value", ["2", True, 0, -1, 2.0, None, [2]])
@pytest_twisted.ensureDeferred
async def test_a_senseless_limit_is_no_limit_and_is_complained_of(world: World, value: Any) -> None:
    world.start_guard()
    senseless(value)(world)
    for name in ("alice", "bob", "carol"):
        assert (await world.ask(name, TWO)).status == 200
    registry = world.guard.metrics.registry
    assert registry.get_sample_value("lotus_guard_policy_complaints_total") == 1.0


@pytest_twisted.ensureDeferred
async def test_no_user_hides_among_identities_of_their_own(world: World) -> None:
    world.start_guard()
    for number in range(MOST_IN_ROOM):
        got = await world.ask("alice", OPEN, "/get_token", member=f"m{number}")
        assert got.status == 200
    assert (await world.ask("alice", OPEN, "/get_token", member="one too many")).status == 403
    assert (await world.ask("alice", OPEN, device="ANOTHER")).status == 403
    assert (await world.ask("alice", OPEN, "/get_token", member="m1")).status == 200
    assert (await world.ask("alice", TWO, "/get_token", member="m1")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token")).status == 200
    assert world.fail_opens() == {}
