"""One request for a token: strictly read, judged by its answer, and otherwise as it was."""

import json

import pytest
import pytest_twisted

from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.rules import RULES
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from lotus_guard.web.languages import Languages
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.recorder import AMBIGUOUS, CORS, raw, recording, wait
from tests.world import World, http_answer, token_request


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


@pytest_twisted.ensureDeferred
async def test_broken_utf_8_and_utf_16_are_refused(world: World) -> None:
    world.start_guard()
    plain = token_request("alice", VOICE)
    for body in (plain.replace(b"PHONE", b"\xff\xfe"), plain.decode().encode("utf-16")):
        assert (await world.request("POST", "/sfu/get", body)).status == 400


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
            "This call is full: 2 people at most. Try again when a seat is free. "
            f"(Reference: {decision})"
        )
        assert got.json()["io.lotus.limit"] == {"max_users": 2, "users": 2}


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_in_the_language_of_who_asks_and_on_record_in_english(
    world: World,
) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(OPEN, LIMIT_EVENT, {"max_users": 1})
    assert (await world.ask("alice", OPEN)).status == 200
    body, german = token_request("bob", OPEN), {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
    got = await world.request("POST", "/sfu/get", body, german)
    decision = got.headers["Lotus-Guard-Decision"]
    assert got.json()["error"] == (
        "Dieser Anruf ist voll: höchstens 1 Person. "
        f"Versuche es noch einmal, sobald ein Platz frei ist. (Referenz: {decision})"
    )
    assert got.headers["Vary"] == "Accept-Language"
    got = await world.request("POST", "/sfu/get", b"{", german)
    assert got.json()["error"] == "Der Inhalt der Anfrage ist kein gültiges JSON."
    assert {each.ruling.why for each in world.guard.overview.records.recent} >= {
        "1 in the call or about to join, 1 allowed, this user not among them",
        "The request body is not valid JSON.",
    }


@pytest_twisted.ensureDeferred
async def test_an_operators_words_are_said(world: World) -> None:
    (world.directory / "words").mkdir()
    (world.directory / "words" / "pl.json").write_text('{"body_not_json": "To nie JSON."}')
    world.start_guard(LOTUS_GUARD_WORDS=str(world.directory / "words"))
    for language, told in (("pl", "To nie JSON."), ("de", "Der Inhalt der Anfrage")):
        got = await world.request("POST", "/sfu/get", b"{", {"Accept-Language": language})
        assert got.json()["error"].startswith(told)
    page = await world.request("GET", "/", headers={"Accept-Language": "pl-PL"})
    assert b'<html lang="pl">' in page.body


@pytest_twisted.ensureDeferred
async def test_no_language_is_chosen_for_a_token_that_goes_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start_guard()
    asked = list[object]()
    monkeypatch.setattr(Languages, "of", lambda _self, request: asked.append(request))
    for room in (OPEN, VOICE, TWO):
        body = token_request("alice", room)
        got = await world.request("POST", "/sfu/get", body, {"Accept-Language": "de"})
        assert got.status == 200
    assert asked == []


@pytest_twisted.ensureDeferred
async def test_a_request_to_an_unknown_path_is_not_believed_without_proof(world: World) -> None:
    issuer = world.sandbox.authorization.issuer
    issuer.livekit_room = lambda _room, _slot: LiveKitRoom("random-1")
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    lie = token_request("alice", OPEN)
    assert (await world.request("POST", "/unknown/path", lie)).sources is None
    assert world.fail_opens()["sources", "unknown_room"] == 1.0
    # The lie has not bound the alias: at a token endpoint the room is still to be learnt.
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]


@pytest_twisted.ensureDeferred
async def test_a_slow_upstream_does_not_age_the_policy(world: World) -> None:
    """A client can hold upstream up for as long as their own homeserver likes."""
    world.start_guard(LOTUS_GUARD_POLICY_MAX_AGE="2")
    ask = world.sandbox.authorization.userinfo
    states = world.sandbox.homeserver

    async def slow(server: str, token: str) -> str:
        states.set_state(OPEN, SOURCES_EVENT, {"allow_camera": False})
        await wait(world, 2.2)
        return str(await ask(server, token))

    world.sandbox.authorization.userinfo = slow
    assert "camera" not in (await world.ask("alice", OPEN)).sources


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
async def test_a_token_of_another_secret_goes_out_untouched(world: World) -> None:
    world.start_guard()
    world.sandbox.authorization.issuer.secret = "another-secret-of-more-than-32-characters"
    got = await world.ask("alice", VOICE)
    assert got.sources is None
    assert world.fail_opens() == {
        (rule.name, "secret"): 1.0 for rule in RULES if rule.judges_tokens
    }
