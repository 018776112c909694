"""A small market through a fall of about a half, by a seed: what the audit is tried on."""

import random
from functools import lru_cache
from typing import Any

from msgspec import structs

from tests.venues import ASSETS, T0, USD, hyperliquid, perpetual, spot
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, INSURANCE, Event
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import VenueRules, profile_table, venue_rules
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS
from zerodebt.exchange.venue import Venue

CUSTOMERS = 40
MAKERS = range(FIRST_ACCOUNT + CUSTOMERS - 4, FIRST_ACCOUNT + CUSTOMERS)
VAULT = FIRST_ACCOUNT + CUSTOMERS
INSTRUMENTS = (
    perpetual("BTC", tiers=(Tier(0, 40), Tier(20_000 * USD, 20)), tick_value_atoms=1000),
    perpetual("ETH", tiers=(Tier(0, 25), Tier(10_000 * USD, 10)), tick_value_atoms=1000),
    spot(tick_value_atoms=1000, lot_atoms=1),
)


def btc(**changes: Any) -> tuple[Instrument, ...]:
    return (structs.replace(INSTRUMENTS[0], **changes), *INSTRUMENTS[1:])


def both(**changes: Any) -> tuple[Instrument, ...]:
    return (*(structs.replace(spec, **changes) for spec in INSTRUMENTS[:2]), INSTRUMENTS[2])


RATES = (
    Tier(0, 40, 10_000_000, 25_000_000),
    Tier(2_000 * USD, 20, 20_000_000, 50_000_000),
    Tier(8_000 * USD, 10, 45_000_000, 100_000_000),
)
BY_LOTS = (Tier(0, 40, 10_000_000), Tier(50, 25, 15_000_000), Tier(150, 10))
LOT = 90 * USD * 40_000
INVERSE: dict[str, Any] = {
    "contract": "inverse",
    "open_interest_max_lots": 10_000,
    "size_max_lots": 10_000,
}
TABLES: dict[str, tuple[Instrument, ...]] = {
    "rates by tier": both(tiers=RATES),
    "whole tiers": both(tiers=RATES, tier_form="whole"),
    "whole tiers by lots": both(tiers=BY_LOTS, tier_form="whole", tier_unit="lots"),
    "a slope": both(tiers=(Tier(0, 0, 10_000_000, 20_000_000),), slope_ppb=1_000_000, slope_size=10),
    "a share of initial": both(tiers=RATES[:1], maintenance_of_initial_ppb=600_000_000),
    "open interest": both(
        tiers=(Tier(0, 0, 12_000_000, 20_000_000),),
        open_interest_low_atoms=1_000 * USD,
        open_interest_high_atoms=900_000 * USD,
    ),
    "amounts per lot": both(margin_floor_atoms_per_lot=2 * USD, initial_atoms_per_lot=5 * USD),
    "of the cost": both(tiers=RATES, maintenance_basis="entry"),
    "inverse, of the cost": both(**INVERSE, tick_value_atoms=LOT, tiers=RATES, maintenance_basis="entry"),
    "inverse": both(**INVERSE, tick_value_atoms=LOT),
    "one inverse": btc(**INVERSE, tick_value_atoms=LOT),
    "inverse, dear lots": btc(
        **INVERSE | {"tick_value_atoms": 81 * 10**11, "open_interest_max_lots": 100_000}
    ),
    "inverse, a slope": both(
        **INVERSE,
        tick_value_atoms=LOT,
        tiers=(Tier(0, 50, 10_000_000),),
        slope_ppb=5_000_000,
        slope_size=1_000 * USD,
    ),
    "inverse, whole tiers": both(**INVERSE, tick_value_atoms=LOT, tiers=RATES, tier_form="whole"),
}
"""Markets whose margin tables and contracts have another form."""


def crash_rules(*waterfall: str, **tables: Any) -> VenueRules:
    """Hyperliquid's rulebook on a small scale: chunks above 5,000 USD, funding every minute."""
    scaled: dict[str, Any] = {
        "orders": {"value_min_atoms": 0},
        "liquidation": {"chunk_threshold_atoms": 5_000 * USD},
        "funding": {"interval_ns": MINUTE_NS, "impact_notional_atoms": 500 * USD},
    }
    for name, table in tables.items():
        scaled[name] = scaled.get(name, {}) | table if isinstance(table, dict) else table
    if waterfall:
        scaled["waterfall"] = list(waterfall)
    return hyperliquid(**scaled)


