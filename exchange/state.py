"""Everything a venue remembers, and its canonical form for hashes and snapshots."""

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, structs

from zerodebt.exchange import portfolio
from zerodebt.exchange.accounts import Accounts, Table
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.collateral import resolve
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder
from zerodebt.exchange.events import FIRST_ACCOUNT, INSURANCE
from zerodebt.exchange.instruments import Instrument, budget_error, value_max_atoms
from zerodebt.exchange.ledger import Ledger
from zerodebt.exchange.lending import LendingPool
from zerodebt.exchange.marks import Average, Market, Prices
from zerodebt.exchange.rules import RulesError, VenueRules, requirement_fee_ppb
from zerodebt.exchange.triggers import Armed, Triggers
from zerodebt.exchange.units import INT64_BUDGET, INT64_MAX

Compartment = tuple[int, int]
_DIGEST_BYTES = 16
_CELL_BYTES = 8


class Status(Struct, frozen=True, array_like=True):
    """What an instrument allows: orders that open, orders that reduce, forced orders."""

    open: bool = True
    reduce: bool = True
    liquidate: bool = True


class Call(Struct, frozen=True, array_like=True):
    """A margin call: what was asked for, and until when."""

    atoms: int
    due_ns: int


class Redemption(Struct, frozen=True, array_like=True):
    """Collateral that its issuer has taken back: what he pays, when, to whom."""

    due_ns: int
    account: int
    row: int
    atoms: int


class PlannedPlace(NamedTuple):
    """A place in a queue of deleveraging that was made before it is needed; lots are signed."""

    account: int
    lots: int
    score_ppb: int


class SnapshotError(ValueError):
    """Bytes that are no snapshot of such a venue; nothing was taken over."""


class Counters(Struct):
    """Scalars of the state. `meter_ppb` sums the largest mark move of each instant."""

    next_order_id: int = 1
    next_trade_id: int = 1
    next_deficit_id: int = 1
    meter_ppb: int = 0
    next_funding_ns: int = 0
    next_sample_ns: int = 0
    started: bool = False


