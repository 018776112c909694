"""A venue's rulebook as data. The numbers of real venues live in profiles/*.toml, each with its source."""

import tomllib
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, SECOND_NS

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Ppb = Annotated[int, Meta(ge=0, le=PPB)]

StageName = Literal[
    "book", "backstop", "insurance", "adl", "socialise", "house", "recourse", "settlement_haircut"
]
ForcedForm = Literal["share", "whole", "ladder", "restore"]


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
    """When an account is liquidated, and which forced orders are sent. Its own orders are cancelled first.

    trigger          liquidatable when equity is below the requirement, or at_or_below it
    requirement_fee  closing fee that the maintenance requirement includes: the taker's, the liquidation's
    steps            forms of forced orders, tried in order until the account is safe:
      share          above `chunk_threshold_atoms` `chunk_ppb` of the position; then for `cooldown_ns` every
                     order is for the whole remainder (Hyperliquid)
      whole          all of it; up to `surplus_max_ppb` of its value goes to the fund out of what it brings
                     beyond the bankruptcy price (BitMEX: all of that; dYdX: at most a fee)
      ladder         down to the top of the margin tier that is `ladder_tiers` lower, again and again, as long
                     as the position is in tier `ladder_from` (1 is the lowest) or above (Bybit, BitMEX, OKX)
      restore        the smallest lots that bring equity to the requirement and `restore_buffer_ppb` of it, at
                     most `restore_max_ppb` of the position (Binance, Deribit)
    price_limit      how far a forced order may go: to any price; to the bankruptcy price, at which closing
                     the position leaves nothing; `band_ppb` beyond the mark; fillable: beyond the mark by
                     clamp(adjustment * (1 - equity/requirement), 0, 1) * spread * the position's requirement
                     (dYdX)
    portion_max_ppb, notional_min_atoms   an order is for at most this share of the position, but for at least
                     this value (dYdX)
    notional_max_atoms, insurance_lost_max_atoms   what may be sent of one account in one command, and what it
                     may lose beyond its equity (dYdX)
    backstop_below_ppb   share of the requirement below which the backstop takes over
    """

    trigger: Literal["below", "at_or_below"] = "below"
    requirement_fee: Literal["none", "taker", "liquidation"] = "none"
    steps: Annotated[tuple[ForcedForm, ...], Meta(min_length=1)] = ("share",)
    chunk_threshold_atoms: NotNegative = 0
    chunk_ppb: Annotated[int, Meta(ge=1, le=PPB)] = PPB
    cooldown_ns: NotNegative = 0
    surplus_max_ppb: Ppb = 0
    ladder_tiers: Positive = 1
    ladder_from: Annotated[int, Meta(ge=2)] = 2
    ladder_tif: Literal["ioc", "fok"] = "ioc"
    restore_buffer_ppb: NotNegative = 0
    restore_max_ppb: Annotated[int, Meta(ge=1, le=PPB)] = PPB
    price_limit: Literal["none", "bankruptcy", "band", "fillable"] = "none"
    band_ppb: Ppb = 0
    fillable_adjustment_ppb: NotNegative = PPB
    fillable_spread_ppb: NotNegative = 0
    portion_max_ppb: Annotated[int, Meta(ge=1, le=PPB)] = PPB
    notional_min_atoms: NotNegative = 0
    notional_max_atoms: Positive | None = None
    insurance_lost_max_atoms: NotNegative | None = None
    backstop_below_ppb: Ppb = 0
    rounds_max: Positive = 64


class DrawdownRules(Struct, frozen=True, forbid_unknown_fields=True):
    """A pool that has fallen too far from its peak takes no positions and pays for none (Bybit, OKX).

    peak    the largest of the pool's equities in the last `window_ns`, one kept for each `sample_ns`: the
            largest that was read while risk work was done
    start   the pool closes when it is empty, or has fallen by max(`start_ppb` of the peak, `fall_min_atoms`)
    stop    it opens again when it has fallen by less than `stop_ppb` of the peak
    """

    window_ns: Positive = 8 * HOUR_NS
    sample_ns: Positive = MINUTE_NS
    start_ppb: Annotated[int, Meta(ge=1, le=PPB)] = 300_000_000
    stop_ppb: Annotated[int, Meta(ge=1, le=PPB)] = 300_000_000
    fall_min_atoms: NotNegative = 0


class InsuranceRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The fund: how many pools it has, what they take and what they pay.

    scope    one pool for all instruments, or one for each: fees and surplus go to the instrument's pool, what
             is brought in is split evenly over the pools (the first get the odd atoms), and a pool answers
             for its own instrument only
    takes    bankrupt: positions of a compartment below zero, whose deficit the pool can pay
             unfilled: also those of one below its requirement that the book could not fill
             never: the pool pays, and positions go elsewhere
    price    at which it takes them: the mark, or the bankruptcy price; either way what margin is left is its
    net_notional_max_atoms   a pool takes no position that would make its own in the instrument larger
    """

    scope: Literal["shared", "instrument"] = "shared"
    takes: Literal["bankrupt", "unfilled", "never"] = "bankrupt"
    price: Literal["mark", "bankruptcy"] = "mark"
    net_notional_max_atoms: Positive | None = None
    drawdown: DrawdownRules | None = None


class SocialiseRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose loss a socialised deficit is.

    session_winners  accounts that have won in this session, in proportion to what they won (Deribit)
    funding_index    all open positions of the instrument, long and short, the same for every lot (Drift)
    """

    form: Literal["session_winners", "funding_index"] = "session_winners"


class HouseRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's capital pays at most `deficit_max_atoms` for one deficit."""

    deficit_max_atoms: NotNegative | None = None


class AdlRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom deleveraging takes and at which price.

    score   hyperliquid: (value / account value) * (profit / entry value)
            binance: max(0, profit)/max(1, wallet) * maintenance/(wallet + profit)
    price   for accounts; a vault's position always closes at its bankruptcy price, and where the price leaves
            a deficit that no absorber can bear, the bankruptcy price is used instead
    trigger bankrupt: equity below zero, when the waterfall comes to it
            fund_cannot_pay: the same, and no pool that may pay has the deficit
            unfilled: also equity below the requirement, of what the book could not fill and nobody took
    """

    score: Literal["hyperliquid", "binance"] = "hyperliquid"
    price: Literal["previous_mark", "mark", "bankruptcy"] = "bankruptcy"
    trigger: Literal["bankrupt", "fund_cannot_pay", "unfilled"] = "bankrupt"


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
    insurance: InsuranceRules = InsuranceRules()
    socialise: SocialiseRules = SocialiseRules()
    house: HouseRules = HouseRules()
    recourse: RecourseRules = RecourseRules()


def requirement_fee_ppb(rules: VenueRules) -> int:
    """Closing fee that the maintenance requirement includes, in parts per billion of the value."""
    match rules.liquidation.requirement_fee:
        case "taker":
            return rules.fees.taker_ppb
        case "liquidation":
            return rules.fees.liquidation_ppb
    return 0


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
    _check_liquidation(rules)
    return rules


def _check_liquidation(rules: VenueRules) -> None:
    liquidation = rules.liquidation
    if "backstop" in rules.waterfall and not liquidation.backstop_below_ppb:
        raise RulesError("venue.liquidation.backstop_below_ppb is 0, but the waterfall has a backstop")
    if len(set(liquidation.steps)) != len(liquidation.steps):
        raise RulesError(f"venue.liquidation.steps: {list(liquidation.steps)} names a form twice")
    if liquidation.surplus_max_ppb and "whole" not in liquidation.steps:
        raise RulesError("venue.liquidation.surplus_max_ppb is not 0, but steps has no 'whole'")
    if liquidation.price_limit == "band" and not liquidation.band_ppb:
        raise RulesError("venue.liquidation.band_ppb is 0, but the price_limit is 'band'")
    if rules.insurance.takes == "unfilled" and "insurance" not in rules.waterfall:
        raise RulesError("venue.insurance.takes is 'unfilled', but the waterfall has no insurance")
    if rules.adl.trigger != "bankrupt" and "adl" not in rules.waterfall:
        raise RulesError(f"venue.adl.trigger is {rules.adl.trigger!r}, but the waterfall has no adl")
    drawdown = rules.insurance.drawdown
    if drawdown is not None and drawdown.stop_ppb > drawdown.start_ppb:
        raise RulesError(
            f"venue.insurance.drawdown.stop_ppb: {drawdown.stop_ppb} is above start_ppb, "
            f"allowed is at most {drawdown.start_ppb}"
        )