class Crash:
    """Random commands of a small market through a fall of about a half, by a seed."""

    def __init__(
        self,
        seed: int,
        rules: VenueRules,
        *,
        fund_usd: int = 0,
        house_usd: int = 0,
        instruments: tuple[Instrument, ...] = INSTRUMENTS,
    ) -> None:
        self.random = random.Random(seed)
        self.venue = Venue(rules, ASSETS, instruments)
        self.sources = len(rules.sources)
        self.time_ns = T0
        self.batches = [self.venue.opening()]
        self.prices = [90_000, 40_000, 3_000]
        self.live: list[tuple[int, int]] = []
        self._open(fund_usd, house_usd)
        for step in range(120):
            self._step(falling=35 < step < 85)
        for _ in range(3):
            self.do(ask.Tick(), later_ns=40 * SECOND_NS)

    def do(self, command: ask.Command, later_ns: int = 0) -> tuple[Event, ...]:
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.batches.append(batch)
        for event in batch.events:
            if isinstance(event, says.OrderAccepted | says.TriggerArmed):
                self.live.append((event.account, event.order_id))
        return batch.events

    def _open(self, fund_usd: int, house_usd: int) -> None:
        draw = self.random
        self.do(ask.OpenAccounts(CUSTOMERS))
        self.do(ask.OpenAccounts(1, "vault"))
        wallets = tuple(draw.choice((500, 1000, 3000, 10_000)) * USD for _ in range(CUSTOMERS))
        self.do(ask.Deposit(0, FIRST_ACCOUNT, wallets))
        self.do(ask.Deposit(0, MAKERS[0], (200_000 * USD,) * len(MAKERS)))
        self.do(ask.Deposit(1, FIRST_ACCOUNT, (100_000,) * CUSTOMERS))
        self.do(ask.Deposit(0, VAULT, (draw.choice((1000, 20_000)) * USD,)))
        if fund_usd:
            self.do(ask.Deposit(0, INSURANCE, (fund_usd * USD,)))
        if house_usd:
            self.do(ask.Deposit(0, HOUSE, (house_usd * USD,)))
        self.do(ask.SetBackstop(VAULT, (0, 1)))
        for account in range(FIRST_ACCOUNT, FIRST_ACCOUNT + 8):
            self.do(ask.SetLeverage(account, draw.randrange(2), 25, "isolated"))
        for n in (0, 1):
            who = draw.sample(range(FIRST_ACCOUNT + 8, MAKERS[0]), 24)
            sizes = [draw.randint(1, 300) for _ in range(12)]
            self.do(
                ask.LoadPositions(
                    n,
                    self.prices[n],
                    tuple(who),
                    tuple(sizes + [-size for size in sizes]),
                    tuple(self.prices[n] + draw.randint(-3000, 3000) for _ in who),
                    tuple(draw.choice((5, 10, 20)) for _ in who),
                    tuple(draw.choice((0, 0, 100 * USD)) for _ in who),
                )
            )
        self._index()

    def _index(self) -> None:
        draw = self.random
        self.do(
            ask.UpdateIndex(
                tuple(
                    ask.Observation(n, source, max(1, price + draw.randint(-20, 20)), self.time_ns)
                    for n, price in enumerate(self.prices)
                    for source in range(self.sources)
                    if source < 8 or draw.random() < 0.7
                )
            )
        )

    def _step(self, *, falling: bool) -> None:
        draw = self.random
        for n, price in enumerate(self.prices):
            self.prices[n] = max(10, int(price * (1 + draw.gauss(-0.012 if falling else 0, 0.008))))
        for maker in MAKERS:
            for n, price in enumerate(self.prices):
                if draw.random() < (0.2 if falling else 0.5):
                    near = draw.randint(5, 50)
                    levels = [(near + 40 * k, draw.randint(1, 40)) for k in range(4)]
                    bids = tuple((price - away, lots) for away, lots in levels)
                    asks = tuple((price + away, lots) for away, lots in levels)
                    self.do(ask.MassQuote(maker, n, bids, asks))
        for _ in range(15):
            self._trade()
        self.time_ns += 3 * SECOND_NS
        if draw.random() < 0.9:
            self._index()
        else:
            self.do(ask.Tick())

    def _trade(self) -> None:
        draw = self.random
        account, n = draw.randrange(FIRST_ACCOUNT, VAULT), draw.randrange(3)
        what = draw.random()
        if what < 0.6:
            self._order(account, n)
        elif what < 0.7 and self.live:
            self.do(ask.CancelOrder(*draw.choice(self.live)))
        elif what < 0.88 and self.live:
            price = draw.choice((None, self.prices[n] + draw.randint(-60, 60)))
            self.do(ask.AmendOrder(*draw.choice(self.live), price, draw.choice((None, draw.randint(1, 60)))))
        elif what < 0.93:
            self.do(ask.Withdraw(account, draw.randrange(2), draw.randint(1, 300) * USD))
        elif what < 0.98:
            self.do(ask.TransferMargin(account, draw.randrange(2), draw.randint(-100, 100) * USD))
        else:
            self.do(ask.CancelAll(account))

    def _order(self, account: int, n: int) -> None:
        draw = self.random
        price = draw.choice((None, self.prices[n] + draw.randint(-60, 60)))
        trigger = None
        if n < 2 and draw.random() < 0.15:
            reference = draw.choice(("mark", "last"))
            kind = draw.choice(("stop", "take_profit"))
            trigger = ask.Trigger(kind, reference, self.prices[n] + draw.randint(-1500, 1500))  # type: ignore[arg-type]
        self.do(
            ask.PlaceOrder(
                account,
                n,
                draw.choice((1, -1)),
                draw.randint(1, 60),
                price,
                draw.choice(("ioc", "fok")) if price is None else draw.choice(("gtc", "gtc", "ioc")),
                reduce_only=n < 2 and draw.random() < 0.3,
                self_trade=draw.choice(("cancel_newest", "cancel_oldest", "cancel_both")),
                trigger=trigger,
            ),
            draw.choice((0, SECOND_NS // 10)),
        )


RULEBOOKS: dict[str, tuple[VenueRules, int, int]] = {
    "hyperliquid": (crash_rules(), 0, 0),
    "book alone": (crash_rules("book"), 0, 0),
    "fund first": (crash_rules("book", "insurance", "adl"), 3000, 0),
    "binance": (
        crash_rules("book", "insurance", "adl", "socialise", adl={"score": "binance", "price": "mark"}),
        500,
        0,
    ),
    "bankruptcy": (crash_rules("book", "insurance", "adl", "socialise", adl={"price": "bankruptcy"}), 50, 0),
    "everyone": (crash_rules("book", "backstop", "insurance", "socialise", "house", "recourse"), 100, 100),
    "broker": (crash_rules("book", "recourse"), 0, 0),
    "rebates": (
        crash_rules(fees={"maker_ppb": -50_000, "taker_ppb": 350_000, "liquidation_ppb": 5_000_000}),
        0,
        0,
    ),
}


ADL: dict[str, dict[str, Any]] = {
    "bitmex": {"score": "bitmex", "price": "bankruptcy"},
    "bybit": {"score": "bybit", "price": "bankruptcy", "bankruptcy_off_max_ppb": 20_000_000},
    "binance, wallet": {"score": "binance", "price": "mark", "wallet_min_atoms": 2000 * USD},
    "orders cancelled": {"score": "binance", "price": "mark", "cancels_orders": True},
    "paper": {"score": "paper", "price": "index"},
    "clamped": {"price": "index", "clamp": "bankruptcy", "bankruptcy_allocation": "pro_rata_requirement"},
    "kinder clamped": {"price": "previous_mark", "clamp": "bankruptcy"},
    "by requirement": {"price": "bankruptcy", "bankruptcy_allocation": "pro_rata_requirement"},
    "pro rata": {"policy": "pro_rata"},
    "pro rata by profit": {"policy": "pro_rata", "weights": "profit", "price": "index"},
    "levered": {"policy": "levered", "weights": "equity"},
    "capped": {"policy": "capped", "haircut_max_ppb": 200_000_000},
    "capped, kept": {"policy": "capped", "keep": "maintenance", "weights": "contracts"},
    "risk aware": {"policy": "risk_aware", "risk_power": 2, "risk_threshold_ppb": 100_000_000},
    "mirror descent": {"policy": "mirror_descent"},
    "min max": {"policy": "min_max"},
    "iteration": {"policy": "iteration", "clamp": "bankruptcy", "price": "index"},
}
"""Deleveraging tables, each the only stage between the book and the house."""

RULEBOOKS |= {name: (crash_rules("book", "adl", "house", adl=adl), 0, 100_000) for name, adl in ADL.items()}
RULEBOOKS |= {name: (crash_rules(), 0, 0) for name in TABLES}

OWN_BOOK = [{"name": "outside", "weight": 1}, {"name": "here", "weight": 2, "kind": "own"}]
PRICES: dict[str, dict[str, Any]] = {
    "binance's mark": {
        "mark": {"formula": "funding_median", "basis_points": 5, "basis_sample_ns": 10 * SECOND_NS},
        "funding": {"average": "linear", "cap": "maintenance", "cap_factor_ppb": 750_000_000},
    },
    "bitmex's mark": {
        "mark": {"formula": "fair"},
        "funding": {"premium": "mid", "rate_step_ppt": 10**6, "caps": [{"symbol": "ETH", "cap_ppt": 10**8}]},
    },
    "deribit's mark": {
        "mark": {"formula": "basis_ema", "band_ppb": 1_000_000},
        "funding": {"premium": "mark", "rate": "deadband", "clamp_ppt": 250_000_000, "cap": "none"}
        | {"paid_on": "mark", "interest_ppt": 0},
        "orders": {"band": {"formula": "mark", "width_ppb": 15_000_000, "beyond": "refuse"}},
    },
    "okx's mark": {
        "mark": {"basis_points": 3, "basis_sample_ns": 5 * SECOND_NS},
        "funding": {"premium": "mid", "rate": "plain", "divisor": 1},
        "orders": {
            "band": {"formula": "index", "inner_ppb": 2_000_000, "outer_ppb": 9_000_000, "beyond": "cap"}
        },
    },
    "dydx's funding": {
        "funding": {"average": "padded", "tail_trim_ppm": 100_000, "rate": "plain", "accrual": "index"}
        | {"cap": "margin_gap", "rate_step_ppt": 10**6, "quanta_per_lot": 1000}
        | {"impact_margin_atoms": 50 * USD, "sample_ns": SECOND_NS, "interest_ppt": 0},
        "mark": {"formula": "index"},
    },
    "an own book": {"sources": OWN_BOOK, "index": {"own": "mid"}},
    "an own book by its last": {"sources": OWN_BOOK, "index": {"own": "last"}, "mark": {"formula": "index"}},
}
"""Rulebooks whose marks, funding and bands have another form."""

RULEBOOKS |= {name: (crash_rules(**tables), 0, 0) for name, tables in PRICES.items()}

LIQUIDATIONS: dict[str, dict[str, Any]] = {
    "at the requirement": {"trigger": "at_or_below", "requirement_fee": "taker", "steps": ["whole"]},
    "a ladder": {"steps": ["ladder", "whole"], "ladder_tif": "fok", "requirement_fee": "liquidation"},
    "restored": {"steps": ["restore"], "restore_buffer_ppb": 100_000_000, "restore_max_ppb": 500_000_000}
    | {"price_limit": "band", "band_ppb": 5_000_000},
    "fillable": {"steps": ["whole"], "price_limit": "fillable", "fillable_spread_ppb": 1_500_000_000}
    | {"portion_max_ppb": 250_000_000, "notional_min_atoms": 500 * USD}
    | {"notional_max_atoms": 4_000 * USD, "insurance_lost_max_atoms": 20 * USD},
}
"""Liquidation tables, each before deleveraging and the house."""

RULEBOOKS |= {
    name: (
        crash_rules("book", "adl", "house", liquidation=table, fees={"liquidation_ppb": 2_000_000}),
        0,
        100_000,
    )
    for name, table in LIQUIDATIONS.items()
}

WHOLE: dict[str, Any] = {"steps": ["whole"], "price_limit": "bankruptcy"}
FUNDS: dict[str, tuple[VenueRules, int, int]] = {
    "a surplus": (
        crash_rules("book", "adl", "house", liquidation=WHOLE | {"surplus_max_ppb": 10**9}),
        0,
        10**5,
    ),
    "a small surplus by requirement": (
        crash_rules(
            "book",
            "adl",
            "house",
            liquidation=WHOLE | {"surplus_max_ppb": 15_000_000},
            adl={"bankruptcy_allocation": "pro_rata_requirement"},
        ),
        0,
        10**5,
    ),
    "a fund that bears fills": (
        crash_rules(
            "book",
            "adl",
            "insurance",
            "house",
            liquidation=WHOLE | {"surplus_max_ppb": 15_000_000, "shortfall": "fund"},
            insurance={"takes": "never"},
            adl={"bankruptcy_allocation": "pro_rata_requirement"},
        ),
        200,
        10**5,
    ),
    "a fund that takes what is unfilled": (
        crash_rules("book", "insurance", "adl", liquidation=WHOLE, insurance={"takes": "unfilled"}),
        20_000,
        0,
    ),
    "a fund that takes at bankruptcy": (
        crash_rules(
            "book",
            "insurance",
            "adl",
            liquidation=WHOLE | {"surplus_max_ppb": 10**9},
            insurance={"takes": "unfilled", "price": "bankruptcy"},
        ),
        20_000,
        0,
    ),
    "deleveraging of what is unfilled": (
        crash_rules(
            "book", "adl", "house", liquidation=WHOLE, adl={"trigger": "unfilled", "price": "bankruptcy"}
        ),
        0,
        10**5,
    ),
    "a fund that only pays": (
        crash_rules("book", "insurance", "adl", "socialise", insurance={"takes": "never"}),
        3000,
        0,
    ),
    "a fund before deleveraging": (
        crash_rules(
            "book",
            "insurance",
            "adl",
            "socialise",
            insurance={"takes": "never"},
            adl={"trigger": "fund_cannot_pay"},
        ),
        3000,
        0,
    ),
    "a fund that closes": (
        crash_rules(
            "book",
            "insurance",
            "adl",
            "socialise",
            insurance={"drawdown": {"start_ppb": 300_000_000, "stop_ppb": 100_000_000}},
        ),
        2_000,
        0,
    ),
    "pools by instrument": (
        crash_rules(
            "book",
            "insurance",
            "adl",
            liquidation=WHOLE | {"surplus_max_ppb": 10**9},
            fees={"liquidation_ppb": 3_000_000},
            insurance={"scope": "instrument", "takes": "unfilled", "price": "bankruptcy"}
            | {"drawdown": {"start_ppb": 300_000_000, "stop_ppb": 250_000_000}},
            adl={"trigger": "unfilled"},
        ),
        6000,
        0,
    ),
    "pools that take the bankrupt": (
        crash_rules(
            "book",
            "insurance",
            "adl",
            "house",
            insurance={"scope": "instrument"},
            adl={"bankruptcy_allocation": "pro_rata_requirement"},
        ),
        6000,
        10**5,
    ),
    "pools that only pay": (
        crash_rules("book", "insurance", "house", insurance={"scope": "instrument", "takes": "never"}),
        2000,
        10**5,
    ),
    "every open lot pays": (
        crash_rules("book", "socialise", "house", socialise={"form": "funding_index"}),
        0,
        10**5,
    ),
    "a house with a cap": (
        crash_rules("book", "house", "socialise", house={"deficit_max_atoms": 50 * USD}),
        0,
        10**5,
    ),
}
"""Whole rulebooks in which the fund, deleveraging or the house has other terms."""

RULEBOOKS |= FUNDS
FORMS = {*ADL, *TABLES, *PRICES, *LIQUIDATIONS, *FUNDS}


def shipped(name: str, seed: int) -> Crash:
    """A shipped rulebook on the small market, with its instruments' and assets' own tables left out."""
    rules = venue_rules(profile_table(name))
    orders = structs.replace(rules.orders, value_min_atoms=0)
    rules = structs.replace(rules, settle_asset="USDC", collateral=(), orders=orders)
    return Crash(seed, rules, fund_usd=3000, house_usd=1000)


@lru_cache(maxsize=64)
def crash(name: str, seed: int) -> Crash:
    rules, fund_usd, house_usd = RULEBOOKS[name]
    instruments = TABLES.get(name, INSTRUMENTS)
    return Crash(seed, rules, fund_usd=fund_usd, house_usd=house_usd, instruments=instruments)
