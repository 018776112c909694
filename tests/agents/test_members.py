"""Accounts given one by one, and what of them cannot be."""

from typing import Any

import pytest

from tests.venues import future
from zerodebt.agents import genesis
from zerodebt.agents.clients import UpstreamParams
from zerodebt.agents.genesis import Genesis
from zerodebt.agents.members import Member, MemberParams
from zerodebt.exchange.commands import Contribute, Deposit, LoadPositions, OpenAccounts

FIRST = 16


def opened(*members: Member) -> Genesis:
    specs = (MemberParams(name="members", members=members), UpstreamParams(name="upstream", capital_usd=5.0))
    return genesis.build(specs, (future(), future("GAS")), (100, 50), (0, 0), 0, 0, 10.0)


def test_accounts_are_opened_as_given() -> None:
    one = Member(name="one", deposit_atoms=700, contribution_atoms=200, lots={"GAS": -3})
    two = Member(name="two", deposit_atoms=0, lots={"WTI": 4}, entry_ticks={"WTI": 90})
    assert opened(one, two).commands == [
        OpenAccounts(2),
        OpenAccounts(1),
        Deposit(0, FIRST, (700, 0)),
        Deposit(0, FIRST + 2, (50,)),
        Contribute(FIRST, 200),
        LoadPositions(0, 100, (FIRST + 1, FIRST + 2), (4, -4), (90, 100), (20, 1), (0, 0)),
        LoadPositions(1, 50, (FIRST, FIRST + 2), (-3, 3), (50, 50), (20, 1), (0, 0)),
    ]


def test_who_brings_nothing_deposits_nothing() -> None:
    deposits = [c for c in opened(Member(name="one", deposit_atoms=0)).commands if isinstance(c, Deposit)]
    assert deposits == [Deposit(0, FIRST + 1, (50,))]


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({"lots": {"GOLD": 1}}, "one: 'GOLD' is not traded"),
        ({"entry_ticks": {"GOLD": 1}}, "one: 'GOLD' is not traded"),
        ({"contribution_atoms": 8}, "one: contributes 8 of 7 deposited"),
    ],
)
def test_a_wrong_member_is_named(member: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        opened(Member(name="one", deposit_atoms=7, **member))
