"""The venue of a seed: a shipped rulebook with legal overrides, or one of parts, and what is traded there.

Everything is written as in a command file, in decimals, so that a world can be printed into one. A world is
small: prices lie near a hundred ticks, sizes near ten lots, a handful of accounts.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from tests.venues import T0
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import (
    BandRules,
    RulesError,
    VenueRules,
    profile_names,
    profile_table,
    split_profile,
    venue_rules,
)
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument
from zerodebt.exchange.units import DAY_NS, HOUR_NS, MINUTE_NS, PPB, SECOND_NS
from zerodebt.exchange.venue import Venue

Table = dict[str, Any]
PRICE = 100
"""Ticks near which everything trades."""
_DRAWS_MAX = 200
_WATERFALLS = (
    "book adl",
    "book insurance adl",
    "book insurance adl house",
    "book adl insurance socialise house",
    "book backstop adl",
    "book backstop adl house",
    "book backstop insurance adl socialise house",
    "book insurance adl settlement_haircut house",
    "book insurance socialise",
    "book house",
    "book recourse",
    "book insurance recourse",
    "book default_fund",
    "book default_fund house",
    "book lenders",
    "book insurance adl lenders",
    "book backstop adl lenders house",
    "book insurance lenders socialise house",
)


class World(Struct, frozen=True):
    """What a seed trades on: tables as they stand in the first line of a command file."""

    seed: int
    rules: Table
    assets: list[Table]
    instruments: list[Table]
    customers: int
    unit_atoms: int
    """Atoms of the settlement asset in which deposits are counted: a lot at a price of one tick."""

    def opening_line(self) -> Table:
        return {
            "do": "venue",
            "rules": self.rules,
            "assets": self.assets,
            "instruments": self.instruments,
        }


class Built(Struct, frozen=True):
    """A world in the venue's integers."""

    rules: VenueRules
    assets: tuple[Asset, ...]
    instruments: tuple[Instrument, ...]

    def venue(self) -> Venue:
        return Venue(self.rules, self.assets, self.instruments)

    def restore(self, snapshot: bytes) -> Venue:
        return Venue.restore(self.rules, self.assets, self.instruments, snapshot)


def build(world: World) -> Built:
    rules = venue_rules(world.rules)
    specs = msgspec.convert(world.assets, list[AssetSpec])
    markets = msgspec.convert(world.instruments, list[InstrumentSpec])
    instruments = tuple(build_instrument(spec, specs, rules.settle_asset) for spec in markets)
    return Built(rules, build_assets(specs), instruments)


def draw_world(seed: int) -> World:
    """The world of a seed. What the rulebook's own checks refuse is drawn again."""
    rng = Random(f"world {seed}")
    for _ in range(_DRAWS_MAX):
        world = _draw(seed, rng)
        try:
            build(world).venue()
        except RulesError:
            continue
        return world
    raise AssertionError(f"seed {seed}: no legal rulebook in {_DRAWS_MAX} draws")


def _draw(seed: int, rng: Random) -> World:
    rules, assets = _base(rng)
    settle = next(a for a in assets if a["symbol"] == rules["settle_asset"])
    scale = 1 if settle["decimals"] > 6 else rng.choice([1, 1, 1, 10, 1000])
    has_coin = rng.random() < 0.6
    if has_coin:
        assets = [*assets, {"symbol": "COIN", "decimals": 3}]
    instruments = _instruments(rng, scale, has_coin=has_coin)
    _override(rng, rules, instruments, scale * 10 ** settle["decimals"])
    unit_atoms = scale * 10 ** settle["decimals"]
    _bound_attacks(Random(f"attacks {seed}"), rules, unit_atoms)
    _bound_interest(Random(f"interest {seed}"), instruments)
    _delist(Random(f"delisting {seed}"), rules)
    return World(seed, rules, assets, instruments, rng.choice([3, 5, 7, 10]), unit_atoms)


