"""As which user an application service asks."""

import pytest

from lotus_guard.sandbox.acting import ApplicationService, acting_user
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.temper import CONTINUWUITY, DENDRITE, SYNAPSE, Temper

SERVICE = ApplicationService("token", "@bot:s", "@user.*")
ACCOUNTS = frozenset({"@user-a:s", "@other:s"})


@pytest.mark.parametrize(
    ("temper", "named", "user"),
    [
        (SYNAPSE, None, "@bot:s"),
        (SYNAPSE, "@bot:s", "@bot:s"),
        (SYNAPSE, "@user-a:s", "@user-a:s"),
        (DENDRITE, "", "@bot:s"),
        (DENDRITE, "@user-a:s", "@user-a:s"),
        (CONTINUWUITY, "@user-nobody:s", "@user-nobody:s"),
    ],
)
def test_whom_it_may_act_as(temper: Temper, named: str | None, user: str) -> None:
    assert acting_user(SERVICE, named, temper, ACCOUNTS) == user


@pytest.mark.parametrize(
    ("temper", "named", "status"),
    [
        (SYNAPSE, "", 403),
        (SYNAPSE, "@other:s", 403),
        (SYNAPSE, "@user-nobody:s", 403),
        (SYNAPSE, "@user-a:elsewhere", 403),
        (DENDRITE, "@other:s", 403),
        (DENDRITE, "@user-nobody:s", 403),
        (DENDRITE, "@user-a:elsewhere", 401),
        (DENDRITE, "@user-a", 401),
        (CONTINUWUITY, "@other:s", 400),
    ],
)
def test_whom_it_may_not_act_as(temper: Temper, named: str, status: int) -> None:
    with pytest.raises(MatrixError) as caught:
        acting_user(SERVICE, named, temper, ACCOUNTS)
    assert caught.value.status == status
