"""Calls are for the members of their room: who is refused, why, and the same once more."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import Identity
from lotus_guard.rules.members import SENTENCE, Members, inputs, standing_from, why
from lotus_guard.rules.rule import Allow, Facts, Refuse, Who

WHO = Who("@a:s", Identity("x"))
STANDINGS = st.builds(Standing, st.sampled_from(list(Membership)), st.booleans(), st.text())


@given(STANDINGS)
def test_whoever_is_certain_to_be_outside_is_refused_and_nobody_else(standing: Standing) -> None:
    verdict = Members().judge(WHO, Facts(standing=standing))
    assert isinstance(verdict, Refuse if standing.is_outside else Allow)


@given(STANDINGS)
def test_a_refusal_is_decided_once_more_from_its_inputs(standing: Standing) -> None:
    assert standing_from(inputs(standing)) == standing
    replayed = Members().replay(inputs(standing))
    assert replayed == ("refused" if standing.is_outside else "admitted")


def test_of_whom_nothing_is_known_passes() -> None:
    assert Members().judge(WHO, Facts()) == Allow()


def test_the_user_reads_a_sentence_and_the_operator_who_said_so() -> None:
    banned = Standing(Membership.BAN, False, "push")
    verdict = Members().judge(WHO, Facts(standing=banned))
    assert verdict == Refuse(
        SENTENCE,
        "they are banned from the room (source: push)",
        {"membership": "ban", "is_local": False, "source": "push"},
    )
    assert why(Standing(Membership.UNHEARD, True, "admin")) == (
        "they are not in the room (source: admin)"
    )
