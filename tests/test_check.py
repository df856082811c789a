"""`lotus-guard check` on a working stack, and on stacks that are broken in one thing each."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from lotus_guard.check.finding import Level
from lotus_guard.core.model import LiveKitRoom
from lotus_guard.enforce.hints import CLOCKS
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.stack import KEY, SECRET
from tests.check_yard import OUTSIDE, PUBLIC, Proxy, Yard, port_of
from tests.real.processes import free_port
from tests.world import World, http_answer

Break = Callable[[Yard], None]
OTHER_SECRET = "another-secret-for-tests-of-32-bytes-or-more"


@pytest.fixture
def yard(world: World, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(world, tmp_path)
    yield made
    pytest_twisted.blockon(pytest_twisted.defer.ensureDeferred(made.stop()))


@ensureDeferred
async def test_all_is_well_where_it_is_and_nothing_is_left_behind(yard: Yard) -> None:
    state = Path(yard.environment["LOTUS_GUARD_STATE"])
    before = sorted(path.name for path in state.parent.iterdir())
    found = await yard.check()
    assert {name: f for name, f in found.items() if f.level is not Level.OK} == {}
    assert set(found) == {
        "environment",
        "operators-port-exposed",
        "secret-files",
        "state-file",
        "one-guard",
        "upstream",
        "upstream-exposed",
        "livekit",
        "livekit-key",
        "auto-create",
        "synapse",
        "synapse-token",
        "synapse-filter",
        "clocks",
        "guard",
        "operators-port",
        "pushes",
        "webhooks",
        "public-route",
        "public-prefix",
        "public-endpoints",
        "public-slashes",
        "public-cors",
        "public-client",
        "user",
        "upstream-key",
    }
    assert len(yard.names) == 3, "a room to ask for, one to hear of, one to get a token for"
    assert yard.world.sandbox.sfu.rooms == {}
    assert sorted(path.name for path in state.parent.iterdir()) == before


# What breaks, and what is to be seen of it: one finding, with these words.


def nobody_upstream(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_UPSTREAM"] = f"http://127.0.0.1:{free_port()}"


def upstream_is_down_for_the_guard_too(yard: Yard) -> None:
    nobody_upstream(yard)
    upstream = yard.environment["LOTUS_GUARD_UPSTREAM"]
    yard.world.start_guard(LOTUS_GUARD_UPSTREAM=upstream)
    yard.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{port_of(yard.world.url)}"
    yard.public.target = yard.world.url


def upstream_is_the_guard(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_UPSTREAM"] = yard.world.url


def upstream_is_the_proxy(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_UPSTREAM"] = yard.public_url


def upstream_is_something_else(yard: Yard) -> None:
    yard.before("LOTUS_GUARD_UPSTREAM").page = (200, b"<html>welcome</html>")
    yard.user_token = ""


def upstream_is_open(yard: Yard) -> None:
    authorization = AuthorizationApp(yard.world.sandbox.authorization).resource()
    yard.serve(authorization, OUTSIDE, port_of(yard.environment["LOTUS_GUARD_UPSTREAM"]))


def upstream_is_open_at_the_public_host(yard: Yard) -> None:
    authorization = AuthorizationApp(yard.world.sandbox.authorization).resource()
    yard.serve(authorization, PUBLIC, port_of(yard.environment["LOTUS_GUARD_UPSTREAM"]))


def livekit_has_another_secret(yard: Yard) -> None:
    yard.world.sandbox.sfu.secret = OTHER_SECRET
    yard.user_token = ""  # else upstream's finding, whose secret is another as well, comes too


def upstream_has_another_secret(yard: Yard) -> None:
    yard.world.sandbox.authorization.issuer.secret = OTHER_SECRET


def upstream_has_another_key(yard: Yard) -> None:
    yard.world.sandbox.authorization.issuer.key = "another"


def upstream_makes_no_room(yard: Yard) -> None:
    async def refuse(_name: str) -> None:
        raise RuntimeError("401")

    yard.world.sandbox.authorization.create_room = refuse


def the_user_is_unknown(yard: Yard) -> None:
    yard.user_token = "nobody"


def livekit_is_a_proxy(yard: Yard) -> None:
    proxy = yard.before("LOTUS_GUARD_LIVEKIT_URL")
    proxy.only = ("/rtc", "/rtc/validate")


def livekit_wants_a_password(yard: Yard) -> None:
    class Asking(Proxy):
        def _finish(self, request: Any, status: int, headers: Any, body: bytes) -> None:
            super()._finish(request, 401, {b"WWW-Authenticate": [b"Basic"]}, b"")

    url = yard.environment["LOTUS_GUARD_LIVEKIT_URL"]
    yard.environment["LOTUS_GUARD_LIVEKIT_URL"] = yard.serve(Asking(url))


def livekit_is_refused(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_LIVEKIT_URL"] = f"ws://127.0.0.1:{free_port()}"


def livekit_has_no_tls(yard: Yard) -> None:
    url = yard.world.serve(http_answer(b"", "400 Bad Request"))
    yard.environment["LOTUS_GUARD_LIVEKIT_URL"] = url.replace("http://", "wss://")


def livekit_makes_rooms(yard: Yard) -> None:
    yard.world.sandbox.sfu.auto_create = True


def synapse_is_refused(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_SYNAPSE_URL"] = f"http://127.0.0.1:{free_port()}"


def synapse_has_no_admin_api(yard: Yard) -> None:
    proxy = yard.before("LOTUS_GUARD_SYNAPSE_URL")
    proxy.only = ("/_matrix/client/versions", "/_matrix/client/v3/account/whoami")
    yard.user_token = ""


def token_is_unknown(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_SYNAPSE_TOKEN"] = "expired"


def token_is_no_admins(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_SYNAPSE_TOKEN"] = "bob"


def synapse_is_old(yard: Yard) -> None:
    yard.world.sandbox.homeserver.ignores_type = True
    yard.world.sandbox.homeserver.version = "1.122.0"


def synapse_is_old_and_empty(yard: Yard) -> None:
    yard.world.sandbox.homeserver.rooms.clear()
    yard.world.sandbox.homeserver.version = "1.99.0 (b=x,1234)"


def synapse_is_ahead(yard: Yard) -> None:
    yard.before("LOTUS_GUARD_SYNAPSE_URL").skew = 40.0


def livekit_is_behind(yard: Yard) -> None:
    yard.before("LOTUS_GUARD_LIVEKIT_URL").skew = -40.0


def livekit_is_an_hour_ahead(yard: Yard) -> None:
    """So far that it refuses tokens: the key is right all the same."""
    yard.before("LOTUS_GUARD_LIVEKIT_URL").skew = 3600.0
    yard.world.sandbox.sfu.epoch = lambda: time.time() + 3600.0
    yard.user_token = ""


def no_webhooks(yard: Yard) -> None:
    yard.post_webhooks()


def webhooks_to_upstream(yard: Yard) -> None:
    url = f"{yard.environment['LOTUS_GUARD_UPSTREAM']}/sfu_webhook"
    yard.post_webhooks(url)
    livekit_yaml(yard, urls=[url])


def webhooks_nowhere(yard: Yard) -> None:
    yard.post_webhooks()
    livekit_yaml(yard, urls=[])


def webhooks_do_not_arrive(yard: Yard) -> None:
    yard.post_webhooks()
    livekit_yaml(yard, urls=[f"http://guard:{port_of(yard.world.url)}/sfu_webhook"])


def webhooks_with_another_key(yard: Yard) -> None:
    yard.post_webhooks(f"{yard.admin}/webhook", key="another", secret=OTHER_SECRET)


def the_file_has_another_secret(yard: Yard) -> None:
    livekit_yaml(yard, keys={KEY: OTHER_SECRET})


def the_file_is_missing(yard: Yard) -> None:
    yard.livekit_config = yard.directory / "nothing.yaml"


def the_proxy_goes_past(yard: Yard) -> None:
    yard.public.target = yard.environment["LOTUS_GUARD_UPSTREAM"]


def the_proxy_goes_elsewhere(yard: Yard) -> None:
    yard.public.page = (200, b"<html>\x1b]0;welcome\x07</html>")


def the_proxy_is_gone(yard: Yard) -> None:
    yard.public_url = f"http://{PUBLIC}:{free_port()}"


def the_prefix_stays(yard: Yard) -> None:
    yard.public.strips = False


def the_proxy_names_nobody(yard: Yard) -> None:
    yard.public.names = ()


def the_proxy_names_nobody_and_strips(yard: Yard) -> None:
    yard.public.names = ()
    yard.public.hides = True


def two_proxies_disagree(yard: Yard) -> None:
    yard.public.outer = "198.51.100.7"


def slashes_are_redirected(yard: Yard) -> None:
    yard.public.redirects_slashes = True


def slashes_reach_the_guard(yard: Yard) -> None:
    yard.public.merges = False


def only_get_token(yard: Yard) -> None:
    yard.public.only = ("/get_token", "/delegate_delayed_leave")


def only_sfu_get(yard: Yard) -> None:
    yard.public.only = ("/sfu/get", "/delegate_delayed_leave")


def cors_is_lost(yard: Yard) -> None:
    yard.public.cors = lambda _request, _status, _values: []


def cors_is_lost_on_refusals(yard: Yard) -> None:
    """As with nginx's add_header without `always`."""
    yard.public.cors = lambda _request, status, values: values if status < 300 else []


