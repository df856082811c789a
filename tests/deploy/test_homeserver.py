"""deploy/install and deploy/revert where lk-jwt-service stands behind Synapse, too."""

import os
from collections.abc import Iterator

import pytest

from tests.deploy.client import Client
from tests.deploy.madeup import Host, other_tree
from tests.deploy.synapse import (
    AS_TOKEN,
    HS_TOKEN,
    KEY,
    PATH,
    Synapse,
    expected,
    name_registration,
    owner_of,
    synapse_of,
)
from tests.real.processes import http, until

NOT_NOW = 4
WAITING = "etc/systemd/system/voice-limit-guard.service.d/waiting.conf"
LISTENS = "etc/systemd/system/voice-limit-guard-homeserver.socket.d/listen.conf"
RECORD = "etc/lotus-guard/proxy_url"
LISTEN = "LOTUS_GUARD_HOMESERVER_LISTEN"
ENDS = "would: stop here with exit code 4 unless Synapse already forwards to the guard"


@pytest.fixture
def synapse(host: Host) -> Iterator[Synapse]:
    with synapse_of(host) as made:
        host.settings = settings(host, made)
        yield made


def settings(host: Host, made: Synapse) -> dict[str, str]:
    return {
        "LOTUS_GUARD_SYNAPSE_URL": made.url,
        LISTEN: f"tcp:{host.ports[8069]}:interface=127.0.0.1",
    }


def assert_untouched(host: Host, synapse: Synapse) -> None:
    assert synapse.path.read_bytes() == expected(host, host.ports[8070])
    assert not (host.root / RECORD).exists()
    assert not (host.root / WAITING).exists()


@pytest.mark.parametrize("with_socket", [True, False], ids=["socket", "no socket"])
def test_it_moves_once_synapse_hands_on_to_the_guard(
    host: Host, synapse: Synapse, with_socket: bool
) -> None:
    tree = other_tree(host.directory / "tree", socket=with_socket)
    before = owner_of(synapse.path)
    with host.client() as client, Client(synapse.url) as through:
        done = host.install(tree=tree)
        assert done.returncode == NOT_NOW, done.stdout
        assert "systemctl restart matrix-synapse" in done.stdout
        assert (host.answers, synapse.answers) == ("", "")
        synapse.restart()
        assert (host.answers, synapse.answers) == ("", "other")
    assert client.lost == []
    assert through.lost == []
    assert AS_TOKEN not in done.stdout
    assert HS_TOKEN not in done.stdout
    with host.client() as client, Client(synapse.url) as through:
        done = host.install(tree=tree)
    assert done.returncode == 0, done.stdout
    assert (host.answers, synapse.answers) == ("other", "other")
    print(f"FIGURE move, by the old door: {client.told()}; through Synapse: {through.told()}")
    assert max(client.gap, through.gap) < 3.0
    assert synapse.path.read_bytes() == expected(host, host.ports[8069])
    assert owner_of(synapse.path) == before
    assert not (host.root / WAITING).exists()
    assert HS_TOKEN not in (host.root / RECORD).read_text()


def test_as_long_as_synapse_was_not_restarted_nothing_moves(host: Host, synapse: Synapse) -> None:
    host.install()
    calls = len(host.systemd.calls)
    again = host.install()
    assert again.returncode == NOT_NOW
    assert "calls go past the guard" in again.stdout
    assert ["restart", "lk-jwt-service.service"] not in host.systemd.calls[calls:]
    assert (host.answers, synapse.answers) == ("", "")
    host.systemd.power_cut()
    host.systemd.boot()
    synapse.restart()  # on the same machine
    until("the homeserver finds the guard", lambda: synapse.ask().status == 200)
    assert (host.answers, synapse.answers) == ("", "1")


def test_who_does_not_want_to_wait_need_not(host: Host, synapse: Synapse) -> None:
    done = host.install("--move-now")
    assert done.returncode == 0, done.stdout
    assert "now restart Synapse" in done.stdout
    assert synapse.ask().status == 404
    synapse.restart()
    assert (host.answers, synapse.answers) == ("1", "1")


@pytest.mark.parametrize("words", [[], ["--move-now"]], ids=["waits", "moves now"])
def test_a_dry_run_says_where_it_would_end(host: Host, synapse: Synapse, words: list[str]) -> None:
    done = host.install("--dry-run", *words)
    assert done.returncode == (0 if words else NOT_NOW), "as the run itself would"
    dry = done.stdout.splitlines()
    assert_untouched(host, synapse)
    of_the_line = f"would: {synapse.path}: token requests are forwarded to "
    assert [line.startswith(of_the_line) for line in dry].count(True) == 1
    asks = dry.index("would: ask Synapse whether it forwards token requests to the guard")
    assert dry[asks + 1].startswith("would: move lk-jwt-service" if words else ENDS)
    assert dry[asks + 1 :].count(ENDS) == (0 if words else 1)
    assert not any("restart Synapse" in line for line in dry)


