"""Who lends to a pool and who borrows from it (C14, F102): on the venue's own lending rules.

Lenders leave when so much is lent that soon nobody can. Borrowers hold coins and borrow up to a share of
what the venue's price says. An attacker buys coins in
the market and borrows all that the venue's price lends him when that price is above the market's: what a
feed that stands still invites (Venus, May 2022: 13.5 million USD).

Ours, 2026-11-22, before the first run: lenders leave above 95 % of utilisation, a quarter of what they
have a day; borrowers take 60 % of what the venue would lend and do not defend.
"""

from dataclasses import dataclass

LEAVES_ABOVE = 0.95
LEAVES_SHARE = 0.25
BORROWED_SHARE = 0.6


def wanted_withdrawal(worth_atoms: int, used: float) -> int:
    """What a lender asks back today."""
    return int(worth_atoms * LEAVES_SHARE) if used > LEAVES_ABOVE else 0


def borrowing(lendable_atoms: int) -> int:
    """What a borrower takes at the start."""
    return int(lendable_atoms * BORROWED_SHARE)


@dataclass(frozen=True)
class Attack:
    """Coins bought in the market for what the pool lends on them."""

    coins: int
    borrowed_atoms: int
    cost_atoms: int

    @property
    def gain_atoms(self) -> int:
        return self.borrowed_atoms - self.cost_atoms


def planned_attack(
    cash_atoms: int, feed_coin_atoms: int, market_coin_atoms: int, ratio_ppb: int, own_atoms: int
) -> Attack | None:
    """All that the pool has, if lending on a coin brings more than the coin costs.

    The venue counts whole coins only.

    feed_coin_atoms, market_coin_atoms  what a coin is worth by the venue's price and in the market
    own_atoms                           what the attacker can spend first; he does it again with what he got
    """
    lends = feed_coin_atoms * ratio_ppb // 10**9
    if lends <= market_coin_atoms:
        return None
    coins = min(cash_atoms // lends, own_atoms // max(1, market_coin_atoms))
    counted = coins * ratio_ppb // 10**9
    return Attack(coins, counted * feed_coin_atoms, coins * market_coin_atoms) if counted else None
