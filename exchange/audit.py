"""The second witness: rebuilds a run from its events alone and says whether every debt was made zero.

Nothing of the engine is used, only the event types and the rulebook's data; everything is plain Python
integers. Memory grows with accounts and live orders, never with events. What the events do not hold (what the
single price sources said, the self-trade mode of an order) is taken as stated; all else is derived again.
A finding names the property that broke, with both numbers.
"""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from math import lcm
from typing import Any, Literal

from msgspec import Struct

from zerodebt.exchange.events import (
    CLEARING,
    DEFAULT_FUND,
    DEFICIT,
    EXTERNAL,
    FEES,
    FINANCIER,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    ROUNDING,
    AccountsOpened,
    AuctionHeld,
    BackstopSet,
    Batch,
    Contributed,
    DefaultDeclared,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Filled,
    FundingSampled,
    FundingSet,
    LayerDrawn,
    LeverageSet,
    LiquidationEnded,
    LiquidationStarted,
    MarginCalled,
    MarginCallEnded,
    Marked,
    Opened,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    PositionsLoaded,
    Posted,
    Quoted,
    ReceivableBooked,
    Rejected,
    Settled,
    StageArmed,
    StagePaid,
    StatusSet,
    TakenOver,
    TriggerArmed,
    TriggerFired,
    VariationSettled,
    WorkLeft,
)
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import VenueRules

Verdict = Literal["HELD", "HELD WITH HARM", "HELD BY INTERVENTION", "RESIDUAL", "RECOURSE"]

_PPB = 10**9
_PPT = 10**12
_UNIT = 10**18
_SCORE_MAX = 2**63 - 1
_BUY, _SELL = 1, -1
_FULL_PASS_EVERY = 16
_WATCHED_MAX = 4000
_LAYERS = ("defaulter_contribution", "house_capital", "contributions", "assessments", "variation_haircut")
_DAY_NS = 86_400 * _PPB
_PAYER_OF_STAGE = {"insurance": INSURANCE, "house": HOUSE, "recourse": FINANCIER}


class Finding(Struct, frozen=True):
    """Where the run and its second reading differ. `rule` is a property id or a clause of the guarantee."""

    seq: int
    rule: str
    text: str


class Clause(Struct, frozen=True):
    """A clause (a) to (i) of the guarantee and the figures printed beside it; (h) and (i) are only shown."""

    letter: str
    holds: bool
    figures: dict[str, int]


class Residual(Struct, frozen=True):
    """What the waterfall left: the sum when it arose, and what of it is still missing at the end."""

    asset: int
    origin: int
    arose_atoms: int
    open_atoms: int


class OpenDeficit(Struct, frozen=True):
    """The largest debt seen at a rest point; `age_ns` is how long it stood, or stands at the end."""

    account: int
    pocket: int
    atoms: int
    seq: int
    age_ns: int


class Paid(Struct, frozen=True):
    stage: str
    payer: int
    atoms: int


class Share(Struct, frozen=True):
    account: int
    atoms: int


class Intervention(Struct, frozen=True):
    seq: int
    time_ns: int
    what: str


class Report(Struct, frozen=True):
    """Everything the second witness says. Money in atoms; accounts and instruments by number.

    holdings_digest  of all balances and positions that are not zero, see `Audit.digest`
    """

    verdict: Verdict
    agrees: bool
    findings: tuple[Finding, ...]
    findings_count: int
    clauses: tuple[Clause, ...]
    residuals: tuple[Residual, ...]
    residual_arose_atoms: dict[int, int]
    residual_open_atoms: dict[int, int]
    largest_deficit: OpenDeficit | None
    receivables: tuple[Share, ...]
    interventions: tuple[Intervention, ...]
    harm_atoms: int
    harmed_compartments: int
    overcharge_by_payer: tuple[Share, ...]
    overcharge_by_recipient: tuple[Share, ...]
    paid_by_stage: dict[str, int]
    paid: tuple[Paid, ...]
    house_balances: tuple[tuple[int, int, int], ...]
    holdings_digest: str
    counts: dict[str, int]


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _middle(values: list[int]) -> int:
    """Median; the mean of the middle two, rounded down, when there are two."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) & 1 else (values[half - 1] + values[half]) // 2


def _split(total: int, weights: list[int]) -> list[int]:
    """Whole shares first, then one atom each to the largest fractions, the earlier first among equals."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    fractions = sorted((-(total * weight % whole), k) for k, weight in enumerate(weights))
    for _, k in fractions[: total - sum(shares)]:
        shares[k] += 1
    return shares


