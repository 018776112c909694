"""What happened, in order: enough for a second opinion that never sees the venue's state.

A command's events form one `Batch`. Accounts below FIRST_ACCOUNT belong to the house; balances live in
pockets: pocket a is the wallet of asset a, pocket assets + i the margin of an isolated position in
instrument i (of the clearing account: the profit of that instrument that was paid out, with opposite sign).
A compartment is an account's cross pool (pocket = settlement asset) or an isolated position (its pocket).

Where the rulebook offers hedge mode, pocket assets + instruments + i is the margin of an isolated short leg
in instrument i. No event names a leg, since each follows from what it says: an order that opens belongs to
the leg of its side, a reduce-only order to the other one, and a position that moves to the leg of its sign.
"""

from typing import Literal

from msgspec import Struct

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import AuctionBid, MarginMode, PositionMode, Role, Side, TimeInForce, Trigger
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import StageName, VenueRules

EXTERNAL, FEES, ROUNDING, INSURANCE, DEFICIT, HOUSE, FINANCIER, CLEARING = range(8)
DEFAULT_FUND, LENDING, UNPAID = range(8, 11)
HOUSE_ACCOUNT_NAMES = (
    "external",
    "fees",
    "rounding",
    "insurance",
    "deficit",
    "house",
    "financier",
    "clearing",
    "default_fund",
    "lending",
    "unpaid",
)
FIRST_ACCOUNT = 16

PostReason = Literal[
    "deposit",
    "withdrawal",
    "isolate",
    "fill",
    "funding",
    "takeover",
    "deleverage",
    "settlement",
    "deficit",
    "backstop",
    "insurance",
    "socialise",
    "house",
    "recourse",
    "rounding",
    "conversion",
    "variation",
    "contribution",
    "auction",
    "default_fund",
    "surplus",
    "endowment",
    "settlement_haircut",
    "lending",
    "borrowing",
    "interest",
    "lenders",
    "redemption",
]
ConversionReason = Literal["owed", "loan_to_value", "liquidation", "bankruptcy", "insurance"]
CloseReason = Literal[
    "cancelled",
    "unfilled",
    "self_trade",
    "reduce_only",
    "maker_below_maintenance",
    "liquidation",
    "settlement",
    "conversion",
    "price_limit",
    "deleveraged",
]


FundLayer = Literal[
    "defaulter_contribution", "house_capital", "contributions", "assessments", "variation_haircut"
]


class Opened(Struct, frozen=True, array_like=True, tag="opened"):
    """First event of every run: the resolved rulebook and what is traded."""

    rules: VenueRules
    assets: tuple[Asset, ...]
    instruments: tuple[Instrument, ...]


class AccountsOpened(Struct, frozen=True, array_like=True, tag="accounts_opened"):
    first_account: int
    count: int
    role: Role


class BackstopSet(Struct, frozen=True, array_like=True, tag="backstop_set"):
    account: int
    instruments: tuple[int, ...]


class LeverageSet(Struct, frozen=True, array_like=True, tag="leverage_set"):
    account: int
    instrument: int
    leverage: int
    mode: MarginMode


class PositionModeSet(Struct, frozen=True, array_like=True, tag="position_mode_set"):
    account: int
    mode: PositionMode


class PositionsLoaded(Struct, frozen=True, array_like=True, tag="positions_loaded"):
    """Carried at `price_ticks`; `entry_ticks` is what each account once paid."""

    instrument: int
    price_ticks: int
    accounts: tuple[int, ...]
    lots: tuple[int, ...]
    entry_ticks: tuple[int, ...]
    leverage: tuple[int, ...]
    isolated_atoms: tuple[int, ...]


class Posted(Struct, frozen=True, array_like=True, tag="posted"):
    """Ledger legs (account, pocket, atoms); they sum to zero in every asset."""

    reason: PostReason
    legs: tuple[tuple[int, int, int], ...]


class Rejected(Struct, frozen=True, array_like=True, tag="rejected"):
    """`command` is the tag of what was refused."""

    account: int
    reason: RejectReason
    detail: str
    command: str


class OrderAccepted(Struct, frozen=True, array_like=True, tag="order_accepted"):
    """An order enters matching. What fills and an `OrderClosed` leave of it rests at the end of its queue."""

    order_id: int
    account: int
    instrument: int
    side: Side
    size_lots: int
    price_ticks: int | None
    tif: TimeInForce
    post_only: bool
    reduce_only: bool
    forced: bool


class OrderAmended(Struct, frozen=True, array_like=True, tag="order_amended"):
    """A resting order changed to `open_lots`; only with `keeps_place` does it stay where it was.

    Otherwise it left the book and enters matching again under its id: fills may follow, and what they leave
    rests at the end of its new level.
    """

    order_id: int
    price_ticks: int
    open_lots: int
    keeps_place: bool