def _base(rng: Random) -> tuple[Table, list[Table]]:
    """A rulebook to start from, and the assets that belong to it."""
    if rng.random() < 0.6:
        rules, extra = split_profile(profile_table(rng.choice(profile_names())))
        decimals = {"USD": 2, "CNY": 2, "EUR": 2}
        settle = rules["settle_asset"]
        own = [a for a in extra.get("assets", ()) if a["symbol"] == settle]
        rules["collateral"] = []
        return rules, own or [{"symbol": settle, "decimals": decimals.get(settle, 6)}]
    rules = {
        "name": "drawn",
        "valid_from": "2025-01-01",
        "source": "ours",
        "settle_asset": "USDC",
        "promise": "zero_debt",
        "waterfall": rng.choice(_WATERFALLS).split(),
        "sources": [{"name": "one", "weight": 1}],
        "mark": {"formula": "index"},
    }
    return rules, [{"symbol": "USDC", "decimals": rng.choice([2, 6])}]


def _instruments(rng: Random, scale: int, *, has_coin: bool) -> list[Table]:
    kinds = [rng.choice(["perpetual", "perpetual", "inverse", "future"])]
    kinds += [rng.choice(["perpetual", "inverse", "future"]) for _ in range(rng.choice([0, 1, 1, 2]))]
    tables = [_contract(rng, kind, number, scale) for number, kind in enumerate(kinds)]
    if has_coin:
        spot = _grid("COIN-SPOT", "spot", scale) | {"base": "COIN"}
        tables.insert(rng.randrange(len(tables) + 1), spot)
    return tables


def _grid(symbol: str, kind: str, scale: int) -> Table:
    return {
        "symbol": symbol,
        "kind": kind,
        "tick": "1",
        "lot": "1",
        "price_min": "1",
        "price_max": "10000",
        "size_max": "60",
        "open_interest_max": "400",
        "contract_size": str(scale),
    }


def _contract(rng: Random, kind: str, number: int, scale: int) -> Table:
    table = _grid(f"{kind.upper()}{number}", "perpetual" if kind == "inverse" else kind, scale)
    if kind == "inverse":
        table |= {"contract": "inverse", "contract_size": str(scale * PRICE * PRICE)}
    if kind == "future" and rng.random() < 0.7:
        table |= {"price_min": "-10000", "margin_floor": str(scale)}
    table["tiers"] = _tiers(rng, table, scale)
    if rng.random() < 0.15:
        table["maintenance_basis"] = "entry"
    if rng.random() < 0.2:
        table["significant_figures"] = 2
        table |= {"tick": "0.1", "contract_size": str(10 * scale)} if kind == "perpetual" else {}
    return table


def _tiers(rng: Random, table: Table, scale: int) -> list[Table]:
    leverage = rng.choice([5, 10, 20, 50])
    form = rng.choice(["one", "one", "marginal", "whole", "lots", "slope", "share"])
    if form in ("marginal", "whole"):
        table["tier_form"] = form
        bounds = [0, 500 * scale, 2000 * scale]
        return [{"above": b, "leverage_max": max(1, leverage >> k)} for k, b in enumerate(bounds)]
    if form == "lots":
        table |= {"tier_form": "whole", "tier_unit": "lots"}
        return [{"above": b, "leverage_max": max(1, leverage >> k)} for k, b in enumerate([0, 5, 20])]
    if form == "slope":
        table |= {"slope": "0.001", "slope_per": "10"}
        return [{"above": 0, "leverage_max": 0, "initial": "0.1", "maintenance": "0.05"}]
    if form == "share":
        table["maintenance_of_initial"] = "0.6"
    return [{"above": 0, "leverage_max": leverage}]


def _pick(rng: Random, **choices: Sequence[Any]) -> Table:
    """Some of the fields, each drawn from its own domain."""
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.5}


