"""A venue's rulebook as data. The numbers of real venues live in profiles/*.toml, each with its source."""

import tomllib
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.units import HOUR_NS, PPB, SECOND_NS

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Ppb = Annotated[int, Meta(ge=0, le=PPB)]

StageName = Literal["book", "backstop", "insurance", "adl", "socialise", "house", "recourse"]


class IndexSource(Struct, frozen=True, forbid_unknown_fields=True):
    """One constituent. `spot` sources make the index, `perp` sources are the third input of the mark."""

    name: str
    weight: Positive
    kind: Literal["spot", "perp"] = "spot"


class MarkRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Mark = median of: index + EMA of (mid - index); median(bid, ask, last); other venues' perpetuals.

    With only two of these, an EMA of median(bid, ask, last) is the third. `index` takes the index itself.
    """

    formula: Literal["median", "index"] = "median"
    basis_ema_ns: Positive = 150 * SECOND_NS
    book_ema_ns: Positive = 30 * SECOND_NS


class FundingRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Rate of an interval = (P + clamp(interest - P, +-clamp)) / divisor, capped; P is the mean premium.

    The premium of a sample is (max(impact bid - index, 0) - max(index - impact ask, 0)) / index.
    """

    interval_ns: Positive = HOUR_NS
    sample_ns: Positive = 5 * SECOND_NS
    interest_ppt: int = 100_000_000
    clamp_ppt: NotNegative = 500_000_000
    divisor: Positive = 8
    cap_ppt: Positive = 40_000_000_000
    impact_notional_atoms: Positive = 20_000_000_000
    paid_on: Literal["index", "mark"] = "index"


class FeeRules(Struct, frozen=True, forbid_unknown_fields=True):
    """On the value of a fill; a negative maker fee is a rebate."""

    maker_ppb: Annotated[int, Meta(ge=-PPB, le=PPB)] = 0
    taker_ppb: Ppb = 0
    liquidation_ppb: Ppb = 0


class OrderRules(Struct, frozen=True, forbid_unknown_fields=True):
    """A market order goes at most `market_slippage_ppb` through the mark; 0 lets it go to any price."""

    market_slippage_ppb: Ppb = 0
    value_min_atoms: NotNegative = 0
    open_orders_max: Positive = 1_000
    triggers_per_command_max: Positive = 10_000


class LiquidationRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Forced market orders; above `chunk_threshold_atoms` the first one is `chunk_ppb` of the position.

    For `cooldown_ns` after such a chunk every order is for the whole remainder. `price_limit` says how far a
    forced order may go: to any price, or only to the one at which closing the position leaves nothing.
    `backstop_below_ppb` is the share of the maintenance requirement below which the backstop takes over.
    """

    chunk_threshold_atoms: NotNegative = 0
    chunk_ppb: Annotated[int, Meta(ge=1, le=PPB)] = PPB
    cooldown_ns: NotNegative = 0
    price_limit: Literal["none", "bankruptcy"] = "none"
    backstop_below_ppb: Ppb = 0
    rounds_max: Positive = 64


class AdlRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom deleveraging takes, how much of each, and at which price.

    policy   queue (by `score`), iteration (dYdX), pro_rata and levered (by `weights`), capped and risk_aware
             (the same under caps), mirror_descent, min_max; formulas in docs/adl.md
    score    hyperliquid, bybit: (value / account value) * (profit / entry value)
             binance: max(0, profit)/max(wallet_min, wallet) * maintenance/(wallet + profit)
             bitmex: PNL% * EffLev of winners, PNL% / EffLev of losers
             paper: leverage * mark / bankruptcy price
    weights  wealth: open profit of the compartment; profit: of the position; equity; contracts: lots
    price    for accounts; a vault's position always closes at its bankruptcy price, and where the price
             leaves a deficit that no absorber can bear, the bankruptcy price is used instead
    clamp    bankruptcy: never a price that takes more than is missing
    bankruptcy_off_max_ppb   a bankruptcy price farther from the mark than this share of it gives way to the
             mark; 0 lets it lie anywhere
    bankruptcy_allocation    over a cross account's positions: by value, or by maintenance requirement
    haircut_max_ppb, keep    caps: at most this share of the open profit, and equity that must be left
    risk_power, risk_threshold_ppb   g(leverage) = max(0, leverage - threshold)^power of risk_aware
    """

    policy: Literal[
        "queue", "iteration", "pro_rata", "levered", "capped", "risk_aware", "mirror_descent", "min_max"
    ] = "queue"
    score: Literal["hyperliquid", "binance", "bybit", "bitmex", "paper"] = "hyperliquid"
    wallet_min_atoms: Positive = 1
    weights: Literal["wealth", "profit", "equity", "contracts"] = "wealth"
    price: Literal["previous_mark", "mark", "index", "bankruptcy"] = "bankruptcy"
    clamp: Literal["none", "bankruptcy"] = "none"
    bankruptcy_off_max_ppb: NotNegative = 0
    bankruptcy_allocation: Literal["pro_rata_value", "pro_rata_requirement"] = "pro_rata_value"
    haircut_max_ppb: Ppb = PPB
    keep: Literal["nothing", "maintenance"] = "nothing"
    risk_power: Annotated[int, Meta(ge=0, le=4)] = 1
    risk_threshold_ppb: NotNegative = 0


class RecourseRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Share of its receivables that the venue expects to recover; it changes reports, not postings."""

    recovery_ppb: Ppb = 0


class MarginRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Withdrawing from under open positions needs max(initial requirement, this share of their value)."""

    transfer_min_ppb: Ppb = 0
    index_age_max_ns: Positive = 60 * SECOND_NS


class VenueRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that one rulebook says. `promise` is what a run's verdict is held against."""

    name: str
    valid_from: str
    source: str
    settle_asset: str
    promise: Literal["zero_debt", "none"]
    waterfall: tuple[StageName, ...]
    sources: tuple[IndexSource, ...]
    mark: MarkRules = MarkRules()
    funding: FundingRules = FundingRules()
    fees: FeeRules = FeeRules()
    orders: OrderRules = OrderRules()
    margin: MarginRules = MarginRules()
    liquidation: LiquidationRules = LiquidationRules()
    adl: AdlRules = AdlRules()
    recourse: RecourseRules = RecourseRules()


class RulesError(ValueError):
    """A rulebook that cannot be used; the message says where, what was found and what is allowed."""


def profile_names() -> list[str]:
    """Names of the rulebooks that ship with zerodebt."""
    folder = resources.files("zerodebt.exchange") / "profiles"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def profile_table(name: str) -> dict[str, Any]:
    """A shipped rulebook as read from its file, to be overridden and then given to `venue_rules`."""
    if name not in profile_names():
        raise RulesError(f"venue.profile: {name!r} is not known, allowed are {', '.join(profile_names())}")
    text = (resources.files("zerodebt.exchange") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def venue_rules(table: dict[str, Any]) -> VenueRules:
    """The rulebook of a table, checked field by field."""
    try:
        rules = msgspec.convert(table, VenueRules)
    except msgspec.ValidationError as error:
        raise RulesError(f"venue: {error}") from None
    if not rules.waterfall or rules.waterfall[0] != "book":
        raise RulesError(f"venue.waterfall: {list(rules.waterfall)} must start with 'book'")
    if len(set(rules.waterfall)) != len(rules.waterfall):
        raise RulesError(f"venue.waterfall: {list(rules.waterfall)} names a stage twice")
    if not any(source.kind == "spot" for source in rules.sources):
        raise RulesError("venue.sources: at least one source must be of kind 'spot'")
    if -rules.fees.maker_ppb > rules.fees.taker_ppb:
        raise RulesError(
            f"venue.fees.maker_ppb: a rebate of {-rules.fees.maker_ppb} is more than the taker pays, "
            f"allowed is at most {rules.fees.taker_ppb}"
        )
    if "backstop" in rules.waterfall and not rules.liquidation.backstop_below_ppb:
        raise RulesError("venue.liquidation.backstop_below_ppb is 0, but the waterfall has a backstop")
    return rules
