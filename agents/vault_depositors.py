"""Who has put money into a backstop vault, and when he gets it back (C16).

A depositor holds shares; a share is worth the vault's equity over all shares. He may ask for his money once
the lock-up is over, and is paid when the queue comes to him. The attack: ask at a share price that does not
know of a loss yet. Where the venue pays at the price of the request, those who stay bear the attacker's
part; where it pays at the price of the payment he bears it himself.

Ours, 2026-11-22: lock-up four days as of Hyperliquid's vault (its help pages, undated), queue one day.
"""

from dataclasses import dataclass, field
from typing import Literal

DAY_HOURS = 24
PaidAt = Literal["request", "payment"]


@dataclass(frozen=True)
class Request:
    """A redemption that waits."""

    depositor: int
    shares: int
    due_hour: int
    quoted_atoms: int


@dataclass
class VaultDepositors:
    """Shares of each depositor, the hour he came, and the queue. Atoms are rounded down: the vault gains.

    paid_at  the price that a redemption is paid at: that of the request (stale) or that of the payment
    """

    paid_at: PaidAt = "payment"
    lock_up_hours: int = 4 * DAY_HOURS
    queue_hours: int = DAY_HOURS
    shares: dict[int, int] = field(default_factory=dict)
    came_hour: dict[int, int] = field(default_factory=dict)
    queue: list[Request] = field(default_factory=list)

    @property
    def shares_sum(self) -> int:
        return sum(self.shares.values()) + sum(request.shares for request in self.queue)

    def deposit(self, depositor: int, atoms: int, equity_atoms: int, hour: int) -> int:
        """Shares for what is brought in; the lock-up starts anew. `equity_atoms` is the vault's before it."""
        shares = atoms * self.shares_sum // equity_atoms if self.shares_sum else atoms
        self.shares[depositor] = self.shares.get(depositor, 0) + shares
        self.came_hour[depositor] = hour
        return shares

    def ask(self, depositor: int, shares: int, equity_atoms: int, hour: int) -> bool:
        """Join the queue; no before the lock-up is over, and for no more than he has."""
        if hour < self.came_hour[depositor] + self.lock_up_hours or shares > self.shares[depositor]:
            return False
        quoted = shares * equity_atoms // self.shares_sum
        self.shares[depositor] -= shares
        self.queue.append(Request(depositor, shares, hour + self.queue_hours, quoted))
        return True

    def pay(self, equity_atoms: int, hour: int) -> dict[int, int]:
        """What leaves the vault now, by depositor, in the queue's order."""
        paid: dict[int, int] = {}
        while self.queue and self.queue[0].due_hour <= hour:
            request = self.queue[0]
            worth = request.shares * equity_atoms // self.shares_sum
            atoms = min(equity_atoms, request.quoted_atoms if self.paid_at == "request" else worth)
            self.queue.pop(0)
            paid[request.depositor] = paid.get(request.depositor, 0) + atoms
            equity_atoms -= atoms
        return paid
