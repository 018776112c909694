"""A venue's rulebook as data. The numbers of real venues live in profiles/*.toml, each with its source."""

import tomllib
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.units import DAY_NS, HOUR_NS, PPB, SECOND_NS

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Ppb = Annotated[int, Meta(ge=0, le=PPB)]

StageName = Literal["book", "backstop", "insurance", "adl", "socialise", "house", "recourse", "default_fund"]


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
    """Whom deleveraging takes and at which price.

    score   hyperliquid: (value / account value) * (profit / entry value)
            binance: max(0, profit)/max(1, wallet) * maintenance/(wallet + profit)
    price   for accounts; a vault's position always closes at its bankruptcy price, and where the price leaves
            a deficit that no absorber can bear, the bankruptcy price is used instead
    """

    score: Literal["hyperliquid", "binance"] = "hyperliquid"
    price: Literal["previous_mark", "mark", "bankruptcy"] = "bankruptcy"


class RecourseRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Share of its receivables that the venue expects to recover; it changes reports, not postings."""

    recovery_ppb: Ppb = 0


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Hours in which there is trading, from 00:00 UTC of the weekdays (0 is Monday) on which they open.

    A session may last into the next day: then `closes_ns` is more than a day.
    """

    opens_ns: Annotated[int, Meta(ge=0, lt=DAY_NS)]
    closes_ns: Annotated[int, Meta(ge=1, le=2 * DAY_NS)]
    weekdays: tuple[Annotated[int, Meta(ge=0, le=6)], ...] = (0, 1, 2, 3, 4)


class ContractRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Terms of one dated future; a time or a limit of 0 means that there is none.

    expires_at_ns      from then on it is settled finally, at the next index or tick
    final_price_ticks  at this price, or (None) at the index of that instant
    limit_ticks        orders may go this far from the last settlement price, and no further
    """

    symbol: str
    expires_at_ns: NotNegative = 0
    final_price_ticks: int | None = None
    limit_ticks: NotNegative = 0


class SettlementRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Daily settlement: who is below maintenance after it, and when there is trading at all.

    call_to      none: who is below maintenance is liquidated at once. Otherwise a settlement calls him to
                 bring what is missing to his maintenance or initial requirement
    call_due_ns  time that he has, and in which he is left alone
    sessions     without one there is trading at all times
    """

    call_to: Literal["none", "maintenance", "initial"] = "none"
    call_due_ns: Positive = HOUR_NS
    sessions: tuple[Session, ...] = ()
    contracts: tuple[ContractRules, ...] = ()


class DefaultFundRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What clearing members and the house have put up for a member's default.

    close_out              book: forced orders; auction: the portfolio waits for an auction among the others
    house_capital_atoms    most that the house brings for one default, before the others' contributions
    assessment_ppb         most that a member can be asked for beyond it, as a multiple of his contribution
    variation_haircut_ppb  share of what the winners gained since the last settlement that they may lose
    cover                  the fund must cover this many of the largest stressed losses at once
    """

    close_out: Literal["book", "auction"] = "book"
    house_capital_atoms: NotNegative = 0
    assessment_ppb: Annotated[int, Meta(ge=0, le=100 * PPB)] = 0
    variation_haircut_ppb: Ppb = 0
    cover: Positive = 2


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
    settlement: SettlementRules = SettlementRules()
    default_fund: DefaultFundRules = DefaultFundRules()


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
    _check_settlement(rules)
    return rules


def _check_settlement(rules: VenueRules) -> None:
    symbols = [contract.symbol for contract in rules.settlement.contracts]
    if len(set(symbols)) != len(symbols):
        raise RulesError(f"venue.settlement.contracts: {symbols} names a contract twice")
    for session in rules.settlement.sessions:
        if not 0 < session.closes_ns - session.opens_ns <= DAY_NS:
            raise RulesError(
                f"venue.settlement.sessions: a session from {session.opens_ns} to {session.closes_ns} ns, "
                "allowed is one that closes after it opens, at most a day later"
            )
    takers = {"backstop", "insurance", "adl"}.intersection(rules.waterfall)
    if rules.default_fund.close_out == "auction" and takers:
        raise RulesError(
            f"venue.default_fund.close_out: 'auction' beside the stage {min(takers)!r}, "
            "allowed is a waterfall in which no other stage takes positions"
        )
    if rules.default_fund != DefaultFundRules() and "default_fund" not in rules.waterfall:
        raise RulesError("venue.default_fund is filled in, but the waterfall has no stage 'default_fund'")
