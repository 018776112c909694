"""Random commands by a seed: every field from a small domain of its own, so that ids and prices collide.

A stream is one small market under one rulebook. Its prices rest, fall by a third or more, rise again; funds,
vaults and makers are poor now and then, so that every stage of the waterfall has work. It hears what
the plain model answers, so that cancels and amendments often speak of a live order; the rows that it has made
can be played again, whole or in part, without it.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from tests.venues import T0, USD, perpetual, profile, rulebook
from zerodebt.exchange import commands as ask
from zerodebt.exchange.events import (
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    DeficitClosed,
    Event,
    Filled,
    LeverageSet,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    Quoted,
    TriggerArmed,
    TriggerFired,
)
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS

CUSTOMERS = 8
VAULTS = (FIRST_ACCOUNT + CUSTOMERS, FIRST_ACCOUNT + CUSTOMERS + 1)
EVERYBODY = (*range(FIRST_ACCOUNT, VAULTS[-1] + 1), INSURANCE)
STRANGERS = (0, HOUSE, 99, -1)
PRICES = (1000, 300)
TICK_ATOMS = 10_007
"""Prime and odd, so that rates and quotients leave remainders."""

Row = tuple[int, ask.Command]


class Setting(NamedTuple):
    """A rulebook with what is traded under it."""

    name: str
    rules: VenueRules
    instruments: tuple[Instrument, ...]
    usd: int = USD
    """Atoms of what wallets hold one, ten or a hundred of: few atoms make every rounding count."""


def contracts(first: tuple[Tier, ...], second: tuple[Tier, ...], **changes: Any) -> tuple[Instrument, ...]:
    common: dict[str, Any] = {
        "tick_value_atoms": TICK_ATOMS,
        "price_max_ticks": 20_000,
        "size_max_lots": 400,
        "open_interest_max_lots": 1500,
    }
    of_first = common | changes
    return (
        perpetual("BTC", tiers=first, **of_first),
        perpetual("ETH", tiers=second, **(of_first | {"significant_figures": 0})),
    )


BY_LEVERAGE = (Tier(0, 40), Tier(150 * USD, 20), Tier(700 * USD, 6))
OTHER = (Tier(0, 25), Tier(90 * USD, 7))
BY_RATE = (
    Tier(0, 125, 4_000_000),
    Tier(60 * USD, 50, 10_000_000),
    Tier(300 * USD, 20, 25_000_000),
    Tier(1_000 * USD, 3, 150_000_000),
)
QUICK = {"interval_ns": MINUTE_NS, "impact_notional_atoms": 40 * USD}


def settings() -> tuple[Setting, ...]:
    """Of shipped rulebooks the numbers in atoms are scaled to the small market, the rules are not."""
    hyperliquid = profile(
        "hyperliquid",
        orders={"value_min_atoms": USD, "open_orders_max": 9},
        liquidation={"chunk_threshold_atoms": 60 * USD},
        funding=QUICK,
    )
    binance = profile(
        "binance_usdm",
        settle_asset="USDC",
        orders={"open_orders_max": 9},
        fees={"maker_ppb": 200_000, "taker_ppb": 500_000, "liquidation_ppb": 3_000_000},
        funding={"interval_ns": 2 * MINUTE_NS, "sample_ns": 5 * SECOND_NS, "impact_margin_atoms": USD},
        mark={"basis_sample_ns": 4 * SECOND_NS, "basis_points": 5},
        adl={"wallet_min_atoms": USD},
        insurance={"net_notional_max_atoms": 60 * USD},
    )
    plain = rulebook(
        "book",
        "insurance",
        "adl",
        "socialise",
        "house",
        fees={"maker_ppb": -100_000, "taker_ppb": 300_000, "liquidation_ppb": 2_000_000},
        liquidation={"steps": ["whole"], "price_limit": "bankruptcy", "surplus_max_ppb": 10**9},
        insurance={"takes": "unfilled", "net_notional_max_atoms": 400 * USD},
        adl={"policy": "pro_rata", "weights": "wealth", "price": "mark", "clamp": "bankruptcy"},
        orders={"met_trigger": "fire", "band": {"formula": "mark", "width_ppb": 80_000_000}},
        funding={"interval_ns": MINUTE_NS, "premium": "mark", "average": "linear", "rate": "plain"},
        mark={"formula": "basis_ema", "band_ppb": 30_000_000},
    )
    harsh = rulebook(
        "book",
        "backstop",
        "house",
        "recourse",
        fees={"taker_ppb": 400_000},
        liquidation={"steps": ["share", "whole"], "chunk_ppb": 300_000_000, "trigger": "at_or_below"}
        | {"price_limit": "band", "band_ppb": 50_000_000, "requirement_fee": "taker", "rounds_max": 3},
        orders={"market_slippage_ppb": 40_000_000, "triggers_per_command_max": 3}
        | {"band": {"formula": "mark", "width_ppb": 60_000_000, "beyond": "cap"}},
        house={"deficit_max_atoms": 2 * USD},
        funding={"interval_ns": MINUTE_NS, "premium": "mid", "rate": "deadband", "paid_on": "mark"},
        margin={"transfer_min_ppb": 150_000_000},
        index={"statistic": "mean"},
        sources=[{"name": "one", "weight": 2}, {"name": "two", "weight": 1}],
    )
    shared = rulebook(
        "book",
        "insurance",
        "adl",
        "socialise",
        fees={"maker_ppb": 50_000, "taker_ppb": 300_000, "liquidation_ppb": 4_000_000},
        liquidation={"steps": ["whole"], "price_limit": "none", "requirement_fee": "liquidation"}
        | {"shortfall": "fund", "surplus_max_ppb": 20_000_000},
        insurance={"takes": "never"},
        adl={"trigger": "fund_cannot_pay", "price": "bankruptcy", "score": "bybit"}
        | {"bankruptcy_off_max_ppb": 50_000_000, "bankruptcy_allocation": "pro_rata_requirement"},
        mark={"formula": "fair"},
    )
    bare = rulebook(
        "book",
        fees={"taker_ppb": 300_000},
        liquidation={"steps": ["whole"]},
        funding={"interval_ns": MINUTE_NS},
        margin={"transfer_min_ppb": 100_000_000},
    )
    return (
        Setting("hyperliquid", hyperliquid, contracts(BY_LEVERAGE, OTHER, significant_figures=3)),
        Setting("binance_usdm", binance, contracts(BY_RATE, OTHER)),
        Setting("plain", plain, contracts(BY_LEVERAGE, BY_RATE)),
        Setting("harsh", harsh, contracts(BY_RATE, BY_LEVERAGE, tier_form="whole")),
        Setting("shared", shared, contracts(OTHER, BY_LEVERAGE)),
        Setting("bare", bare, contracts(BY_LEVERAGE, OTHER)),
    )


def swarm(seed: int) -> Setting:
    """A rulebook and contracts of a seed: every field by itself, so that unlikely ones meet."""
    draw = random.Random(f"rulebook {seed}")
    some: Any = draw.choice
    tick, usd = some(((TICK_ATOMS, USD), (10_000, USD), (1, 100), (1, 60), (2, 150), (7, 700)))
    stages = [
        s for s in ("backstop", "insurance", "adl", "socialise", "house", "recourse") if some((0, 1, 1))
    ]
    draw.shuffle(stages)
    steps = draw.sample(("share", "whole", "restore"), some((1, 1, 2, 3)))
    taker = some((0, 300_000, 700_000))
    tables: dict[str, Any] = {
        "fees": {
            "taker_ppb": taker,
            "maker_ppb": some((-taker, -taker // 3, 0, 100_001)),
            "liquidation_ppb": some((0, 0, 1_000_000, 3_000_000)),
        },
        "orders": {
            "market_slippage_ppb": some((0, 30_000_000, 100_000_000)),
            "met_trigger": some(("refuse", "fire")),
            "band": some(
                ({}, {}, {"formula": "mark", "width_ppb": 70_000_000, "beyond": some(("refuse", "cap"))})
            ),
            "value_min_atoms": some((0, usd, 8 * usd)),
            "open_orders_max": some((4, 9, 1000)),
            "triggers_per_command_max": some((2, 10_000)),
        },
        "margin": {
            "transfer_min_ppb": some((0, 100_000_000, 333_333_333)),
            "index_age_max_ns": some((SECOND_NS, 60 * SECOND_NS)),
        },
        "liquidation": {
            "trigger": some(("below", "at_or_below")),
            "requirement_fee": some(("none", "taker", "liquidation")),
            "steps": steps,
            "chunk_threshold_atoms": some((0, 60 * usd, 20 * tick * PRICES[0], 60 * tick * PRICES[1])),
            "chunk_ppb": some((10**9, 200_000_000, 333_333_333)),
            "cooldown_ns": some((0, 3 * SECOND_NS)),
            "surplus_max_ppb": some((0, 10_000_000, 10**9)) if "whole" in steps else 0,
            "restore_buffer_ppb": some((0, 50_000_000)),
            "restore_max_ppb": some((10**9, 400_000_000)),
            "price_limit": some(("none", "bankruptcy", "bankruptcy", "band")),
            "band_ppb": 40_000_000,
            "backstop_below_ppb": some((666_666_667, 10**9, 300_000_000)),
            "rounds_max": some((1, 2, 64)),
            "shortfall": some(("account", "account", "fund")) if "insurance" in stages else "account",
        },
        "adl": {
            "policy": some(("queue", "queue", "pro_rata")),
            "score": some(("hyperliquid", "binance", "bybit")),
            "wallet_min_atoms": some((1, usd)),
            "weights": some(("wealth", "profit", "equity", "contracts")),
            "price": some(("previous_mark", "mark", "index", "bankruptcy")),
            "clamp": some(("none", "bankruptcy")),
            "cancels_orders": some((False, False, True)),
            "bankruptcy_off_max_ppb": some((0, 50_000_000)),
            "bankruptcy_allocation": some(("pro_rata_value", "pro_rata_requirement")),
            "trigger": some(("bankrupt", "fund_cannot_pay", "unfilled")) if "adl" in stages else "bankrupt",
        },
        "insurance": {
            "takes": some(("bankrupt", "unfilled", "never")) if "insurance" in stages else "never",
            "price": some(("mark", "bankruptcy")),
            "net_notional_max_atoms": some((None, 50 * usd)),
        },
        "house": {"deficit_max_atoms": some((None, 0, usd))},
        "index": {
            "statistic": some(("median", "mean")),
            "outlier_ppb": some((0, 5_000_000)),
            "outliers": some(("drop", "clamp")),
        },
        "mark": {
            "formula": some(("median", "index", "funding_median", "fair", "basis_ema")),
            "basis_ema_ns": some((2 * SECOND_NS, 150 * SECOND_NS)),
            "book_ema_ns": some((SECOND_NS, 30 * SECOND_NS)),
            "basis_points": some((1, 4)),
            "basis_sample_ns": some((SECOND_NS, 7 * SECOND_NS)),
            "band_ppb": some((0, 20_000_000)),
        },
        "funding": {
            "interval_ns": some((20 * SECOND_NS, MINUTE_NS)),
            "sample_ns": some((SECOND_NS, 5 * SECOND_NS)),
            "premium": some(("impact", "mid", "mark")),
            "average": some(("mean", "linear")),
            "rate": some(("dampened", "deadband", "plain")),
            "divisor": some((1, 8)),
            "cap": some(("rate", "maintenance", "none")),
            "cap_ppt": some((1_000_000_000, 40_000_000_000)),
            "impact_notional_atoms": some((usd, 40 * usd)),
            "paid_on": some(("index", "mark")),
        },
        "sources": [{"name": str(k), "weight": some((1, 2, 3))} for k in range(some((1, 2, 4)))]
        + [{"name": f"perp {k}", "weight": 1, "kind": "perp"} for k in range(some((0, 0, 2)))],
    }
    tiers = [
        tuple(structs.replace(tier, lower=tier.lower * usd // USD) for tier in table)
        for table in (some((BY_LEVERAGE, OTHER, BY_RATE)), some((BY_LEVERAGE, OTHER, BY_RATE)))
    ]
    common = {
        "tier_form": some(("marginal", "marginal", "whole")),
        "significant_figures": some((0, 3)),
        "tick_value_atoms": tick,
        "open_interest_max_lots": some((90, 1500)),
        "size_max_lots": some((60, 90)),
    }
    tables["margin"]["withdrawals"] = some(("share", "share", "share", "open"))
    tables["liquidation"]["backstop_notional_max_atoms"] = some((None, None, 60 * usd, 300 * usd))
    if tables["adl"]["policy"] == "queue":
        tables["adl"]["plan"] = some(("now", "now", "before"))
    return Setting("swarm", rulebook("book", *stages, **tables), contracts(tiers[0], tiers[1], **common), usd)


def setting_of(name: str, seed: int) -> Setting:
    return swarm(seed) if name == "swarm" else next(s for s in settings() if s.name == name)


def names() -> list[str]:
    return [*(setting.name for setting in settings()), "swarm"]


class Stream:
    """One seed's commands, as they are made; `rows` keeps them."""

    def __init__(self, seed: int, setting: Setting, length: int) -> None:
        self.draw = random.Random(seed)
        self.sources = len(setting.rules.sources)
        self.usd = setting.usd
        self.length = length
        self.now = T0
        self.prices = list(PRICES)
        self.rows: list[Row] = []
        self.live: dict[int, tuple[int, int]] = {1: (FIRST_ACCOUNT, 1)}
        self.held: dict[tuple[int, int], int] = {}
        self.isolated: list[tuple[int, int]] = [(FIRST_ACCOUNT, 0)]
        self.has_hole = False

    def __iter__(self) -> Iterator[Row]:
        for row in self._all():
            self.rows.append(row)
            yield row
            if len(self.rows) == self.length:
                return

    def _all(self) -> Iterator[Row]:
        yield from self.opening()
        while True:
            yield from self.season()

    def hear(self, events: Sequence[Event]) -> None:
        """Remember which orders are live, by (owner, lots), and roughly who holds what."""
        live = self.live
        for event in events:
            match event:
                case OrderAccepted() | TriggerArmed():
                    live[event.order_id] = (event.account, event.size_lots)
                case Quoted():
                    live.update({row[0]: (event.account, row[3]) for row in event.placed})
                    for order_id in event.removed:
                        live.pop(order_id, None)
                case OrderAmended() | OrderReduced() if event.order_id in live:
                    live[event.order_id] = (live[event.order_id][0], event.open_lots)
                case OrderClosed() | TriggerFired():
                    live.pop(event.order_id, None)
                case Filled():
                    self.hear_fill(event)
                case DeficitClosed() if event.residual_atoms:
                    self.has_hole = True
                case LeverageSet() if event.mode == "isolated":
                    self.isolated.append((event.account, event.instrument))

    def hear_fill(self, event: Filled) -> None:
        sides = ((event.taker, event.taker_order, 1), (event.maker, event.maker_order, -1))
        for who, order_id, sign in sides:
            where = (who, event.instrument)
            self.held[where] = self.held.get(where, 0) + sign * event.taker_side * event.size_lots
            if order_id in self.live:
                lots = self.live[order_id][1] - event.size_lots
                self.live[order_id] = (who, lots)
                if lots <= 0:
                    del self.live[order_id]

    def opening(self) -> Iterator[Row]:
        draw = self.draw
        yield self.now, ask.OpenAccounts(CUSTOMERS)
        yield self.now, ask.OpenAccounts(len(VAULTS), "vault")
        poor = tuple(draw.choice((0, 3, 20, 60, 200)) * self.usd + draw.randint(0, 9) for _ in EVERYBODY[:-3])
        yield self.now, ask.Deposit(0, FIRST_ACCOUNT, (3000 * self.usd, 900 * self.usd, *poor))
        yield self.now, ask.Deposit(1, FIRST_ACCOUNT, (1000,) * 3)
        yield self.now, ask.Deposit(0, draw.choice((INSURANCE, HOUSE)), (draw.choice((1, 5, 80)) * self.usd,))
        if draw.random() < 0.8:
            yield self.now, ask.SetBackstop(draw.choice(VAULTS), draw.choice(((0,), (1,), (0, 1))))
            yield self.now, ask.SetBackstop(draw.choice(VAULTS), draw.choice(((0,), (1,), (0, 1))))
        for _ in range(draw.choice((0, 2, 6))):
            who, lever = draw.choice(EVERYBODY[2:-3]), draw.choice((3, 7, 20, 40))
            yield self.now, ask.SetLeverage(who, draw.choice((0, 1)), lever, "isolated")
        for n, price in enumerate(PRICES):
            if draw.random() < 0.7:
                yield self.now, self.positions(n, price)
        yield self.now, self.index(always=True)

    def positions(self, n: int, price: int) -> ask.LoadPositions:
        draw = self.draw
        pairs = draw.randint(1, 4)
        who = draw.sample(EVERYBODY[: 2 * pairs] if draw.random() < 0.9 else EVERYBODY, 2 * pairs)
        lots = [draw.choice((1, 2, 5, 20, 60)) for _ in range(pairs)]
        return ask.LoadPositions(
            n,
            price,
            tuple(who),
            tuple(lots + [-x for x in lots]),
            tuple(price + draw.randint(-40, 40) for _ in who),
            tuple(draw.choice((1, 3, 7, 20)) for _ in who),
            tuple(draw.choice((0, 0, 0, self.usd, 5 * self.usd)) for _ in who),
        )

    def season(self) -> Iterator[Row]:
        """A stretch of quiet, falling or rising prices."""
        draw = self.draw
        drift = draw.choice((0, 0, -20, -60, 25, 60, -150))
        wild = draw.choice((2, 5, 30))
        for n in (0, 1):
            yield self.time(), ask.SetStatus(n, True, True, True)
        for _ in range(draw.choice((10, 40, 80))):
            if draw.random() < 0.22:
                for n, price in enumerate(self.prices):
                    move = drift + draw.randint(-wild, wild)
                    self.prices[n] = min(9000, max(20, price * (1000 + move) // 1000))
                if draw.random() < 0.01:
                    self.prices[draw.randrange(2)] = draw.choice((20, 150, 1000, 4000))
                if draw.random() < 0.4:
                    yield self.time(), self.ladder(draw.choice((0, 1)))
                yield self.time(), self.index() if draw.random() < 0.9 else ask.Tick()
            else:
                yield self.time(), self.command()

    def time(self) -> int:
        draw = self.draw
        if draw.random() < 0.004:
            return self.now - 1
        self.now += draw.choice((0, 0, 0, 1, SECOND_NS // 3, SECOND_NS, 2 * SECOND_NS))
        if draw.random() < 0.004:
            self.now += draw.choice((31 * SECOND_NS, 70 * SECOND_NS, 7 * MINUTE_NS))
        return self.now

    def index(self, *, always: bool = False) -> ask.UpdateIndex:
        draw = self.draw
        seen = []
        for n, price in enumerate(self.prices):
            for source in range(self.sources):
                if always or draw.random() < (0.8 if self.sources > 2 else 0.95):
                    late = 0 if always else draw.choice((0, 0, 0, 1, SECOND_NS, 61 * SECOND_NS))
                    far = draw.choice((0, 0, 0, 1, -1, 5, -40))
                    seen.append(ask.Observation(n, source, max(1, price + far), self.now - late))
        if draw.random() < 0.005:
            fields = (draw.choice((0, 2)), draw.choice((0, 50)), draw.choice((0, 1000)), self.now + 1)
            seen.append(ask.Observation(*fields))
        return ask.UpdateIndex(tuple(seen))

    # Fields

    def account(self) -> int:
        known: tuple[int, ...] = STRANGERS if self.draw.random() < 0.01 else EVERYBODY
        return self.draw.choice(known)

    def instrument(self) -> int:
        return self.draw.choice((0, 0, 0, 1, 1, 1, 1, 0, 2, -1) if self.draw.random() < 0.03 else (0, 1))

    def price(self, n: int) -> int:
        draw = self.draw
        middle = self.prices[n % 2]
        if draw.random() < 0.02:
            return draw.choice((0, -5, 20_001, 20_000, 1, 1003))
        step = 10 if n == 0 and middle > 900 else 1
        return middle // step * step + step * draw.choice((-30, -9, -3, -2, -1, -1, 0, 0, 1, 1, 2, 3, 9, 30))

    def lots(self) -> int:
        draw = self.draw
        return draw.choice((0, 401, -1)) if draw.random() < 0.01 else draw.choice((1, 1, 2, 3, 5, 8, 20, 60))

    def order_of(self, account: int) -> tuple[int, int]:
        """(account, order): one that was live lately, or any of both."""
        draw = self.draw
        order_id, (owner, _) = draw.choice(list(self.live.items()) or [(1, (account, 0))])
        return (owner, order_id) if draw.random() < 0.8 else (account, draw.choice((order_id, 0, 1, 10**6)))

    def atoms(self) -> int:
        return self.draw.choice((0, -5, 1, 777, self.usd, 5 * self.usd, 30 * self.usd, 10**19))

    # Commands

    def command(self) -> ask.Command:
        draw = self.draw
        what = draw.random()
        n, account = self.instrument(), self.account()
        if self.has_hole and draw.random() < 0.1:
            return ask.Withdraw(account, 0, draw.choice((1, 40, 777, self.usd, 5 * self.usd, 200 * self.usd)))
        if what < 0.52:
            return self.order(account, n)
        if what < 0.62:
            price = draw.choice((None, self.price(n)))
            return ask.AmendOrder(*self.order_of(account), price, draw.choice((None, self.lots())))
        if what < 0.66:
            return ask.CancelOrder(*self.order_of(account))
        if what < 0.68:
            return ask.CancelAll(account, draw.choice((None, n)))
        if what < 0.79:
            return self.quotes(draw.choice((account, FIRST_ACCOUNT, FIRST_ACCOUNT, FIRST_ACCOUNT + 1)), n)
        if what < 0.83:
            return ask.Withdraw(account, draw.choice((0, 0, 0, 1, 2)), self.atoms())
        if what < 0.88:
            where = (account, n) if draw.random() < 0.2 else draw.choice(self.isolated)
            return ask.TransferMargin(*where, draw.choice((1, -1)) * self.atoms())
        if what < 0.93:
            mode = draw.choice(("cross", "cross", "isolated"))
            return ask.SetLeverage(account, n, draw.choice((1, 2, 3, 7, 20, 25, 40, 126)), mode)  # type: ignore[arg-type]
        if what < 0.97:
            who = draw.choice((account, account, account, INSURANCE, HOUSE, *VAULTS))
            amounts = [abs(self.atoms()) % 10**12 for _ in range(draw.choice((1, 1, 1, 1, 1, 1, 0, 2)))]
            return ask.Deposit(draw.choice((0, 0, 0, 0, 1, 2)), who, tuple(amounts))
        return self.rare(account, n)

    def order(self, account: int, n: int) -> ask.PlaceOrder:
        draw = self.draw
        price = draw.choice((None, *(self.price(n),) * 6))
        trigger = None
        if draw.random() < 0.12:
            kind, reference = draw.choice(("stop", "take_profit")), draw.choice(("mark", "last"))
            trigger = ask.Trigger(kind, reference, self.price(n))  # type: ignore[arg-type]
        tif = draw.choice(("ioc", "ioc", "fok", "gtc") if price is None else ("gtc",) * 6 + ("ioc", "fok"))
        side = draw.choice((1, -1))
        reduce_only = draw.random() < 0.2
        if reduce_only and draw.random() < 0.7 and self.held:
            (account, n), lots = draw.choice(list(self.held.items()))
            side = -1 if lots > 0 else 1
        return ask.PlaceOrder(
            account,
            n,
            side,  # type: ignore[arg-type]
            self.lots(),
            price,
            tif,  # type: ignore[arg-type]
            post_only=draw.random() < 0.06,
            reduce_only=reduce_only,
            self_trade=draw.choice(("cancel_newest", "cancel_oldest", "cancel_both", "decrement")),
            trigger=trigger,
            budget_atoms=draw.choice((self.usd, 60 * self.usd))
            if tif == "fok" and draw.random() < 0.4
            else None,
            leg="net" if draw.random() < 0.995 else "long",
        )

    def quotes(self, account: int, n: int) -> ask.MassQuote:
        draw = self.draw
        sides: list[tuple[tuple[int, int], ...]] = []
        for sign in (-1, 1):
            levels = []
            for _ in range(draw.choice((0, 1, 2, 3))):
                price = self.price(n)
                apart = abs(price - self.prices[n % 2]) if draw.random() < 0.8 else self.prices[n % 2] - price
                step = 10 if n == 0 and self.prices[0] > 900 else 1
                middle = self.prices[n % 2] // step * step
                levels.append((middle + sign * (apart // step * step), self.lots()))
            sides.append(tuple(levels))
        return ask.MassQuote(account, n, *sides)

    def ladder(self, n: int) -> ask.MassQuote:
        """A rich maker on both sides, deep enough for forced orders."""
        draw = self.draw
        step = 10 if n == 0 and self.prices[0] > 900 else 1
        middle = self.prices[n] // step
        away = (1, draw.choice((2, 4)), draw.choice((9, 30)))
        sides = (
            tuple(((middle + sign * k) * step, draw.choice((1, 8, 30))) for k in away) for sign in (-1, 1)
        )
        return ask.MassQuote(FIRST_ACCOUNT + draw.choice((0, 0, 1)), n, *sides)

    def rare(self, account: int, n: int) -> ask.Command:
        draw = self.draw
        what = draw.randrange(10)
        if what < 5:
            # Mostly open again: a market that is halted for long has nothing to tell.
            if draw.random() < 0.6:
                return ask.SetStatus(n, True, True, True)
            return ask.SetStatus(n, *(draw.random() < 0.6 for _ in range(3)))
        if what == 5:
            return ask.SetBackstop(draw.choice((account, *VAULTS)), (n,))
        if what == 6:
            return ask.OpenAccounts(draw.choice((0, 1)), draw.choice(("customer", "vault")))
        if what == 7:
            return self.positions(n % 2, self.prices[n % 2])
        if what == 8:
            return draw.choice((ask.SettleInstrument(n, 100), ask.SettleVariation(n, 100)))
        return draw.choice((ask.Contribute(account, self.usd), ask.HoldAuction(account, (0,), ())))