class OrderReduced(Struct, frozen=True, array_like=True, tag="order_reduced"):
    """Self-trade prevention took lots off an order without a trade: the taker's first, then the maker's."""

    order_id: int
    open_lots: int


class OrderClosed(Struct, frozen=True, array_like=True, tag="order_closed"):
    """An order left with `open_lots` unfilled. An order filled whole has no such event."""

    order_id: int
    open_lots: int
    reason: CloseReason


class Quoted(Struct, frozen=True, array_like=True, tag="quoted"):
    """A mass quote: orders removed, then (order_id, side, price_ticks, size_lots) placed in this order."""

    account: int
    instrument: int
    removed: tuple[int, ...]
    placed: tuple[tuple[int, int, int, int], ...]
    refused: tuple[tuple[int, int, int], ...]


class Filled(Struct, frozen=True, array_like=True, tag="filled"):
    """A trade at the maker's price. Fees are positive when paid. A `Posted` with its legs follows."""

    trade_id: int
    instrument: int
    taker_side: Side
    price_ticks: int
    size_lots: int
    taker_order: int
    taker: int
    maker_order: int
    maker: int
    taker_fee_atoms: int
    maker_fee_atoms: int


class TriggerArmed(Struct, frozen=True, array_like=True, tag="trigger_armed"):
    order_id: int
    account: int
    instrument: int
    side: Side
    size_lots: int
    price_ticks: int | None
    reduce_only: bool
    trigger: Trigger


class TriggerFired(Struct, frozen=True, array_like=True, tag="trigger_fired"):
    """`reference_ticks` is the mark or last price that reached it; the order follows with a new id."""

    order_id: int
    reference_ticks: int


class Marked(Struct, frozen=True, array_like=True, tag="marked"):
    """An instrument's prices of this instant and the inputs of its mark (None: not to be had).

    `spread` is (best bid, best ask, last) as they stood before the command. While forced orders are halted
    the mark stands still. What the rulebook does not use is None.

    funded_index_ticks  index * (1 + last funding rate * time to funding / interval)
    basis_mean_ticks    index + mean of the sampled (mid - index)
    reference_ticks     index without the venue's own book, where that is one of its sources
    """

    instrument: int
    index_ticks: int
    mark_ticks: int
    previous_mark_ticks: int | None
    spread: tuple[int | None, int | None, int | None]
    index_basis_ticks: int | None
    book_median_ticks: int | None
    perp_median_ticks: int | None
    book_ema_ticks: int | None
    funded_index_ticks: int | None = None
    basis_mean_ticks: int | None = None
    reference_ticks: int | None = None


class FundingSampled(Struct, frozen=True, array_like=True, tag="funding_sampled"):
    instrument: int
    premium_ppt: int


class FundingSet(Struct, frozen=True, array_like=True, tag="funding_set"):
    """Rate of an interval, positive when longs pay, and the price it is paid on.

    `intervals` is 1 unless time stepped over several payments: each of them is then paid at this rate.
    `funding_index_ppm`, where funding accrues by index, is what one quantum has paid since the start, in
    millionths of an atom, with this payment.
    """

    instrument: int
    rate_ppt: int
    price_ticks: int
    intervals: int
    funding_index_ppm: int | None = None


class LiquidationStarted(Struct, frozen=True, array_like=True, tag="liquidation_started"):
    """A compartment was found below its maintenance requirement at the marks of this command.

    Here and below: equity without haircut, and what the haircut takes off before it meets the requirement.
    """

    account: int
    pocket: int
    equity_atoms: int
    maintenance_atoms: int
    haircut_atoms: int = 0


class LiquidationEnded(Struct, frozen=True, array_like=True, tag="liquidation_ended"):
    """The compartment is at or above its requirement again, or has no position left."""

    account: int
    pocket: int
    equity_atoms: int
    maintenance_atoms: int
    haircut_atoms: int = 0


class StageArmed(Struct, frozen=True, array_like=True, tag="stage_armed"):
    """A stage of the waterfall acts on a compartment, for the rulebook's condition in `because`."""

    stage: StageName
    account: int
    pocket: int
    equity_atoms: int
    maintenance_atoms: int
    because: str
    haircut_atoms: int = 0


class TakenOver(Struct, frozen=True, array_like=True, tag="taken_over"):
    """A position moved to `taker`; a `Posted` realises the profit and moves the margin.

    `price_ticks` is the mark, unless `mark_ticks` says that it is the bankruptcy price beside that mark.
    """

    account: int
    pocket: int
    taker: int
    instrument: int
    lots: int
    price_ticks: int
    mark_ticks: int | None = None


