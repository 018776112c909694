"""Noise traders: small orders at random, the plankton of every book (C10)."""

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import on_step
from zerodebt.agents.opening import Books, Opening
from zerodebt.agents.population import (
    Count,
    Leverage,
    NotNegative,
    Positions,
    Positive,
    Share,
    Usd,
    WakeOverMonths,
    account_range,
    count_rejections,
    latencies_ns,
    to_ns,
)
from zerodebt.agents.seeds import rng
from zerodebt.agents.world import World
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelOrder,
    Command,
    Deposit,
    PlaceOrder,
    Role,
    SetLeverage,
    Side,
)
from zerodebt.exchange.events import Batch, OrderAccepted
from zerodebt.exchange.instruments import largest_leverage
from zerodebt.exchange.views import View


class NoiseParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="noise", tag_field="kind"
):
    """One pool of accounts that send orders at random.

    count, capital_usd     accounts and what each holds, cross margin
    orders_per_s           Poisson, over all instruments, each in proportion to open interest
    size_usd, size_ln_sd   median and ln-sd of an order's value, lognormal [C10]
    market_share           of orders that take at once, up to `through_bp` beyond the index
    distance_bp            scale of the exponential distance of a resting order from the index
    lifetime_s             mean of the exponential life of a resting order
    inventory_share        an account whose position is worth more than this part of its capital only reduces
    leverage               chosen for every instrument, cut to its maximum
    wake_s, latency_ms     how often orders are drawn, and the median latency
    books                  contracts, or first or second spot books with half of the capital in coins
    """

    name: str
    count: Count = 200
    capital_usd: Usd = 500_000.0
    orders_per_s: NotNegative = 5.0
    size_usd: Positive = 12_000.0
    size_ln_sd: NotNegative = 1.0
    market_share: Share = 0.6
    through_bp: NotNegative = 30.0
    distance_bp: NotNegative = 15.0
    lifetime_s: NotNegative = 30.0
    inventory_share: NotNegative = 0.5
    leverage: Leverage = 10
    wake_s: WakeOverMonths = 1.0
    latency_ms: NotNegative = 80.0
    books: Books = "contracts"


class Noise:
    """The pool, one process for all."""

    role: Role = "customer"

    def __init__(self, params: NoiseParams, opening: Opening, first_account: int) -> None:
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, params.count)
        self.deposits_atoms = np.full(
            params.count, opening.atoms_of("capital_usd", params.capital_usd), np.int64
        )
        self.positions: Positions | None = None
        self.counters = dict.fromkeys(("orders", "market_orders", "limit_orders", "cancels", "rejected"), 0)
        self._opening = opening
        self._shares = opening.shares_of(params.books)
        self._generator = rng(opening.seed, params.name)
        self._latencies = latencies_ns(self._generator, params.count, params.latency_ms)
        self._atoms_per_lot = opening.lot_value_atoms.tolist()
        self._cancels: dict[int, list[tuple[int, int]]] = {}
        self._beat = 0

    def opening_commands(self) -> list[Command]:
        commands: list[Command] = []
        if self.params.books != "contracts":
            first, count = int(self.accounts[0]), self.params.count
            for number in np.flatnonzero(self._shares).tolist():
                instrument = self._opening.instruments[number]
                atoms = self._coins_lots(number) * instrument.lot_atoms
                commands.append(Deposit(instrument.base_asset, first, (atoms,) * count))
            return commands
        for account in self.accounts.tolist():
            for number, instrument in enumerate(self._opening.instruments):
                if instrument.kind != "spot":
                    leverage = min(self.params.leverage, largest_leverage(instrument.tiers[0]))
                    commands.append(SetLeverage(account, number, leverage))
        return commands

    def _coins_lots(self, number: int) -> int:
        """Coins that an account of a spot pool brings: half of its capital, by the books' shares."""
        usd = 0.5 * self.params.capital_usd * float(self._shares[number])
        lots: int = round(usd * self._opening.atoms_per_usd / self._atoms_per_lot[number])
        return lots

    def _held(self, view: View, number: int, account: int) -> int:
        """Signed lots: the position, or coins beyond those of the start."""
        if self.params.books == "contracts":
            return view.position_lots(number, account)
        instrument = self._opening.instruments[number]
        atoms = int(view.holdings(instrument.base_asset, (account,))[0])
        lots: int = atoms // instrument.lot_atoms - self._coins_lots(number)
        return lots

    def start(self, world: World) -> None:
        world.every(to_ns(self.params.wake_s), lambda: self._wake(world), to_ns(self.params.wake_s / 2))

    def _wake(self, world: World) -> None:
        self._beat += 1
        for account, order_id in self._cancels.pop(self._beat, ()):
            self.counters["cancels"] += 1
            world.submit((CancelOrder(account, order_id),), self._latencies[account - int(self.accounts[0])])
        for _ in range(int(self._generator.poisson(self.params.orders_per_s * self.params.wake_s))):
            self._send(world)

    def _send(self, world: World) -> None:
        params, draw, view = self.params, self._generator, world.view
        number = int(draw.choice(len(self._atoms_per_lot), p=self._shares))
        row = int(draw.integers(params.count))
        side: Side = BUY if draw.random() < 0.5 else SELL
        size_usd = params.size_usd * float(np.exp(params.size_ln_sd * draw.standard_normal()))
        takes = draw.random() < params.market_share
        distance = float(draw.exponential(params.distance_bp))
        life_beats = 1 + int(draw.exponential(params.lifetime_s) / params.wake_s)
        index = view.index_ticks(number)
        if index is None:
            return
        account = int(self.accounts[row])
        instrument = self._opening.instruments[number]
        held = self._held(view, number, account)
        room = params.inventory_share * params.capital_usd * self._opening.atoms_per_usd
        if params.books != "contracts":
            room *= 0.5 * float(self._shares[number])
        if abs(held) * self._atoms_per_lot[number] > room:
            side = SELL if held > 0 else BUY
        away_bp = params.through_bp if takes else -distance
        price = on_step(instrument, round(index + side * abs(index) * away_bp / 10_000), side)
        size_lots = max(1, round(size_usd * self._opening.atoms_per_usd / self._atoms_per_lot[number]))
        self.counters["orders"] += 1
        if takes:
            self.counters["market_orders"] += 1
            order = PlaceOrder(account, number, side, size_lots, price, "ioc")
            world.submit((order,), self._latencies[row], self._heard)
        else:
            self.counters["limit_orders"] += 1
            order = PlaceOrder(account, number, side, size_lots, price)
            until = self._beat + life_beats
            world.submit((order,), self._latencies[row], lambda batch: self._rested(batch, until))

    def _heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)

    def _rested(self, batch: Batch, until: int) -> None:
        self._heard(batch)
        for event in batch.events:
            if isinstance(event, OrderAccepted):
                self._cancels.setdefault(max(until, self._beat + 1), []).append(
                    (event.account, event.order_id)
                )
                return