def test_a_dry_run_of_a_guard_in_place_says_what_it_would(host: Host) -> None:
    assert host.install().returncode == 0
    with synapse_of(host) as synapse:
        host.settings = settings(host, synapse)
        dry = host.install("--dry-run").stdout.splitlines()
        assert_untouched(host, synapse)
    assert any(line.startswith("would: now restart Synapse") for line in dry)
    assert ENDS not in dry


def test_a_dry_run_says_what_is_for_the_operator(host: Host, synapse: Synapse) -> None:
    synapse.path.write_text(f"{KEY}: &a http://127.0.0.1:8070\n")
    dry = host.install("--dry-run").stdout
    assert dry.count("By hand: ") == 1
    assert ENDS in dry


def test_a_second_run_changes_nothing(host: Host, synapse: Synapse) -> None:
    host.install("--move-now")
    synapse.restart()
    calls, before = len(host.systemd.calls), synapse.path.stat()
    done = host.install()
    assert done.returncode == 0, done.stdout
    assert synapse.path.stat().st_mtime_ns == before.st_mtime_ns
    words = [call[0] for call in host.systemd.calls[calls:]]
    assert not {"restart", "stop", "start"} & set(words)
    host.repository.commit()
    with Client(synapse.url) as through:
        assert host.deploy().returncode == 0
    assert through.lost == []
    assert synapse.answers == "2"


def test_without_the_line_it_moves_at_once(host: Host, synapse: Synapse) -> None:
    synapse.path.write_text("id: x\nhs_token: y\n")
    host.settings = {**host.settings, LISTEN: ""}
    done = host.install()
    assert done.returncode == 0, done.stdout
    assert "HOMESERVER" not in (host.root / "etc/lotus-guard/environment").read_text()
    assert host.answers == "1"


@pytest.mark.parametrize(
    "line",
    [
        f"{KEY}: http://127.0.0.1:8070\n{KEY}: http://127.0.0.1:8070\n",
        f"{KEY}: &a http://127.0.0.1:8070\n",
        f"{KEY}: https://rtc.example.org\n",
    ],
)
def test_what_is_not_clear_is_told_and_left(host: Host, synapse: Synapse, line: str) -> None:
    text = f'hs_token: "{HS_TOKEN}"\n{line}'
    synapse.path.write_text(text)
    done = host.install()
    assert done.returncode == NOT_NOW, done.stdout
    assert f"By hand, if it ends there: `{KEY}: http" in done.stdout or (
        f"By hand: `{KEY}: http://127.0.0.1:{host.ports[8069]}`" in done.stdout
    )
    assert synapse.path.read_text() == text
    assert (host.answers, synapse.answers) == ("", "")
    synapse.path.write_bytes(expected(host, host.ports[8069]))
    synapse.restart()
    assert host.install().returncode == 0
    assert (host.answers, synapse.answers) == ("1", "1")


@pytest.mark.parametrize("why", ["away", "unnamed"])
def test_a_registration_that_is_not_there_is_told(host: Host, synapse: Synapse, why: str) -> None:
    synapse.path.rename(host.root / "elsewhere.yaml")
    if why == "unnamed":
        name_registration(host, f"LIVEKIT_AS_TOKEN={AS_TOKEN}\nLIVEKIT_HS_TOKEN={HS_TOKEN}")
    done = host.install()
    assert done.returncode == NOT_NOW, done.stdout
    wanted = "No such file" if why == "away" else "doesn't name LIVEKIT_AS_REGISTRATION_FILE"
    assert wanted in done.stdout
    assert HS_TOKEN not in done.stdout
    assert (host.answers, synapse.answers) == ("", "")
    told = f"LIVEKIT_HS_TOKEN={HS_TOKEN}" in (host.root / "etc/lotus-guard/environment").read_text()
    assert told is (why == "unnamed")
    done = host.revert()
    assert done.returncode == 1, done.stdout
    assert f"By hand, if a registration leads there: let {KEY} lead to" in done.stdout
    assert host.answers == ""
    assert host.revert().returncode == 0


def test_a_registration_that_cannot_be_written_undoes_everything(
    host: Host, synapse: Synapse
) -> None:
    beside = synapse.path.with_name(f".{synapse.path.name}.new")
    beside.mkdir()  # where the new one would be written
    done = host.install()
    assert done.returncode == 5, done.stdout
    assert "cannot be changed" in done.stdout
    beside.rmdir()
    assert_untouched(host, synapse)
    assert (host.answers, synapse.answers) == ("", "")
    assert host.systemd.enabled == {"lk-jwt-service.service"}


