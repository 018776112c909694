"""A venue's rulebook as data. The numbers of real venues live in profiles/*.toml, each with its source.

A profile's tables are dated: where a rule changed, the table is there several times, and a day picks the one
in force.
"""

import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.fields import OneLineError
from zerodebt.exchange.units import DAY_NS, HOUR_NS, INT64_BUDGET, MINUTE_NS, PPB, SECOND_NS

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Ppb = Annotated[int, Meta(ge=0, le=PPB)]
YearlyRate = Annotated[int, Meta(ge=0, le=100 * PPB)]

StageName = Literal[
    "book",
    "backstop",
    "insurance",
    "adl",
    "socialise",
    "house",
    "recourse",
    "default_fund",
    "settlement_haircut",
    "lenders",
]
ForcedForm = Literal["share", "whole", "ladder", "restore"]


Day = Annotated[str, Meta(pattern=r"^(\d{4}-\d\d-\d\d)?$")]
"""YYYY-MM-DD, or nothing where none is said."""
A_DAY = "is a day like 2025-10-01"
"""What is allowed, for people."""


class Dated(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a rulebook: the day from which it holds, and who published it under which title."""

    valid_from: Day = ""
    source: str = ""


class IndexSource(Struct, frozen=True, forbid_unknown_fields=True):
    """One constituent: `spot` and `own` ones make the index, `perp` ones the third input of the mark.

    An `own` source is the venue's own book, read by the venue itself as `IndexRules.own` says; what a feed
    says about it is ignored. It makes the index follow what is traded here: the known-bad design, for study.
    """

    name: str
    weight: Positive
    kind: Literal["spot", "perp", "own"] = "spot"


class IndexRules(Dated, frozen=True, forbid_unknown_fields=True):
    """How the index comes out of its fresh sources (`MarginRules.index_age_max_ns` says which are).

    statistic    weighted median, or weighted mean rounded down to the tick
    outlier_ppb  a source further than this from the weighted median of the fresh ones is an outlier; 0: none
    outliers     drop: it does not count; clamp: it counts at the furthest price that is allowed
    own          what an `own` source says: the mid of the book rounded down, or the last price
    """

    statistic: Literal["median", "mean"] = "median"
    outlier_ppb: NotNegative = 0
    outliers: Literal["drop", "clamp"] = "drop"
    own: Literal["mid", "last"] = "mid"


class MarkRules(Dated, frozen=True, forbid_unknown_fields=True):
    """The mark by its formula; an input that is not to be had is left out. Rounded down to the tick.

    median          median of: index + EMA of (mid - index); median(bid, ask, last); other venues' perpetuals;
                    with only two of these, an EMA of median(bid, ask, last) is the third (Hyperliquid)
    index           the index itself
    funding_median  median of: index * (1 + last funding rate * time to funding / interval);
                    index + mean of the last `basis_points` samples of (mid - index); last price (Binance)
    fair            index * (1 + last funding rate * time to funding / interval) (BitMEX)
    basis_ema       index + EMA of (mid - index) (Deribit)

    basis_ema_ns, book_ema_ns  lifetimes of the two EMAs
    basis_sample_ns  a point of the moving basis is taken at the first instant at or after each multiple of it
    band_ppb         the mark stays this close to the index, rounded towards it; 0: no band
    """

    formula: Literal["median", "index", "funding_median", "fair", "basis_ema"] = "median"
    basis_ema_ns: Positive = 150 * SECOND_NS
    book_ema_ns: Positive = 30 * SECOND_NS
    basis_points: Positive = 30
    basis_sample_ns: Positive = MINUTE_NS
    band_ppb: NotNegative = 0


class SymbolCap(Struct, frozen=True, forbid_unknown_fields=True):
    """An instrument's own figure for the cap on its rate."""

    symbol: str
    cap_ppt: Positive


class FundingRules(Dated, frozen=True, forbid_unknown_fields=True):
    """From premium samples to the rate of an interval and what it is paid on.

    premium   impact: (max(impact bid - index, 0) - max(index - impact ask, 0)) / index
              mid: (mid - index) / index; mark: (mark - index) / index
    average   P of an interval. mean: over the samples; linear: sum(i * P_i) / sum(i), the newest weighs most;
              padded: over the samples of which an interval should have interval / sample, missing ones zero
    tail_trim_ppm  padded only: this share of the samples goes at either end before they are averaged
    rate      of `divisor` intervals. dampened: P + clamp(interest - P, +-clamp);
              deadband: max(clamp, P) + min(-clamp, P); plain: P + interest
    rate_step_ppt  samples, their average and a cap from margin rates are whole multiples of this, the rest
              cut off; 1: all are rounded down to a part of 10^12
    divisor   intervals in the period that the premium and the interest are stated for (8 hours / interval)
    cap       rate: `cap_ppt` on the rate of an interval; maintenance: `cap_factor_ppb` of the maintenance
              rate at the largest leverage, on the rate of an interval; margin_gap: `cap_factor_ppb` of the
              initial less the maintenance rate there, on the rate of the period; none.
              `caps` hold the figures of instruments that have their own
    impact_notional_atoms  value that the impact prices trade; `impact_margin_atoms`, where given, stands
              instead for a value whose initial requirement at the largest leverage is this much
    accrual   payment: a position pays value * rate; index: it pays the step of an index of what one quantum
              has paid, in millionths of an atom and cut off there; `quanta_per_lot` is the size of a quantum

    A venue that accrues all the time (Deribit: by the millisecond) is an interval as short as its samples, a
    minute or a second, with 8 hours over it as divisor: who holds the position at its end pays for all of it,
    and its rate is rounded down once more, by less than a part of 10^12.
    """

    interval_ns: Positive = HOUR_NS
    sample_ns: Positive = 5 * SECOND_NS
    premium: Literal["impact", "mid", "mark"] = "impact"
    average: Literal["mean", "linear", "padded"] = "mean"
    tail_trim_ppm: Annotated[int, Meta(ge=0, lt=500_000)] = 0
    rate: Literal["dampened", "deadband", "plain"] = "dampened"
    interest_ppt: int = 100_000_000
    clamp_ppt: NotNegative = 500_000_000
    rate_step_ppt: Positive = 1
    divisor: Positive = 8
    cap: Literal["rate", "maintenance", "margin_gap", "none"] = "rate"
    cap_ppt: Positive = 40_000_000_000
    cap_factor_ppb: Positive = PPB
    caps: tuple[SymbolCap, ...] = ()
    impact_notional_atoms: Positive = 20_000_000_000
    impact_margin_atoms: Positive | None = None
    paid_on: Literal["index", "mark"] = "index"
    accrual: Literal["payment", "index"] = "payment"
    quanta_per_lot: Positive = 1


class FeeRules(Dated, frozen=True, forbid_unknown_fields=True):
    """On the value of a fill; a negative maker fee is a rebate."""

    maker_ppb: Annotated[int, Meta(ge=-PPB, le=PPB)] = 0
    taker_ppb: Ppb = 0
    liquidation_ppb: Ppb = 0


class BandRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How far up a buy order's price may reach, and how far down a sell order's; rounded inwards.

    formula  mark: mark * (1 +- width);
             index: min(max(index, index * (1 + inner) + average premium), index * (1 + outer)) for buys and
             its mirror image for sells; the premium is the mean of the mark's sampled (mid - index) (OKX)
    beyond   refuse: such an order is refused; cap: it gets the furthest price instead. Amendments and mass
             quotes are refused, market orders stop at the band, forced orders have their own limit
    """

    formula: Literal["none", "mark", "index"] = "none"
    width_ppb: Ppb = 0
    inner_ppb: Ppb = 0
    outer_ppb: Ppb = 0
    beyond: Literal["refuse", "cap"] = "refuse"


class OrderRules(Dated, frozen=True, forbid_unknown_fields=True):
    """A market order goes at most `market_slippage_ppb` through the mark; 0 lets it go to any price.

    met_trigger  an order whose trigger is met when it comes is refused, or goes to the book at once
    """

    market_slippage_ppb: Ppb = 0
    met_trigger: Literal["refuse", "fire"] = "refuse"
    band: BandRules = BandRules()
    value_min_atoms: NotNegative = 0
    open_orders_max: Positive = 1_000
    triggers_per_command_max: Positive = 10_000


class LiquidationRules(Dated, frozen=True, forbid_unknown_fields=True):
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
                     may lose beyond its equity or cost the fund (dYdX); neither these nor the limit hold
                     below zero
    shortfall        who bears what a fill lacks to the position's bankruptcy price: the account's other
                     equity, or the fund at once; then a fill that it cannot pay for is not made (dYdX)
    backstop_below_ppb   share of the requirement below which the backstop takes over
    backstop_notional_max_atoms   a vault takes no position that would leave it with one of more than this
                     value at the mark; whoever it does not take goes on to the book
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
    shortfall: Literal["account", "fund"] = "account"
    backstop_below_ppb: Ppb = 0
    backstop_notional_max_atoms: Positive | None = None
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


class InsuranceRules(Dated, frozen=True, forbid_unknown_fields=True):
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


class SocialiseRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Whose loss a socialised deficit is.

    session_winners  accounts that have won in this session, in proportion to what they won (Deribit)
    funding_index    all open positions of the instrument, long and short, the same for every lot (Drift)
    """

    form: Literal["session_winners", "funding_index"] = "session_winners"


class HouseRules(Dated, frozen=True, forbid_unknown_fields=True):
    """The operator's capital pays at most `deficit_max_atoms` for one deficit."""

    deficit_max_atoms: NotNegative | None = None


class AdlRules(Dated, frozen=True, forbid_unknown_fields=True):
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
    trigger  bankrupt: equity below zero, when the waterfall comes to it
             fund_cannot_pay: the same, and no pool that may pay has the deficit, or the book could not fill
             unfilled: also equity below the requirement, of what the book could not fill and nobody took
    plan     now: the queue is that of the command that needs it
             before: that of the end of the last index or tick, and a position that is smaller than it was
             planned is passed over, for queues alone (GMX Synthetics, Sherlock audit 2023-02, issue 210)
    cancels_orders  whoever is deleveraged as a winner loses all his open orders (Binance)
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
    trigger: Literal["bankrupt", "fund_cannot_pay", "unfilled"] = "bankrupt"
    cancels_orders: bool = False
    plan: Literal["now", "before"] = "now"


class RecourseRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Share of its receivables that the venue expects to recover; it changes reports, not postings."""

    recovery_ppb: Ppb = 0


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Hours in which there is trading, from 00:00 UTC of the weekdays (0 is Monday) on which they open.

    A session may last into the next day: then `closes_ns` is more than a day.
    """

    opens_ns: Annotated[int, Meta(ge=0, lt=DAY_NS)]
    closes_ns: Annotated[int, Meta(ge=1, le=2 * DAY_NS)]
    weekdays: tuple[Annotated[int, Meta(ge=0, le=6)], ...] = (0, 1, 2, 3, 4)


class ContractRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Terms of one dated future; a time or a limit of 0 means that there is none.

    expires_at_ns      from then on it is settled finally, at the next index or tick
    final_price_ticks  at this price, or (None) at the index of that instant
    limit_ticks        orders may go this far from the last settlement price, and no further
    """

    symbol: str
    expires_at_ns: NotNegative = 0
    final_price_ticks: int | None = None
    limit_ticks: NotNegative = 0


class SettlementRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Daily settlement: who is below maintenance after it, and when there is trading at all.

    perpetual    how one that is delisted ends: not at all, where no page of the venue says how; or all of its
                 positions close at the index. Whoever is below zero has been deleveraged at his bankruptcy
                 price before, and as long as the close would leave anybody below zero it is refused (dYdX)
    call_to      none: who is below maintenance is liquidated at once. Otherwise a settlement calls him to
                 bring what is missing to his maintenance or initial requirement
    call_due_ns  time that he has, and in which he is left alone
    sessions     without one there is trading at all times
    """

    perpetual: Literal["never", "index"] = "never"
    call_to: Literal["none", "maintenance", "initial"] = "none"
    call_due_ns: Positive = HOUR_NS
    sessions: tuple[Session, ...] = ()
    contracts: tuple[ContractRules, ...] = ()


class DefaultFundRules(Dated, frozen=True, forbid_unknown_fields=True):
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


class MarginRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Withdrawing from under open positions needs max(initial requirement, this share of their value).

    withdrawals  share: while a debt that nobody paid stands, who leaves takes at most his share of custody
                 and leaves the rest of that claim behind; while an account is below zero nobody leaves
                 open: first come, first served, as far as custody reaches; whoever is last is not paid
                 (Perennial v2, Sherlock audit 2023-07, 072-M)
    hedge_mode  an account may choose to hold a long and a short leg of one contract at once
    tier_sum    what finds the tier of such a leg: its own size, or (gross) the sizes of both legs of the
                cross pool together; each is charged at that tier's rates (OKX). Beside marginal tiers, which
                charge no whole position at one rate, gross sums have no meaning and nobody gets two legs
    """

    transfer_min_ppb: Ppb = 0
    withdrawals: Literal["share", "open"] = "share"
    index_age_max_ns: Positive = 60 * SECOND_NS
    hedge_mode: bool = False
    tier_sum: Literal["legs", "gross"] = "legs"


class CollateralTier(Struct, frozen=True, forbid_unknown_fields=True):
    """Up to this amount a holding counts at `ratio_ppb`; what is above the last tier counts nothing."""

    upto: Annotated[int, Meta(ge=1, le=2**62)]
    ratio_ppb: Ppb


class CollateralRules(Dated, frozen=True, forbid_unknown_fields=True):
    """What a held asset counts for as margin; it is priced by the index of its spot market.

    A positive holding counts at its ratio, or piecewise by `tiers` (which then replace the ratio), and less
    `bid_buffer_ppb`; a negative one counts in full, and `ask_buffer_ppb` more. The settlement asset itself is
    the unit of account and has no such table.

    asset        held by the venue under this symbol, with a spot market against the settlement asset
    decimals     of the asset: bounds by quantity are in its atoms, so another scale is refused
    tier_unit    quantity: bounds in atoms of the asset; value: in atoms of the settlement asset at the index
    haircut_for  initial: the haircut is left out of what answers for maintenance (Deribit)
    redemption_lag_ns  0: what must be converted is sold in the spot market. Else its issuer redeems it at the
                 index of the request, and pays so much later; until then the sum counts at the same ratio
    """

    asset: str
    decimals: Annotated[int, Meta(ge=0, le=18)]
    ratio_ppb: Ppb = PPB
    tiers: tuple[CollateralTier, ...] = ()
    tier_unit: Literal["quantity", "value"] = "quantity"
    bid_buffer_ppb: Ppb = 0
    ask_buffer_ppb: Ppb = 0
    haircut_for: Literal["both", "initial"] = "both"
    redemption_lag_ns: NotNegative = 0


class ExchangeRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Selling collateral for a negative settlement balance, in the order of the collateral tables.

    trigger_atoms     sold once this much is owed; 0: not by size
    trigger_ltv_ppb   or once it is this share of the collateral after haircut; 0: not by share
    price_ratio_ppb   what is sold is worth what is owed divided by this, and sells for no less than this
                      share of the index; the insurance fund takes at that price what nobody buys of a
                      bankrupt account
    before_positions  a liquidated account's collateral is sold before its positions are reduced, not after
    """

    trigger_atoms: NotNegative = 0
    trigger_ltv_ppb: NotNegative = 0
    price_ratio_ppb: Annotated[int, Meta(ge=1, le=PPB)] = PPB
    before_positions: bool = False


class LendingRules(Dated, frozen=True, forbid_unknown_fields=True):
    """The pool of the settlement asset that accounts supply, and that finances wallets below zero.

    No other asset can be owed on this venue, so that no other has a pool. Rates are of a year; at utilisation
    u (what is owed over what the pool has, at most 1) a borrower pays
    base + slope1 * min(u, kink) / kink + slope2 * max(0, u - kink) / (1 - kink).

    interval_ns  interest is charged at the first index or tick at or after each multiple of it
    """

    base_ppb: YearlyRate = 0
    slope1_ppb: YearlyRate = 0
    kink_ppb: Annotated[int, Meta(ge=1, lt=PPB)] = 800_000_000
    slope2_ppb: YearlyRate = 0
    interval_ns: Positive = HOUR_NS


class PortfolioGroup(Struct, frozen=True, forbid_unknown_fields=True):
    """Contracts of one underlying, which move together; those that are in no group stand alone."""

    underlying: str
    instruments: tuple[str, ...]


class MarginLevel(Struct, frozen=True, forbid_unknown_fields=True):
    """A named state of an account whose margin is at most this share of its requirement.

    opens  False: the account may only reduce
    """

    name: str
    at_ppb: Positive
    opens: bool = True


class PortfolioRules(Dated, frozen=True, forbid_unknown_fields=True):
    """Requirement of a cross pool as its worst loss over a grid of price moves; and levels of margin.

    moves_ppb        moves of the mark as a share of itself; none: positions keep their own requirements
    offset_ppb       between groups: share of what a common move saves against each group's own worst
    contingency_ppb  of the gross value, on top
    initial_ppb      the initial requirement as a share of maintenance, at least all of it
    levels           the highest first; they hold with and without a grid
    """

    moves_ppb: tuple[Annotated[int, Meta(gt=-PPB, le=2 * PPB)], ...] = ()
    groups: tuple[PortfolioGroup, ...] = ()
    offset_ppb: Ppb = 0
    contingency_ppb: Ppb = 0
    initial_ppb: Annotated[int, Meta(ge=PPB, le=10 * PPB)] = PPB
    levels: tuple[MarginLevel, ...] = ()


class VenueRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that one rulebook says. `promise` is what a run's verdict is held against."""

    name: str
    valid_from: str
    source: str
    settle_asset: str
    promise: Literal["zero_debt", "none"]
    waterfall: tuple[StageName, ...]
    sources: tuple[IndexSource, ...]
    index: IndexRules = IndexRules()
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
    settlement: SettlementRules = SettlementRules()
    default_fund: DefaultFundRules = DefaultFundRules()
    collateral: tuple[CollateralRules, ...] = ()
    exchange: ExchangeRules = ExchangeRules()
    portfolio: PortfolioRules = PortfolioRules()
    lending: LendingRules | None = None


def requirement_fee_ppb(rules: VenueRules) -> int:
    """Closing fee that the maintenance requirement includes, in parts per billion of the value."""
    match rules.liquidation.requirement_fee:
        case "taker":
            return rules.fees.taker_ppb
        case "liquidation":
            return rules.fees.liquidation_ppb
    return 0


class RulesError(OneLineError):
    """A rulebook that cannot be used; the message says where, what was found and what is allowed."""


def profile_names() -> list[str]:
    """Names of the rulebooks that ship with zerodebt."""
    folder = resources.files("zerodebt.exchange") / "profiles"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def profile_table(name: str, as_of: str | None = None) -> dict[str, Any]:
    """A shipped rulebook as it held on a day (None: the newest), to be overridden.

    Its `assets` and `instruments` stand beside the rules; `split_profile` parts them.
    """
    if name not in profile_names():
        raise RulesError(f"venue.profile: {name!r} is not known, allowed are {', '.join(profile_names())}")
    return in_force(name, _profile(name), as_of)


def in_force(name: str, table: Mapping[str, Any], as_of: str | None) -> dict[str, Any]:
    """Of a rulebook's dated tables those that hold on a day (None: the newest); the copy is the caller's."""
    return {key: deepcopy(_in_force(f"{name}.{key}", value, as_of)) for key, value in table.items()}


def profile_days(name: str) -> list[str]:
    """The day from which all tables of a shipped rulebook hold, then the days of later changes."""
    firsts: dict[tuple[str, str], str] = {}
    days = set()
    for key, value in _profile(name).items():
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict) and table.get("valid_from"):
                day, label = str(table["valid_from"]), (key, label_of(table))
                firsts[label] = min(day, firsts.get(label, day))
                days.add(day)
    return sorted(day for day in days if day >= max(firsts.values(), default=""))