class State:
    """The tables and objects of one venue. The clearing changes them; everything else reads."""

    def __init__(
        self, rules: VenueRules, assets: tuple[Asset, ...], instruments: tuple[Instrument, ...]
    ) -> None:
        symbols = [asset.symbol for asset in assets]
        if rules.settle_asset not in symbols:
            raise RulesError(
                f"venue.settle_asset: {rules.settle_asset!r} is not an asset, allowed are {symbols}"
            )
        self.settle = symbols.index(rules.settle_asset)
        for instrument in instruments:
            error = budget_error(instrument)
            if error:
                raise RulesError(error)
            if instrument.settle_asset != self.settle and instrument.kind != "spot":
                raise RulesError(f"instrument {instrument.symbol}: does not settle in {rules.settle_asset}")
            pair = {instrument.base_asset, instrument.settle_asset}
            if instrument.kind == "spot" and (len(pair) < 2 or not pair <= set(range(len(assets)))):
                raise RulesError(f"instrument {instrument.symbol}: base and quote must be two of the assets")
            fee = rules.liquidation.requirement_fee
            if instrument.maintenance_of_initial_ppb is not None and fee != "none":
                raise RulesError(
                    f"venue.liquidation.requirement_fee: found {fee!r}, allowed is 'none' while "
                    f"maintenance of {instrument.symbol} is a share of the initial requirement"
                )
        futures = {i.symbol: i for i in instruments if i.kind == "future"}
        for contract in rules.settlement.contracts:
            future = futures.get(contract.symbol)
            if future is None:
                raise RulesError(
                    f"venue.settlement.contracts: {contract.symbol!r} is no dated future, "
                    f"allowed are {list(futures)}"
                )
            price = contract.final_price_ticks
            if price is not None and not future.price_min_ticks <= price <= future.price_max_ticks:
                raise RulesError(
                    f"venue.settlement.contracts.{contract.symbol}.final_price_ticks: found {price}, "
                    f"allowed is {future.price_min_ticks}..{future.price_max_ticks}"
                )
        whole = sum(value_max_atoms(i) for i in instruments if i.kind != "spot")
        if 4 * whole >= INT64_BUDGET:
            raise RulesError(
                f"instruments: their largest values sum to {whole} atoms, beyond the 62-bit budget"
            )
        self.rules = rules
        self.assets = assets
        self.instruments = instruments
        fee_ppb = requirement_fee_ppb(rules)
        self.markets = [Market(n, instrument, fee_ppb) for n, instrument in enumerate(instruments)]
        self.offers_legs = offers_legs(rules, instruments)
        self.slots: list[Market] = [*self.markets, *(self._short_legs() if self.offers_legs else ())]
        self.contracts = [market for market in self.slots if market.instrument.kind != "spot"]
        self.collateral = resolve(rules, assets, self.markets, self.settle)
        self.portfolio = portfolio.resolve(rules.portfolio, instruments)
        self.accounts = Accounts(len(assets) + len(self.slots), len(self.slots), len(self.collateral))
        settles = tuple(market.instrument.settle_asset for market in self.slots)
        self.ledger = Ledger(self.accounts, (*range(len(assets)), *settles))
        self.books = [Book() for _ in instruments]
        self.triggers = [Triggers() for _ in instruments]
        self.orders: dict[int, Order] = {}
        self.armed: dict[int, Armed] = {}
        self.own_orders: dict[tuple[int, int], dict[int, None]] = {}
        self.status = [Status() for _ in instruments]
        self.backstops: dict[int, int] = {}
        self.lineage: dict[tuple[int, int], deque[tuple[int, int]]] = {}
        self.cooling_until: dict[tuple[int, int], int] = {}
        self.in_liquidation: dict[Compartment, None] = {}
        self.open_deficits: dict[Compartment, int] = {}
        self.receivables: dict[int, int] = {}
        self.calls: dict[Compartment, Call] = {}
        self.settled_ticks: dict[int, int] = {}
        self.expired: dict[int, None] = {}
        self.contributions: dict[int, int] = {}
        self.defaults: dict[Compartment, tuple[tuple[int, int], ...]] = {}
        self.pool_peaks: dict[int, list[tuple[int, int]]] = {}
        self.closed_pools: dict[int, None] = {}
        self.hedged: dict[int, None] = {}
        self.redemptions: list[Redemption] = []
        self.lending = LendingPool() if rules.lending is not None else None
        self.planned: dict[tuple[int, int], list[PlannedPlace]] = {}
        if rules.insurance.scope == "instrument":
            for market in self.markets:
                if market.instrument.kind != "spot":
                    self.accounts.isolated.cells[market.number][INSURANCE] = 1
        self.open_interest = [0] * len(instruments)
        self.counters = Counters()
        self.accounts.recheck_at.array[0, :FIRST_ACCOUNT] = INT64_MAX
        self.seq = 0
        self.time_ns = 0

    def _short_legs(self) -> Iterator[Market]:
        for market in self.markets:
            number = len(self.markets) + market.number
            leg = Market(number, market.instrument, instrument_number=market.number)
            leg.margin, leg.prices = market.margin, market.prices
            yield leg

    def legs_of(self, instrument: int) -> list[Market]:
        """What holds positions in an instrument: its market, and the short leg where there is one."""
        return self.slots[instrument :: len(self.markets)]

    def leg(self, account: int, instrument: int, side: int, *, reduces: bool = False) -> Market:
        """What holds the account's position that an order of this sign opens, or only reduces."""
        is_short = account in self.hedged and (side < 0) != reduces
        if is_short and self.instruments[instrument].kind != "spot":
            return self.slots[len(self.markets) + instrument]
        return self.markets[instrument]

    def leg_of_order(self, order: Order | PlaceOrder) -> Market:
        return self.leg(order.account, order.instrument, order.side, reduces=order.reduce_only)

    def other_leg(self, account: int, market: Market) -> Market | None:
        """The leg of hedge mode on the other side, where both answer with the cross pool."""
        if account not in self.hedged:
            return None
        other = self.slots[(market.number + len(self.markets)) % len(self.slots)]
        isolated = self.accounts.isolated.cells
        is_pooled = not isolated[market.number][account] and not isolated[other.number][account]
        return other if is_pooled else None

    def pocket(self, slot: int) -> int:
        """Pocket of an isolated position's margin (for the clearing account: of the instrument's profit)."""
        return len(self.assets) + slot

    def compartment_of(self, account: int, slot: int) -> Compartment:
        isolated = self.accounts.isolated.cells[slot][account]
        return account, self.pocket(slot) if isolated else self.settle

    def is_in_liquidation(self, account: int) -> bool:
        """Is any compartment of the account?"""
        if not self.in_liquidation:
            return False
        pockets = (self.settle, *(self.pocket(market.number) for market in self.contracts))
        return any((account, pocket) in self.in_liquidation for pocket in pockets)

    def contracts_of(self, compartment: Compartment) -> list[Market]:
        """The markets whose positions answer to this compartment."""
        account, pocket = compartment
        if pocket != self.settle:
            return [self.slots[pocket - len(self.assets)]]
        isolated = self.accounts.isolated.cells
        return [market for market in self.contracts if not isolated[market.number][account]]

    def positions_of(self, compartment: Compartment) -> list[Market]:
        """The same, only those with a position."""
        lots = self.accounts.lots.cells
        return [market for market in self.contracts_of(compartment) if lots[market.number][compartment[0]]]

    def sells_of(self, account: int, instrument: int) -> list[Order]:
        """The account's resting orders to sell."""
        own = (self.orders.get(order_id) for order_id in self.own_orders.get((account, instrument), ()))
        return [order for order in own if order is not None and order.side == SELL]

    def _content(self) -> list[Any]:
        count = self.accounts.count
        tables = [getattr(self.accounts, name).array[:, :count].tobytes() for name in Accounts.STATE]
        return [
            count,
            tables,
            [[order for side in (BUY, SELL) for order in book.walk(side)] for book in self.books],
            [_written_order(self.armed[order_id]) for order_id in sorted(self.armed)],
            [structs.replace(market.prices, **_WRITTEN_APART) for market in self.markets],
            [_written_sums(market.prices) for market in self.markets],
            self.status,
            sorted(self.backstops.items()),
            sorted((key, list(value)) for key, value in self.lineage.items() if value),
            sorted(self.cooling_until.items()),
            sorted(self.in_liquidation),
            sorted(self.open_deficits.items()),
            sorted(self.receivables.items()),
            self.counters,
            sorted((key, list(ids)) for key, ids in self.own_orders.items() if ids),
            sorted(self.calls.items()),
            sorted(self.settled_ticks.items()),
            sorted(self.expired),
            sorted(self.contributions.items()),
            sorted(self.defaults.items()),
            sorted(self.pool_peaks.items()),
            sorted(self.closed_pools),
            *self._optional_content(),
        ]

    def _optional_content(self) -> list[Any]:
        """What only some rulebooks and venues have; what comes before it in the order is written too."""
        written: list[tuple[bool, Any]] = [
            (self.offers_legs, sorted(self.hedged)),
            (self.lending is not None, self.lending and _written_pool(self.lending)),
            (any(c.rule.redemption_lag_ns for c in self.collateral), self.redemptions),
            (bool(self.planned), sorted(self.planned.items())),
        ]
        last = max((n for n, (is_there, _) in enumerate(written, 1) if is_there), default=0)
        return [content for _, content in written[:last]]

    def hash(self) -> str:
        """Hash of all that matters to the next command, however the objects are laid out."""
        return blake2b(_ENCODER.encode(self._content()), digest_size=_DIGEST_BYTES).hexdigest()

    def snapshot(self) -> bytes:
        """A digest of what is traded and of the content, and the content."""
        content = _ENCODER.encode(
            [self.seq, self.time_ns, self._content(), self.accounts.recheck_at.array.tobytes()]
        )
        return self._snapshot_digest(content) + content

    def _snapshot_digest(self, content: bytes | memoryview) -> bytes:
        traded = _ENCODER.encode([self.assets, self.instruments])
        return blake2b(content, digest_size=_DIGEST_BYTES, key=blake2b(traded).digest()).digest()

    def restore(self, snapshot: bytes) -> None:
        """Take over a snapshot of a venue with the same rulebook, assets and instruments.

        SnapshotError where it is damaged or of a venue in which other accounts could be: nothing has changed.
        """
        digest, written = snapshot[:_DIGEST_BYTES], memoryview(snapshot)[_DIGEST_BYTES:]
        if digest != self._snapshot_digest(written):
            raise SnapshotError(
                f"snapshot: found {len(snapshot)} bytes whose digest differs, "
                "allowed is a whole snapshot of a venue with these assets and instruments"
            )
        try:
            content = msgspec.msgpack.decode(written, type=_Snapshot)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"snapshot: not readable: {error}") from None
        inner = content.content
        for name, data in zip(Accounts.STATE, inner.tables, strict=True):
            rows = len(getattr(self.accounts, name).cells)
            if len(data) != rows * inner.count * _CELL_BYTES:
                raise SnapshotError(
                    f"snapshot: the table {name} holds {len(data)} bytes for {inner.count} accounts, "
                    f"allowed are {rows} rows, as this rulebook has"
                )
        self.seq, self.time_ns = content.seq, content.time_ns
        self.accounts.open(inner.count - self.accounts.count)
        for name, data in zip(Accounts.STATE, inner.tables, strict=True):
            table: Table = getattr(self.accounts, name)
            narrow = np.frombuffer(data, np.int64).reshape(-1, inner.count)
            table.array[:, : inner.count] = narrow
        recheck = np.frombuffer(content.recheck_at, np.int64)
        self.accounts.recheck_at.array[0, : inner.count] = recheck[: inner.count]
        for book, orders in zip(self.books, inner.books, strict=True):
            for order in orders:
                book.add(order)
                self.orders[order.order_id] = order
        for armed in inner.armed:
            self.triggers[armed.order.instrument].add(armed)
            self.armed[armed.order_id] = armed
        for key, ids in inner.own_orders:
            self.own_orders[key] = dict.fromkeys(ids)
            self.accounts.orders.cells[0][key[0]] += len(ids)
        for market, prices, sums in zip(self.markets, inner.prices, inner.sums, strict=True):
            basis, median = (Average(int(num), int(den), at) for num, den, at in (sums.basis, sums.book))
            market.prices = structs.replace(
                prices,
                basis=basis,
                book=median,
                premium_sum_ppt=int(sums.premium_sum_ppt),
                funding_index_ppm=int(sums.funding_index_ppm),
            )
        self.status = inner.status
        self.backstops = dict(inner.backstops)
        self.lineage = {key: deque(value) for key, value in inner.lineage}
        self.cooling_until = dict(inner.cooling_until)
        self.in_liquidation = dict.fromkeys(inner.in_liquidation)
        self.open_deficits = dict(inner.open_deficits)
        self.receivables = dict(inner.receivables)
        self.calls = dict(inner.calls)
        self.settled_ticks = dict(inner.settled_ticks)
        self.expired = dict.fromkeys(inner.expired)
        self.contributions = dict(inner.contributions)
        self.defaults = dict(inner.defaults)
        self.pool_peaks = dict(inner.pool_peaks)
        self.closed_pools = dict.fromkeys(inner.closed_pools)
        self.hedged = dict.fromkeys(inner.hedged)
        self.redemptions = inner.redemptions
        for redemption in self.redemptions:
            self.accounts.coming.cells[redemption.row][redemption.account] += redemption.atoms
        if inner.lending is not None:
            index, shares, next_ns = inner.lending
            self.lending = LendingPool(index, dict(shares), next_ns)
        self.planned = dict(inner.planned)
        for leg in self.slots[len(self.markets) :]:
            leg.prices = self.markets[leg.instrument_number].prices
        for market in self.markets:
            lots = self.accounts.lots.array[market.number]
            self.open_interest[market.number] = int(lots[lots > 0].sum())
        self.counters = inner.counters


