"""Decisions on record: in the answer, the log, the state file, on the operators' port."""

import json
import sqlite3
import time
from typing import Any

import pytest
import pytest_twisted
from livekit.protocol import models as lk_models

from lotus_guard.rules import RULES
from lotus_guard.rules.decision import Decision, from_json
from lotus_guard.rules.rulings import replay
from lotus_guard.sandbox.stack import ADMIN_TOKEN, OPEN, SECRET, TWO, VOICE
from tests.calls import NO_CAMERA, fill, full_room_and_a_drawer, join, last, people, sources
from tests.events import JUDGING, SOURCES_EVENT
from tests.world import FAST, World, http_answer, token_request

HEADER = "Lotus-Guard-Decision"


def deeds(world: World) -> list[tuple[str, str, bool]]:
    return [
        (each.ruling.deed, each.ruling.rule, each.observed)
        for each in world.guard.overview.records.recent
    ]


async def decisions(world: World, **wanted: str) -> list[Decision]:
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    got = await world.request("GET", f"/decisions?{query}", base=world.operators)
    return [from_json(each) for each in got.json()["decisions"]]


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_on_record_with_its_inputs(world: World) -> None:
    world.start_guard()
    got = await fill(world)
    (refusal,) = await decisions(world, user="@carol:sandbox", room=TWO)
    assert refusal.id == got.headers[HEADER]
    assert refusal.ruling.inputs == {"max_users": 2, "taken": 2, "is_seated": False}
    assert refusal.ruling.people == ("@alice:sandbox", "@bob:sandbox")
    assert replay(refusal.ruling, RULES) == refusal.ruling.verdict == "refused"
    assert abs(refusal.at - time.time()) < 60
    assert await decisions(world, id=refusal.id) == [refusal]
    assert await decisions(world, id="aaaaaaaa") == await decisions(world, id="a' OR 1=1") == []


@pytest_twisted.ensureDeferred
async def test_a_reference_from_before_a_restart_still_leads_to_its_decision(world: World) -> None:
    world.start_guard()
    reference = (await fill(world)).headers[HEADER]
    await world.guard.memory.cluster.store.close()
    world.start_guard()
    assert not world.guard.overview.records.recent
    (found,) = await decisions(world, id=reference)
    assert (found.id, found.ruling.room) == (reference, TWO)


@pytest_twisted.ensureDeferred
async def test_a_changed_token_names_its_decision_and_an_unchanged_one_none(world: World) -> None:
    world.start_guard()
    got = await world.ask("alice", VOICE)
    assert got.headers[HEADER] == last(world).id
    assert got.headers["Access-Control-Expose-Headers"] == HEADER
    assert last(world).ruling.verdict == "may publish microphone, valid for 300 s"
    plain = await world.ask("alice", OPEN)
    assert HEADER not in plain.headers
    assert "Access-Control-Expose-Headers" not in plain.headers


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
async def test_an_ordinary_join_is_on_record_and_in_the_log_for_debugging_only(
    world: World, level: str, lines: int, logged: list[Any]
) -> None:
    world.start_guard(LOTUS_GUARD_LOG_LEVEL=level)
    assert (await world.ask("alice", TWO)).status == 200
    assert last(world).ruling.verdict == "may publish everything, valid for 300 s"
    assert len([each for each in logged if "decision" in each]) == lines


@pytest_twisted.ensureDeferred
async def test_what_upstream_exposes_stays_exposed(world: World) -> None:
    made = await world.ask("alice", VOICE, base=world.sandbox.addresses.authorization)
    answer = http_answer(made.body).replace(
        b"\r\n\r\n", b"\r\nAccess-Control-Expose-Headers: X-Own\r\n\r\n", 1
    )
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve(answer))
    got = await world.ask("alice", VOICE)
    assert got.headers["Access-Control-Expose-Headers"] == f"X-Own, {HEADER}"


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_closed_out_is_on_record_without_its_body(world: World) -> None:
    world.start_guard()
    got = await world.request("POST", "/sfu/get", b'{"room":"!secret:s","room":"!open:sandbox"}')
    assert got.status == 400
    assert got.headers[HEADER] == last(world).id
    assert "!secret:s" not in json.dumps(last(world).as_json())
    long = await world.request("POST", "/sfu/get", b"x" * 70_000)
    assert (long.status, long.headers[HEADER]) == (413, last(world).id)


