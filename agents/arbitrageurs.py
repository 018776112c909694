"""Arbitrageurs between a coin's spot book and its contract: long the coin, short the contract (C4).

They carry what is sold in the one book into the other. Whoever loses his contract to deleveraging or
liquidation sells the coins that it hedged, into the fall.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from zerodebt.agents.coins import immediate_order
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import (
    Count,
    Leverage,
    NotNegative,
    Positions,
    Positive,
    Share,
    Usd,
    WakeOverMonths,
    to_ns,
)
from zerodebt.agents.spot_holders import SpotHolders
from zerodebt.agents.world import World
from zerodebt.exchange.commands import BUY, SELL, Command, SetLeverage
from zerodebt.exchange.instruments import largest_leverage


class ArbitrageurParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="arbitrageurs", tag_field="kind"
):
    """Pairs of coins and short contracts, each in one account. A pair is opened when the basis is beyond the
    band, and closed, a slice a wake, when the reverse is worth half of it [closing at minus half: ours].

    count                 accounts
    capital_usd           of each, in cash; the coins of the start come on top [C4: 5-20 % of open interest]
    short_share           of the open interest that they are short at the start, against as many coins
    fee_bp, legs          taker fee and legs of a round trip [C4: 4-5 bp, 2 x 2]
    holding_days          expected [C4: 3]
    carry_annual          cost of capital [C4: .06-.10]
    room                  largest pair by coin, in capitals times the coin's share [C4: U(1, 3) leverage]
    slice_share           of the room that is traded at one wake, by one account a coin [ours]
    wake_s, latency_ms    [C4: 5 min]
    """

    name: str
    count: Count = 6
    capital_usd: Usd = 500_000.0
    short_share: Share = 0.1
    fee_bp: NotNegative = 4.5
    legs: Annotated[int, Meta(ge=1, le=8)] = 4
    holding_days: Positive = 3.0
    carry_annual: NotNegative = 0.08
    room: Positive = 2.0
    slice_share: Share = 0.1
    leverage: Leverage = 5
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 100.0


class Arbitrageurs(SpotHolders):
    """Each looks at every coin at every wake."""

    def __init__(self, params: ArbitrageurParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, params.count, opening, first_account, params.latency_ms)
        self.params = params
        self.counters |= dict.fromkeys(("pairs", "unwound", "orphans_sold"), 0)
        self._paired = [k for k, coin in enumerate(self.coins) if coin.contract is not None]
        for coin in self.coins:
            if coin.contract is not None:
                spot, contract = (opening.instruments[n] for n in (coin.spot, coin.contract))
                if (spot.tick_decimals, spot.lot_decimals) != (contract.tick_decimals, contract.lot_decimals):
                    raise ValueError(f"{spot.symbol} and {contract.symbol} have different ticks or lots")
        shape = (len(opening.instruments), params.count)
        shorts = np.zeros(shape, np.int64)
        usd = np.zeros((len(self.coins), params.count))
        for k in self._paired:
            number = self._contract(k)
            each = int(params.short_share * opening.open_interest_lots[number] / params.count)
            shorts[number] = -each
            usd[k] = each * opening.lot_value_atoms[number] / opening.atoms_per_usd
        self.endow(np.full(params.count, params.capital_usd), usd)
        entries = np.repeat(np.array(opening.start_ticks, np.int64)[:, None], params.count, axis=1)
        leverage = np.array([[self._leverage(n)] for n in range(shape[0])], np.int64)
        zeros = np.zeros(shape, np.int64)
        self.positions: Positions | None = Positions(
            shorts, entries, np.repeat(leverage, params.count, axis=1), zeros
        )

    def _contract(self, k: int) -> int:
        number = self.coins[k].contract
        assert number is not None
        return number

    def _leverage(self, number: int) -> int:
        tiers = self.opening.instruments[number].tiers
        return min(self.params.leverage, largest_leverage(tiers[0])) if tiers else 1

    def opening_commands(self) -> list[Command]:
        contracts = [self._contract(k) for k in self._paired]
        chosen: list[Command] = [
            SetLeverage(account, number, self._leverage(number))
            for account in self.accounts.tolist()
            for number in contracts
        ]
        return [*super().opening_commands(), *chosen]

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns * 2 // 5)
        world.every(step_ns, lambda: self._wake(world), step_ns * 9 // 10)

    @property
    def band(self) -> float:
        """Basis beyond which a pair pays: fees of the round trip and the capital's cost while it is held."""
        fees = self.params.legs * self.params.fee_bp / 10_000
        return fees + self.params.carry_annual * self.params.holding_days / 365

    def _wake(self, world: World) -> None:
        """One account a coin: what one takes the next one would not find."""
        for k in self._paired:
            row = int(self.generator.integers(len(self.accounts)))
            self._act(world, row, k, self.basis(world, k))

    def basis(self, world: World, k: int) -> float:
        """What selling the contract and buying the coin earns now; below zero: the reverse; or 0."""
        view, spot, contract = world.view, self.coins[k].spot, self._contract(k)
        bid, coin_ask = view.best_ticks(contract, BUY), view.best_ticks(spot, SELL)
        ask, coin_bid = view.best_ticks(contract, SELL), view.best_ticks(spot, BUY)
        rich = bid / coin_ask - 1 if bid is not None and coin_ask is not None else 0.0
        cheap = ask / coin_bid - 1 if ask is not None and coin_bid is not None else 0.0
        return rich if rich > 0 else min(cheap, 0.0)

    def _act(self, world: World, row: int, k: int, basis: float) -> None:
        """First what hedges nothing; then one slice of a pair, when the basis is worth it."""
        account, contract = int(self.accounts[row]), self._contract(k)
        price = world.view.index_ticks(contract)
        if price is None:
            return
        short = -world.view.position_lots(contract, account)
        orphans = self.held_lots(world, k, row) - short
        room_usd = self.params.room * self.params.capital_usd * float(self.shares[k])
        room = room_usd / (float(self.lot_usd[k]) * price / self.opening.start_ticks[contract])
        least = max(1, round(room * self.params.slice_share))
        if abs(orphans) > least / 4:
            self.counters["orphans_sold"] += orphans > 0
            self.trade(world, row, k, -orphans, price)
        elif basis > self.band and short < room:
            self.counters["pairs"] += 1
            self._pair(world, row, k, min(least, round(room - short)), price)
        elif basis < -self.band / 2 and short > 0:
            self.counters["unwound"] += 1
            self._pair(world, row, k, -min(least, short), price)

    def _pair(self, world: World, row: int, k: int, lots: int, price: int) -> None:
        """Buy `lots` coins and sell as many contracts, or if negative the reverse."""
        account, contract = int(self.accounts[row]), self._contract(k)
        if not lots:
            return
        self.counters["orders"] += 1
        instrument = self.opening.instruments[contract]
        order = immediate_order(instrument, account, contract, -lots, price, reduce_only=lots < 0)
        world.submit((order,), self.latencies[row], self.heard)
        self.trade(world, row, k, lots, price)