@lru_cache(maxsize=1024)
def _decay(elapsed_ns: int, tau_ns: int) -> int:
    """exp(-elapsed/tau) times 10^18, to the nearest unit: the reciprocal of exp(elapsed/tau)'s series."""
    if elapsed_ns > 60 * tau_ns:
        return 0
    scale = 1 << 256
    x = (elapsed_ns * scale // tau_ns) >> 6
    term = total = scale
    k = 1
    while term:
        term = term * x // (k * scale)
        total += term
        k += 1
    for _ in range(6):
        total = total * total // scale
    return (_UNIT * scale + total // 2) // total


class _Average:
    """num = num*decay + x*t, den = den*decay + t; compared with a tolerance of a few parts in 10^14.

    The tolerance only matters when the true quotient lies that close to a whole tick.
    """

    __slots__ = ("denominator", "numerator", "sampled_at_ns", "tau_ns")

    def __init__(self, tau_ns: int) -> None:
        self.tau_ns = tau_ns
        self.numerator = self.denominator = 0
        self.sampled_at_ns = -1

    def add(self, value: int, time_ns: int) -> None:
        elapsed = time_ns - self.sampled_at_ns if self.sampled_at_ns >= 0 else 0
        self.sampled_at_ns = time_ns
        if elapsed > 0:
            decay = _decay(elapsed, self.tau_ns)
            self.numerator = self.numerator * decay // _UNIT + value * elapsed
            self.denominator = self.denominator * decay // _UNIT + elapsed

    def agrees(self, stated: int | None, divisor: int = 1) -> bool:
        if stated is None or not self.denominator:
            return stated is None and not self.denominator
        low = stated * self.denominator * divisor
        slack = 4096 + (abs(self.numerator) >> 44)
        return low - slack <= self.numerator < low + self.denominator * divisor + slack

    def floor(self, divisor: int = 1) -> int | None:
        return self.numerator // (self.denominator * divisor) if self.denominator else None


class _Order:
    """A live order; `key` is its place among the levels of its side, the best first."""

    __slots__ = (
        "account",
        "filled",
        "forced",
        "instrument",
        "key",
        "open",
        "post_only",
        "price",
        "reduce",
        "side",
        "tif",
    )

    def __init__(
        self, account: int, instrument: int, side: int, price: int | None, open_lots: int, *, reduce: bool
    ) -> None:
        self.account = account
        self.instrument = instrument
        self.side = side
        self.price = price
        self.key = 0 if price is None else -side * price
        self.open = open_lots
        self.filled = 0
        self.reduce = reduce
        self.forced = False
        self.post_only = False
        self.tif = "gtc"


class _Levels:
    """One side of a book: orders by level and arrival; the best level by a heap whose stale entries wait."""

    __slots__ = ("by_key", "heap")

    def __init__(self) -> None:
        self.by_key: dict[int, dict[int, _Order]] = {}
        self.heap: list[int] = []

    def add(self, order_id: int, order: _Order) -> None:
        level = self.by_key.get(order.key)
        if level is not None:
            level[order_id] = order
            return
        self.by_key[order.key] = {order_id: order}
        heapq.heappush(self.heap, order.key)
        if len(self.heap) > 256 + 4 * len(self.by_key):
            self.heap = sorted(self.by_key)

    def remove(self, order_id: int, order: _Order) -> bool:
        level = self.by_key.get(order.key)
        if level is None or level.pop(order_id, None) is None:
            return False
        if not level:
            del self.by_key[order.key]
        return True

    def best_key(self) -> int | None:
        heap, by_key = self.heap, self.by_key
        while heap:
            if heap[0] in by_key:
                return heap[0]
            heapq.heappop(heap)
        return None


class _Market:
    """An instrument: its book, its prices, its holders ([lots, cost, entry cost] by account)."""

    def __init__(self, number: int, spec: Instrument, rules: VenueRules, pocket: int) -> None:
        self.number = number
        self.spec = spec
        self.pocket = pocket
        self.is_spot = spec.kind == "spot"
        self.tick_value = spec.tick_value_atoms
        self.bids, self.asks = _Levels(), _Levels()
        self.sides = {_BUY: self.bids, _SELL: self.asks}
        self.index: int | None = None
        self.mark: int | None = None
        self.stands_still = False
        self.has_expired = False
        self.settled: int | None = None
        self.terms = next((c for c in rules.settlement.contracts if c.symbol == spec.symbol), None)
        self.previous_mark: int | None = None
        self.last: int | None = None
        self.basis = _Average(rules.mark.basis_ema_ns)
        self.median = _Average(rules.mark.book_ema_ns)
        self.premium_sum = 0
        self.premium_samples = 0
        self.marked_seq = self.sampled_seq = -1
        self.holders: dict[int, list[int]] = {}
        self.isolated: set[int] = set()
        self.cost_sum = 0
        self.lots_sum = 0
        self.denominator = lcm(1, *(2 * tier.leverage_max for tier in spec.tiers))
        self.tiers: list[tuple[int, int, int]] = []
        self.most_required = (
            2 * min((tier.leverage_max for tier in spec.tiers), default=1),
            spec.margin_floor_atoms_per_lot,
        )
        below = 0
        for n, tier in enumerate(spec.tiers):
            if n:
                before = self.tiers[-1]
                below += (tier.lower - before[0]) * before[1]
            slope = self.denominator // (2 * tier.leverage_max)
            self.tiers.append((tier.lower, slope, below))

    def best(self, side: int) -> int | None:
        key = self.sides[side].best_key()
        return None if key is None else -side * key

    def maintenance(self, notional: int, size_lots: int) -> int:
        """The tiers' slices of the notional, each at half of 1/leverage; the sum rounded up once."""
        required = 0
        for lower, slope, below in reversed(self.tiers):
            if notional >= lower:
                required = _ceil(below + (notional - lower) * slope, self.denominator)
                break
        return max(required, size_lots * self.spec.margin_floor_atoms_per_lot)

    def initial(self, notional: int, size_lots: int, leverage: int) -> int:
        """Each slice of the notional at its tier's rate; at least the amount per lot and value over leverage.

        Tiers by value in marginal form only: what has other forms is not called to its initial requirement.
        """
        slices = Fraction(0)
        uppers = [tier.lower for tier in self.spec.tiers[1:]] + [notional]
        for tier, upper in zip(self.spec.tiers, uppers, strict=True):
            rate = Fraction(tier.initial_ppb, _PPB) if tier.initial_ppb else Fraction(1, tier.leverage_max)
            slices += rate * max(0, min(notional, upper) - tier.lower)
        required = _ceil(slices.numerator, slices.denominator)
        lot = self.spec.initial_atoms_per_lot or 2 * self.spec.margin_floor_atoms_per_lot
        return max(required, size_lots * lot, _ceil(notional, leverage) if leverage else 0)

    def impact(self, side: int, notional: int) -> int | None:
        """Average price at which `notional` would trade against a side, rounded towards the middle."""
        lots = ticks = 0
        left = notional
        levels = self.sides[side].by_key
        for key in sorted(levels):
            price = -side * key
            worth = price * self.tick_value
            if worth <= 0:
                return None
            take = min(sum(order.open for order in levels[key].values()), _ceil(left, worth))
            lots += take
            ticks += take * price
            left -= take * worth
            if left <= 0:
                return _ceil(ticks, lots) if side == _BUY else ticks // lots
        return None

    def premium(self, notional: int, index: int) -> int:
        if index <= 0:
            return 0
        bid, ask = self.impact(_BUY, notional), self.impact(_SELL, notional)
        premium = 0
        if bid is not None and bid > index:
            premium += bid - index
        if ask is not None and ask < index:
            premium -= index - ask
        return max(-1_000 * _PPT, min(1_000 * _PPT, premium * _PPT // index))


class _Deficit:
    """A deficit between its opening and its closing; `floored` went to the deficit account."""

    __slots__ = ("account", "atoms", "brought", "floored", "number", "origins", "pocket", "transfers")

    def __init__(self, event: DeficitOpened) -> None:
        self.number = event.deficit_id
        self.account = event.account
        self.pocket = event.pocket
        self.atoms = event.atoms
        self.origins = event.origins
        self.brought = 0
        self.floored = 0
        self.transfers: dict[int, int] = {}


class _Deleveraging:
    """A walk over a bankrupt compartment's markets: each has its price and its place in the ranking."""

    __slots__ = (
        "account",
        "at_bankruptcy",
        "charge",
        "market",
        "place",
        "pocket",
        "price",
        "sign",
        "waiting",
    )

    def __init__(self, account: int, pocket: int, waiting: list[int], *, at_bankruptcy: bool) -> None:
        self.account = account
        self.pocket = pocket
        self.waiting = waiting
        self.at_bankruptcy = at_bankruptcy
        self.market = -1
        self.sign = self.price = self.charge = self.place = 0


class _Takeover:
    """Positions of a compartment on their way to others; `values` is what each taker has received so far."""

    __slots__ = ("account", "is_margin_moved", "left", "pocket", "values")

    def __init__(self, account: int, pocket: int, left: set[int]) -> None:
        self.account = account
        self.pocket = pocket
        self.left = left
        self.values: dict[int, int] = {}
        self.is_margin_moved = False


_Key = tuple[int, int]


class Audit:
    """Feed it a run's batches in order, then ask for the report."""

    def __init__(self, findings_max: int = 100) -> None:
        self._findings: list[Finding] = []
        self._findings_max = findings_max
        self._findings_count = 0
        self._broken: set[str] = set()
        self._seq = -1
        self._time_ns = 0
        self._batches = self._events = 0
        self._counts = dict.fromkeys(
            (
                "orders", "fills", "forced_orders", "liquidations", "takeovers", "deleveraged", "deficits",
                "rejected", "withdrawals", "withdrawals_delayed", "full_passes",
            ),
            0,
        )  # fmt: skip
        self._opened = False
        self._markets: list[_Market] = []
        self._contracts: list[_Market] = []
        self._assets = 0
        self._settle = 0
        self._pocket_assets: tuple[int, ...] = ()
        self._balances: list[list[int]] = []
        self._held: list[dict[int, list[int]]] = []
        self._lot_values: list[int | None] = []
        self._alone: dict[int, set[int]] = {}
        self._vaults: set[int] = set()
        self._backstops: dict[int, int] = {}
        self._serving: set[int] = set()
        self._lineage: dict[_Key, deque[list[int]]] = {}
        self._orders: dict[int, _Order] = {}
        self._armed: dict[int, TriggerArmed] = {}
        self._entering: tuple[int, _Order] | None = None
        self._forced_from_lots = 0
        self._crossable: set[int] = set()
        self._cooling: dict[_Key, int] = {}
        self._in_liquidation: dict[_Key, list[int]] = {}
        self._liquidating: dict[int, int] = {}
        self._expected: dict[_Key, int] | None = None
        self._expected_reason = ""
        self._expected_for = ""
        self._touched: set[int] = set()
        self._deficit: _Deficit | None = None
        self._last_deficit_id = 0
        self._deficits_in_batch: list[tuple[_Deficit, int]] = []
        self._rankings: dict[_Key, list[tuple[int, int, int]]] = {}
        self._adl: _Deleveraging | None = None
        self._taking: _Takeover | None = None
        self._armed_stage: tuple[str, int, int] | None = None
        self._socialised: dict[int, int] = {}
        self._unstated: dict[tuple[str, int], int] = {}
        self._is_marked = False
        self._is_alone = False
        self._needs_full_pass = False
        self._started = False
        self._next_sample_ns = self._next_funding_ns = 0
        self._sample_due = False
        self._funding_due = 0
        self._brought_in: dict[int, int] = {}
        self._index_batches = 0
        self._watch: list[tuple[int, int, int]] = []
        self._watched_from: list[int | None] = []
        self._changed: set[int] = set()
        self._work_left = False
        self._debts: dict[_Key, list[int]] = {}
        self._largest: OpenDeficit | None = None
        self._carried: dict[_Key, int] = {}
        self._arose: dict[_Key, int] = {}
        self._floored: dict[_Key, int] = {}
        self._announced_residual = 0
        self._recovered_debt = 0
        self._absorber_debt = 0
        self._hidden = 0
        self._settled_debt = 0
        self._withdrawn_too_much = 0
        self._answered: set[_Key] = set()
        self._forced_in_batch: set[_Key] = set()
        self._receivables: dict[int, int] = {}
        self._interventions: list[Intervention] = []
        self._harm = 0
        self._harmed = 0
        self._harm_by: dict[_Key, int] = {}
        self._paid: dict[tuple[str, int], int] = {}
        self._overcharge_by_payer: dict[int, int] = {}
        self._overcharge_by_recipient: dict[int, int] = {}
        self._calls: dict[_Key, int] = {}
        self._settled_now: set[int] = set()
        self._leverage: dict[_Key, int] = {}
        self._contributions: dict[int, int] = {}
        self._frozen: dict[_Key, dict[int, int]] = {}
        self._defaulted = False
        self._layer = 0
        self._fund_due: dict[int, int] = {}
        self._deposited: dict[int, int] = {}
        self._withdrawn: dict[int, int] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            Opened: self._on_opened,
            AccountsOpened: self._on_accounts_opened,
            BackstopSet: self._on_backstop_set,
            LeverageSet: self._on_leverage_set,
            PositionsLoaded: self._on_positions_loaded,
            Posted: self._on_posted,
            Rejected: self._on_rejected,
            OrderAccepted: self._on_order_accepted,
            OrderAmended: self._on_order_amended,
            OrderReduced: self._on_order_reduced,
            OrderClosed: self._on_order_closed,
            Quoted: self._on_quoted,
            Filled: self._on_filled,
            TriggerArmed: self._on_trigger_armed,
            TriggerFired: self._on_trigger_fired,
            Marked: self._on_marked,
            FundingSampled: self._on_funding_sampled,
            FundingSet: self._on_funding_set,
            LiquidationStarted: self._on_liquidation_started,
            LiquidationEnded: self._on_liquidation_ended,
            StageArmed: self._on_stage_armed,
            TakenOver: self._on_taken_over,
            DeficitOpened: self._on_deficit_opened,
            Deleveraged: self._on_deleveraged,
            StagePaid: self._on_stage_paid,
            DeficitClosed: self._on_deficit_closed,
            ReceivableBooked: self._on_receivable_booked,
            StatusSet: self._on_status_set,
            Settled: self._on_settled,
            WorkLeft: self._on_work_left,
            VariationSettled: self._on_variation_settled,
            MarginCalled: self._on_margin_called,
            MarginCallEnded: self._on_margin_call_ended,
            DefaultDeclared: self._on_default_declared,
            AuctionHeld: self._on_auction_held,
            LayerDrawn: self._on_layer_drawn,
            Contributed: self._on_contributed,
        }

    # The stream

    def feed(self, batch: Batch) -> None:
        """Read the events of one command and check the state at its rest point."""
        if batch.seq != self._seq + 1 and self._batches:
            self._find("DET-03", f"batch {batch.seq} follows batch {self._seq}")
        if batch.time_ns < self._time_ns:
            self._find("DET-03", f"time {batch.time_ns} ns is before {self._time_ns} ns")
        self._seq = batch.seq
        self._time_ns = batch.time_ns
        self._batches += 1
        self._events += len(batch.events)
        self._is_alone = len(batch.events) == 1
        handlers = self._handlers
        try:
            for event in batch.events:
                kind = type(event)
                if kind is not Posted:
                    if self._expected is not None:
                        self._missing_post()
                    if self._taking is not None and kind is not TakenOver:
                        self._end_takeover()
                if not self._opened and kind is not Opened:
                    self._find("EVENT-01", f"{kind.__name__} comes before the rulebook")
                    return
                handlers[kind](event)
            if self._expected is not None:
                self._missing_post()
            self._rest()
        except (KeyError, IndexError) as error:
            self._find("EVENT-02", f"an event names something that does not exist: {error!r}")

    def _find(self, rule: str, text: str) -> None:
        self._findings_count += 1
        self._broken.add(rule)
        if len(self._findings) < self._findings_max:
            self._findings.append(Finding(self._seq, rule, text))

    # Setting up

    def _on_opened(self, event: Opened) -> None:
        if self._opened:
            self._find("EVENT-01", "the rulebook is stated twice")
            return
        self._opened = True
        self._rules = event.rules
        self._assets = len(event.assets)
        self._settle = [asset.symbol for asset in event.assets].index(event.rules.settle_asset)
        self._other_assets = [asset for asset in range(self._assets) if asset != self._settle]
        self._markets = [
            _Market(n, spec, event.rules, self._assets + n) for n, spec in enumerate(event.instruments)
        ]
        self._contracts = [market for market in self._markets if not market.is_spot]
        self._lot_values = [None] * len(self._markets)
        self._pocket_assets = (*range(self._assets), *(m.spec.settle_asset for m in self._markets))
        self._balances = [[0] * FIRST_ACCOUNT for _ in self._pocket_assets]
        self._held = [{} for _ in range(FIRST_ACCOUNT)]

    def _on_accounts_opened(self, event: AccountsOpened) -> None:
        if event.first_account != len(self._held):
            self._find("EVENT-02", f"account {event.first_account} is opened, the next is {len(self._held)}")
        for row in self._balances:
            row.extend([0] * event.count)
        self._held.extend({} for _ in range(event.count))
        if event.role == "vault":
            self._vaults.update(range(event.first_account, event.first_account + event.count))

    def _on_backstop_set(self, event: BackstopSet) -> None:
        if event.account not in self._vaults:
            self._find("(f)", f"account {event.account} becomes the backstop but is no vault")
        for instrument in event.instruments:
            self._backstops[instrument] = event.account
        self._serving = set(self._backstops.values())

    def _on_leverage_set(self, event: LeverageSet) -> None:
        market = self._markets[event.instrument]
        self._leverage[event.account, event.instrument] = event.leverage
        isolate = event.mode == "isolated"
        if isolate != (event.account in market.isolated):
            if event.account in market.holders:
                self._find(
                    "MARG-06", f"account {event.account} changes its margin mode under an open position"
                )
            if isolate:
                self._isolate(market, event.account)
            else:
                self._pool(market, event.account)

    def _isolate(self, market: _Market, account: int) -> None:
        market.isolated.add(account)
        self._alone.setdefault(account, set()).add(market.pocket)

    def _pool(self, market: _Market, account: int) -> None:
        market.isolated.discard(account)
        self._alone[account].discard(market.pocket)

    def _on_positions_loaded(self, event: PositionsLoaded) -> None:
        market = self._markets[event.instrument]
        if sum(event.lots):
            self._find(
                "(b)",
                f"loaded positions of instrument {event.instrument} sum to {sum(event.lots)} lots, not to 0",
            )
        if market.spec.kind == "future":
            market.settled = event.price_ticks
        self._leverage |= {(a, market.number): x for a, x in zip(event.accounts, event.leverage, strict=True)}
        for account, lots, entry, isolated in zip(
            event.accounts, event.lots, event.entry_ticks, event.isolated_atoms, strict=True
        ):
            if isolated:
                self._isolate(market, account)
            elif account in market.isolated:
                self._pool(market, account)
            cost = lots * event.price_ticks * market.tick_value
            position = [lots, cost, lots * entry * market.tick_value]
            if account in market.holders:
                self._find(
                    "POS-03", f"account {account} is given a position in instrument {event.instrument} twice"
                )
            market.holders[account] = position
            self._held[account][market.number] = position
            market.cost_sum += cost
            market.lots_sum += lots

    def _on_rejected(self, event: Rejected) -> None:
        self._counts["rejected"] += 1
        if event.reason is RejectReason.DEFICIT_OPEN:
            self._counts["withdrawals_delayed"] += 1

    # Orders and books

    def _on_order_accepted(self, event: OrderAccepted) -> None:
        if self._entering is not None:
            self._rest_entering()
        self._counts["orders"] += 1
        order_id = event.order_id
        if order_id in self._orders:
            self._find("BOOK-09", f"order {order_id} is accepted while it is live")
        order = _Order(
            event.account,
            event.instrument,
            event.side,
            event.price_ticks,
            event.size_lots,
            reduce=event.reduce_only,
        )
        order.tif = event.tif
        order.post_only = event.post_only
        self._entering = (order_id, order)
        if event.forced:
            self._check_forced(order_id, order)

    def _check_forced(self, order_id: int, order: _Order) -> None:
        """A forced order: of a compartment in liquidation, against its position, in the rulebook's size."""
        self._counts["forced_orders"] += 1
        order.forced = order.reduce = True
        n, account = order.instrument, order.account
        market = self._markets[n]
        pocket = market.pocket if account in market.isolated else self._settle
        if (account, pocket) not in self._in_liquidation:
            self._find("LIQ-01", f"forced order {order_id} of account {account}, which is not in liquidation")
        equity, required = self._risk(account, pocket)
        if equity >= required:
            self._find(
                "LIQ-01",
                f"forced order {order_id} of account {account}: equity {equity} is not below {required}",
            )
        rules = self._rules
        is_first = (account, pocket) not in self._forced_in_batch
        self._forced_in_batch.add((account, pocket))
        if equity < 0 and is_first and not {"adl", "insurance"}.isdisjoint(rules.waterfall):
            self._find("WFALL-01", f"forced order {order_id} in the book although equity is {equity}")
        is_low = 0 <= equity * _PPB < required * rules.liquidation.backstop_below_ppb
        has_vault = all(m.number in self._backstops for m in self._positions(account, pocket))
        if "backstop" in rules.waterfall and is_low and has_vault:
            self._find(
                "WFALL-01",
                f"forced order {order_id} although equity {equity} is for the backstop, below {required}",
            )
        position = market.holders.get(account)
        lots = position[0] if position else 0
        if lots * order.side >= 0:
            self._find("LIQ-05", f"forced order {order_id} does not reduce the position of {lots} lots")
            return
        size = abs(lots)
        self._forced_from_lots = size
        value = self._lot_values[n] or 0
        liquidation = rules.liquidation
        limit = None
        if liquidation.price_limit == "bankruptcy" and equity >= 0:
            limit = (market.mark or 0) + order.side * (equity // (size * market.tick_value))
        limit = self._within_band(market, order.side, limit)
        if rules.default_fund.close_out == "auction":
            self._find("WFALL-01", f"forced order {order_id} in the book although the rulebook has auctions")
        if order.price != limit:
            self._find(
                "LIQ-08", f"forced order {order_id} is limited to {order.price}, the rulebook says {limit}"
            )
        cooling = self._cooling.get((account, n), -1) >= self._time_ns
        if size * abs(value) > liquidation.chunk_threshold_atoms and not cooling:
            size = max(1, size * liquidation.chunk_ppb // _PPB)
        if order.open != size:
            self._find(
                "LIQ-06", f"forced order {order_id} is for {order.open} lots, the rulebook says {size}"
            )

    def _rest_entering(self) -> None:
        """The order that was entering is done: what is left of it rests, or should have been closed."""
        if self._entering is None:
            return
        order_id, order = self._entering
        self._entering = None
        self._cool(order)
        if order.open <= 0:
            return
        if order.price is None or order.tif != "gtc" or order.forced:
            self._find(
                "BOOK-12",
                f"order {order_id} may not rest, but {order.open} of its lots are neither filled nor closed",
            )
            return
        self._orders[order_id] = order
        self._markets[order.instrument].sides[order.side].add(order_id, order)
        self._crossable.add(order.instrument)

    def _cool(self, order: _Order) -> None:
        """After a forced order for a part of a position every one is for the whole remainder, for a while."""
        if order.forced and order.filled and order.filled + order.open < self._forced_from_lots:
            until = self._time_ns + self._rules.liquidation.cooldown_ns
            self._cooling[order.account, order.instrument] = until

    def _on_order_amended(self, event: OrderAmended) -> None:
        if self._entering is not None:
            self._rest_entering()
        order = self._orders.get(event.order_id)
        if order is None:
            self._find("BOOK-08", f"order {event.order_id} is amended but not live")
            return
        if event.open_lots < 1:
            self._find("BOOK-10", f"order {event.order_id} is amended to {event.open_lots} lots")
        keeps = event.price_ticks == order.price and event.open_lots < order.open
        if event.keeps_place != keeps:
            self._find(
                "BOOK-10",
                f"order {event.order_id} from {order.open} at {order.price} to {event.open_lots} at "
                f"{event.price_ticks}: keeps_place is stated {event.keeps_place}, the rule says {keeps}",
            )
        if event.keeps_place:
            order.open = event.open_lots
            return
        self._remove(event.order_id, order)
        order.price = event.price_ticks
        order.key = -order.side * event.price_ticks
        order.open = event.open_lots
        order.post_only = False
        self._entering = (event.order_id, order)

    def _remove(self, order_id: int, order: _Order) -> None:
        del self._orders[order_id]
        self._markets[order.instrument].sides[order.side].remove(order_id, order)

    def _on_order_reduced(self, event: OrderReduced) -> None:
        order = self._orders.get(event.order_id)
        entering = self._entering
        if order is None and entering is not None and entering[0] == event.order_id:
            order = entering[1]
        if order is None:
            self._find("BOOK-08", f"order {event.order_id} is reduced but not live")
            return
        least = 0 if entering is not None and order is entering[1] else 1
        if not least <= event.open_lots < order.open:
            self._find(
                "BOOK-13",
                f"order {event.order_id} with {order.open} open lots is reduced to {event.open_lots}",
            )
        if entering is None or entering[1].account != order.account:
            self._find(
                "BOOK-13", f"order {event.order_id} is reduced without an order of its own account against it"
            )
        order.open = event.open_lots

    def _on_order_closed(self, event: OrderClosed) -> None:
        order_id = event.order_id
        if self._entering is not None and self._entering[0] == order_id:
            order = self._entering[1]
            if order.open != event.open_lots:
                self._find(
                    "BOOK-15", f"order {order_id} closes with {event.open_lots} lots, {order.open} are open"
                )
            if (
                event.reason == "unfilled"
                and order.tif == "gtc"
                and order.price is not None
                and not order.forced
            ):
                self._find("BOOK-12", f"order {order_id} is closed as unfilled although it may rest")
            self._cool(order)
            self._entering = None
            return
        known = self._orders.get(order_id)
        if known is None:
            armed = self._armed.pop(order_id, None)
            if armed is None:
                self._find("BOOK-08", f"order {order_id} closes but is not live")
            elif armed.size_lots != event.open_lots:
                self._find(
                    "BOOK-15", f"trigger {order_id} closes with {event.open_lots} lots of {armed.size_lots}"
                )
            return
        if known.open != event.open_lots:
            self._find(
                "BOOK-15", f"order {order_id} closes with {event.open_lots} lots, {known.open} are open"
            )
        self._check_close_reason(event, known)
        self._remove(order_id, known)

    def _check_close_reason(self, event: OrderClosed, order: _Order) -> None:
        reason = event.reason
        if reason == "reduce_only":
            if not order.reduce:
                self._find("RO-01", f"order {event.order_id} is closed as reduce-only but is not")
        elif reason == "maker_below_maintenance":
            if self._could_bear(order, event.open_lots):
                self._find(
                    "LIQ-12", f"order {event.order_id} is closed though account {order.account} could bear it"
                )
        elif reason == "price_limit":
            band = self._band(self._markets[order.instrument])
            if band is None or order.price is None or band[0] <= order.price <= band[1]:
                self._find(
                    "BOOK-15", f"order {event.order_id} is closed at {order.price}, the band is {band}"
                )
        elif reason == "liquidation":
            if order.account not in self._liquidating:
                self._find("LIQ-12", f"order {event.order_id} is closed by a liquidation that did not start")
        elif reason == "self_trade":
            entering = self._entering
            if entering is None or entering[1].account != order.account:
                self._find(
                    "BOOK-13",
                    f"order {event.order_id} is closed as self-trade with nobody of its account against it",
                )

    def _could_bear(self, order: _Order, lots: int) -> bool:
        """Would a fill of one lot and of all leave a cross pool at its requirement? Others are not judged."""
        market = self._markets[order.instrument]
        if market.is_spot or order.account in market.isolated or order.price is None:
            return False
        account, settle = order.account, self._settle
        position = market.holders.get(account)
        held = position[0] if position else 0
        mark = self._lot_values[market.number] or 0
        equity, required = self._risk(account, settle)
        required -= market.maintenance(abs(held * mark), abs(held))
        for size in (1, lots):
            after = held + order.side * size
            gain = order.side * size * (mark - order.price * market.tick_value)
            if equity + gain < required + market.maintenance(abs(after * mark), abs(after)):
                return False
        return True

    def _on_quoted(self, event: Quoted) -> None:
        if self._entering is not None:
            self._rest_entering()
        orders = self._orders
        account, n = event.account, event.instrument
        market = self._markets[n]
        bids, asks = market.bids, market.asks
        for order_id in event.removed:
            order = orders.pop(order_id, None)
            if order is None:
                if self._armed.pop(order_id, None) is None:
                    self._find(
                        "BOOK-08",
                        f"the quote of account {account} removes order {order_id}, which is not live",
                    )
                continue
            if order.account != account or order.instrument != n:
                self._find(
                    "ACC-01",
                    f"the quote of account {account} removes order {order_id} of account {order.account}",
                )
            by_key = (bids if order.side == 1 else asks).by_key
            level = by_key[order.key]
            del level[order_id]
            if not level:
                del by_key[order.key]
        for order_id, side, price, size in event.placed:
            if order_id in orders:
                self._find("BOOK-09", f"order {order_id} is placed while it is live")
            order = orders[order_id] = _Order(account, n, side, price, size, reduce=False)
            (bids if side == 1 else asks).add(order_id, order)
        self._crossable.add(n)

    def _on_trigger_armed(self, event: TriggerArmed) -> None:
        if event.order_id in self._armed:
            self._find("TRIG-01", f"trigger {event.order_id} is armed twice")
        self._armed[event.order_id] = event

    def _on_trigger_fired(self, event: TriggerFired) -> None:
        """A trigger fires once, and only when its reference stands at or beyond its price."""
        armed = self._armed.pop(event.order_id, None)
        if armed is None:
            self._find("TRIG-01", f"trigger {event.order_id} fires but is not armed")
            return
        market = self._markets[armed.instrument]
        reference = market.mark if armed.trigger.reference == "mark" else market.last
        if reference != event.reference_ticks:
            self._find(
                "TRIG-02",
                f"trigger {event.order_id} cites {event.reference_ticks}, its reference is {reference}",
            )
        falls = (armed.trigger.kind == "stop") == (armed.side == _SELL)
        gap = event.reference_ticks - armed.trigger.price_ticks
        if gap > 0 if falls else gap < 0:
            self._find(
                "TRIG-02",
                f"trigger {event.order_id} at {armed.trigger.price_ticks} fires at {event.reference_ticks}",
            )

    # Fills

    def _on_filled(self, event: Filled) -> None:
        n = event.instrument
        market = self._markets[n]
        side, price, size = event.taker_side, event.price_ticks, event.size_lots
        taker, maker_account = event.taker, event.maker
        self._counts["fills"] += 1
        forced = False
        entering = self._entering
        if entering is None or entering[0] != event.taker_order:
            self._find(
                "BOOK-08", f"trade {event.trade_id}: order {event.taker_order} takes but is not entering"
            )
        else:
            order = entering[1]
            forced = order.forced
            if order.account != taker or order.instrument != n or order.side != side:
                self._find(
                    "BOOK-08", f"trade {event.trade_id} names another taker than order {event.taker_order}"
                )
            if order.price is not None and side * (price - order.price) > 0:
                self._find(
                    "BOOK-04",
                    f"trade {event.trade_id} at {price} is worse than the taker's limit {order.price}",
                )
            if order.post_only:
                self._find("BOOK-12", f"trade {event.trade_id}: post-only order {event.taker_order} takes")
            order.open -= size
            order.filled += size
            if order.open < 0:
                self._find(
                    "BOOK-15",
                    f"trade {event.trade_id}: {size} lots are {-order.open} more than the taker has",
                )
            if order.reduce:
                self._check_reduces(market, taker, side, size, event.taker_order, forced=forced)
        self._check_hours(event, market)
        if size < 1:
            self._find("BOOK-07", f"trade {event.trade_id} is for {size} lots")
        if taker == maker_account:
            self._find("BOOK-13", f"trade {event.trade_id} is between two orders of account {taker}")
        levels = market.asks if side == 1 else market.bids
        maker = self._orders.get(event.maker_order)
        if maker is None:
            self._find("BOOK-08", f"trade {event.trade_id}: maker order {event.maker_order} is not live")
        else:
            key = maker.key
            if levels.best_key() != key or next(iter(levels.by_key[key])) != event.maker_order:
                self._find_priority(event, levels)
            if price != maker.price:
                self._find(
                    "BOOK-03", f"trade {event.trade_id} at {price}, the maker's price is {maker.price}"
                )
            if maker.account != maker_account or maker.instrument != n or maker.side == side:
                self._find(
                    "BOOK-08", f"trade {event.trade_id} names another maker than order {event.maker_order}"
                )
            if maker.reduce or maker_account in self._liquidating:
                self._check_reduces(market, maker_account, -side, size, event.maker_order, forced=False)
            maker.open -= size
            maker.filled += size
            if maker.open <= 0:
                if maker.open < 0:
                    self._find(
                        "BOOK-15",
                        f"trade {event.trade_id}: {size} lots are {-maker.open} more than the maker has",
                    )
                self._remove(event.maker_order, maker)
        market.last = price
        self._touched.add(taker)
        self._touched.add(maker_account)
        self._settle_fill(event, market, forced=forced)

    def _find_priority(self, event: Filled, levels: _Levels) -> None:
        best = levels.best_key()
        if best is None:
            self._find("BOOK-01", f"trade {event.trade_id} finds no order on the other side")
            return
        first = next(iter(levels.by_key[best]))
        self._find(
            "BOOK-01",
            f"trade {event.trade_id} takes maker order {event.maker_order} at {event.price_ticks}, "
            f"but order {first} at {abs(best)} comes first",
        )

    def _check_reduces(
        self, market: _Market, account: int, side: int, size: int, order_id: int, *, forced: bool
    ) -> None:
        position = market.holders.get(account)
        lots = position[0] if position else 0
        if lots * side >= 0 or size > abs(lots):
            rule = "LIQ-05" if forced else "RO-01"
            self._find(
                rule, f"order {order_id} may only reduce, but trades {side * size} lots against {lots} held"
            )

    def _move(
        self, market: _Market, account: int, signed_lots: int, lot_value: int, origin: int | None = None
    ) -> int:
        """A fill's effect on a position; returns what its closed lots realise.

        The cost released by a partial close is cost * closed / lots, rounded down.
        """
        market.lots_sum += signed_lots
        holders = market.holders
        position = holders.get(account)
        if position is None:
            value = signed_lots * lot_value
            holders[account] = self._held[account][market.number] = [signed_lots, value, value]
            market.cost_sum += value
            if account in self._vaults or account == INSURANCE:
                self._trace(market, account, 0, abs(signed_lots), origin)
            return 0
        lots, cost, entry = position
        if (lots > 0) == (signed_lots > 0):
            value = signed_lots * lot_value
            position[0] = lots + signed_lots
            position[1] = cost + value
            position[2] = entry + value
            market.cost_sum += value
            closed = realised = 0
            opened = signed_lots
        else:
            closed = -signed_lots if abs(signed_lots) < abs(lots) else lots
            released = cost * closed // lots
            opened = signed_lots + closed
            position[0] = lots + signed_lots
            position[1] = cost - released + opened * lot_value
            position[2] = entry - entry * closed // lots + opened * lot_value
            market.cost_sum += position[1] - cost
            realised = closed * lot_value - released
            if not position[0]:
                del holders[account]
                del self._held[account][market.number]
        if account in self._vaults or account == INSURANCE:
            self._trace(market, account, abs(closed), abs(opened), origin)
        return realised

    def _trace(self, market: _Market, account: int, closed: int, opened: int, origin: int | None) -> None:
        """Whose positions an inventory holds: the oldest leave first."""
        queue = self._lineage.setdefault((account, market.number), deque())
        while closed and queue:
            if queue[0][1] > closed:
                queue[0][1] -= closed
                break
            closed -= queue.popleft()[1]
        if opened:
            queue.append([account if origin is None else origin, opened])

    def _settle_fill(self, event: Filled, market: _Market, *, forced: bool) -> None:
        """Move both positions and say which legs must follow."""
        side, price, size = event.taker_side, event.price_ticks, event.size_lots
        taker, maker = event.taker, event.maker
        asset = market.spec.settle_asset
        lot_value = price * market.tick_value
        value = abs(size * lot_value)
        taker_fee = 0
        fees = self._rules.fees
        maker_fee = -(-value * fees.maker_ppb // _PPB)
        legs: dict[_Key, int] = {}
        if forced and maker_fee < 0:
            maker_fee = 0
        if market.is_spot:
            paid = side * size * lot_value
            delivered = side * size * market.spec.lot_atoms
            base = market.spec.base_asset
            legs[taker, asset] = -paid
            legs[maker, asset] = paid
            if asset == self._settle:
                self._brought_in[taker] = self._brought_in.get(taker, 0) - paid
                self._brought_in[maker] = self._brought_in.get(maker, 0) + paid
            legs[taker, base] = delivered
            legs[maker, base] = -delivered
            taker_pocket = asset
        else:
            own = market.pocket
            isolated = market.isolated
            settle = self._settle
            taker_pocket = own if taker in isolated else settle
            if forced and (taker, taker_pocket) in self._harm_by:
                self._harm_by[taker, taker_pocket] += (
                    side * (price - (market.index or 0)) * size * market.tick_value
                )
            realised = self._move(market, taker, side * size, lot_value)
            if realised:
                legs[taker, taker_pocket] = realised
            gained = self._move(market, maker, -side * size, lot_value)
            if gained:
                maker_pocket = own if maker in isolated else settle
                key = (maker, maker_pocket)
                legs[key] = legs.get(key, 0) + gained
            if realised + gained:
                legs[CLEARING, own] = -realised - gained
        payer, payee, rate = (taker, asset), FEES, fees.taker_ppb
        if forced:
            payer, payee, rate = (taker, taker_pocket), INSURANCE, fees.liquidation_ppb
        taker_fee = self._borne(market, payer, -(-value * rate // _PPB), legs)
        legs[payer] = legs.get(payer, 0) - taker_fee
        legs[payee, asset] = legs.get((payee, asset), 0) + taker_fee
        if forced and payer in self._harm_by:
            self._harm_by[payer] += taker_fee
        key = (maker, asset)
        if maker_fee > 0:
            maker_fee = self._borne(market, key, maker_fee, legs)
        else:
            maker_fee = max(maker_fee, 0 if forced else -taker_fee)
        legs[key] = legs.get(key, 0) - maker_fee
        key = (FEES, asset)
        legs[key] = legs.get(key, 0) + maker_fee
        if event.taker_fee_atoms != taker_fee:
            self._find(
                "FEE-01",
                f"trade {event.trade_id}: taker fee {event.taker_fee_atoms}, the rulebook says {taker_fee}",
            )
        if event.maker_fee_atoms != maker_fee:
            self._find(
                "FEE-01",
                f"trade {event.trade_id}: maker fee {event.maker_fee_atoms}, the rulebook says {maker_fee}",
            )
        self._expect("fill", legs, f"trade {event.trade_id}")

    def _borne(self, market: _Market, payer: _Key, fee: int, legs: dict[_Key, int]) -> int:
        """What of a fee leaves its payer at zero after the fill's other legs; spot is paid in full."""
        if not fee or market.is_spot:
            return fee
        return max(0, min(fee, self._equity(*payer) + legs.get(payer, 0)))

    def _expect(self, reason: str, legs: dict[_Key, int], what: str) -> None:
        """The next event must be a `Posted` of these legs; of none at all when every leg is zero."""
        for atoms in legs.values():
            if atoms:
                self._expected = legs
                self._expected_reason = reason
                self._expected_for = what
                return

    def _missing_post(self) -> None:
        self._find("LEDG-03", f"{self._expected_for} is not followed by its posting")
        self._expected = None

    # Money

    def _on_posted(self, event: Posted) -> None:
        balances, assets = self._balances, self._pocket_assets
        expected = self._expected
        reason = event.reason
        if expected is None and reason == "isolate":
            self._check_isolate(event)
        elif expected is None and reason == "takeover":
            self._check_margin_move(event)
        sums: dict[int, int] = {}
        seen: dict[_Key, int] = {}
        for account, pocket, atoms in event.legs:
            asset = assets[pocket]
            sums[asset] = sums.get(asset, 0) + atoms
            balances[pocket][account] += atoms
            key = (account, pocket)
            seen[key] = seen.get(key, 0) + atoms
        for asset, atoms in sums.items():
            if atoms:
                self._find("LEDG-01", f"a {reason} posting sums to {atoms} atoms of asset {asset}, not to 0")
        if expected is not None:
            self._expected = None
            if reason != self._expected_reason:
                self._find("LEDG-03", f"{self._expected_for} is followed by a {reason} posting")
            for key in expected.keys() | seen.keys():
                have, want = seen.get(key, 0), expected.get(key, 0)
                if have != want:
                    rule = "FUND-01" if reason == "funding" else "LEDG-03"
                    self._find(
                        rule,
                        f"{self._expected_for}: account {key[0]} pocket {key[1]} gets {have}, {want} are due",
                    )
            return
        for account, _ in seen:
            self._touched.add(account)
        if reason == "deposit":
            self._check_deposit(event)
        elif reason == "withdrawal":
            self._check_withdrawal(event)
        elif reason == "rounding":
            self._check_dust(event)
        elif reason == "deficit":
            self._check_floor(seen)
        elif reason in ("backstop", "insurance", "socialise", "house", "recourse", "default_fund"):
            self._check_payment(reason, seen)
        elif reason not in ("isolate", "takeover"):
            self._find("LEDG-03", f"a {reason} posting without an event that causes it")

    def _check_deposit(self, event: Posted) -> None:
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self._deposited[pocket] = self._deposited.get(pocket, 0) - atoms
                continue
            if atoms < 0:
                self._find("(e)", f"a deposit takes {-atoms} atoms from account {account}")
            if pocket == self._settle:
                self._brought_in[account] = self._brought_in.get(account, 0) + atoms
            if self._started and not self._is_protected(account):
                self._intervene(f"capital of {atoms} atoms injected into account {account}")

    def _check_withdrawal(self, event: Posted) -> None:
        """While debts stand nobody takes more of the settlement asset than a share of what is there."""
        self._counts["withdrawals"] += 1
        settle = self._settle
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self._withdrawn[pocket] = self._withdrawn.get(pocket, 0) + atoms
                continue
            if self._balances[pocket][account] < 0:
                self._find(
                    "(g)",
                    f"account {account} withdraws {-atoms}, {-self._balances[pocket][account]} too much",
                )
            if pocket != settle:
                continue
            self._brought_in[account] = self._brought_in.get(account, 0) + atoms
            equity, required = self._risk(account, settle)
            if equity < required:
                self._find(
                    "MARG-05",
                    f"account {account} withdraws {-atoms}, which leaves {equity} over {required}",
                )
            hole = -self._balances[settle][DEFICIT]
            hole += sum(max(0, -self._equity(*key)) for key in self._debts)
            if hole > 0:
                custody = -atoms - self._balances[settle][EXTERNAL]
                share = (self._balances[settle][account] - atoms) * custody // (custody + hole)
                if -atoms > share:
                    self._withdrawn_too_much -= atoms + share

    def _check_isolate(self, event: Posted) -> None:
        """Margin moves between an account's own wallet and own isolated position and covers no debt there."""
        by_account: dict[int, dict[int, int]] = {}
        for account, pocket, atoms in event.legs:
            pockets = by_account.setdefault(account, {})
            pockets[pocket] = pockets.get(pocket, 0) + atoms
        settle = self._settle
        for account, pockets in by_account.items():
            own = [pocket for pocket in pockets if pocket != settle]
            if len(pockets) != 2 or len(own) != 1 or own[0] < self._assets or sum(pockets.values()) != 0:
                self._find("ACC-01", f"margin of account {account} moves beyond its own wallet and position")
                continue
            atoms = pockets[own[0]]
            equity = self._equity(account, own[0])
            if atoms > 0 and equity < 0:
                self._hidden += min(atoms, -equity)
                self._broken.add("(a)")
                if not self._is_alone:
                    self._find(
                        "(a)",
                        f"{atoms} of account {account}'s free wallet cover a position that owes {-equity}",
                    )
            if atoms > 0 and self._balances[settle][account] < atoms:
                self._find(
                    "MARG-06",
                    f"account {account} isolates {atoms} of {self._balances[settle][account]} atoms",
                )
            pooled = self._equity(account, settle)
            if atoms > 0 and pooled < atoms:
                self._find(
                    "(a)", f"account {account} isolates {atoms} out of a cross pool with equity {pooled}"
                )
            if atoms < 0 and equity + atoms < 0:
                self._find(
                    "(a)", f"account {account} takes {-atoms} atoms out of a position with equity {equity}"
                )

    def _check_dust(self, event: Posted) -> None:
        for account, pocket, atoms in event.legs:
            if account != ROUNDING and (not 0 < atoms <= 10 or self._positions(account, pocket)):
                self._find(
                    "(f)", f"the rounding account pays {atoms} atoms for account {account}, more than dust"
                )
        if self._balances[self._settle][ROUNDING] < 0:
            self._find("(c)", f"the rounding account is at {self._balances[self._settle][ROUNDING]} atoms")

    def _check_floor(self, seen: dict[_Key, int]) -> None:
        """What nobody pays goes to the deficit account: a hole, whatever the compartment's balance says."""
        deficit = self._deficit
        for (account, pocket), atoms in seen.items():
            if account == DEFICIT:
                continue
            if deficit is None or (account, pocket) != (deficit.account, deficit.pocket):
                self._find("(d)", f"account {account} is floored by {atoms} atoms without an open deficit")
                continue
            deficit.floored += atoms
            equity = self._equity(account, pocket)
            if equity:
                self._find(
                    "(d)", f"account {account} stands at {equity} atoms after its deficit was written off"
                )

    def _check_payment(self, stage: str, seen: dict[_Key, int]) -> None:
        deficit = self._deficit
        for (account, pocket), atoms in seen.items():
            if atoms > 0:
                if deficit is None or (account, pocket) != (deficit.account, deficit.pocket):
                    self._find(
                        "(d)",
                        f"the {stage} pays {atoms} atoms to account {account}, which has no open deficit",
                    )
                elif self._equity(account, pocket) > 0:
                    self._find(
                        "(d)", f"the {stage} pays {atoms} atoms, more than the deficit of account {account}"
                    )
                continue
            if pocket != self._settle:
                self._find(
                    "(f)", f"the {stage} takes {-atoms} atoms from pocket {pocket} of account {account}"
                )
            if not self._is_payer(stage, account):
                self._find(
                    "(f)", f"account {account} pays {-atoms} atoms in stage {stage}, which does not name it"
                )
            key = (stage, account)
            self._unstated[key] = self._unstated.get(key, 0) - atoms

    def _is_payer(self, stage: str, account: int) -> bool:
        if stage == "backstop":
            return account in self._serving
        if stage == "socialise":
            return self._is_protected(account)
        if stage == "default_fund":
            return account in (DEFAULT_FUND, HOUSE) or self._is_protected(account)
        return account == _PAYER_OF_STAGE.get(stage)

    # Where compartments stand

    def _positions(self, account: int, pocket: int) -> list[_Market]:
        """Markets whose positions answer with this pocket, by number."""
        markets = self._markets
        if pocket != self._settle:
            market = markets[pocket - self._assets]
            return [market] if account in market.holders and account in market.isolated else []
        return [markets[n] for n in sorted(self._held[account]) if account not in markets[n].isolated]

    def _equity(self, account: int, pocket: int) -> int:
        """Balance and profit at the marks; before its first mark a market counts at cost."""
        equity = self._balances[pocket][account]
        markets, lot_values = self._markets, self._lot_values
        if pocket == self._settle:
            for n, position in self._held[account].items():
                value = lot_values[n]
                if value is not None and account not in markets[n].isolated:
                    equity += position[0] * value - position[1]
            return equity
        n = pocket - self._assets
        position_there = self._held[account].get(n)
        value = lot_values[n]
        if position_there is not None and value is not None and account in markets[n].isolated:
            equity += position_there[0] * value - position_there[1]
        return equity

    def _risk(self, account: int, pocket: int) -> _Key:
        """(equity, maintenance requirement) at the marks."""
        required = 0
        for market in self._positions(account, pocket):
            size = abs(market.holders[account][0])
            required += market.maintenance(size * abs(self._lot_values[market.number] or 0), size)
        return self._equity(account, pocket), required

    def _risk_at_index(self, account: int, pocket: int) -> _Key:
        equity = self._balances[pocket][account]
        required = 0
        for market in self._positions(account, pocket):
            lots, cost, _ = market.holders[account]
            value = lots * (market.index or 0) * market.tick_value
            equity += value - cost
            required += market.maintenance(abs(value), abs(lots))
        return equity, required

    def _is_protected(self, account: int) -> bool:
        return account >= FIRST_ACCOUNT and account not in self._serving

    # Prices and funding

    def _on_marked(self, event: Marked) -> None:
        n = event.instrument
        market = self._markets[n]
        if not self._is_marked:
            self._is_marked = True
            self._begin_instant()
        rules = self._rules
        index = event.index_ticks
        bid, ask = market.best(_BUY), market.best(_SELL)
        if event.spread != (bid, ask, market.last):
            self._find(
                "MARK-04",
                f"mark of instrument {n} cites {event.spread}, the book stood at {(bid, ask, market.last)}",
            )
        if event.previous_mark_ticks != market.mark:
            self._find(
                "MARK-03", f"instrument {n}: previous mark {event.previous_mark_ticks}, it was {market.mark}"
            )
        book_median = None
        if bid is not None and ask is not None:
            market.basis.add(bid + ask - 2 * index, self._time_ns)
            if market.last is not None:
                book_median = sorted((bid, ask, market.last))[1]
                market.median.add(book_median, self._time_ns)
        if event.book_median_ticks != book_median:
            self._find(
                "MARK-05",
                f"instrument {n}: median of the book {event.book_median_ticks}, it is {book_median}",
            )
        stated_basis = event.index_basis_ticks
        basis = None if stated_basis is None else stated_basis - index
        if not market.basis.agrees(basis, 2) and not (basis == 0 and not market.basis.denominator):
            self._find("MARK-05", f"instrument {n}: basis {basis}, its average is {market.basis.floor(2)}")
        if not market.median.agrees(event.book_ema_ticks):
            self._find(
                "MARK-05", f"instrument {n}: average {event.book_ema_ticks}, it is {market.median.floor()}"
            )
        if rules.mark.formula == "index":
            mark = index
        else:
            main = [
                x for x in (stated_basis, event.book_median_ticks, event.perp_median_ticks) if x is not None
            ]
            if len(main) == 2 and event.book_ema_ticks is not None:
                main.append(event.book_ema_ticks)
            mark = _middle(main) if main else index
        mark = max(market.spec.price_min_ticks, min(market.spec.price_max_ticks, mark))
        if (market.stands_still or self._is_closed(market)) and market.mark is not None:
            mark = market.mark
        if mark != event.mark_ticks:
            self._find("MARK-05", f"instrument {n}: mark {event.mark_ticks}, its inputs give {mark}")
        if market.marked_seq == self._seq:
            self._find("MARK-03", f"instrument {n} is marked twice at a time")
        market.marked_seq = self._seq
        market.index = index
        market.previous_mark = event.previous_mark_ticks
        market.mark = event.mark_ticks
        self._lot_values[n] = None if market.is_spot else event.mark_ticks * market.tick_value

    def _begin_instant(self) -> None:
        """Funding is sampled and paid at the first instant at or after each multiple of its interval."""
        funding = self._rules.funding
        if not self._started:
            self._started = True
            self._next_sample_ns = self._time_ns
            self._next_funding_ns = (self._time_ns // funding.interval_ns + 1) * funding.interval_ns
        self._sample_due = self._time_ns >= self._next_sample_ns
        if self._sample_due:
            self._next_sample_ns = (self._time_ns // funding.sample_ns + 1) * funding.sample_ns
        self._funding_due = max(0, (self._time_ns - self._next_funding_ns) // funding.interval_ns + 1)
        if self._funding_due:
            self._next_funding_ns = (self._time_ns // funding.interval_ns + 1) * funding.interval_ns

    def _on_funding_sampled(self, event: FundingSampled) -> None:
        market = self._markets[event.instrument]
        if not self._sample_due:
            self._find(
                "FUND-02", f"instrument {event.instrument} is sampled at {self._time_ns} ns, which is not due"
            )
        premium = market.premium(self._rules.funding.impact_notional_atoms, market.index or 0)
        if premium != event.premium_ppt:
            self._find(
                "FUND-02",
                f"instrument {event.instrument}: premium {event.premium_ppt}, the book says {premium}",
            )
        if market.sampled_seq == self._seq:
            self._find("FUND-02", f"instrument {event.instrument} is sampled twice at a time")
        market.sampled_seq = self._seq
        market.premium_sum += premium
        market.premium_samples += 1

    def _on_funding_set(self, event: FundingSet) -> None:
        n = event.instrument
        market = self._markets[n]
        funding = self._rules.funding
        if not self._funding_due or not market.premium_samples:
            self._find("FUND-02", f"instrument {n} is paid funding at {self._time_ns} ns, which is not due")
            rate = event.rate_ppt
        else:
            mean = market.premium_sum // market.premium_samples
            pull = min(max(funding.interest_ppt - mean, -funding.clamp_ppt), funding.clamp_ppt)
            rate = min(max((mean + pull) // funding.divisor, -funding.cap_ppt), funding.cap_ppt)
        market.premium_sum = market.premium_samples = 0
        if rate != event.rate_ppt:
            self._find("FUND-02", f"instrument {n}: funding rate {event.rate_ppt}, the samples give {rate}")
        price = market.index if funding.paid_on == "index" else market.mark
        if price != event.price_ticks:
            self._find(
                "FUND-02",
                f"instrument {n}: funding on {event.price_ticks} ticks, the {funding.paid_on} is {price}",
            )
        self._needs_full_pass = True
        legs: dict[_Key, int] = {}
        total = 0
        if event.intervals != self._funding_due:
            self._find(
                "FUND-03",
                f"instrument {n}: funding of {event.intervals} intervals, {self._funding_due} are due",
            )
        per_lot = event.price_ticks * market.tick_value * rate * event.intervals
        for account, position in market.holders.items():
            owed = -(-position[0] * per_lot // _PPT)
            total += owed
            legs[account, market.pocket if account in market.isolated else self._settle] = -owed
        key = (ROUNDING, self._settle)
        legs[key] = legs.get(key, 0) + total
        self._expect("funding", legs, f"funding of instrument {n}")

    # Liquidation

    def _on_liquidation_started(self, event: LiquidationStarted) -> None:
        account, pocket = key = (event.account, event.pocket)
        self._counts["liquidations"] += 1
        equity, required = self._check_risk(event, "LIQ-01")
        if equity >= required:
            self._find(
                "LIQ-01",
                f"account {account} is liquidated with equity {equity}, the requirement is {required}",
            )
        if not self._is_protected(account):
            self._find("LIQ-01", f"account {account} is liquidated but is no customer")
        if self._is_left_alone(key):
            self._find("LIQ-11", f"account {account} is liquidated before its margin call is due")
        if key in self._in_liquidation:
            self._find("LIQ-03", f"account {account} pocket {pocket} is liquidated twice at a time")
        else:
            self._liquidating[account] = self._liquidating.get(account, 0) + 1
        self._in_liquidation[key] = [equity, required]
        equity, required = self._risk_at_index(account, pocket)
        if equity >= required and self._positions(account, pocket):
            self._harmed += 1
            self._harm_by[key] = 0

    def _on_liquidation_ended(self, event: LiquidationEnded) -> None:
        account, pocket = key = (event.account, event.pocket)
        equity, required = self._check_risk(event, "LIQ-01")
        if equity < required:
            self._find(
                "LIQ-02", f"account {account} is let go with equity {equity}, the requirement is {required}"
            )
        if self._in_liquidation.pop(key, None) is None:
            self._find("LIQ-03", f"account {account} pocket {pocket} was not in liquidation")
            return
        self._frozen.pop(key, None)
        self._liquidating[account] -= 1
        if not self._liquidating[account]:
            del self._liquidating[account]
        self._harm += max(0, self._harm_by.pop(key, 0))

    def _check_risk(self, event: LiquidationStarted | LiquidationEnded | StageArmed, rule: str) -> _Key:
        account, pocket = event.account, event.pocket
        self._touched.add(account)
        equity, required = self._risk(account, pocket)
        if (equity, required) != (event.equity_atoms, event.maintenance_atoms):
            self._find(
                rule,
                f"account {account} pocket {pocket}: equity {event.equity_atoms} and requirement "
                f"{event.maintenance_atoms} are stated, they are {equity} and {required}",
            )
        return equity, required

    # The waterfall

    def _on_stage_armed(self, event: StageArmed) -> None:
        if self._entering is not None:
            self._rest_entering()
        if self._adl is not None:
            self._end_deleveraging()
        account, pocket, stage = event.account, event.pocket, event.stage
        equity, required = self._check_risk(event, "WFALL-01")
        self._armed_stage = (stage, account, pocket)
        if stage not in self._rules.waterfall:
            self._find(
                "WFALL-01", f"stage {stage} acts on account {account} but is not in the rulebook's list"
            )
            return
        if not self._is_armed(stage, account, pocket, equity, required):
            self._find(
                "WFALL-01",
                f"stage {stage} acts on account {account} at {equity} over {required}: it is not armed",
            )
        if equity < 0 and stage != "book":
            deficit = self._deficit
            if deficit is None or (deficit.account, deficit.pocket) != (account, pocket):
                self._find(
                    "(d)", f"stage {stage} acts on account {account}, whose deficit of {-equity} is not open"
                )
            self._check_not_skipped(stage, account, pocket, equity)
        if stage == "adl":
            self._begin_deleveraging(account, pocket)
        elif stage == "socialise":
            self._socialised = self._socialised_shares(account, -equity)

    def _is_armed(self, stage: str, account: int, pocket: int, equity: int, required: int) -> bool:
        if stage == "book":
            return equity < required and (account, pocket) in self._in_liquidation
        if stage == "backstop" and equity >= 0:
            share = self._rules.liquidation.backstop_below_ppb
            return equity * _PPB < required * share and (account, pocket) in self._in_liquidation
        if stage in ("backstop", "recourse", "default_fund") and not self._is_protected(account):
            return False
        if stage == "insurance" and account == INSURANCE:
            return False
        return equity < 0

    def _check_not_skipped(self, stage: str, account: int, pocket: int, equity: int) -> None:
        """Stages that come before this one in the list and could act now must have acted."""
        waterfall = self._rules.waterfall
        earlier = waterfall[: waterfall.index(stage)]
        if stage == "adl":
            fund = self._equity(INSURANCE, self._settle)
            if "insurance" in earlier and account != INSURANCE and fund >= -equity:
                self._find(
                    "WFALL-01", f"adl acts on account {account}, though the fund has {fund} for {-equity}"
                )
            return
        taken_over = stage == "insurance" and self._positions(account, pocket)
        if taken_over and self._equity(INSURANCE, self._settle) >= -equity:
            if "adl" in earlier:
                self._check_adl_was_tried(account, pocket, stage)
            return
        if "adl" in waterfall:
            self._check_adl_was_tried(account, pocket, stage)
        for before in earlier:
            self._check_exhausted(before, account, stage)

    def _check_adl_was_tried(self, account: int, pocket: int, stage: str) -> None:
        deficit = self._deficit
        if deficit is None or not self._positions(account, pocket):
            return
        for market in self._positions(account, pocket):
            sign = -1 if market.holders[account][0] > 0 else 1
            if (market.number, sign) not in self._rankings:
                self._find(
                    "WFALL-01", f"{stage} acts on account {account} before its positions were deleveraged"
                )
                return

    def _check_exhausted(self, before: str, account: int, stage: str) -> None:
        settle = self._settle
        left = 0
        if before == "backstop" and self._is_protected(account):
            left = sum(max(0, self._equity(vault, settle)) for vault in self._serving)
        elif before == "insurance" and account != INSURANCE:
            left = self._equity(INSURANCE, settle)
        elif before == "house":
            left = self._balances[settle][HOUSE]
        elif before == "default_fund" and self._is_protected(account):
            key = (account, settle) if self._deficit is None else (account, self._deficit.pocket)
            left = sum(sum(self._layer_payers(key, layer).values()) for layer in _LAYERS[self._layer :])
        elif before == "socialise":
            left = sum(self._session_gains(account).values())
        elif before == "recourse" and self._is_protected(account):
            left = 1
        if left > 0:
            self._find(
                "WFALL-01",
                f"{stage} acts for account {account} although stage {before} still has {left} atoms",
            )

    def _session_gains(self, loser: int) -> dict[int, int]:
        """What each customer won beyond what it brought in, as far as its equity reaches."""
        gains = {}
        settle = self._settle
        isolated_pockets = range(self._assets, len(self._pocket_assets))
        for account in range(FIRST_ACCOUNT, len(self._held)):
            if account == loser or account in self._serving:
                continue
            equity = self._equity(account, settle)
            for pocket in isolated_pockets:
                if (
                    self._balances[pocket][account]
                    or account in self._markets[pocket - self._assets].isolated
                ):
                    equity += self._equity(account, pocket)
            pooled = max(0, self._equity(account, settle))
            gain = min(equity, equity - self._brought_in.get(account, 0), pooled)
            if gain > 0:
                gains[account] = gain
        return gains

    def _socialised_shares(self, account: int, deficit: int) -> dict[int, int]:
        gains = self._session_gains(account)
        whole = sum(gains.values())
        if not whole:
            return {}
        shares = _split(min(deficit, whole), list(gains.values()))
        return {winner: share for winner, share in zip(gains, shares, strict=True) if share}

    def _on_taken_over(self, event: TakenOver) -> None:
        self._counts["takeovers"] += 1
        account, pocket, n, taker = event.account, event.pocket, event.instrument, event.taker
        market = self._markets[n]
        taking = self._taking
        if taking is not None and (taking.account, taking.pocket) != (account, pocket):
            self._end_takeover()
            taking = None
        if taking is None:
            held = {m.number for m in self._positions(account, pocket)}
            taking = self._taking = _Takeover(account, pocket, held)
            stage = self._armed_stage
            if stage is None or stage[0] not in ("backstop", "insurance") or stage[1:] != (account, pocket):
                self._find(
                    "WFALL-01",
                    f"account {account} is taken over though neither backstop nor fund is armed for it",
                )
        stage_name = self._armed_stage[0] if self._armed_stage else ""
        wanted = INSURANCE if stage_name == "insurance" else self._backstops.get(n)
        if taker != wanted:
            self._find("(f)", f"account {taker} takes over instrument {n}, the rulebook names {wanted}")
        if event.price_ticks != market.mark:
            self._find(
                "(b)", f"instrument {n} is taken over at {event.price_ticks} ticks, the mark is {market.mark}"
            )
        position = market.holders.get(account)
        lots = position[0] if position else 0
        if n not in taking.left or lots != event.lots:
            self._find(
                "LIQ-04",
                f"{event.lots} lots of account {account} in instrument {n} are taken over, it holds {lots}",
            )
        taking.left.discard(n)
        self._touched.add(account)
        self._touched.add(taker)
        lot_value = event.price_ticks * market.tick_value
        if (account, pocket) in self._harm_by:
            self._harm_by[account, pocket] += event.lots * (
                (market.index or 0) * market.tick_value - lot_value
            )
        taking.values[taker] = taking.values.get(taker, 0) + abs(event.lots * lot_value)
        legs = self._change_hands(market, account, taker, event.lots, lot_value, origin=account)
        self._expect("takeover", legs, f"takeover of account {account} in instrument {n}")

    def _change_hands(
        self, market: _Market, loser: int, winner: int, lots: int, lot_value: int, *, origin: int | None
    ) -> dict[_Key, int]:
        """Move `lots` (signed) from one account to another; returns the legs that realise profit."""
        legs: dict[_Key, int] = {}
        settle, own = self._settle, market.pocket
        for account, moved in ((loser, -lots), (winner, lots)):
            realised = self._move(market, account, moved, lot_value, origin)
            key = (account, own if account in market.isolated else settle)
            legs[key] = legs.get(key, 0) + realised
            legs[CLEARING, own] = legs.get((CLEARING, own), 0) - realised
        return legs

    def _check_margin_move(self, event: Posted) -> None:
        """All margin left in a taken-over compartment goes to the takers, by the value that each received."""
        taking = self._taking
        if taking is None or taking.is_margin_moved:
            self._find("LEDG-03", "margin moves for a takeover that did not happen")
            return
        taking.is_margin_moved = True
        margin = self._balances[taking.pocket][taking.account]
        takers = sorted(taking.values)
        weights = [taking.values[taker] for taker in takers]
        shares = _split(margin, weights if any(weights) else [1] * len(weights))
        due: dict[_Key, int] = {(taking.account, taking.pocket): -margin}
        for taker, share in zip(takers, shares, strict=True):
            due[taker, self._settle] = due.get((taker, self._settle), 0) + share
        for account, pocket, atoms in event.legs:
            if due.get((account, pocket), 0) != atoms:
                self._find(
                    "LIQ-04",
                    f"takeover of account {taking.account}: account {account} gets {atoms} atoms of margin, "
                    f"{due.get((account, pocket), 0)} are due",
                )
        key = (taking.account, taking.pocket)
        if key in self._harm_by:
            self._harm_by[key] += margin

    def _end_takeover(self) -> None:
        taking = self._taking
        self._taking = None
        if taking is None:
            return
        if taking.left:
            self._find(
                "LIQ-04",
                f"account {taking.account} is taken over but keeps instruments {sorted(taking.left)}",
            )
        margin = self._balances[taking.pocket][taking.account]
        if margin > 0:
            self._find(
                "LIQ-04", f"account {taking.account} is taken over but keeps a margin of {margin} atoms"
            )

    def _on_deficit_opened(self, event: DeficitOpened) -> None:
        if self._entering is not None:
            self._rest_entering()
        account, pocket = event.account, event.pocket
        self._counts["deficits"] += 1
        if self._deficit is not None:
            self._find("(d)", f"deficit {event.deficit_id} opens while {self._deficit.number} is open")
        if event.deficit_id <= self._last_deficit_id:
            self._find("(d)", f"deficit {event.deficit_id} follows deficit {self._last_deficit_id}")
        self._last_deficit_id = event.deficit_id
        self._touched.add(account)
        equity = self._equity(account, pocket)
        if event.atoms != -equity:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} of account {account} states {event.atoms}, it is {-equity}",
            )
        if event.asset != self._pocket_assets[pocket]:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} states asset {event.asset}, it is {self._pocket_assets[pocket]}",
            )
        origins = self._origins(account, pocket, event.atoms)
        if event.origins != origins:
            self._find(
                "(d)", f"deficit {event.deficit_id} states the origins {event.origins}, they are {origins}"
            )
        self._deficit = _Deficit(event)
        self._armed_stage = None
        self._layer = 0

    def _origins(self, account: int, pocket: int, deficit: int) -> tuple[_Key, ...]:
        """The deficit by the accounts whose positions the inventory still holds, in proportion to value."""
        weights: dict[int, int] = {}
        for market in self._positions(account, pocket):
            value = abs(self._lot_values[market.number] or 0)
            for origin, lots in self._lineage.get((account, market.number), ()):
                weights[origin] = weights.get(origin, 0) + lots * value
        if not any(weights.values()):
            return ((account, deficit),)
        names = sorted(weights)
        shares = _split(deficit, [weights[name] for name in names])
        return tuple((name, share) for name, share in zip(names, shares, strict=True) if share)

    def _on_stage_paid(self, event: StagePaid) -> None:
        if self._adl is not None:
            self._end_deleveraging()
        stage, payer, atoms = event.stage, event.payer, event.atoms
        deficit = self._deficit
        if deficit is None or deficit.number != event.deficit_id:
            self._find(
                "(d)", f"stage {stage} pays {atoms} atoms to deficit {event.deficit_id}, which is not open"
            )
        else:
            deficit.brought += atoms
        armed = self._armed_stage
        if deficit is not None and armed != (stage, deficit.account, deficit.pocket):
            self._find("WFALL-01", f"stage {stage} pays {atoms} atoms without being armed")
        posted = self._unstated.pop((stage, payer), 0)
        if posted != atoms:
            self._find(
                "(d)",
                f"stage {stage}: account {payer} is said to pay {atoms} atoms, the ledger moved {posted}",
            )
        if stage == "default_fund":
            self._check_drawn(payer, atoms)
        if stage == "socialise":
            due = self._socialised.get(payer, 0)
            if due != atoms:
                self._find(
                    "WFALL-08", f"account {payer} pays {atoms} atoms of a socialised loss, its share is {due}"
                )
        key = (stage, payer)
        self._paid[key] = self._paid.get(key, 0) + atoms

    def _on_deficit_closed(self, event: DeficitClosed) -> None:
        if self._adl is not None:
            self._end_deleveraging()
        deficit = self._deficit
        self._deficit = None
        if deficit is None or deficit.number != event.deficit_id:
            self._find("(d)", f"deficit {event.deficit_id} closes but is not open")
            return
        account, pocket = deficit.account, deficit.pocket
        residual = deficit.floored or max(0, -self._equity(account, pocket))
        if residual != event.residual_atoms:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} states a residual of {event.residual_atoms}, it is {residual}",
            )
        over = deficit.brought + residual - deficit.atoms
        if over != event.overcharge_atoms or over < 0:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} states an overcharge of {event.overcharge_atoms}, it is {over}",
            )
        self._announced_residual += event.residual_atoms
        if residual:
            for stage in self._rules.waterfall:
                if stage not in ("book", "adl"):
                    self._check_exhausted(stage, account, "nobody")
            if "adl" in self._rules.waterfall:
                self._check_adl_was_tried(account, pocket, "nobody")
        if over > 0:
            taken = self._overcharge_by_recipient
            taken[account] = taken.get(account, 0) + over
            payers = sorted(deficit.transfers)
            if payers:
                for payer, share in zip(
                    payers, _split(over, [deficit.transfers[p] for p in payers]), strict=True
                ):
                    self._overcharge_by_payer[payer] = self._overcharge_by_payer.get(payer, 0) + share
        self._answered.add((account, pocket))
        self._deficits_in_batch.append((deficit, residual))

    def _on_receivable_booked(self, event: ReceivableBooked) -> None:
        deficit = self._deficit
        if "recourse" not in self._rules.waterfall:
            self._find(
                "WFALL-01",
                f"account {event.account} is held to account, but recourse is not in the rulebook's list",
            )
        if deficit is None or deficit.number != event.deficit_id or deficit.account != event.account:
            self._find("(d)", f"a receivable is booked on account {event.account} without its deficit")
        else:
            equity = self._equity(deficit.account, deficit.pocket)
            if -equity != event.atoms:
                self._find("(d)", f"a receivable of {event.atoms} atoms is booked, {-equity} are missing")
        self._receivables[event.account] = self._receivables.get(event.account, 0) + event.atoms

    # Deleveraging

    def _begin_deleveraging(self, account: int, pocket: int) -> None:
        rules = self._rules
        positions = self._positions(account, pocket)
        absorber = account == INSURANCE or account in self._serving
        at_bankruptcy = absorber or rules.adl.price == "bankruptcy"
        if not at_bankruptcy:
            equity = self._equity(account, pocket)
            for market in positions:
                lots = market.holders[account][0]
                equity += lots * (self._rule_price(market, lots) - (market.mark or 0)) * market.tick_value
            at_bankruptcy = -equity > 0 and -equity > self._capacity()
        waiting = [m.number for m in sorted(positions, key=lambda m: (-self._notional(account, m), m.number))]
        self._adl = _Deleveraging(account, pocket, waiting, at_bankruptcy=at_bankruptcy)

    def _notional(self, account: int, market: _Market) -> int:
        return abs(market.holders[account][0] * (self._lot_values[market.number] or 0))

    def _rule_price(self, market: _Market, lots: int) -> int:
        mark, previous = market.mark or 0, market.previous_mark
        if self._rules.adl.price != "previous_mark" or previous is None:
            return mark
        return max(mark, previous) if lots > 0 else min(mark, previous)

    def _capacity(self) -> int:
        """What the cash payers that hold money of their own could bring."""
        stages, settle = self._rules.waterfall, self._settle
        atoms = 0
        if "backstop" in stages:
            atoms += sum(max(0, self._equity(vault, settle)) for vault in self._serving)
        if "insurance" in stages:
            atoms += max(0, self._equity(INSURANCE, settle))
        if "house" in stages:
            atoms += max(0, self._balances[settle][HOUSE])
        return atoms

    def _next_deleveraged_market(self, walk: _Deleveraging) -> None:
        """Freeze the ranking of the other side, unless this batch has one, and fix the price."""
        n = walk.waiting[0]
        market = self._markets[n]
        lots = market.holders[walk.account][0]
        walk.market = n
        walk.sign = 1 if lots > 0 else -1
        walk.place = 0
        walk.price = self._rule_price(market, lots)
        if walk.at_bankruptcy:
            missing = max(0, -self._equity(walk.account, walk.pocket))
            own = self._notional(walk.account, market)
            whole = sum(self._notional(walk.account, self._markets[m]) for m in walk.waiting)
            part = _ceil(missing * own, whole) if whole else missing
            walk.price = (market.mark or 0) + walk.sign * _ceil(part, abs(lots) * market.tick_value)
        walk.charge = walk.sign * (walk.price - (market.mark or 0)) * market.tick_value
        walk.waiting = walk.waiting[1:]
        if (n, -walk.sign) not in self._rankings:
            self._rankings[n, -walk.sign] = self._ranking(market, -walk.sign)

    def _ranking(self, market: _Market, sign: int) -> list[tuple[int, int, int]]:
        """(-score, account, pocket) of the profitable positions of one side, the highest score first."""
        lot_values, number = self._lot_values, market.number
        value = lot_values[number] or 0
        is_binance = self._rules.adl.score == "binance"
        settle, own = self._settle, market.pocket
        isolated, all_alone, nothing = market.isolated, self._alone, frozenset[int]()
        wallets, margins, held, assets = self._balances[settle], self._balances[own], self._held, self._assets
        ranked: list[tuple[int, int, int]] = []
        for account, (lots, cost, entry) in market.holders.items():
            profit = lots * value - entry
            if profit <= 0 or lots * sign <= 0 or account < FIRST_ACCOUNT:
                continue
            if account in isolated:
                pocket, wallet = own, margins[account]
                equity = wallet + lots * value - cost
            else:
                pocket, wallet = settle, wallets[account]
                equity = wallet
                alone = all_alone.get(account, nothing)
                for n, position in held[account].items():
                    there = lot_values[n]
                    if there is not None and assets + n not in alone:
                        equity += position[0] * there - position[1]
            if equity <= 0:
                continue
            if is_binance:
                if wallet + profit <= 0:
                    continue
                required = self._risk(account, pocket)[1]
                score = profit * required * _PPB // (max(1, wallet) * (wallet + profit))
            else:
                score = abs(lots * value) * profit * _PPB // (equity * max(1, abs(entry)))
            if score > 0:
                ranked.append((-min(score, _SCORE_MAX), account, pocket))
        ranked.sort()
        return ranked

    def _next_winner(self, walk: _Deleveraging) -> tuple[int, int, int] | None:
        """(place in the ranking, account, lots) of whom the ranking asks next; None when it asks nobody."""
        market = self._markets[walk.market]
        position = market.holders.get(walk.account)
        if position is None:
            return None
        ranking = self._rankings[walk.market, -walk.sign]
        while walk.place < len(ranking):
            _, winner, pocket = ranking[walk.place]
            held = market.holders.get(winner)
            if winner != walk.account and held is not None and walk.sign * held[0] < 0:
                lots = min(abs(position[0]), abs(held[0]))
                if walk.charge > 0:
                    lots = min(lots, max(0, self._equity(winner, pocket)) // walk.charge)
                if lots:
                    return walk.place, winner, lots
            walk.place += 1
        return None

    def _end_deleveraged_market(self, walk: _Deleveraging) -> None:
        if walk.market < 0:
            return
        due = self._next_winner(walk)
        if due is not None:
            self._find(
                "WFALL-03",
                f"deleveraging of account {walk.account} in instrument {walk.market} stops before "
                f"account {due[1]} with rank {due[0] + 1}, who could take {due[2]} lots",
            )
        walk.market = -1

    def _end_deleveraging(self) -> None:
        walk = self._adl
        self._adl = None
        if walk is None:
            return
        self._end_deleveraged_market(walk)
        while walk.waiting:
            self._next_deleveraged_market(walk)
            self._end_deleveraged_market(walk)

    def _on_deleveraged(self, event: Deleveraged) -> None:
        self._counts["deleveraged"] += 1
        n, account, winner, lots = event.instrument, event.account, event.winner, event.lots
        market = self._markets[n]
        walk = self._adl
        deficit = self._deficit
        if deficit is None or deficit.number != event.deficit_id or deficit.account != account:
            self._find(
                "(b)", f"account {winner} is deleveraged for account {account}, which has no open deficit"
            )
        if walk is None or (walk.account, walk.pocket) != (account, event.pocket):
            self._find(
                "WFALL-01", f"account {winner} is deleveraged for account {account} without adl being armed"
            )
        else:
            while walk.market != n and walk.waiting:
                self._end_deleveraged_market(walk)
                self._next_deleveraged_market(walk)
            if walk.market != n:
                self._find("WFALL-03", f"instrument {n} of account {account} is deleveraged out of order")
            else:
                self._check_winner(event, walk)
        if event.mark_ticks != market.mark:
            self._find(
                "WFALL-03",
                f"account {winner} is deleveraged at a mark of {event.mark_ticks}, it is {market.mark}",
            )
        transfer = -lots * (event.price_ticks - (market.mark or 0)) * market.tick_value
        if transfer != event.transfer_atoms:
            self._find(
                "(d)", f"account {winner} is said to transfer {event.transfer_atoms} atoms, it is {transfer}"
            )
        if deficit is not None:
            deficit.brought += event.transfer_atoms
            deficit.transfers[winner] = deficit.transfers.get(winner, 0) + event.transfer_atoms
        key = ("adl", winner)
        self._paid[key] = self._paid.get(key, 0) + event.transfer_atoms
        self._touched.add(account)
        self._touched.add(winner)
        self._exchange_deleveraged(event, market)

    def _check_winner(self, event: Deleveraged, walk: _Deleveraging) -> None:
        due = self._next_winner(walk)
        ranking = self._rankings[walk.market, -walk.sign]
        if due is None:
            self._find(
                "WFALL-03", f"account {event.winner} is deleveraged, but the ranking asks nobody any more"
            )
            return
        place, winner, lots = due
        score, _, pocket = ranking[place]
        if (event.winner, event.winner_pocket, event.rank) != (winner, pocket, place + 1):
            self._find(
                "WFALL-03",
                f"rank {event.rank} is account {event.winner}, the ranking asks account {winner}",
            )
        elif event.score_ppb != -score:
            self._find("WFALL-03", f"account {winner}: score {event.score_ppb}, it is {-score}")
        if abs(event.lots) != lots or event.lots * walk.sign >= 0:
            self._find(
                "WFALL-04", f"account {event.winner} gives up {event.lots} lots, {-walk.sign * lots} are due"
            )
        if event.price_ticks != walk.price:
            self._find(
                "WFALL-03",
                f"account {event.winner} is deleveraged at {event.price_ticks}, the rule says {walk.price}",
            )
        walk.place += 1

    def _exchange_deleveraged(self, event: Deleveraged, market: _Market) -> None:
        account, winner, lots = event.account, event.winner, event.lots
        lot_value = event.price_ticks * market.tick_value
        held = market.holders.get(winner)
        if held is None or abs(held[0]) < abs(lots) or held[0] * lots <= 0:
            self._find(
                "WFALL-04", f"account {winner} gives up {lots} lots, it holds {held[0] if held else 0}"
            )
        else:
            profit = lots * lot_value - held[2] * lots // held[0]
            if profit != event.profit_atoms:
                self._find(
                    "POS-01",
                    f"account {winner} realises {event.profit_atoms} atoms when deleveraged, it is {profit}",
                )
        key = (account, event.pocket)
        if key in self._harm_by:
            self._harm_by[key] -= lots * ((market.index or 0) * market.tick_value - lot_value)
        legs = self._change_hands(market, winner, account, lots, lot_value, origin=None)
        self._expect("deleverage", legs, f"deleveraging of account {winner}")

    # Interventions

    def _intervene(self, what: str) -> None:
        self._interventions.append(Intervention(self._seq, self._time_ns, what))

    def _on_status_set(self, event: StatusSet) -> None:
        names = (("open", event.open), ("reduce", event.reduce), ("liquidate", event.liquidate))
        forbidden = [name for name, allowed in names if not allowed]
        self._markets[event.instrument].stands_still = not event.liquidate
        if forbidden:
            symbol = self._markets[event.instrument].spec.symbol
            self._intervene(f"{symbol}: {', '.join(forbidden)} halted")

    def _on_settled(self, event: Settled) -> None:
        market = self._markets[event.instrument]
        market.stands_still = False
        self._check_expiry(event, market)
        if market.spec.kind != "future":
            self._intervene(f"{market.spec.symbol}: {market.spec.kind} settled at {event.price_ticks}")
        for levels in market.sides.values():
            for level in levels.by_key.values():
                self._find(
                    "BOOK-08",
                    f"instrument {event.instrument} settles with order {next(iter(level))} in its book",
                )
        legs: dict[_Key, int] = {}
        lot_value = event.price_ticks * market.tick_value
        for account in list(market.holders):
            lots = market.holders[account][0]
            key = (account, market.pocket if account in market.isolated else self._settle)
            realised = self._move(market, account, -lots, lot_value)
            legs[key] = legs.get(key, 0) + realised
            clearing = (CLEARING, market.pocket)
            legs[clearing] = legs.get(clearing, 0) - realised
        self._needs_full_pass = True
        self._expect("settlement", legs, f"settlement of instrument {event.instrument}")

    def _on_work_left(self, event: WorkLeft) -> None:
        self._work_left = True
        bound = self._rules.liquidation.rounds_max
        if event.rounds != bound:
            self._find("LIQ-02", f"work is left after {event.rounds} rounds, the rulebook's bound is {bound}")

    # Dated futures: sessions, limits, expiry, daily settlement and margin calls

    def _is_closed(self, market: _Market) -> bool:
        """A dated future outside of all sessions; the one that opened yesterday may still last."""
        sessions = self._rules.settlement.sessions
        if not sessions or market.spec.kind != "future":
            return False
        today = self._time_ns // _DAY_NS
        for session in sessions:
            for day in (today - 1, today):
                since = self._time_ns - day * _DAY_NS
                # 5 January 1970, day 4, was a Monday
                if (day - 4) % 7 in session.weekdays and session.opens_ns <= since < session.closes_ns:
                    return False
        return True

    def _band(self, market: _Market) -> tuple[int, int] | None:
        if market.terms is None or not market.terms.limit_ticks or market.settled is None:
            return None
        return market.settled - market.terms.limit_ticks, market.settled + market.terms.limit_ticks

    def _within_band(self, market: _Market, side: int, limit: int | None) -> int | None:
        band = self._band(market)
        if band is None:
            return limit
        edge = band[side > 0]
        return edge if limit is None else side * min(side * limit, side * edge)

    def _check_hours(self, event: Filled, market: _Market) -> None:
        band = self._band(market)
        if band is not None and not band[0] <= event.price_ticks <= band[1]:
            self._find("BOOK-04", f"trade {event.trade_id} at {event.price_ticks}, the day's band is {band}")
        if self._is_closed(market):
            self._find("HALT-01", f"trade {event.trade_id} while there is no session")

    def _is_overdue(self, market: _Market) -> bool:
        terms = market.terms
        if terms is None or not terms.expires_at_ns or market.has_expired:
            return False
        return self._time_ns >= terms.expires_at_ns

    def _check_expiry(self, event: Settled, market: _Market) -> None:
        """At its time a future ends at the stated price, or at the index of that instant."""
        if self._is_overdue(market) and self._is_marked and market.terms is not None:
            price = market.terms.final_price_ticks
            wanted = market.index if price is None else price
            if event.price_ticks != wanted:
                self._find(
                    "WFALL-05",
                    f"instrument {market.number} expires at {event.price_ticks}, the rulebook says {wanted}",
                )
        market.has_expired = True

    def _on_variation_settled(self, event: VariationSettled) -> None:
        """Each holder gets its value at the settlement price less what the position has cost until now."""
        market = self._markets[event.instrument]
        legs: dict[_Key, int] = {}
        total = 0
        for account, position in market.holders.items():
            value = position[0] * event.price_ticks * market.tick_value
            key = (account, market.pocket if account in market.isolated else self._settle)
            legs[key] = value - position[1]
            total += value - position[1]
            market.cost_sum += value - position[1]
            position[1] = value
            self._touched.add(account)
        legs[CLEARING, market.pocket] = -total
        market.settled = event.price_ticks
        self._settled_now.add(event.instrument)
        self._needs_full_pass = True
        self._expect("variation", legs, f"settlement of instrument {event.instrument} for the day")

    def _is_left_alone(self, key: _Key) -> bool:
        """Under margin calls who is below maintenance is called at the settlement and has until it is due."""
        if self._rules.settlement.call_to == "none":
            return False
        due = self._calls.get(key)
        if due is not None:
            return self._time_ns < due
        return not any(market.number in self._settled_now for market in self._positions(*key))

    def _called_to(self, account: int, pocket: int) -> int:
        """What a call asks for: the maintenance requirement or the initial one."""
        required = 0
        for market in self._positions(account, pocket):
            size = abs(market.holders[account][0])
            notional = size * abs(self._lot_values[market.number] or 0)
            if self._rules.settlement.call_to == "maintenance":
                required += market.maintenance(notional, size)
                continue
            leverage = self._leverage.get((account, market.number), market.spec.tiers[0].leverage_max)
            required += market.initial(notional, size, leverage)
        return required

    def _on_margin_called(self, event: MarginCalled) -> None:
        account, pocket = key = (event.account, event.pocket)
        equity, required = self._risk(account, pocket)
        stated = (event.equity_atoms, event.maintenance_atoms, event.called_atoms, event.due_ns)
        due_ns = self._time_ns + self._rules.settlement.call_due_ns
        wanted = (equity, required, self._called_to(account, pocket) - equity, due_ns)
        if stated != wanted or equity >= required or key in self._calls:
            self._find("MARG-08", f"account {account} is called for {stated}, it is {wanted}")
        if not any(market.number in self._settled_now for market in self._positions(account, pocket)):
            self._find("MARG-08", f"account {account} is called without a settlement of what it holds")
        self._calls[key] = event.due_ns

    def _on_margin_call_ended(self, event: MarginCallEnded) -> None:
        account, pocket = key = (event.account, event.pocket)
        equity, required = self._equity(account, pocket), self._called_to(account, pocket)
        if (event.equity_atoms, event.required_atoms) != (equity, required) or equity < required:
            self._find("MARG-08", f"the call of account {account} ends at {equity}, asked were {required}")
        if self._calls.pop(key, None) is None:
            self._find("MARG-08", f"a call of account {account} ends that was not made")

    # The default of a member

    def _on_contributed(self, event: Contributed) -> None:
        account, atoms = event.account, event.atoms
        held = self._contributions.get(account, 0) + atoms
        self._contributions[account] = held
        if held < 0 or (atoms < 0 and self._frozen):
            self._find("(f)", f"account {account} takes {-atoms} out of the fund, {held} are left")
        self._brought_in[account] = self._brought_in.get(account, 0) - atoms
        legs = {(account, self._settle): -atoms, (DEFAULT_FUND, self._settle): atoms}
        self._touched.add(account)
        self._expect("contribution", legs, f"contribution of account {account}")

    def _on_default_declared(self, event: DefaultDeclared) -> None:
        key = (event.account, event.pocket)
        members = tuple((m, atoms) for m, atoms in sorted(self._contributions.items()) if atoms)
        if event.contributions != members:
            self._find(
                "(f)", f"the default of account {event.account} freezes other contributions: {members}"
            )
        if key not in self._in_liquidation or "default_fund" not in self._rules.waterfall:
            self._find("WFALL-01", f"account {event.account} is declared in default without a reason")
        self._frozen[key] = dict(event.contributions)
        self._defaulted = True
        self._intervene(f"account {event.account} is declared in default")

    def _on_auction_held(self, event: AuctionHeld) -> None:
        """The best bid that was not refused takes all that the defaulter holds."""
        account, winner, settle = event.account, event.winner, self._settle
        if (account, settle) not in self._in_liquidation:
            self._find("LIQ-04", f"the portfolio of account {account} is sold, which is not in default")
        held = self._positions(account, settle)
        lots = tuple(market.holders[account][0] for market in held)
        marks = tuple(market.mark for market in held)
        stated = (event.instruments, event.lots, event.mark_ticks)
        if stated != (tuple(market.number for market in held), lots, marks):
            self._find("(b)", f"account {account} sells {stated}, it holds {lots} at {marks}")
            return
        values = [market.tick_value * size for market, size in zip(held, lots, strict=True)]

        def worth(prices: tuple[int, ...]) -> int:
            return sum(value * price for value, price in zip(values, prices, strict=True))

        best = worth(event.price_ticks)
        for bid in event.bids:
            is_taken = bid.account == winner and bid.price_ticks == event.price_ticks
            if not is_taken and bid.account not in event.refused and worth(bid.price_ticks) > best:
                self._find("(b)", f"account {winner} wins the auction, account {bid.account} bids more")
        legs: dict[_Key, int] = {}
        for market, size, price in zip(held, lots, event.price_ticks, strict=True):
            if (account, settle) in self._harm_by:
                away = (market.index or 0) - price
                self._harm_by[account, settle] += size * away * market.tick_value
            moved = self._change_hands(
                market, account, winner, size, price * market.tick_value, origin=account
            )
            for key, atoms in moved.items():
                legs[key] = legs.get(key, 0) + atoms
        self._touched |= {account, winner}
        self._expect("auction", legs, f"auction of account {account}")

    def _layer_payers(self, key: _Key, layer: str) -> dict[int, int]:
        """What each can bring to a layer: (account, atoms), by the members that the default froze."""
        rules, settle, members = self._rules.default_fund, self._settle, self._frozen.get(key, {})
        account = key[0]
        if layer == "house_capital":
            return {HOUSE: max(0, min(rules.house_capital_atoms, self._balances[settle][HOUSE]))}
        if layer == "variation_haircut":
            return self._haircuts(account) if rules.variation_haircut_ppb else {}
        if layer == "assessments":
            caps = {m: a * rules.assessment_ppb // _PPB for m, a in members.items() if m != account}
            return {
                m: max(0, min(cap, self._balances[settle][m], self._equity(m, settle)))
                for m, cap in caps.items()
            }
        own = layer == "defaulter_contribution"
        held = self._contributions
        return {m: min(a, held.get(m, 0)) for m, a in members.items() if (m == account) == own}

    def _haircuts(self, loser: int) -> dict[int, int]:
        share = self._rules.default_fund.variation_haircut_ppb
        found = {}
        for account in range(FIRST_ACCOUNT, len(self._held)):
            won = 0
            for n, position in self._held[account].items():
                market = self._markets[n]
                if market.settled is not None and market.mark is not None:
                    won += position[0] * (market.mark - market.settled) * market.tick_value
            if won > 0 and account != loser and account not in self._serving:
                most = min(won * share // _PPB, self._equity(account, self._settle))
                found[account] = max(0, most)
        return found

    def _on_layer_drawn(self, event: LayerDrawn) -> None:
        """Layers pay in their order as far as each reaches, its payers pro rata to what they can bring."""
        deficit = self._deficit
        if deficit is None or deficit.number != event.deficit_id:
            self._find("(d)", f"the fund's {event.layer} pay deficit {event.deficit_id}, which is not open")
            return
        key = (deficit.account, deficit.pocket)
        if self._armed_stage != ("default_fund", *key):
            self._find("WFALL-01", f"the fund's {event.layer} are drawn on without being armed")
        place = _LAYERS.index(event.layer)
        skipped = _LAYERS[self._layer : place]
        if place < self._layer or any(sum(self._layer_payers(key, e).values()) for e in skipped):
            self._find("WFALL-01", f"the fund's {event.layer} are drawn on out of their order")
        self._layer = place + 1
        if self._fund_due:
            self._find("(d)", f"layers of the fund were drawn on that did not pay: {self._fund_due}")
            self._fund_due = {}
        payers = self._layer_payers(key, event.layer)
        left = min(max(0, -self._equity(*key)), sum(payers.values()))
        due = _split(left, list(payers.values())) if left else []
        shares = tuple((a, atoms) for a, atoms in zip(payers, due, strict=False) if atoms)
        if event.shares != shares:
            self._find("(d)", f"the fund's {event.layer} bring {event.shares}, {shares} are due")
        if event.layer in ("defaulter_contribution", "contributions"):
            for account, atoms in event.shares:
                self._contributions[account] = self._contributions.get(account, 0) - atoms
            self._fund_due[DEFAULT_FUND] = sum(atoms for _, atoms in event.shares)
        else:
            self._fund_due = dict(event.shares)

    def _check_drawn(self, payer: int, atoms: int) -> None:
        due = self._fund_due.pop(payer, 0)
        if due != atoms:
            self._find("(d)", f"account {payer} pays {atoms} atoms for a default, its layer drew {due}")

    # Rest points

    def _rest(self) -> None:
        """The end of a command: nothing is half done, and every compartment that it touched is looked at."""
        if self._entering is not None:
            self._rest_entering()
        if self._taking is not None:
            self._end_takeover()
        if self._adl is not None:
            self._end_deleveraging()
        if self._crossable:
            self._check_crossed()
        if self._unstated:
            for (stage, payer), atoms in self._unstated.items():
                self._find(
                    "(d)", f"account {payer} pays {atoms} atoms in stage {stage}, which nothing states"
                )
            self._unstated = {}
        if self._deficit is not None:
            self._find("(d)", f"deficit {self._deficit.number} is left open")
            self._deficit = None
        if self._is_marked:
            self._rest_after_marks()
        elif self._needs_full_pass:
            self._full_pass()
        else:
            for account in self._touched:
                self._check_account(account)
        if self._deficits_in_batch:
            self._book_residuals()
        if self._rankings:
            self._rankings = {}
        self._changed |= self._touched
        self._touched.clear()
        self._answered.clear()
        self._forced_in_batch.clear()
        self._armed_stage = None
        self._is_marked = self._needs_full_pass = self._work_left = False
        self._sample_due = False
        self._funding_due = 0
        self._settled_now.clear()
        if self._fund_due:
            self._find("(d)", f"layers of the fund were drawn on that did not pay: {self._fund_due}")
            self._fund_due = {}

    def _check_instant(self) -> None:
        """An instant marks every instrument, and samples every perpetual when that is due."""
        for market in self._markets:
            if market.marked_seq != self._seq:
                self._find("MARK-03", f"instrument {market.number} is not marked with the others")
            if self._is_overdue(market):
                self._find(
                    "WFALL-05", f"instrument {market.number} has reached its expiry and is not settled"
                )
            is_due = self._sample_due and market.spec.kind == "perpetual"
            if is_due and market.sampled_seq != self._seq:
                self._find("FUND-02", f"instrument {market.number}: a sample is due and not taken")

    def _rest_after_marks(self) -> None:
        self._check_instant()
        for market in self._contracts:
            clearing = self._balances[market.pocket][CLEARING]
            if clearing != -market.cost_sum:
                self._find(
                    "LEDG-02",
                    f"clearing of instrument {market.number} is {clearing}, positions cost {market.cost_sum}",
                )
            if market.lots_sum:
                self._find(
                    "(b)", f"positions of instrument {market.number} sum to {market.lots_sum} lots, not to 0"
                )
            if self._funding_due and market.premium_samples and market.spec.kind == "perpetual":
                self._find("FUND-02", f"instrument {market.number}: funding is due and not paid")
        if self._needs_full_pass or self._index_batches % _FULL_PASS_EVERY == 0:
            self._full_pass()
        else:
            settle = self._settle
            self._changed |= self._touched
            for account in self._changed:
                self._check_account(account)
            self._look_at_watched()
            for account, pocket in list(self._in_liquidation):
                self._check_compartment(account, pocket, self._equity(account, pocket))
            for account, pocket in list(self._debts):
                self._check_compartment(account, pocket, self._equity(account, pocket))
            for account in (INSURANCE, HOUSE, *self._serving):
                self._check_compartment(account, settle, self._equity(account, settle))
        if not self._work_left:
            self._check_backstop_came()
        self._index_batches += 1

    def _check_backstop_came(self) -> None:
        """Who is low enough for the backstop, and not below zero, has been taken over."""
        rules = self._rules
        if "backstop" not in rules.waterfall:
            return
        for account, pocket in self._in_liquidation:
            equity, required = self._risk(account, pocket)
            if equity < 0 or equity * _PPB >= required * rules.liquidation.backstop_below_ppb:
                continue
            positions = self._positions(account, pocket)
            halted = any(m.stands_still or self._is_closed(m) for m in positions)
            if not halted and all(m.number in self._backstops for m in positions):
                self._find(
                    "WFALL-01",
                    f"account {account} is left with equity {equity} over {required}: it is for the backstop",
                )

    def _look_at_watched(self) -> None:
        """Look at every compartment that the marks' moves since the last full pass could have brought down.

        A move of m takes at most m times gross value off equity and adds at most m times the requirement.
        """
        move = 0
        for value, before in zip(self._lot_values, self._watched_from, strict=True):
            if value != before:
                if not value or not before:
                    self._full_pass()
                    return
                move = max(move, abs(value - before) * _PPB // abs(before) + 1)
        reached = bisect_right(self._watch, (move, len(self._held), 0))
        if reached > _WATCHED_MAX:
            self._full_pass()
            return
        settle, assets, values = self._settle, self._assets, self._lot_values
        balances, all_held, known, nobody = self._balances, self._held, self._in_liquidation, frozenset[int]()
        per_lot = [
            abs(value or 0) // m.most_required[0] + 1 + m.most_required[1] for value, m in self._valued()
        ]
        for _, account, pocket in self._watch[:reached]:
            if (account, pocket) in known:
                continue
            equity = balances[pocket][account]
            most = 0
            alone = self._alone.get(account, nobody)
            for n, (lots, cost, _) in all_held[account].items():
                where = assets + n if assets + n in alone else settle
                value = values[n]
                if where == pocket and value is not None:
                    equity += lots * value - cost
                    most += abs(lots) * per_lot[n]
            if equity < most:
                self._check_noticed(account, pocket)
            if equity < 0:
                self._check_compartment(account, pocket, equity)

    def _valued(self) -> list[tuple[int | None, _Market]]:
        return list(zip(self._lot_values, self._markets, strict=True))

    def _check_crossed(self) -> None:
        for n in self._crossable:
            market = self._markets[n]
            bid, ask = market.best(_BUY), market.best(_SELL)
            if bid is not None and ask is not None and bid >= ask:
                self._find("BOOK-05", f"instrument {n} rests crossed: bid {bid}, ask {ask}")
        self._crossable.clear()

    def _check_account(self, account: int) -> None:
        if account < FIRST_ACCOUNT and account not in (INSURANCE, HOUSE):
            return
        settle = self._settle
        self._check_compartment(account, settle, self._equity(account, settle))
        for asset in self._other_assets:
            if self._balances[asset][account] < 0:
                self._find(
                    "(e)", f"account {account} holds {self._balances[asset][account]} atoms of asset {asset}"
                )
        for pocket in sorted(self._alone.get(account, ())):
            self._check_compartment(account, pocket, self._equity(account, pocket))

    def _check_compartment(self, account: int, pocket: int, equity: int) -> None:
        """Below zero at a rest point is a debt: remember its largest size and since when it stands."""
        key = (account, pocket)
        debt = self._debts.get(key)
        if equity >= 0:
            if debt is not None:
                self._end_debt(key, debt)
            return
        if debt is None:
            debt = self._debts[key] = [self._seq, self._time_ns, 0]
        if -equity > debt[2]:
            debt[2] = -equity
            if self._is_protected(account):
                if self._largest is None or debt[2] > self._largest.atoms:
                    self._largest = OpenDeficit(account, pocket, debt[2], debt[0], 0)
            else:
                self._absorber_debt = max(self._absorber_debt, debt[2])

    def _end_debt(self, key: _Key, debt: list[int]) -> None:
        del self._debts[key]
        self._age_largest(key, debt)
        carried = self._carried.pop(key, 0)
        if not self._is_protected(key[0]):
            return
        if key in self._answered:
            self._settled_debt += debt[2]
            return
        fresh = max(0, debt[2] - carried)
        self._recovered_debt += debt[2]
        into = (self._pocket_assets[key[1]], key[0])
        self._arose[into] = self._arose.get(into, 0) + fresh

    def _age_largest(self, key: _Key, debt: list[int]) -> None:
        largest = self._largest
        if largest is not None and (largest.account, largest.pocket, largest.seq) == (*key, debt[0]):
            self._largest = OpenDeficit(*key, largest.atoms, largest.seq, self._time_ns - debt[1])

    def _book_residuals(self) -> None:
        """A residual counts when it still stands at the rest point, and only what was not counted before."""
        for deficit, residual in self._deficits_in_batch:
            key = (deficit.account, deficit.pocket)
            if deficit.floored:
                standing = deficit.floored
                self._spread(self._floored, deficit, standing)
                fresh = max(0, standing - self._carried.pop(key, 0))
            else:
                standing = min(residual, max(0, -self._equity(*key)))
                fresh = max(0, standing - self._carried.get(key, 0))
                if standing:
                    self._carried[key] = self._carried.get(key, 0) + fresh
            self._spread(self._arose, deficit, fresh)
        self._deficits_in_batch.clear()

    def _spread(self, into: dict[_Key, int], deficit: _Deficit, atoms: int) -> None:
        """Add atoms by (asset, origin), in proportion to the deficit's origins."""
        if not atoms:
            return
        asset = self._pocket_assets[deficit.pocket]
        origins = deficit.origins
        weights = [share for _, share in origins]
        if not any(weights):
            origins, weights = ((deficit.account, 1),), [1]
        for (origin, _), share in zip(origins, _split(atoms, weights), strict=True):
            into[asset, origin] = into.get((asset, origin), 0) + share

    def _full_pass(self) -> None:
        """Look at every compartment: none below zero goes unseen, none below its requirement unliquidated."""
        self._counts["full_passes"] += 1
        settle, assets = self._settle, self._assets
        debts = self._debts
        equities = list(self._balances[settle])
        requirements = [0] * len(equities)
        gross = [0] * len(equities)
        watch: list[tuple[int, int, int]] = []
        for market in self._contracts:
            value = self._lot_values[market.number]
            if value is None:
                continue
            isolated, (slope, floor) = market.isolated, market.most_required
            per_lot = abs(value) // slope + 1 + floor
            for account, (lots, cost, _) in market.holders.items():
                if account not in isolated:
                    equities[account] += lots * value - cost
                    requirements[account] += abs(lots) * per_lot
                    gross[account] += abs(lots * value)
                else:
                    required, own = abs(lots) * per_lot, self._balances[market.pocket][account]
                    excess = own + lots * value - cost - required
                    watch.append((excess * _PPB // (abs(lots * value) + required), account, market.pocket))
        for account in range(FIRST_ACCOUNT, len(equities)):
            equity = equities[account]
            required = requirements[account]
            if required and account not in self._serving:
                watch.append(((equity - required) * _PPB // (gross[account] + required), account, settle))
                if equity < required:
                    self._check_noticed(account, settle)
            if equity < 0 or (debts and (account, settle) in debts):
                self._check_compartment(account, settle, equity)
        watch.sort()
        self._watch = watch
        self._watched_from = list(self._lot_values)
        self._changed.clear()
        for account, pockets in self._alone.items():
            for pocket in sorted(pockets):
                if self._balances[pocket][account] or pocket - assets in self._held[account]:
                    self._check_compartment(account, pocket, self._equity(account, pocket))
                    self._check_noticed(account, pocket)
        for account in (INSURANCE, HOUSE):
            self._check_compartment(account, settle, self._equity(account, settle))
        for account, pocket in list(debts):
            self._check_compartment(account, pocket, self._equity(account, pocket))

    def _check_noticed(self, account: int, pocket: int) -> None:
        is_judged = self._is_marked or self._settled_now
        if not is_judged or self._work_left or (account, pocket) in self._in_liquidation:
            return
        if account in self._serving or self._is_left_alone((account, pocket)):
            return
        equity, required = self._risk(account, pocket)
        if equity < required:
            self._find(
                "LIQ-02",
                f"account {account} pocket {pocket} is unnoticed with equity {equity}, below {required}",
            )

    # The report

    def balances(self) -> dict[_Key, int]:
        """Atoms by (account, pocket), without zeros."""
        return {
            (account, pocket): atoms
            for pocket, row in enumerate(self._balances)
            for account, atoms in enumerate(row)
            if atoms
        }

    def lots(self) -> dict[_Key, int]:
        """Signed lots by (account, instrument), without zeros."""
        return {
            (account, market.number): position[0]
            for market in self._markets
            for account, position in market.holders.items()
        }

    def digest(self) -> str:
        """BLAKE2b (16 bytes, hex) of sorted lines: "b account pocket atoms", then "l account market lots"."""
        lines = [f"b {a} {p} {atoms}\n" for (a, p), atoms in sorted(self.balances().items())]
        lines += [f"l {a} {n} {lots}\n" for (a, n), lots in sorted(self.lots().items())]
        return blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    def finish(self) -> Report:
        """Look at everything once more and say what became of the debts."""
        if not self._opened:
            self._find("EVENT-01", "the rulebook is missing")
        else:
            self._full_pass()
            self._recount()
        for key in list(self._harm_by):
            self._harm += max(0, self._harm_by.pop(key))
        for key, debt in self._debts.items():
            self._age_largest(key, debt)
        residuals = self._residuals()
        clauses = self._clauses(residuals)
        return Report(
            verdict=self._verdict(clauses, residuals),
            agrees=not self._findings_count,
            findings=tuple(self._findings),
            findings_count=self._findings_count,
            clauses=clauses,
            residuals=residuals,
            residual_arose_atoms=_by_asset((r.asset, r.arose_atoms) for r in residuals),
            residual_open_atoms=_by_asset((r.asset, r.open_atoms) for r in residuals),
            largest_deficit=self._largest,
            receivables=_shares(self._receivables),
            interventions=tuple(self._interventions),
            harm_atoms=self._harm,
            harmed_compartments=self._harmed,
            overcharge_by_payer=_shares(self._overcharge_by_payer),
            overcharge_by_recipient=_shares(self._overcharge_by_recipient),
            paid_by_stage=self._paid_by_stage(),
            paid=tuple(Paid(*key, atoms) for key, atoms in sorted(self._paid.items()) if atoms),
            house_balances=tuple(
                (account, pocket, atoms) for (account, pocket), atoms in sorted(self.balances().items())
                if account < FIRST_ACCOUNT
            ),
            holdings_digest=self.digest(),
            counts={"batches": self._batches, "events": self._events, **self._counts},
        )  # fmt: skip

    def _recount(self) -> None:
        """The running sums against whole ones."""
        sums = [0] * self._assets
        for pocket, row in enumerate(self._balances):
            sums[self._pocket_assets[pocket]] += sum(row)
        for asset, atoms in enumerate(sums):
            if atoms:
                self._find("LEDG-01", f"balances of asset {asset} sum to {atoms} atoms, not to 0")
        for market in self._contracts:
            cost = sum(position[1] for position in market.holders.values())
            lots = sum(position[0] for position in market.holders.values())
            clearing = self._balances[market.pocket][CLEARING]
            if clearing != -cost:
                self._find(
                    "LEDG-02",
                    f"clearing of instrument {market.number} is at {clearing}, positions cost {cost}",
                )
            if lots:
                self._find("(b)", f"positions of instrument {market.number} sum to {lots} lots, not to 0")

    def _residuals(self) -> tuple[Residual, ...]:
        """What the list left of deficits, and the debts that stand at the end without one."""
        arose, left = dict(self._arose), dict(self._floored)
        for account, pocket in self._debts:
            debt = max(0, -self._equity(account, pocket))
            for origin, share in self._origins(account, pocket, debt):
                key = (self._pocket_assets[pocket], origin)
                left[key] = left.get(key, 0) + share
                arose[key] = arose.get(key, 0) + share
            if carried := min(debt, self._carried.get((account, pocket), 0)):
                for origin, share in self._origins(account, pocket, carried):
                    arose[self._pocket_assets[pocket], origin] -= share
        if self._opened:
            settle = self._settle
            hole = -self._balances[settle][DEFICIT] - sum(self._floored.values())
            if hole > 0:
                left[settle, DEFICIT] = left.get((settle, DEFICIT), 0) + hole
                arose[settle, DEFICIT] = arose.get((settle, DEFICIT), 0) + hole
        if self._hidden:
            arose[self._settle, -1] = self._hidden
        return tuple(
            Residual(asset, origin, arose.get((asset, origin), 0), left.get((asset, origin), 0))
            for asset, origin in sorted(arose.keys() | left.keys())
            if arose.get((asset, origin)) or left.get((asset, origin))
        )

    def _paid_by_stage(self) -> dict[str, int]:
        paid: dict[str, int] = {}
        for (stage, _), atoms in sorted(self._paid.items()):
            paid[stage] = paid.get(stage, 0) + atoms
        return paid

    def _clauses(self, residuals: tuple[Residual, ...]) -> tuple[Clause, ...]:
        broken = self._broken
        largest = self._largest
        arose = sum(r.arose_atoms for r in residuals)
        left = sum(r.open_atoms for r in residuals)
        external = self._balances[self._settle][EXTERNAL] if self._opened else 0
        conserved = not broken & {"(e)", "LEDG-01", "LEDG-02", "LEDG-03", "FUND-01"}
        figures: dict[str, tuple[bool, dict[str, int]]] = {
            "a": (
                largest is None and not self._hidden and "(a)" not in broken,
                {
                    "largest_open_deficit_atoms": largest.atoms if largest else 0,
                    "age_ns": largest.age_ns if largest else 0,
                    "debts_open": sum(self._is_protected(account) for account, _ in self._debts),
                    "recovered_atoms": self._recovered_debt,
                    "settled_later_atoms": self._settled_debt,
                    "hidden_atoms": self._hidden,
                },
            ),
            "b": (
                not broken & {"(b)", "WFALL-03", "WFALL-04"},
                {"takeovers": self._counts["takeovers"], "deleveraged": self._counts["deleveraged"]},
            ),
            "c": (
                not self._absorber_debt and "(c)" not in broken,
                {"largest_absorber_debt_atoms": self._absorber_debt},
            ),
            "d": (
                not arose and "(d)" not in broken,
                {
                    "deficits": self._counts["deficits"],
                    "paid_atoms": sum(self._paid.values()),
                    "residual_arose_atoms": arose,
                    "residual_open_atoms": left,
                    "residual_announced_atoms": self._announced_residual,
                    "overcharge_atoms": sum(self._overcharge_by_recipient.values()),
                },
            ),
            "e": (
                conserved,
                {
                    "deposited_atoms": self._deposited.get(self._settle, 0),
                    "withdrawn_atoms": self._withdrawn.get(self._settle, 0),
                    "custody_atoms": -external,
                },
            ),
            "f": (not broken & {"(f)", "WFALL-01", "WFALL-08", "ACC-01"}, {"payers": len(self._paid)}),
            "g": (
                "(g)" not in broken and not self._withdrawn_too_much,
                {
                    "custody_atoms": -external,
                    "withdrawals": self._counts["withdrawals"],
                    "withdrawals_delayed": self._counts["withdrawals_delayed"],
                    "withdrawn_beyond_share_atoms": self._withdrawn_too_much,
                },
            ),
            "h": (not self._harm, {"harm_atoms": self._harm, "harmed_compartments": self._harmed}),
            "i": (not self._interventions, {"interventions": len(self._interventions)}),
        }
        return tuple(Clause(letter, holds, shown) for letter, (holds, shown) in figures.items())

    def _verdict(self, clauses: tuple[Clause, ...], residuals: tuple[Residual, ...]) -> Verdict:
        holds = {clause.letter: clause.holds for clause in clauses}
        missing = bool(residuals) or not (holds["c"] and holds["d"] and holds["e"] and holds["g"])
        answered_late = (
            (self._receivables or self._defaulted) and not self._hidden and "(a)" not in self._broken
        )
        if missing or not (holds["a"] or answered_late):
            return "RESIDUAL"
        if self._receivables:
            return "RECOURSE"
        if self._interventions:
            return "HELD BY INTERVENTION"
        return "HELD WITH HARM" if self._harm else "HELD"


def _shares(atoms_by_account: dict[int, int]) -> tuple[Share, ...]:
    return tuple(Share(account, atoms) for account, atoms in sorted(atoms_by_account.items()) if atoms)


def _by_asset(amounts: Iterable[tuple[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for asset, atoms in amounts:
        sums[asset] = sums.get(asset, 0) + atoms
    return sums


def audit(batches: Iterable[Batch]) -> Report:
    """The report on a finished run."""
    witness = Audit()
    for batch in batches:
        witness.feed(batch)
    return witness.finish()
