"""How many files a process may open, and what they are for."""

import resource

import pytest

from lotus_guard.overload.connections import MOST_CONNECTIONS
from lotus_guard.overload.load_shedding import REQUESTS
from lotus_guard.run.fd_budget import FILES, FdBudget, fd_budget, most_files


@pytest.mark.parametrize(
    ("files", "connections", "requests"),
    [
        (1024, 512, 128),
        (FILES, MOST_CONNECTIONS, REQUESTS),
        (1_000_000, MOST_CONNECTIONS, REQUESTS),
    ],
)
def test_files_are_shared_out(files: int, connections: int, requests: int) -> None:
    assert fd_budget(files) == FdBudget(connections, requests)


@pytest.mark.parametrize("files", [256, 1024, 4096, FILES])
def test_a_flood_of_connections_leaves_files_to_ask_upstream_by(files: int) -> None:
    budget = fd_budget(files)
    assert budget.connections + 2 * budget.requests < files


ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "found"),
    [
        (1024, 4096, (4096, 4096), 4096),
        (1024, 1_000_000, (FILES, 1_000_000), FILES),
        (1024, ENDLESS, (FILES, FILES), FILES),
        (FILES, 1_000_000, None, FILES),
        (ENDLESS, ENDLESS, None, FILES),
    ],
)
def test_the_bound_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    raised: tuple[int, int] | None,
    found: int,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, bounds: asked.append(bounds))
    assert most_files() == found
    assert asked == ([] if raised is None else [raised])


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_where_it_may_not_be_raised_it_is_what_it_was(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(_kind: int, _bounds: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert most_files() == 1024
