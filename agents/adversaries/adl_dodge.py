"""ATK-12: a lot less at each step, so that the plan to deleverage him is always out of date."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL

_FAIR_TICKS = 10_000
_STEPS_TICKS = (9_980, 9_960, 9_940, 9_920, 9_900)
_FALLEN_TICKS = 7_900
_COINS = 1_000_000


def _steps(floor: Floor) -> Steps:
    """He is long in one account with hardly any margin and short in another, first of all winners.

    The price gaps: the long account owes nearly twice its margin. The short one buys back one lot after every
    index, so that it is never as large as it was ranked.
    """
    maker = floor.open("maker", 1_000_000)
    holders, hedgers = floor.open("holders", 1_000_000), floor.open("hedgers", 600_000)
    loser = floor.open("loser", 60_000, attacker=True)
    dodger = floor.open("dodger", 60_000, attacker=True)
    floor.index(_FAIR_TICKS)
    for buyer, seller in ((holders, hedgers), (loser, dodger)):
        floor.order(seller, SELL, _COINS, _FAIR_TICKS)
        floor.order(buyer, BUY, _COINS, _FAIR_TICKS, tif="fok")
    for ticks in (*_STEPS_TICKS, _FALLEN_TICKS, _FALLEN_TICKS):
        yield floor.pause(3)
        floor.index(ticks)
        floor.quote(maker, 1_000)
        floor.order(dodger, BUY, 1, reduce_only=True)
    for account in (loser, dodger):
        floor.withdraw(account)


ATTACK = Attack(
    id="ATK-12",
    title="dodge the deleveraging",
    does="makes a debt in one account, and keeps the other one, which won it, one lot ahead of the plan",
    incident="GMX, audit of 2023: a keeper's order to deleverage fails when the position has become smaller "
    "than the order says, and its owner sees the order come",
    source="Sherlock, 2023-02-gmx-judging, issue 210",
    weakness="whom to deleverage is planned before it is needed, and who has become smaller is passed over",
    weak={"adl": {"plan": "before"}},
    bound="adl.plan (now): the queue and the lots are those of the command that needs them",
    allowed_atoms=0,
    instruments=(perpetual("DODGE", 20, price_max_ticks=20_000),),
    steps=_steps,
)
