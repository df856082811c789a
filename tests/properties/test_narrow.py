"""The laws of the one function that takes rights away."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import EVERY_SOURCE, narrow
from tests.grants import allows

NAMES = st.sampled_from([*EVERY_SOURCE, "CAMERA", "a_source_of_tomorrow", "unknown"])
GRANTS = st.builds(Grant, st.booleans(), st.lists(NAMES, max_size=6).map(tuple))
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))
ANY_NAME = [*EVERY_SOURCE, "CAMERA", "a_source_of_tomorrow", "unknown"]


@given(grant=GRANTS, forbidden=FORBIDDEN)
def test_it_never_grants(grant: Grant, forbidden: frozenset[Source]) -> None:
    after = narrow(grant, forbidden)
    for name in ANY_NAME:
        assert not allows(after, name) or allows(grant, name)


@given(grant=GRANTS, forbidden=FORBIDDEN)
def test_it_takes_what_is_forbidden_and_nothing_else(
    grant: Grant, forbidden: frozenset[Source]
) -> None:
    after = narrow(grant, forbidden)
    for name in EVERY_SOURCE:
        assert allows(after, name) == (allows(grant, name) and name not in forbidden)


@given(grant=GRANTS, forbidden=FORBIDDEN)
def test_twice_is_once(grant: Grant, forbidden: frozenset[Source]) -> None:
    after = narrow(grant, forbidden)
    assert narrow(after, forbidden) is after


@given(grant=GRANTS, one=FORBIDDEN, two=FORBIDDEN)
def test_the_order_of_policies_does_not_matter(
    grant: Grant, one: frozenset[Source], two: frozenset[Source]
) -> None:
    assert narrow(narrow(grant, one), two) == narrow(narrow(grant, two), one)
    assert narrow(narrow(grant, one), two) == narrow(grant, one | two)


@given(grant=GRANTS, forbidden=FORBIDDEN)
def test_a_microphone_that_was_there_stays(grant: Grant, forbidden: frozenset[Source]) -> None:
    assert allows(narrow(grant, forbidden), "microphone") == allows(grant, "microphone")


@given(grant=GRANTS, forbidden=FORBIDDEN.filter(bool))
def test_an_empty_list_never_comes_to_mean_everything(
    grant: Grant, forbidden: frozenset[Source]
) -> None:
    after = narrow(grant, forbidden)
    assert after.sources or not after.can_publish