def offers_legs(rules: VenueRules, instruments: Sequence[Instrument]) -> bool:
    """May an account hold both legs of a contract? Gross sums have no meaning beside marginal tiers."""
    is_marginal = any(len(i.tiers) > 1 and i.tier_form == "marginal" for i in instruments)
    return rules.margin.hedge_mode and not (rules.margin.tier_sum == "gross" and is_marginal)


def _written_order(armed: Armed) -> dict[str, Any]:
    """A waiting order without its leg, which side and `reduce_only` say already."""
    return {"order_id": armed.order_id, "order": msgspec.to_builtins(armed.order)[:-1]}


def _written_pool(pool: LendingPool) -> tuple[int, list[tuple[int, int]], int]:
    return pool.index, sorted(pool.shares.items()), pool.next_ns


def _written(average: Average) -> tuple[str, str, int]:
    return str(average.numerator), str(average.denominator), average.sampled_at_ns


class _Sums(Struct, array_like=True):
    """Sums of an instrument's prices for hashes and snapshots: they outgrow a msgpack integer's 64 bits."""

    basis: tuple[str, str, int]
    book: tuple[str, str, int]
    premium_sum_ppt: str
    funding_index_ppm: str


_WRITTEN_APART: dict[str, Any] = {
    "basis": Average(),
    "book": Average(),
    "premium_sum_ppt": 0,
    "funding_index_ppm": 0,
}