@pytest.mark.parametrize("with_socket", [True, False], ids=["socket", "no socket"])
def test_a_guard_that_fails_in_the_move_goes_on_for_the_homeserver(
    host: Host, synapse: Synapse, with_socket: bool
) -> None:
    good = other_tree(host.directory / "good", socket=with_socket)
    bad = other_tree(host.directory / "bad", "crashes", with_socket)
    host.install(tree=good)
    synapse.restart()
    done = host.install(tree=bad, LOTUS_DEPLOY_PROBE_SECONDS="2")
    assert done.returncode == 5, done.stdout
    until("the homeserver finds the guard", lambda: synapse.ask().status == 200)
    assert (host.answers, synapse.answers) == ("", "other")
    assert (host.root / WAITING).exists()
    assert host.install(tree=good).returncode == 0
    assert (host.answers, synapse.answers) == ("other", "other")


@pytest.mark.parametrize("port", [8070, 8071])
def test_who_has_changed_lk_jwt_service_first(host: Host, port: int) -> None:
    """The guard is in place; then requests go past it, or come where nobody knows them."""
    assert host.install().returncode == 0
    with synapse_of(host, host.ports[port]) as synapse:
        host.settings = settings(host, synapse)
        before = synapse.ask().status
        with host.client() as client:
            done = host.install()
        assert done.returncode == 0, done.stdout
        assert "now restart Synapse" in done.stdout
        assert client.lost == []
        assert synapse.ask().status == before == (200 if port == 8071 else 404)
        assert synapse.path.read_bytes() == expected(host, host.ports[8069])
        synapse.restart()
        assert synapse.answers == "1"
        done = host.revert()
        assert done.returncode == 0, done.stdout
        assert synapse.path.read_bytes() == expected(host, host.ports[8070])


def test_the_guards_port_is_there_before_lk_jwt_service_knows_of_it(host: Host) -> None:
    """As docs/homeserver.md has it: the registration leads to the guard from the beginning."""
    assert host.install().returncode == 0
    with synapse_of(host, host.ports[8069]) as synapse:
        name_registration(host, "OTHER=x")
        synapse.path.write_bytes(expected(host, host.ports[8069]))
        synapse.restart()
        assert synapse.ask().status == 500
        host.settings = settings(host, synapse)
        with host.client() as client:
            done = host.install(LIVEKIT_AS_REGISTRATION_FILE=f"/{PATH}")
        assert done.returncode == 0, done.stdout
        assert client.lost == []
        assert synapse.answers == "1"
        assert http("POST", f"http://127.0.0.1:{host.ports[8069]}/sfu/get", b"{}").status == 401
        written = (host.root / "etc/lotus-guard/environment").read_text()
        assert "REGISTRATION" not in written
        assert HS_TOKEN not in written
        leads_here = synapse.path.read_bytes()
        done = host.revert()
        assert done.returncode == 0, done.stdout
        there = leads_here.replace(b":%d/" % host.ports[8069], b":%d/" % host.ports[8070])
        assert synapse.path.read_bytes() == there
        synapse.restart()
        assert (host.answers, synapse.answers) == ("", "")


def test_a_line_that_the_operator_has_written_is_put_back_too(host: Host, synapse: Synapse) -> None:
    """Where they let it lead to the guard before the first run."""
    synapse.path.write_bytes(expected(host, host.ports[8069]))
    synapse.restart()
    done = host.install()
    assert done.returncode == 0, done.stdout
    assert (host.answers, synapse.answers) == ("1", "1")
    done = host.revert()
    assert done.returncode == 0, done.stdout
    assert "now restart Synapse" in done.stdout
    synapse.restart()
    assert (host.answers, synapse.answers) == ("", "")


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_a_registration_that_the_guards_user_cannot_read_is_told(
    host: Host, synapse: Synapse, words: list[str]
) -> None:
    """The settings override the unit, which hands the file over."""
    path = host.root / "etc/lotus-guard/environment"
    path.parent.mkdir(parents=True)
    path.write_text(f"LIVEKIT_AS_REGISTRATION_FILE='/{PATH}'\n")
    done = host.install(*words)
    assert done.returncode == 2, done.stdout
    assert f"found LIVEKIT_AS_REGISTRATION_FILE=/{PATH} in {path}" in done.stdout
    assert "remove that line" in done.stdout
    assert_untouched(host, synapse)
    handed = "/run/credentials/voice-limit-guard.service/as-registration"
    path.write_text(f"LIVEKIT_AS_REGISTRATION_FILE={handed}\n")
    assert "remove that line" not in host.install("--dry-run").stdout


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "waiting"])
def test_the_port_follows_the_settings_to_another_address(
    host: Host, synapse: Synapse, in_place: bool
) -> None:
    """As for a Synapse on another host: what systemd hands over wins over the settings."""
    host.install(*(["--move-now"] if in_place else []))
    path = host.root / "etc/lotus-guard/environment"
    elsewhere = f"tcp:{host.ports[8069]}:interface=127.0.0.9"
    path.write_text(path.read_text().replace(host.settings[LISTEN], elsewhere))
    synapse.path.write_bytes(expected(host, host.ports[8070]))
    with host.client() as client:
        done = host.install(*(["--move-now"] if in_place else []))
    assert done.returncode == (0 if in_place else NOT_NOW), done.stdout
    assert client.lost == []
    port = host.ports[8069]
    assert http("POST", f"http://127.0.0.9:{port}/sfu/get", b"{}").status == 401
    with pytest.raises(OSError, match="refused"):
        http("POST", f"http://127.0.0.1:{port}/sfu/get", b"{}")
    assert f"ListenStream=127.0.0.9:{port}\n" in (host.root / LISTENS).read_text()
    host.revert()
    assert not (host.root / LISTENS).exists()


