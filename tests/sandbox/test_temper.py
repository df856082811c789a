"""The tempers of the sandbox's homeserver; `tests/contract/homeserver.py` says what each does."""

from lotus_guard.sandbox.synapse_state import SynapseState
from lotus_guard.sandbox.temper import SYNAPSE, TEMPERS
from tests.contract.homeserver import FOUR


def test_there_are_four_and_each_is_found_by_its_name() -> None:
    assert tuple(TEMPERS) == FOUR
    assert [temper.name for temper in TEMPERS.values()] == list(FOUR)


def test_no_two_are_alike() -> None:
    assert len(set(TEMPERS.values())) == len(FOUR)


def test_synapses_is_what_a_homeserver_has() -> None:
    assert SynapseState(lambda: "1").temper is SYNAPSE