def cors_is_lost_on_options(yard: Yard) -> None:
    yard.public.cors = lambda request, _status, values: (
        [] if request.method == b"OPTIONS" else values
    )


def cors_is_doubled(yard: Yard) -> None:
    yard.public.cors = lambda request, _status, values: (
        values if request.method == b"OPTIONS" else ["*", *values]
    )


def cors_is_doubled_on_options(yard: Yard) -> None:
    yard.public.cors = lambda request, _status, values: (
        ["*, *"] if request.method == b"OPTIONS" else values
    )


def cors_is_for_others(yard: Yard) -> None:
    yard.public.cors = lambda _request, _status, _values: ["https://call.example.org"]


def state_is_a_directory(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_STATE"] = str(yard.directory)


def state_has_no_directory(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_STATE"] = str(yard.directory / "no" / "state.sqlite")


def state_lies_under_a_file(yard: Yard) -> None:
    (yard.directory / "file").write_text("")
    yard.environment["LOTUS_GUARD_STATE"] = str(yard.directory / "file" / "state.sqlite")


def state_is_no_database(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_STATE"] = str(yard.directory / "notes")
    (yard.directory / "notes").write_text("milk, bread, and more than sixteen bytes")


def pushes_are_refused(yard: Yard) -> None:
    yard.operators.pushes = {"taken": 0, "refused": 7, "refused_age": 4.0}
    yard.operators.states["pushes"]["age"] = None


def pushes_are_refused_of_late(yard: Yard) -> None:
    yard.operators.pushes = {"taken": 9, "refused": 7, "refused_age": 4.0}
    yard.operators.states["pushes"]["age"] = 3000.0


def pushes_without_our_secret(yard: Yard) -> None:
    pushes_are_refused(yard)
    del yard.environment["LOTUS_GUARD_PUSH_SECRET"]


def two_guards(yard: Yard) -> None:
    yard.beat("two", time.time() - 140.0)


def no_guard(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{free_port()}"


def another_program(yard: Yard) -> None:
    port = port_of(yard.environment["LOTUS_GUARD_SYNAPSE_URL"])
    yard.environment["LOTUS_GUARD_LISTEN"] = f"tcp:{port}"


def an_older_guard(yard: Yard) -> None:
    yard.operators.is_old = True


def the_store_is_ill(yard: Yard) -> None:
    yard.operators.states["store"] |= {"state": "trouble", "detail": "disk full \x1b[2J"}


def livekit_is_out(yard: Yard) -> None:
    yard.operators.states["livekit"] = trouble("livekit", "timeout: our own deadline")


def the_clock_is_off(yard: Yard) -> None:
    said = "this machine's clock is 600 s ahead of LiveKit's"
    yard.operators.states["clock"] = trouble("clock", said)


def trouble(name: str, detail: str) -> dict[str, object]:
    return {"name": name, "state": "trouble", "age": None, "detail": detail}


def pushes_come_at_another_time(yard: Yard) -> None:
    yard.operators.pushes = {"taken": 0, "refused": 3, "refused_age": 1.0}
    yard.operators.states["pushes"] = trouble("pushes", f"the last one was late: {CLOCKS}")


def operators_port_is_open(yard: Yard) -> None:
    listen = yard.environment["LOTUS_GUARD_ADMIN_LISTEN"]
    yard.environment["LOTUS_GUARD_ADMIN_LISTEN"] = listen.partition(":interface")[0]


def secrets_are_for_all(yard: Yard) -> None:
    Path(yard.environment["LIVEKIT_SECRET_FROM_FILE"]).chmod(0o644)


def no_admin_token(yard: Yard) -> None:
    del yard.environment["LOTUS_GUARD_SYNAPSE_TOKEN"]


def livekit_yaml(yard: Yard, urls: Any = (), keys: Any = None, **room: Any) -> None:
    """Write LiveKit's configuration, as far as the check reads it."""
    yard.livekit_config = yard.directory / "livekit.yaml"
    fields = {
        "keys": keys or {KEY: SECRET},
        "room": {"auto_create": False, **room},
        "webhook": {"api_key": KEY, "urls": list(urls)},
    }
    yard.livekit_config.write_text(json.dumps(fields))


W, F = Level.WARNING, Level.FAULT
BREAKS: list[tuple[Break, str, Level, str]] = [
    (nobody_upstream, "upstream", F, "LOTUS_GUARD_UPSTREAM=http://127.0.0.1:8071"),
    (upstream_is_down_for_the_guard_too, "upstream", F, "refused"),
    (upstream_is_the_guard, "environment", F, "itself"),
    (upstream_is_the_proxy, "upstream", F, "a guard answers"),
    (upstream_is_something_else, "upstream", F, "200 text/html"),
    (upstream_is_open, "upstream-exposed", F, "LIVEKIT_JWT_BIND=127.0.0.1:8071"),
    (upstream_is_open_at_the_public_host, "upstream-exposed", F, PUBLIC),
    (livekit_has_another_secret, "livekit-key", F, "LIVEKIT_SECRET"),
    (upstream_has_another_secret, "upstream-key", F, "another key or secret"),
    (upstream_has_another_key, "upstream-key", F, "another key or secret"),
    (upstream_makes_no_room, "upstream-key", F, "500 M_UNKNOWN"),
    (the_user_is_unknown, "user", W, "--as-user"),
    (livekit_is_a_proxy, "livekit", F, "LOTUS_GUARD_LIVEKIT_URL=http://127.0.0.1:7880"),
    (livekit_wants_a_password, "livekit", F, "LOTUS_GUARD_LIVEKIT_URL=http://127.0.0.1:7880"),
    (livekit_is_refused, "livekit", F, "refused"),
    (livekit_has_no_tls, "livekit", F, "TLS"),
    (livekit_makes_rooms, "auto-create", W, "room: {auto_create: false}"),
    (synapse_is_refused, "synapse", F, "LOTUS_GUARD_SYNAPSE_URL=http://127.0.0.1:8008"),
    (synapse_has_no_admin_api, "synapse", F, "no admin API"),
    (token_is_unknown, "synapse-token", F, "M_UNKNOWN_TOKEN"),
    (token_is_no_admins, "synapse-token", F, "M_FORBIDDEN"),
    (synapse_is_old, "synapse-filter", W, "1.122.0"),
    (synapse_is_old_and_empty, "synapse-filter", W, "1.99.0"),
    (synapse_is_ahead, "clocks", W, "Synapse is 4"),
    (livekit_is_behind, "clocks", W, "of LiveKit"),
    (livekit_is_an_hour_ahead, "clocks", W, "LiveKit is 36"),
    (no_webhooks, "webhooks", W, "webhook: {urls: [http://127.0.0.1:"),
    (webhooks_to_upstream, "webhooks", W, "past the guard"),
    (webhooks_nowhere, "webhooks", W, "wired nowhere"),
    (webhooks_do_not_arrive, "webhooks", W, "does not reach it"),
    (webhooks_with_another_key, "webhooks", F, "another key"),
    (the_file_has_another_secret, "livekit-config", F, "another secret"),
    (the_file_is_missing, "livekit-config", W, "No such file"),
    (the_proxy_goes_past, "public-route", F, "past the guard"),
    (the_proxy_goes_elsewhere, "public-route", F, "200 text/html"),
    (the_proxy_is_gone, "public-route", F, "refused"),
    (the_prefix_stays, "public-prefix", F, "/livekit/jwt/get_token"),
    (slashes_are_redirected, "public-slashes", W, "301"),
    (only_get_token, "public-endpoints", F, "/sfu/get does not"),
    (only_sfu_get, "public-endpoints", F, "/get_token does not"),
    (the_proxy_names_nobody, "public-client", W, "can pass for any other"),
    (the_proxy_names_nobody_and_strips, "public-client", W, "does not say for whom"),
    (two_proxies_disagree, "public-client", W, "differ"),
    (cors_is_lost, "public-cors", F, "an answer to POST has no"),
    (cors_is_lost_on_refusals, "public-cors", F, "a refusal has no"),
    (cors_is_lost_on_options, "public-cors", F, "an answer to OPTIONS has no"),
    (cors_is_doubled, "public-cors", F, "2 times"),
    (cors_is_doubled_on_options, "public-cors", F, "OPTIONS has Access-Control-Allow-Origin 2"),
    (cors_is_for_others, "public-cors", F, "for https://call.example.org only"),
    (state_is_a_directory, "state-file", F, "is a directory"),
    (state_has_no_directory, "state-file", F, "is missing"),
    (state_lies_under_a_file, "state-file", F, "is no directory"),
    (state_is_no_database, "state-file", F, "no SQLite file"),
    (pushes_are_refused, "pushes", F, "another secret"),
    (pushes_are_refused_of_late, "pushes", F, "7 refused"),
    (pushes_without_our_secret, "pushes", F, "is not set"),
    (two_guards, "one-guard", F, "2 guards"),
    (no_guard, "guard", F, "does not run"),
    (another_program, "guard", F, "no guard with our secret"),
    (an_older_guard, "operators-port", W, "older guard"),
    (the_store_is_ill, "operators-port", W, "disk full \\x1b[2J"),
    (livekit_is_out, "operators-port", W, "LiveKit: timeout"),
    (the_clock_is_off, "operators-port", W, "the clock: this machine's clock is 600 s ahead"),
    (pushes_come_at_another_time, "pushes", F, "chrony"),
    (operators_port_is_open, "operators-port-exposed", W, "interface=127.0.0.1"),
    (secrets_are_for_all, "secret-files", W, "chmod o="),
    (no_admin_token, "environment", F, "LOTUS_GUARD_SYNAPSE_TOKEN: not set"),
]


@ensureDeferred
async def test_slashes_that_reach_the_guard_are_served(yard: Yard) -> None:
    slashes_reach_the_guard(yard)
    found = await yard.check()
    assert found["public-slashes"].level is Level.OK


@pytest.mark.parametrize(
    ("breaks", "name", "level", "words"), BREAKS, ids=[each[0].__name__ for each in BREAKS]
)
@ensureDeferred
async def test_what_is_broken_is_what_is_found(
    yard: Yard, breaks: Break, name: str, level: Level, words: str
) -> None:
    breaks(yard)
    found = await yard.check()
    bad = {f.name: f.level for f in found.values() if f.level in (W, F)}
    assert bad == {name: level}, found
    finding = found[name]
    assert words in f"{finding.seen} {finding.wanted}"
    assert finding.wanted, "it says what to change"
    assert yard.world.sandbox.sfu.rooms == {} or name in ("livekit", "user")


@ensureDeferred
async def test_a_neighbour_that_hangs_keeps_nothing_from_the_others(yard: Yard) -> None:
    yard.environment["LOTUS_GUARD_SYNAPSE_URL"] = yard.world.serve()
    begun = time.monotonic()
    found = await yard.check()
    bad = {f.name: f.level for f in found.values() if f.level in (W, F)}
    assert bad == {"synapse": F}
    assert "no answer in time" in found["synapse"].seen
    assert time.monotonic() - begun < 15.0


@ensureDeferred
async def test_a_homeserver_of_the_users_that_hangs_is_named(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lk-jwt-service asks it while the check waits."""
    monkeypatch.setattr("lotus_guard.check.user.SECONDS", 0.3)

    async def hang(_name: str) -> None:
        await Deferred()

    yard.world.sandbox.authorization.create_room = hang
    found = await yard.check()
    assert found["upstream-key"].level is F
    assert "within 0.3 s: it asks the user's homeserver" in found["upstream-key"].seen
    assert "by federation" in found["upstream-key"].wanted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>welcome</html>"),
        (200, b'{"user_id": 5}'),
        (200, b'{"user_id": "@a\\ud800:s"}'),
        (200, b'{"user_id": "' + b"x" * 100_000 + b'"}'),
        (500, b"{"),
        (200, b"[" * 100_000),
    ],
)
@ensureDeferred
async def test_garbage_about_the_user_is_a_finding(yard: Yard, status: int, body: bytes) -> None:
    url = yard.world.sandbox.addresses.synapse

    class Garbage(Proxy):
        def render(self, request: Any) -> int:
            self.page = (status, body) if b"whoami" in request.uri else None
            return super().render(request)

    yard.environment["LOTUS_GUARD_SYNAPSE_URL"] = yard.serve(Garbage(url))
    found = await yard.check()
    assert {f.name: f.level for f in found.values() if f.level in (W, F)} == {"user": W}
    assert "does not say whose token it is" in found["user"].seen


@ensureDeferred
async def test_what_others_send_cannot_command_the_terminal(yard: Yard) -> None:
    evil = "M_\x1b]0;owned\x07\u202e\n[red]" + "x" * 5000
    body = json.dumps({"errcode": evil}).encode()
    proxy = yard.before("LOTUS_GUARD_SYNAPSE_URL")
    proxy.page = (401, body)
    yard.user_token = ""
    found = await yard.check()
    assert found["synapse"].level is F, "versions are no versions"
    proxy.page = None
    yard.world.sandbox.homeserver.accounts.clear()
    yard.environment["LOTUS_GUARD_SYNAPSE_URL"] = yard.serve(_Evil(yard, body))
    found = await yard.check()
    seen = found["synapse-token"].seen
    assert found["synapse-token"].level is F
    assert seen.isprintable()
    assert "M_\\x1b]0;owned\\x07\\u202e\\n[red]" in seen
    assert len(seen) < 500


class _Evil(Proxy):
    """Answers the admin API with a body of its own."""

    def __init__(self, yard: Yard, body: bytes) -> None:
        super().__init__(yard.world.sandbox.addresses.synapse)
        self._body = body

    def render(self, request: Any) -> int:
        self.page = (401, self._body) if b"/_synapse/admin" in request.uri else None
        return super().render(request)


@ensureDeferred
async def test_a_room_that_is_not_surely_ours_is_never_removed(yard: Yard) -> None:
    """Upstream names a room in which a call is going on."""
    sandbox = yard.world.sandbox
    sandbox.sfu.create("a call of others")
    sandbox.authorization.issuer.livekit_room = lambda _room, _slot: LiveKitRoom("a call of others")
    found = await yard.check()
    assert found["upstream-key"].level is Level.OK
    assert "was not removed" in found["upstream-key"].seen
    assert "a call of others" in sandbox.sfu.rooms


@ensureDeferred
async def test_without_options_less_is_looked_at_and_nothing_is_wrong(yard: Yard) -> None:
    yard.public_url = yard.user_token = ""
    yard.environment["LOTUS_GUARD_ADMIN_LISTEN"] = ""
    yard.addresses = ()
    del yard.environment["LOTUS_GUARD_PUSH_SECRET"]
    found = await yard.check()
    assert {f.level for f in found.values()} == {Level.OK, Level.NOTE}
    assert found["webhooks"].level is Level.NOTE
    assert found["public-route"].level is Level.NOTE
    assert "user" not in found


@pytest.mark.parametrize(
    ("wire", "level"),
    [
        (lambda yard: livekit_yaml(yard), W),
        (lambda yard: livekit_yaml(yard, urls=["http://127.0.0.1:8071/sfu_webhook"]), W),
        (lambda yard: livekit_yaml(yard, urls=[f"{yard.world.url}/sfu_webhook"]), Level.NOTE),
    ],
)
@ensureDeferred
async def test_without_an_operators_port_the_file_tells_of_webhooks(
    yard: Yard, wire: Break, level: Level
) -> None:
    yard.environment["LOTUS_GUARD_ADMIN_LISTEN"] = ""
    wire(yard)
    assert (await yard.check())["webhooks"].level is level


@ensureDeferred
async def test_where_livekit_does_not_say_the_file_tells_of_auto_create(yard: Yard) -> None:
    proxy = yard.before("LOTUS_GUARD_LIVEKIT_URL")
    proxy.only = tuple(
        f"/twirp/livekit.RoomService/{name}" for name in ("ListRooms", "CreateRoom", "DeleteRoom")
    )
    assert (await yard.check())["auto-create"].level is Level.NOTE
    livekit_yaml(yard)
    assert (await yard.check())["auto-create"].level is Level.OK
    livekit_yaml(yard, auto_create=True)
    assert (await yard.check())["auto-create"].level is W
