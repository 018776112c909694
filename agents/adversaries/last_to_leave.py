"""ATK-09: after a default all winners leave first, and who is last is not paid."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, SetBackstop

_FAIR_TICKS = 10_000
_FALLEN_TICKS = 8_000
_COINS = 10_000_000
_WINNERS = 4
_PARTS = 10


def _leave(floor: Floor, account: int) -> None:
    """A tenth at a time, and then what may leave still, until the venue pays no more."""
    part = floor.view.withdrawable_atoms(account) // _PARTS
    for _ in range(_PARTS):
        floor.withdraw(account, part)
    for _ in range(_PARTS):
        if not floor.withdraw(account, floor.view.withdrawable_atoms(account)):
            return


def _steps(floor: Floor) -> Steps:
    """One account of his loses five times its margin to four others of his, which withdraw at once.

    The savers have money with the venue and no position; they come a minute later.
    """
    vault = floor.open("vault", 100_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    maker = floor.open("maker", 4_000_000)
    savers = floor.open("savers", 2_000_000)
    loser = floor.open("loser", 510_000, attacker=True)
    winners = [floor.open(f"winner {n}", 250_000, attacker=True) for n in range(_WINNERS)]
    floor.index(_FAIR_TICKS)
    for winner in winners:
        floor.order(winner, SELL, _COINS // _WINNERS, _FAIR_TICKS)
        floor.order(loser, BUY, _COINS // _WINNERS, _FAIR_TICKS, tif="fok")
    for _ in range(4):
        yield floor.pause(3)
        floor.index(_FALLEN_TICKS)
        floor.quote(maker, _COINS, share_ppb=1_000_000)
    for winner in winners:
        held = -floor.view.position_lots(0, winner)
        if held:
            floor.order(winner, BUY, held, reduce_only=True)
        _leave(floor, winner)
    yield floor.pause(60)
    floor.index(_FALLEN_TICKS)
    for account in (maker, savers):
        floor.withdraw(account, floor.view.withdrawable_atoms(account))


ATTACK = Attack(
    id="ATK-09",
    title="the first to leave",
    does="loses in one account what it does not have, wins in four others, and withdraws before anybody else",
    incident="Perennial, audit of 2023: a liquidated account is left below zero, the first to withdraw are "
    "paid in full and the last not at all",
    source="Sherlock, 2023-07-perennial-judging, 072-M (072)",
    weakness="nobody pays what a default leaves, and withdrawals run until custody is empty",
    weak={
        "waterfall": ["book"],
        "liquidation": {"price_limit": "none", "backstop_below_ppb": 0},
        "margin": {"withdrawals": "open"},
    },
    bound="the waterfall's adl: the default is made good in the command that finds it, by who won from it",
    allowed_atoms=0,
    instruments=(perpetual("RUN", 20, price_max_ticks=20_000),),
    steps=_steps,
)