def _override(rng: Random, rules: Table, instruments: list[Table], unit_atoms: int) -> None:
    """Fields of the rulebook anew, table by table; many of them stay as they are."""
    is_drawn = rules["name"] == "drawn"
    share = 0.5 if is_drawn else 0.15
    if rng.random() < 0.1 and not is_drawn:
        rules["waterfall"] = rng.choice(_WATERFALLS).split()
    tables = {
        "fees": _fees,
        "orders": _orders,
        "margin": _margin,
        "liquidation": _liquidation,
        "adl": _adl,
        "insurance": _insurance,
        "funding": _funding,
        "index": _index,
        "mark": _mark,
    }
    for name, draw in tables.items():
        if rng.random() < share:
            rules[name] = rules.get(name, {}) | draw(rng, unit_atoms)
    if rules.get("orders", {}).get("band", {}).get("formula", "none") != "none":
        # A band can be narrower than a step of two figures: then there is no price to trade at.
        for table in instruments:
            table.pop("significant_figures", None)
        # Nor may it hold prices so low that no order is worth enough.
        rules["orders"].pop("value_min_atoms", None)
    if "backstop" in rules["waterfall"]:
        rules["liquidation"] = {"backstop_below_ppb": 666_666_667} | rules.get("liquidation", {})
    if rng.random() < share:
        rules["sources"] = _sources(rng)
    if rng.random() < share:
        rules["socialise"] = {"form": rng.choice(["session_winners", "funding_index"])}
    if rng.random() < share / 2:
        rules["house"] = {"deficit_max_atoms": 50 * unit_atoms}
    _settle(rng, rules, instruments, share)
    if any(i["kind"] != "future" for i in instruments if i["kind"] != "spot"):
        # Only a settlement of the day calls, and perpetuals have none.
        rules.get("settlement", {})["call_to"] = "none"
    if "insurance" not in rules["waterfall"]:
        rules.get("liquidation", {})["shortfall"] = "account"
    if "lenders" in rules["waterfall"] or rng.random() < share / 2:
        rules["lending"] = _lending(rng)
    if "default_fund" in rules["waterfall"]:
        rules["default_fund"] = rules.get("default_fund", {}) | _default_fund(rng, unit_atoms)
    else:
        rules.pop("default_fund", None)
    symbols = [i["symbol"] for i in instruments if i["kind"] != "spot"]
    if any(i["kind"] == "spot" for i in instruments) and rng.random() < 0.5:
        rules["collateral"] = [_coin(rng, may_lag="backstop" not in rules["waterfall"])]
        rules["exchange"] = _pick(
            rng,
            trigger_atoms=[5 * unit_atoms],
            trigger_ltv_ppb=[PPB, PPB // 2],
            price_ratio_ppb=[PPB, 975_000_000],
            before_positions=[True, False],
        )
    if rng.random() < share / 2:
        rules["portfolio"] = _portfolio(rng, symbols)


def _bound_attacks(rng: Random, rules: Table, unit: int) -> None:
    """What bounds an attack or lets it through, drawn by itself: it shifts no other draw of the seed."""
    plans = ["now", "before"] if rules.get("adl", {}).get("policy", "queue") == "queue" else ["now"]
    drawn: dict[str, dict[str, list[Any]]] = {
        "margin": {"withdrawals": ["share", "share", "open"]},
        "liquidation": {"backstop_notional_max_atoms": [1500 * unit]},
        "adl": {"plan": plans},
    }
    for name, choices in drawn.items():
        rules[name] = rules.get(name, {}) | _pick(rng, **choices)


def _bound_interest(rng: Random, instruments: list[Table]) -> None:
    """A contract of which so few lots may be open that orders meet the cap; drawn by itself, too."""
    if rng.random() < 0.15:
        lots = rng.choice(["5", "20"])
        rng.choice([i for i in instruments if i["kind"] != "spot"]).update(
            size_max=lots, open_interest_max=lots
        )


def _delist(rng: Random, rules: Table) -> None:
    """Perpetuals that may end at the index, which then has to be the mark; drawn by itself, too."""
    if rules["mark"]["formula"] == "index" and rng.random() < 0.2:
        rules["settlement"] = rules.get("settlement", {}) | {"perpetual": "index"}


def _fees(rng: Random, _: int) -> Table:
    return {
        "maker_ppb": rng.choice([0, 150_000, -100_000]),
        "taker_ppb": rng.choice([450_000, 10_000_000]),
        "liquidation_ppb": rng.choice([0, 5_000_000]),
    }


def _orders(rng: Random, unit: int) -> Table:
    bands = (
        BandRules(),
        BandRules("mark", width_ppb=PPB // 10),
        BandRules("index", inner_ppb=PPB // 50, outer_ppb=PPB // 20, beyond="cap"),
    )
    return {
        "band": msgspec.to_builtins(rng.choice(bands)),
        **_pick(
            rng,
            market_slippage_ppb=[0, PPB // 20],
            met_trigger=["refuse", "fire"],
            value_min_atoms=[0, 150 * unit],
            open_orders_max=[8, 1000],
            triggers_per_command_max=[2, 10_000],
        ),
    }


def _margin(rng: Random, _: int) -> Table:
    return _pick(
        rng,
        transfer_min_ppb=[0, PPB // 10],
        index_age_max_ns=[5 * SECOND_NS, 60 * SECOND_NS],
        hedge_mode=[True, False],
        tier_sum=["legs", "gross"],
    )


def _liquidation(rng: Random, unit: int) -> Table:
    steps = rng.choice([["share"], ["whole"], ["ladder", "whole"], ["restore"], ["ladder", "restore"]])
    limit = rng.choice(["none", "bankruptcy", "band", "fillable"])
    return {
        "steps": steps,
        "price_limit": limit,
        "band_ppb": PPB // 20 if limit == "band" else 0,
        "surplus_max_ppb": rng.choice([0, PPB // 50, PPB]) if "whole" in steps else 0,
        **_pick(
            rng,
            trigger=["below", "at_or_below"],
            requirement_fee=["none", "taker", "liquidation"],
            chunk_threshold_atoms=[1000 * unit],
            chunk_ppb=[PPB // 5],
            cooldown_ns=[30 * SECOND_NS],
            ladder_tif=["ioc", "fok"],
            restore_buffer_ppb=[0, PPB // 20],
            restore_max_ppb=[PPB // 20, PPB],
            fillable_spread_ppb=[2 * PPB],
            portion_max_ppb=[PPB // 2, PPB],
            notional_max_atoms=[3000 * unit],
            insurance_lost_max_atoms=[20 * unit],
            rounds_max=[2, 64],
            shortfall=["account", "fund"],
        ),
    }


def _adl(rng: Random, unit: int) -> Table:
    return _pick(
        rng,
        policy=[
            "queue",
            "iteration",
            "pro_rata",
            "levered",
            "capped",
            "risk_aware",
            "mirror_descent",
            "min_max",
        ],
        score=["hyperliquid", "binance", "bybit", "bitmex", "paper"],
        wallet_min_atoms=[1, 10 * unit],
        weights=["wealth", "profit", "equity", "contracts"],
        price=["previous_mark", "mark", "index", "bankruptcy"],
        clamp=["none", "bankruptcy"],
        bankruptcy_off_max_ppb=[0, PPB // 10],
        bankruptcy_allocation=["pro_rata_value", "pro_rata_requirement"],
        haircut_max_ppb=[PPB // 2, PPB],
        keep=["nothing", "maintenance"],
        trigger=["bankrupt", "fund_cannot_pay", "unfilled"],
        cancels_orders=[True, False],
    )


def _insurance(rng: Random, unit: int) -> Table:
    table = _pick(
        rng,
        scope=["shared", "instrument"],
        takes=["bankrupt", "unfilled", "never"],
        price=["mark", "bankruptcy"],
        net_notional_max_atoms=[2000 * unit],
    )
    if rng.random() < 0.3:
        table["drawdown"] = {"window_ns": HOUR_NS, "stop_ppb": PPB // 4}
    return table


def _funding(rng: Random, unit: int) -> Table:
    table: Table = rng.choice(
        [
            {"premium": "impact"},
            {"average": "linear", "premium": "mid", "cap": "maintenance"},
            {"average": "padded", "tail_trim_ppm": 100_000, "cap": "margin_gap", "accrual": "index"},
            {"premium": "mark", "rate": "deadband", "divisor": 480, "paid_on": "mark"},
            {"rate": "plain", "cap": "none"},
        ]
    )
    base: Table = {
        "average": "mean",
        "tail_trim_ppm": 0,
        "accrual": "payment",
        "impact_notional_atoms": 100 * unit,
    }
    return base | {"interval_ns": rng.choice([MINUTE_NS, HOUR_NS]), "sample_ns": MINUTE_NS} | table


def _index(rng: Random, _: int) -> Table:
    return _pick(
        rng,
        statistic=["median", "mean"],
        outlier_ppb=[0, PPB // 20],
        outliers=["drop", "clamp"],
        own=["mid", "last"],
    )


def _mark(rng: Random, _: int) -> Table:
    return {
        "formula": rng.choice(["median", "index", "funding_median", "fair", "basis_ema"]),
        "basis_points": 3,
        "band_ppb": rng.choice([0, PPB // 20]),
    }


def _sources(rng: Random) -> list[Table]:
    sources: list[Table] = [{"name": "one", "weight": 1}]
    for name, kind in (("two", "spot"), ("three", "spot"), ("perp", "perp"), ("own", "own")):
        if rng.random() < 0.4:
            sources.append({"name": name, "weight": rng.choice([1, 2]), "kind": kind})
    return sources


def _settle(rng: Random, rules: Table, instruments: list[Table], share: float) -> None:
    futures = [i["symbol"] for i in instruments if i["kind"] == "future"]
    if not futures or rng.random() > share:
        return
    table = rules.get("settlement", {}) | _pick(
        rng, call_to=["none", "maintenance", "initial"], call_due_ns=[MINUTE_NS, HOUR_NS]
    )
    if rng.random() < 0.3:
        table["sessions"] = [
            {"opens_ns": 13 * HOUR_NS, "closes_ns": 21 * HOUR_NS + 30 * MINUTE_NS},
            {"opens_ns": 22 * HOUR_NS, "closes_ns": 30 * HOUR_NS, "weekdays": [0, 1, 2, 3, 4, 5, 6]},
        ]
    contracts = []
    for symbol in futures:
        terms = {"symbol": symbol} | _pick(
            rng,
            expires_at_ns=[T0 + HOUR_NS, T0 + DAY_NS],
            final_price_ticks=[PRICE, 40, None],
            limit_ticks=[10, 40],
        )
        contracts.append(terms)
    if rng.random() < 0.6:
        table["contracts"] = contracts
    rules["settlement"] = table


def _default_fund(rng: Random, unit: int) -> Table:
    return _pick(
        rng,
        close_out=["book", "auction"],
        house_capital_atoms=[50 * unit],
        assessment_ppb=[2_750_000_000],
        variation_haircut_ppb=[PPB // 2, PPB],
    )


def _lending(rng: Random) -> Table:
    return _pick(
        rng,
        base_ppb=[0, PPB // 50, 2 * PPB],
        slope1_ppb=[PPB // 20, 3 * PPB],
        kink_ppb=[PPB // 2, PPB - 1],
        slope2_ppb=[0, 5 * PPB],
        interval_ns=[MINUTE_NS, HOUR_NS],
    )


def _coin(rng: Random, *, may_lag: bool) -> Table:
    table = {"asset": "COIN", "decimals": 3, "ratio_ppb": rng.choice([PPB // 2, 9 * PPB // 10, PPB])}
    table |= _pick(
        rng,
        bid_buffer_ppb=[PPB // 100],
        ask_buffer_ppb=[PPB // 100],
        haircut_for=["both", "initial"],
    )
    if may_lag and rng.random() < 0.4:
        table["redemption_lag_ns"] = rng.choice([1, MINUTE_NS, HOUR_NS, 9 * HOUR_NS])
    elif rng.random() < 0.3:
        table["tiers"] = [{"upto": 5000, "ratio_ppb": PPB}, {"upto": 50_000, "ratio_ppb": PPB // 2}]
    return table


def _portfolio(rng: Random, symbols: list[str]) -> Table:
    table: Table = {
        "moves_ppb": [-PPB // 10, PPB // 10],
        "offset_ppb": PPB // 2,
        "contingency_ppb": PPB // 100,
    }
    if rng.random() < 0.5:
        table["groups"] = [{"underlying": "X", "instruments": symbols[:2]}]
    if rng.random() < 0.5:
        table["levels"] = [
            {"name": "call", "at_ppb": 2 * PPB, "opens": False},
            {"name": "close", "at_ppb": PPB, "opens": False},
        ]
    return table