@pytest.mark.parametrize("moved", [True, False], ids=["in place", "waiting"])
def test_the_way_back(host: Host, synapse: Synapse, moved: bool) -> None:
    before = owner_of(synapse.path)
    host.install(*(["--move-now"] if moved else []))
    synapse.restart()
    done = host.revert()
    assert done.returncode == 0, done.stdout
    assert "restart Synapse" in done.stdout
    assert_untouched(host, synapse)
    assert owner_of(synapse.path) == before
    assert synapse.ask().status == 500
    synapse.restart()
    assert (host.answers, synapse.answers) == ("", "")
    assert host.systemd.enabled == {"lk-jwt-service.service"}
    assert "proxy_url" in host.revert().stdout, "a note, for the guard's port is closed"
    assert host.install().returncode == NOT_NOW


def test_what_others_have_changed_stays_on_the_way_back(host: Host, synapse: Synapse) -> None:
    host.install("--move-now")
    text = synapse.path.read_bytes().replace(b"rtc/livekit", b"rtc/other") + b"\nnew: x\n"
    synapse.path.write_bytes(text)
    assert host.revert().returncode == 0
    there = expected(host, host.ports[8070]).replace(b"rtc/livekit", b"rtc/other") + b"\nnew: x\n"
    assert synapse.path.read_bytes() == there
    host.install("--move-now")
    synapse.path.write_text(f"{KEY}: http://127.0.0.1:1\n")
    done = host.revert()
    assert done.returncode == 1
    assert f"let {KEY} lead to lk-jwt-service" in done.stdout
    assert synapse.path.read_text() == f"{KEY}: http://127.0.0.1:1\n"
    assert host.answers == ""


def test_on_the_way_back_a_registration_that_cannot_be_written_is_told(
    host: Host, synapse: Synapse
) -> None:
    host.install("--move-now")
    (host.directory / "cp").write_text("#!/bin/sh\nexit 1\n")
    (host.directory / "cp").chmod(0o755)
    done = host.revert(PATH=f"{host.directory}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "cannot be changed" in done.stdout
    assert host.answers == ""
    assert synapse.path.read_bytes() == expected(host, host.ports[8069])
    assert host.revert().returncode == 0
    assert_untouched(host, synapse)


def dies_at(host: Host, synapse: Synapse, steps: int) -> bool:
    """Kill the installer after so many steps, and cut the power; tells whether it came so far."""
    done = host.install(LOTUS_DEPLOY_DIE_AFTER=str(steps))
    if done.returncode in (0, NOT_NOW):
        return False
    assert done.returncode == -9, done.stdout
    host.systemd.power_cut()
    host.systemd.boot()
    synapse.restart()
    at = f"after a power cut at step {steps}"
    until(f"a token {at}", host.asks_for_a_token, 10)
    until(f"a token through Synapse {at}", lambda: synapse.ask().status == 200, 10)
    return True


def test_killed_or_without_power_at_any_step_both_doors_come_back(
    host: Host, synapse: Synapse
) -> None:
    assert host.install().returncode == NOT_NOW  # the release is built
    assert host.revert().returncode == 0
    synapse.restart()
    first = 4
    while dies_at(host, synapse, first + 1):
        first += 1
        again = host.install()
        assert again.returncode in (0, NOT_NOW), again.stdout
        assert host.revert().returncode == 0
        synapse.restart()
        assert (host.answers, synapse.answers) == ("", "")
    second = first - 3
    host.install()
    synapse.restart()
    while dies_at(host, synapse, second + 1):
        second += 1
        again = host.install()
        assert again.returncode == 0, again.stdout
        assert (host.answers, synapse.answers) == ("1", "1")
        host.revert()
        synapse.restart()
        host.install()
        synapse.restart()
    print(f"FIGURE killed and without power after {first - 4} and {second - first + 3} steps")
    assert first > 10
    assert second > first