class DeficitOpened(Struct, frozen=True, array_like=True, tag="deficit_opened"):
    """A compartment is below zero by `atoms`; `origins` (account, atoms) says on whose positions it arose."""

    deficit_id: int
    account: int
    pocket: int
    asset: int
    atoms: int
    origins: tuple[tuple[int, int], ...]


class Deleveraged(Struct, frozen=True, array_like=True, tag="deleveraged"):
    """`lots` (the winner's, signed) were closed against a bankrupt compartment at `price_ticks`.

    `transfer_atoms` = (mark - price) * lots is what the winner gives up against the mark, never negative for
    the bankruptcy price of a debt; what the book could not fill of a solvent account (`deficit_id` 0) leaves
    its margin to the winners, and then it may be. `score` is the rank's score in parts per billion; ranks
    were frozen when the ADL of this instrument and command began. A policy without scores gives the
    place in its list, and 0.
    """

    deficit_id: int
    instrument: int
    account: int
    pocket: int
    winner: int
    winner_pocket: int
    lots: int
    price_ticks: int
    mark_ticks: int
    transfer_atoms: int
    profit_atoms: int
    rank: int
    score_ppb: int


class StagePaid(Struct, frozen=True, array_like=True, tag="stage_paid"):
    """A payer brought `atoms` to a named deficit (for ADL the winners' transfers are the payment).

    Deficit 0 is none: the fund paid what a fill of a forced order lacked, and a `Posted` before says to whom.
    `base_atoms`, where a class shares a loss, is what his share is in proportion to: what he won, in the
    session or at the settlement, or the value of his open lots. All atoms over all bases are the tax rate.
    """

    deficit_id: int
    stage: StageName
    payer: int
    atoms: int
    base_atoms: int | None = None


class DeficitClosed(Struct, frozen=True, array_like=True, tag="deficit_closed"):
    """What the waterfall left of a deficit, and what was taken beyond it (it stays with the compartment)."""

    deficit_id: int
    residual_atoms: int
    overcharge_atoms: int


class ReceivableBooked(Struct, frozen=True, array_like=True, tag="receivable_booked"):
    deficit_id: int
    account: int
    asset: int
    atoms: int


class StatusSet(Struct, frozen=True, array_like=True, tag="status_set"):
    """An intervention, unless it says that everything is allowed."""

    instrument: int
    open: bool
    reduce: bool
    liquidate: bool


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """All positions of the instrument closed at this price; a `Posted` follows."""

    instrument: int
    price_ticks: int


class PoolStatus(Struct, frozen=True, array_like=True, tag="pool_status"):
    """A pool of the fund closed, because it fell too far from the peak of the window, or opened again."""

    pocket: int
    is_closed: bool
    peak_atoms: int
    equity_atoms: int


class WorkLeft(Struct, frozen=True, array_like=True, tag="work_left"):
    """The bound on rounds of risk work was reached; the next index or tick goes on."""

    rounds: int


class VariationSettled(Struct, frozen=True, array_like=True, tag="variation_settled"):
    """All positions of the instrument are carried on at this price; a `Posted` pays the variation."""

    instrument: int
    price_ticks: int


class MarginCalled(Struct, frozen=True, array_like=True, tag="margin_called"):
    """A compartment below maintenance must bring `called_atoms` until `due_ns`."""

    account: int
    pocket: int
    equity_atoms: int
    maintenance_atoms: int
    called_atoms: int
    due_ns: int


class MarginCallEnded(Struct, frozen=True, array_like=True, tag="margin_call_ended"):
    """The compartment has reached what it was called to."""

    account: int
    pocket: int
    equity_atoms: int
    required_atoms: int


class DefaultDeclared(Struct, frozen=True, array_like=True, tag="default_declared"):
    """A member's call is overdue. `contributions` (account, atoms) are frozen for what this default needs."""

    account: int
    pocket: int
    contributions: tuple[tuple[int, int], ...]


class AuctionHeld(Struct, frozen=True, array_like=True, tag="auction_held"):
    """A whole portfolio went to `winner` at his prices; a `Posted` realises the profit.

    `lots` are the defaulter's, signed. `refused` made better bids than the winner and could not bear it.
    """

    account: int
    winner: int
    instruments: tuple[int, ...]
    lots: tuple[int, ...]
    price_ticks: tuple[int, ...]
    mark_ticks: tuple[int, ...]
    bids: tuple[AuctionBid, ...]
    refused: tuple[int, ...]