@cache
def _profile(name: str) -> dict[str, Any]:
    """A shipped file over the one that it extends; nobody changes what is kept here."""
    text = (resources.files("zerodebt.exchange") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    below = table.pop("extends", None)
    return table if below is None else _profile(below) | table


def _in_force(where: str, value: Any, as_of: str | None) -> Any:
    """Of dated tables the one in force; of lists of named tables one for each name."""
    if isinstance(value, dict):
        return _newest(where, [value], as_of)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return value
    versions: dict[str, list[dict[str, Any]]] = {}
    for entry in value:
        versions.setdefault(label_of(entry), []).append(entry)
    chosen = [_newest(f"{where}.{label}".rstrip("."), entries, as_of) for label, entries in versions.items()]
    return chosen[0] if "" in versions else chosen


def label_of(entry: dict[str, Any]) -> str:
    """The name of one of several tables; "" where they are versions of one."""
    return str(entry.get("symbol") or entry.get("asset") or entry.get("name") or "")


def _newest(where: str, entries: list[dict[str, Any]], as_of: str | None) -> dict[str, Any]:
    ordered = sorted(entries, key=lambda entry: str(entry.get("valid_from", "")))
    held = [entry for entry in ordered if as_of is None or str(entry.get("valid_from", "")) <= as_of]
    if not held:
        first = ordered[0]["valid_from"]
        raise RulesError(f"{where}: nothing is known for {as_of}, allowed are days from {first}")
    return held[-1]


def split_profile(table: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rules, what else the profile brings: `assets` and `instruments`)."""
    extra: dict[str, Any] = {key: table[key] for key in ("assets", "instruments") if key in table}
    return {key: value for key, value in table.items() if key not in extra}, extra


def with_amounts_scaled(rules: Mapping[str, Any], decimals: int) -> dict[str, Any]:
    """The table of a rulebook with every amount of the settlement asset in atoms that are 10**decimals finer.

    The amounts stay what they were: 50,000 of the one asset are 50,000 of the other. RulesError where coarser
    atoms (decimals below 0) cannot say one exactly.
    """
    return {key: _scaled(f"venue.{key}", key, value, decimals) for key, value in rules.items()}


def _scaled(where: str, key: str, value: Any, decimals: int) -> Any:
    """One value of it; a collateral table's bounds are amounts where `tier_unit` is value."""
    if isinstance(value, Mapping):
        bounds = value.get("tier_unit") == "value"
        names = {name: "upto_atoms" if bounds and name == "tiers" else name for name in value}
        if key == "upto_atoms":
            names["upto"] = key
        return {n: _scaled(f"{where}.{n}", names[n], inner, decimals) for n, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scaled(where, key, inner, decimals) for inner in value]
    if not key.endswith("_atoms") or not isinstance(value, int):
        return value
    if decimals >= 0:
        return value * 10**decimals
    scaled, rest = divmod(value, 10**-decimals)
    if rest:
        raise RulesError(
            f"{where}: found {value}, allowed in this settlement asset are multiples of {10**-decimals}"
        )
    return scaled


def venue_rules(table: dict[str, Any]) -> VenueRules:
    """The rulebook of a table, checked field by field; what `split_profile` parts off is not looked at."""
    try:
        rules = msgspec.convert(split_profile(table)[0], VenueRules)
    except msgspec.ValidationError as error:
        raise RulesError(f"venue: {error}") from None
    for where, number in _whole_numbers("venue", rules):
        if abs(number) >= INT64_BUDGET:
            raise RulesError(f"{where}: found {number}, allowed are whole numbers below 2^62")
    for where, day in _days("venue", rules):
        if not is_day(day):
            raise RulesError(f"{where}: found {day!r}, allowed {A_DAY}")
    if not rules.waterfall or rules.waterfall[0] != "book":
        raise RulesError(f"venue.waterfall: {list(rules.waterfall)} must start with 'book'")
    if len(set(rules.waterfall)) != len(rules.waterfall):
        raise RulesError(f"venue.waterfall: {list(rules.waterfall)} names a stage twice")
    if not any(source.kind == "spot" for source in rules.sources):
        raise RulesError("venue.sources: at least one source must be of kind 'spot'")
    band = rules.orders.band
    for formula, field in (("mark", "width_ppb"), ("index", "outer_ppb")):
        if band.formula == formula and not getattr(band, field):
            raise RulesError(f"venue.orders.band.{field} is 0, but the band's formula is {formula!r}")
    if rules.funding.tail_trim_ppm and rules.funding.average != "padded":
        raise RulesError(
            f"venue.funding.tail_trim_ppm is {rules.funding.tail_trim_ppm}, but the average is "
            f"{rules.funding.average!r}, allowed is 'padded'"
        )
    if -rules.fees.maker_ppb > rules.fees.taker_ppb:
        raise RulesError(
            f"venue.fees.maker_ppb: a rebate of {-rules.fees.maker_ppb} is more than the taker pays, "
            f"allowed is at most {rules.fees.taker_ppb}"
        )
    _check_liquidation(rules)
    if "lenders" in rules.waterfall and rules.lending is None:
        raise RulesError("venue.lending is missing, but the waterfall has the stage 'lenders'")
    _check_settlement(rules)
    _check_collateral(rules)
    _check_portfolio(rules)
    _check_hedge_mode(rules)
    return rules


def _days(where: str, rules: VenueRules) -> Iterator[tuple[str, str]]:
    """The day of the rulebook and those that its tables have, each with its place."""
    yield f"{where}.valid_from", rules.valid_from
    for field in rules.__struct_fields__:
        value = getattr(rules, field)
        for table in value if isinstance(value, tuple) else (value,):
            if isinstance(table, Dated) and table.valid_from:
                yield f"{where}.{field}.valid_from", table.valid_from


def is_day(text: str) -> bool:
    """Of the Gregorian calendar, written as YYYY-MM-DD."""
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(p.isascii() and p.isdecimal() for p in parts):
        return False
    year, month, number = map(int, parts)
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 28 + is_leap if month == 2 else 30 + (month in (1, 3, 5, 7, 8, 10, 12))
    return 1 <= month <= 12 and 1 <= number <= last


def _whole_numbers(where: str, value: object) -> Iterator[tuple[str, int]]:
    """Every whole number of a rulebook, and its place."""
    if isinstance(value, Struct):
        for field in value.__struct_fields__:
            yield from _whole_numbers(f"{where}.{field}", getattr(value, field))
    elif isinstance(value, tuple):
        for n, entry in enumerate(value):
            yield from _whole_numbers(f"{where}.{n}", entry)
    elif isinstance(value, int):
        yield where, value


def _check_liquidation(rules: VenueRules) -> None:
    liquidation = rules.liquidation
    if "backstop" in rules.waterfall and not liquidation.backstop_below_ppb:
        raise RulesError("venue.liquidation.backstop_below_ppb is 0, but the waterfall has a backstop")
    if len(set(liquidation.steps)) != len(liquidation.steps):
        raise RulesError(f"venue.liquidation.steps: {list(liquidation.steps)} names a form twice")
    takers = {rules.insurance.takes, rules.adl.trigger}
    if liquidation.steps == ("ladder",) and "unfilled" not in takers:
        raise RulesError(
            "venue.liquidation.steps: found ['ladder'], which closes nothing of the lowest tier, allowed is "
            "'whole' or 'restore' after it, or 'unfilled' as insurance.takes or adl.trigger"
        )
    if liquidation.surplus_max_ppb and "whole" not in liquidation.steps:
        raise RulesError("venue.liquidation.surplus_max_ppb is not 0, but steps has no 'whole'")
    if liquidation.shortfall == "fund" and "insurance" not in rules.waterfall:
        raise RulesError("venue.liquidation.shortfall is 'fund', but the waterfall has no 'insurance'")
    if liquidation.price_limit == "band" and not liquidation.band_ppb:
        raise RulesError("venue.liquidation.band_ppb is 0, but the price_limit is 'band'")
    if rules.insurance.takes == "unfilled" and "insurance" not in rules.waterfall:
        raise RulesError("venue.insurance.takes is 'unfilled', but the waterfall has no insurance")
    if rules.adl.plan == "before" and rules.adl.policy != "queue":
        raise RulesError(f"venue.adl.plan is 'before', but the policy is {rules.adl.policy!r}")
    if rules.adl.trigger != "bankrupt" and "adl" not in rules.waterfall:
        raise RulesError(f"venue.adl.trigger is {rules.adl.trigger!r}, but the waterfall has no adl")
    drawdown = rules.insurance.drawdown
    if drawdown is not None and drawdown.stop_ppb > drawdown.start_ppb:
        raise RulesError(
            f"venue.insurance.drawdown.stop_ppb: {drawdown.stop_ppb} is above start_ppb, "
            f"allowed is at most {drawdown.start_ppb}"
        )


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
    if rules.settlement.perpetual == "index" and rules.mark.formula != "index":
        raise RulesError(
            f"venue.settlement.perpetual is 'index', but the mark's formula is {rules.mark.formula!r}, "
            "allowed is 'index', at which whoever is below zero has been deleveraged"
        )
    takers = {"backstop", "insurance", "adl"}.intersection(rules.waterfall)
    if rules.default_fund.close_out == "auction" and takers:
        raise RulesError(
            f"venue.default_fund.close_out: 'auction' beside the stage {min(takers)!r}, "
            "allowed is a waterfall in which no other stage takes positions"
        )
    if rules.default_fund != DefaultFundRules() and "default_fund" not in rules.waterfall:
        raise RulesError("venue.default_fund is filled in, but the waterfall has no stage 'default_fund'")


def _check_collateral(rules: VenueRules) -> None:
    names = [rule.asset for rule in rules.collateral]
    for rule in rules.collateral:
        where = f"venue.collateral.{rule.asset}"
        if rule.asset == rules.settle_asset or names.count(rule.asset) > 1:
            raise RulesError(f"{where}: an asset is named once, and the settlement asset never")
        if rule.redemption_lag_ns and rule.tiers:
            raise RulesError(f"{where}.redemption_lag_ns: what is on its way cannot count by tiers")
        if rule.redemption_lag_ns and "backstop" in rules.waterfall:
            raise RulesError(f"{where}.redemption_lag_ns: a backstop cannot take over what is on its way")
        bounds = [tier.upto for tier in rule.tiers]
        if bounds != sorted(set(bounds)):
            raise RulesError(f"{where}.tiers: bounds {bounds} must ascend")
        ratios = [tier.ratio_ppb for tier in rule.tiers]
        if ratios != sorted(ratios, reverse=True):
            raise RulesError(f"{where}.tiers: ratios {ratios} must not rise with size")


def _check_hedge_mode(rules: VenueRules) -> None:
    where = "venue.margin"
    if rules.margin.hedge_mode and "default_fund" in rules.waterfall:
        raise RulesError(f"{where}.hedge_mode: legs are not modelled beside the stage 'default_fund'")
    if rules.margin.tier_sum == "gross" and "restore" in rules.liquidation.steps:
        raise RulesError(f"{where}.tier_sum: 'gross' is not modelled beside the step 'restore'")


def _check_portfolio(venue: VenueRules) -> None:
    rules, where = venue.portfolio, "venue.portfolio"
    symbols = [symbol for group in rules.groups for symbol in group.instruments]
    if len(set(symbols)) != len(symbols):
        raise RulesError(f"{where}.groups: {symbols} name an instrument twice")
    if not rules.moves_ppb and (rules.groups or rules.contingency_ppb or rules.offset_ppb):
        raise RulesError(f"{where}.moves_ppb is empty, but the rest of the grid is given")
    if rules.moves_ppb and "restore" in venue.liquidation.steps:
        raise RulesError(f"{where}.moves_ppb: what restores a portfolio is not modelled, steps has 'restore'")
    bounds = [level.at_ppb for level in rules.levels]
    if bounds != sorted(set(bounds), reverse=True):
        raise RulesError(f"{where}.levels: {bounds} must fall")
