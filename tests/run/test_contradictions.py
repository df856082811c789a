"""Settings that are fine each and cannot be together."""

import pytest

from lotus_guard.run.config import read_config
from lotus_guard.run.contradictions import contradictions
from lotus_guard.run.setting import Faulty
from tests.test_docs import GOOD

ON = {"LOTUS_GUARD_TRANSACTIONS": "on"}
PORT = {"LOTUS_GUARD_HOMESERVER_LISTEN": "tcp:8069:interface=127.0.0.1"}
TOKEN = {"LIVEKIT_HS_TOKEN": "t"}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({**ON, **TOKEN}, ["on, but has no port; expected LOTUS_GUARD_HOMESERVER_LISTEN"]),
        (
            {**ON, **PORT},
            ["on, but there is no hs_token; expected LOTUS_GUARD_AS_REGISTRATION_FILE"],
        ),
        ({**ON, **PORT, **TOKEN}, []),
        ({}, []),
    ],
)
def test_transactions_need_a_port_and_a_token(settings: dict[str, str], wanted: list[str]) -> None:
    try:
        assert read_config({**GOOD, **settings}).transactions == bool(settings)
        faults = []
    except Faulty as faulty:
        faults = faulty.faults
    assert len(faults) == len(wanted)
    for fault, text in zip(faults, wanted, strict=True):
        assert fault.startswith(f"LOTUS_GUARD_TRANSACTIONS: {text}")


WORKERS = {"LOTUS_GUARD_WORKERS": "2", "LOTUS_GUARD_STATE": "redis://h"}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"LOTUS_GUARD_WORKERS": "2"}, "LOTUS_GUARD_WORKERS: 2 workers"),
        ({"LOTUS_GUARD_WORKERS": "0"}, "LOTUS_GUARD_WORKERS: found '0'"),
        ({"LOTUS_GUARD_WORKERS": "many"}, "LOTUS_GUARD_WORKERS: found 'many'"),
        ({**WORKERS, "LOTUS_GUARD_LISTEN": "unix:/s"}, "LOTUS_GUARD_LISTEN"),
        ({**WORKERS, "LOTUS_GUARD_HOMESERVER_LISTEN": "unix:/s"}, "LOTUS_GUARD_HOMESERVER_LISTEN"),
        (
            {"LOTUS_GUARD_STATE": "redis://:hunter2@h/x"},
            "LOTUS_GUARD_STATE: its path is not a database number",
        ),
    ],
)
def test_what_workers_cannot_share_is_a_fault(settings: dict[str, str], name: str) -> None:
    with pytest.raises(Faulty) as faulty:
        read_config({**GOOD, **settings})
    assert any(line.startswith(name) for line in faulty.value.faults), faulty.value.faults
    assert "hunter2" not in str(faulty.value)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:8069"},
            "LOTUS_GUARD_ADMIN_LISTEN: another listener has port 8070 too",
        ),
        (
            {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:65535"},
            "LOTUS_GUARD_ADMIN_LISTEN: worker 1 would have port 65536",
        ),
        (
            {"LOTUS_GUARD_HOMESERVER_LISTEN": "tcp:8073:interface=127.0.0.1"},
            "LOTUS_GUARD_HOMESERVER_LISTEN: another listener has port 8073 too",
        ),
        (
            {"LOTUS_GUARD_UPSTREAM": "http://127.0.0.1:8073"},
            "LOTUS_GUARD_UPSTREAM: found 'http://127.0.0.1:8073' is the guard itself "
            "(LOTUS_GUARD_ADMIN_LISTEN)",
        ),
    ],
)
def test_the_operators_port_of_each_worker_is_looked_at(
    settings: dict[str, str], fault: str
) -> None:
    with pytest.raises(Faulty) as faulty:
        read_config({**GOOD, **WORKERS, **settings})
    (found,) = faulty.value.faults
    assert found.startswith(fault.replace("found ", ""))
    assert read_config({**GOOD, **settings}).workers == 1, "one guard alone can have it"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"LOTUS_GUARD_HOMESERVER_LISTEN": "tcp:8070:interface=127.0.0.1"},
            "LOTUS_GUARD_HOMESERVER_LISTEN: another listener has port 8070 too",
        ),
        (
            {
                "LOTUS_GUARD_HOMESERVER_LISTEN": "tcp:8071:interface=127.0.0.1",
            },
            "LOTUS_GUARD_UPSTREAM: 'http://127.0.0.1:8071' is the guard itself "
            "(LOTUS_GUARD_HOMESERVER_LISTEN)",
        ),
    ],
)
def test_the_homeservers_port_is_one_of_its_own(settings: dict[str, str], fault: str) -> None:
    with pytest.raises(Faulty) as faulty:
        read_config({**GOOD, **settings})
    (found,) = faulty.value.faults
    assert found.startswith(fault)


def test_what_is_faulty_already_is_not_looked_at_again() -> None:
    assert contradictions({}) == []
    assert contradictions({"workers": 3, "listen": "tcp:1"}) == []