def _written_sums(prices: Prices) -> _Sums:
    return _Sums(
        _written(prices.basis),
        _written(prices.book),
        str(prices.premium_sum_ppt),
        str(prices.funding_index_ppm),
    )


class _Content(Struct, array_like=True):
    count: int
    tables: list[bytes]
    books: list[list[Order]]
    armed: list[Armed]
    prices: list[Prices]
    sums: list[_Sums]
    status: list[Status]
    backstops: list[tuple[int, int]]
    lineage: list[tuple[tuple[int, int], list[tuple[int, int]]]]
    cooling_until: list[tuple[tuple[int, int], int]]
    in_liquidation: list[Compartment]
    open_deficits: list[tuple[Compartment, int]]
    receivables: list[tuple[int, int]]
    counters: Counters
    own_orders: list[tuple[tuple[int, int], list[int]]]
    calls: list[tuple[Compartment, Call]]
    settled_ticks: list[tuple[int, int]]
    expired: list[int]
    contributions: list[tuple[int, int]]
    defaults: list[tuple[Compartment, tuple[tuple[int, int], ...]]]
    pool_peaks: list[tuple[int, list[tuple[int, int]]]]
    closed_pools: list[int]
    hedged: list[int] = []
    lending: tuple[int, list[tuple[int, int]], int] | None = None
    redemptions: list[Redemption] = []
    planned: list[tuple[tuple[int, int], list[PlannedPlace]]] = []


class _Snapshot(Struct, array_like=True):
    seq: int
    time_ns: int
    content: _Content
    recheck_at: bytes


_ENCODER = msgspec.msgpack.Encoder()