class LayerDrawn(Struct, frozen=True, array_like=True, tag="layer_drawn"):
    """What a layer of the default fund brings to a deficit: (account, atoms) by whose money it is."""

    deficit_id: int
    layer: FundLayer
    shares: tuple[tuple[int, int], ...]


class Contributed(Struct, frozen=True, array_like=True, tag="contributed"):
    """A member's contribution changed by `atoms`; a `Posted` moves them between wallet and fund."""

    account: int
    atoms: int


class ExchangeArmed(Struct, frozen=True, array_like=True, tag="exchange_armed"):
    """Collateral is sent to its spot market as a forced order, which follows, for what its owner owes.

    owed_atoms  the negative settlement balance; below zero itself where a bankrupt account owes nothing yet
                but the loss of its positions; of the fund, `insurance`, what its wallet lacks of the deficit
    """

    account: int
    instrument: int
    owed_atoms: int
    lots: int
    limit_ticks: int
    because: ConversionReason


class Converted(Struct, frozen=True, array_like=True, tag="converted"):
    """The insurance fund took collateral for `paid_atoms` of the settlement asset; a `Posted` follows.

    `instrument` is the spot market whose index, here `index_ticks`, is the price before the rulebook's ratio.
    """

    account: int
    instrument: int
    asset: int
    taker: int
    atoms: int
    index_ticks: int
    paid_atoms: int


class RedemptionSent(Struct, frozen=True, array_like=True, tag="redemption_sent"):
    """Collateral went back to its issuer at the index; a `Posted` takes it out of the venue.

    `owed_atoms` is the negative settlement balance, less what issuers owe the account already; `instrument`
    the spot market whose index, here `index_ticks`, is the price. The money comes at `due_ns`.
    """

    account: int
    instrument: int
    asset: int
    owed_atoms: int
    atoms: int
    index_ticks: int
    paid_atoms: int
    due_ns: int
    because: ConversionReason


class RedemptionPaid(Struct, frozen=True, array_like=True, tag="redemption_paid"):
    """The issuer pays for collateral of an account; a `Posted` brings the money in."""

    account: int
    asset: int
    paid_atoms: int


class Supplied(Struct, frozen=True, array_like=True, tag="supplied"):
    """An account lent `atoms` to the lending pool for this many shares; a `Posted` moves them."""

    account: int
    atoms: int
    share_count: int


class Redeemed(Struct, frozen=True, array_like=True, tag="redeemed"):
    """An account gave shares of the lending pool back for `atoms`; a `Posted` moves them.

    The venue does it for a bankrupt account before anybody else pays.
    """

    account: int
    share_count: int
    atoms: int


class InterestCharged(Struct, frozen=True, array_like=True, tag="interest_charged"):
    """Wallets below zero pay interest for `intervals`; a `Posted` moves it, unless nobody owes.

    owed_atoms   what all of them owe before it
    lent_atoms   what of that the pool finances; its part of the interest raises the index, the rest is the
                 house's
    share_index  what 10^15 shares are worth in atoms, with this interest
    """

    annual_rate_ppb: int
    intervals: int
    owed_atoms: int
    lent_atoms: int
    interest_atoms: int
    share_index: int


class WrittenDown(Struct, frozen=True, array_like=True, tag="written_down"):
    """Suppliers bear `atoms` of a deficit: every share is worth less by the same.

    claims_atoms  what all shares are worth afterwards. Nothing: they are void, and the index starts anew
    """

    deficit_id: int
    atoms: int
    share_index: int
    claims_atoms: int


Event = (
    Opened
    | AccountsOpened
    | BackstopSet
    | LeverageSet
    | PositionsLoaded
    | Posted
    | Rejected
    | OrderAccepted
    | OrderAmended
    | OrderReduced
    | OrderClosed
    | Quoted
    | Filled
    | TriggerArmed
    | TriggerFired
    | Marked
    | FundingSampled
    | FundingSet
    | LiquidationStarted
    | LiquidationEnded
    | StageArmed
    | TakenOver
    | DeficitOpened
    | Deleveraged
    | StagePaid
    | DeficitClosed
    | ReceivableBooked
    | StatusSet
    | Settled
    | WorkLeft
    | VariationSettled
    | MarginCalled
    | MarginCallEnded
    | DefaultDeclared
    | AuctionHeld
    | LayerDrawn
    | Contributed
    | ExchangeArmed
    | Converted
    | PoolStatus
    | PositionModeSet
    | Supplied
    | Redeemed
    | InterestCharged
    | WrittenDown
    | RedemptionSent
    | RedemptionPaid
)


class Batch(Struct, frozen=True, array_like=True):
    """The events of one command."""

    seq: int
    time_ns: int
    events: tuple[Event, ...]
