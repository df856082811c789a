"""The identities of calls that are over: packed, bounded, and there again."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.archive import Archive
from lotus_guard.core.model import Identity, LiveKitRoom, UserId

CALLS = [LiveKitRoom(f"call{number}") for number in range(4)]


def users(*names: str) -> dict[Identity, UserId]:
    return {Identity(name): UserId(f"@{name}:s") for name in names}


def test_what_is_packed_is_there_again_once() -> None:
    archive = Archive(most=10, most_bytes=10_000)
    archive.add(CALLS[0], users("a", "\ud800", "ü"))
    archive.add(CALLS[0], users("b"))
    assert archive.take(CALLS[0]) == users("a", "\ud800", "ü", "b")
    assert archive.take(CALLS[0]) == {}


def test_it_is_a_seventh_of_the_memory() -> None:
    archive = Archive(most=10_000, most_bytes=10**9)
    archive.add(CALLS[0], users(*(f"identity-number-{number}" for number in range(1000))))
    (packed,) = archive._packed.values()
    assert packed.size < 1000 * 400 / 7


@given(st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 5)), max_size=30))
def test_beyond_the_bound_those_go_first_whose_call_was_over_first(
    steps: list[tuple[LiveKitRoom, int]],
) -> None:
    archive, order = Archive(most=6, most_bytes=10**6), dict[LiveKitRoom, dict[Identity, UserId]]()
    for call, count in steps:
        packed = users(*(f"{call}-{number}" for number in range(count)))
        archive.add(call, packed)
        order[call] = order.pop(call, {}) | packed
        for gone, names in archive.shrink():
            assert gone == next(iter(order))
            assert set(names) == order.pop(gone).keys()
        assert dict(archive.items()) == order
        assert sum(map(len, order.values())) <= 6
