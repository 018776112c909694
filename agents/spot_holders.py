"""Accounts with cash and coins: what traders of the spot books have in common."""

import numpy as np

from zerodebt.agents.coins import Coin, Routes, coins_of, deepest_book, immediate_order
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Positions, account_range, count_rejections, latencies_ns
from zerodebt.agents.seeds import rng
from zerodebt.agents.wealth import Floats
from zerodebt.agents.world import World
from zerodebt.exchange.commands import BUY, Command, Deposit, Role
from zerodebt.exchange.events import Batch

DAY_S = 86_400


class SpotHolders:
    """The accounts of one population, their coins by (coin, account). They buy in a coin's first book, and
    sell where `routes` says."""

    role: Role = "customer"
    routes: Routes = "first"

    def __init__(
        self, name: str, count: int, opening: Opening, first_account: int, latency_ms: float
    ) -> None:
        self.name = name
        self.accounts = account_range(first_account, count)
        self.deposits_atoms = np.zeros(count, np.int64)
        self.positions: Positions | None = None
        self.counters = dict.fromkeys(("orders", "rejected"), 0)
        self.coins: tuple[Coin, ...] = coins_of(opening.instruments)
        self.opening = opening
        self.generator = rng(opening.seed, name)
        self.latencies = latencies_ns(self.generator, count, latency_ms)
        spots = [coin.spot for coin in self.coins]
        self.spots = spots
        self.shares = opening.shares_of("spot")[spots] / opening.shares_of("spot")[spots].sum()
        self.lot_usd = opening.lot_value_atoms[spots] / opening.atoms_per_usd
        self.start_lots = np.zeros((len(spots), count), np.int64)

    def endow(self, cash_usd: Floats, coins_usd: Floats) -> None:
        """Cash by account, coins by (coin, account) at the prices of the start."""
        self.deposits_atoms = np.rint(cash_usd * self.opening.atoms_per_usd).astype(np.int64)
        self.start_lots = np.rint(coins_usd / self.lot_usd[:, None]).astype(np.int64)

    def opening_commands(self) -> list[Command]:
        first, commands = int(self.accounts[0]), list[Command]()
        for coin, lots in zip(self.coins, self.start_lots, strict=True):
            atoms = lots * self.opening.instruments[coin.spot].lot_atoms
            if atoms.any():
                commands.append(Deposit(coin.asset, first, tuple(atoms.tolist())))
        return commands

    def held_lots(self, world: World, k: int, row: int) -> int:
        """Whole lots of coin `k` in the wallet of an account."""
        coin = self.coins[k]
        atoms = int(world.view.holdings(coin.asset, (int(self.accounts[row]),))[0])
        return atoms // self.opening.instruments[coin.spot].lot_atoms

    def trade(
        self,
        world: World,
        row: int,
        k: int,
        lots: float,
        index_ticks: float,
        limit_ticks: float | None = None,
    ) -> None:
        """Send an order for signed `lots` as far as the account has coins or money."""
        account, coin = int(self.accounts[row]), self.coins[k]
        book = coin.spot
        if lots < 0 and self.routes == "deepest":
            book = deepest_book(world.view, coin.books, BUY)
        instrument = self.opening.instruments[book]
        if lots < 0:
            lots = -min(-lots, self.held_lots(world, k, row))
        else:
            cash = int(world.view.wallets((account,))[0])
            lots = min(lots, 0.94 * cash / (max(1.0, index_ticks) * instrument.tick_value_atoms))
        if abs(lots) < 1:
            return
        self.counters["orders"] += 1
        order = immediate_order(instrument, account, book, int(lots), index_ticks, limit_ticks=limit_ticks)
        world.submit((order,), self.latencies[row], self.heard)

    def due(self, acts_per_day: float, wake_s: float) -> list[int]:
        """Rows that act now."""
        draws = self.generator.random(len(self.accounts))
        return np.flatnonzero(draws < acts_per_day * wake_s / DAY_S).tolist()

    def heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)
