"""Where the guard keeps what it remembers."""

from pathlib import Path

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.run.state_settings import STATE, redis_address, state_path


@pytest.mark.parametrize(
    ("state", "directory", "path"),
    [
        ("", "", "lotus-guard.sqlite"),
        ("", "/var/lib/a:/var/lib/b", "/var/lib/a/lotus-guard.sqlite"),
        ("own.sqlite", "/var/lib/a", "/var/lib/a/own.sqlite"),
        ("/srv/own.sqlite", "/var/lib/a", "/srv/own.sqlite"),
    ],
)
def test_a_file(state: str, directory: str, path: str) -> None:
    texts = {STATE.name: state, "STATE_DIRECTORY": directory}
    assert state_path(texts) == Path(path)
    assert redis_address(texts) is None


def test_a_redis() -> None:
    found = redis_address({STATE.name: "rediss://me:pass@host:7000/3?prefix=x"})
    assert found is not None
    assert (found.host, found.port, found.database, found.prefix) == ("host", 7000, 3, "x")


def test_an_address_of_redis_that_is_none_is_a_fault_without_its_password() -> None:
    with pytest.raises(Unusable) as caught:
        redis_address({STATE.name: "redis://:hunter2@host/x"})
    (fault,) = caught.value.faults
    assert fault.startswith(f"{STATE.name}: ")
    assert "hunter2" not in fault


def test_a_certificate_must_be_there(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("")
    for path, words in ((empty, "is empty"), (tmp_path / "none", "can read")):
        with pytest.raises(Unusable) as caught:
            redis_address({STATE.name: f"rediss://host/?ca={path}"})
        assert words in str(caught.value.faults)