@pytest_twisted.ensureDeferred
async def test_a_fail_open_is_on_record_and_its_answer_is_upstreams(world: World) -> None:
    world.start_guard(LOTUS_GUARD_SYNAPSE_URL=world.serve(abort=True))
    got = await world.ask("alice", VOICE)
    assert HEADER not in got.headers
    found = await decisions(world, user="@alice:sandbox", room=VOICE)
    assert {each.ruling.rule for each in found} == {rule.name for rule in JUDGING}
    assert {each.ruling.deed for each in found} == {"fail_open"}
    assert all(each.ruling.inputs["reason"] == "reset" for each in found)


@pytest_twisted.ensureDeferred
async def test_a_live_step_is_on_record_once_though_it_is_tried_again(world: World) -> None:
    world.start_guard()
    await join(world, "alice", OPEN)
    await world.guard.live.run_pass()
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    step = last(world).ruling
    assert (step.deed, step.user) == ("step", "@alice:sandbox")
    assert step.verdict.startswith("narrowed: may publish microphone")
    assert replay(step, RULES) == step.verdict
    for info in world.sandbox.sfu.rooms.values():  # it has no effect: somebody gives them back
        for person in info.values():
            del person.permission.can_publish_sources[:]
    before = len(world.guard.overview.records.recent)
    await world.guard.live.run_pass()
    assert len(world.guard.overview.records.recent) == before


@pytest_twisted.ensureDeferred
async def test_decisions_outlive_the_guard(world: World) -> None:
    world.start_guard()
    refused = (await fill(world)).headers[HEADER]
    await world.guard.memory.cluster.store.close()
    world.start_guard()
    assert [each.id for each in await decisions(world, user="@carol:sandbox")] == [refused]
    assert await decisions(world, user="@carol:sandbox", room=OPEN) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("setting", ["hash", "no"])
async def test_users_are_nowhere_where_the_operator_does_not_want_them(
    world: World, setting: str, logged: list[Any]
) -> None:
    world.start_guard(LOTUS_GUARD_LOG_USERS=setting)
    drawer = await full_room_and_a_drawer(world)
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert (await world.ask("bob", TWO)).status == 403
    await world.ask("alice", VOICE)
    pages = [
        await world.request("GET", page, base=world.operators) for page in ("/rooms", "/decisions")
    ]
    await world.guard.memory.cluster.store.close()
    rows = sqlite3.connect(world.directory / "state.sqlite").execute("SELECT * FROM decision")
    told = f"{[page.body for page in pages]}{rows.fetchall()}{[str(event) for event in logged]}"
    assert len(deeds(world)) > 2
    assert "put out of the call" in told
    for name in ("alice", "bob", "carol", "sandbox:PHONE"):
        assert f"@{name}" not in told
    assert ("u:" in told) == (setting == "hash")


@pytest_twisted.ensureDeferred
async def test_a_hashed_user_is_found_by_who_knows_their_name(world: World) -> None:
    world.start_guard(LOTUS_GUARD_LOG_USERS="hash")
    await fill(world)
    (refusal,) = await decisions(world, user="@carol:sandbox")
    assert (refusal.ruling.user or "").startswith("u:")
    assert await decisions(world, user="@dave:sandbox") == []


@pytest_twisted.ensureDeferred
async def test_no_secret_reaches_log_records_metrics_or_pages(
    world: World, logged: list[Any]
) -> None:
    world.start_guard(**FAST, LOTUS_GUARD_PUSH_SECRET="the-push-secret-itself")
    tokens = [json.loads((await world.ask(name, VOICE)).body)["jwt"] for name in ("alice", "bob")]
    await fill(world)
    world.sandbox.homeserver.accounts.clear()  # the admin's token is not known any more
    await world.ask("dave", VOICE)
    await world.request(
        "POST", "/policy", b"{}", {"Lotus-Guard-Signature": "x"}, base=world.operators
    )
    pages = [
        (await world.request("GET", page, base=world.operators)).body.decode()
        for page in ("/metrics", "/readyz", "/rooms", "/decisions")
    ]
    await world.guard.memory.cluster.store.close()
    rows = sqlite3.connect(world.directory / "state.sqlite").execute("SELECT * FROM decision")
    told = f"{pages}{rows.fetchall()}{[str(event) for event in logged]}"
    assert "fail_open" in told
    secrets = (SECRET, ADMIN_TOKEN, "the-push-secret-itself", "openid-", *tokens)
    assert [secret for secret in secrets if secret in told] == []


# --- dry run -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_observing_changes_nothing_at_all(world: World) -> None:
    world.start_guard(LOTUS_GUARD_MODE="observe")
    third = await fill(world)
    voice = await world.ask("alice", VOICE)
    for got in (third, voice):
        assert got.status == 200
        assert HEADER not in got.headers
        assert got.sources is None
        assert got.claims["exp"] - got.claims["nbf"] == 3600
    twice = b'{"room":"!two:sandbox",' + token_request("dave", OPEN)[1:]
    ours = await world.request("POST", "/sfu/get", twice)
    assert (ours.status, HEADER in ours.headers) == (200, False)
    await join(world, "alice", VOICE)
    await world.guard.live.run_pass()
    assert len(people(world, VOICE)) == 1
    seen = [deed for deed in deeds(world) if deed[0] != "fail_open"]
    assert all(observed for _, _, observed in seen)
    assert {("refused", "limit", True), ("refused", "request", True)} <= set(seen)
    assert {("changed", "sources", True), ("changed", "limit", True)} <= set(seen)


@pytest_twisted.ensureDeferred
async def test_an_observing_loop_plans_and_records_and_lets_be(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="live")
    drawer = await full_room_and_a_drawer(world)
    world.sandbox.sfu.join(drawer)
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    changes = world.sandbox.sfu.changes
    await world.guard.live.run_pass()
    assert world.sandbox.sfu.changes == changes
    assert len(people(world, TWO)) == 2
    steps = [each for each in world.guard.overview.records.recent if each.ruling.deed == "step"]
    assert {each.ruling.verdict for each in steps if each.observed} >= {"put out of the call"}
    assert len(steps) == 2
    assert (await world.ask("bob", TWO)).status == 403, "the token path is enforced"


@pytest_twisted.ensureDeferred
async def test_an_observed_limit_lets_people_in_and_nobody_is_put_out_later(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="limit")
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    for name in ("alice", "bob", "carol"):
        info = await join(world, name, TWO)
        assert lk_models.TrackSource.CAMERA not in sources(info), "the sources are enforced"
        assert sources(info)
        await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 3
    assert deeds(world).count(("refused", "limit", True)) == 1


@pytest_twisted.ensureDeferred
async def test_observed_sources_are_left_in_tokens_and_calls(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="sources")
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    info = await join(world, "alice", TWO)
    await join(world, "bob", TWO)
    await world.guard.live.run_pass()
    assert sources(info) == []
    assert (await world.ask("carol", TWO)).status == 403, "the limit is enforced"
    assert ("changed", "sources", True) in deeds(world)
    assert ("step", "sources", True) in deeds(world)


@pytest_twisted.ensureDeferred
async def test_what_is_observed_is_counted_apart(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="limit")
    await fill(world)
    registry = world.guard.metrics.registry
    labels = {"kind": "refused", "rule": "limit"}
    assert registry.get_sample_value("lotus_guard_observed_total", labels) == 1
    assert not registry.get_sample_value("lotus_guard_refused_total", {"rule": "limit"})
