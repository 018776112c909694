"""What may be asked of the venue. One command has one atomic outcome.

Sides are signs: BUY = 1, SELL = -1. A price of None is a market order; zero is a price like any other.
"""

from typing import Literal

from msgspec import Struct

BUY: Literal[1] = 1
SELL: Literal[-1] = -1
Side = Literal[1, -1]
TimeInForce = Literal["gtc", "ioc", "fok"]
SelfTrade = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
MarginMode = Literal["cross", "isolated"]
PositionMode = Literal["net", "hedge"]
PositionLeg = Literal["net", "long", "short"]
Role = Literal["customer", "vault"]


class Trigger(Struct, frozen=True, array_like=True):
    """Hold an order back until a reference price reaches `price_ticks`.

    A stop sells when the reference is at or below and buys when at or above; a take-profit is the reverse.
    """

    kind: Literal["stop", "take_profit"]
    reference: Literal["mark", "last"]
    price_ticks: int


class OpenAccounts(Struct, frozen=True, array_like=True, tag="open_accounts"):
    """Open `count` accounts with consecutive numbers."""

    count: int
    role: Role = "customer"


class Deposit(Struct, frozen=True, array_like=True, tag="deposit"):
    """Bring `atoms` of an asset in from outside: one amount an account, from `first_account` on."""

    asset: int
    first_account: int
    atoms: tuple[int, ...]


class Withdraw(Struct, frozen=True, array_like=True, tag="withdraw"):
    """Take `atoms` out; what the account needs for its positions and orders stays."""

    account: int
    asset: int
    atoms: int


class LoadPositions(Struct, frozen=True, array_like=True, tag="load_positions"):
    """Start with open positions, before the first index; signed lots sum to zero.

    The positions are carried at `price_ticks`, as if just settled there; `entry_ticks` is what each account
    once paid and counts for ranking and reports only. A positive `isolated_atoms` moves that much of the
    wallet into the position's own margin and makes it isolated; 0 keeps it cross.
    """

    instrument: int
    price_ticks: int
    accounts: tuple[int, ...]
    lots: tuple[int, ...]
    entry_ticks: tuple[int, ...]
    leverage: tuple[int, ...]
    isolated_atoms: tuple[int, ...]


class SetBackstop(Struct, frozen=True, array_like=True, tag="set_backstop"):
    """Make a vault account the backstop of these instruments."""

    account: int
    instruments: tuple[int, ...]


class SetLeverage(Struct, frozen=True, array_like=True, tag="set_leverage"):
    account: int
    instrument: int
    leverage: int
    mode: MarginMode = "cross"


class SetPositionMode(Struct, frozen=True, array_like=True, tag="set_position_mode"):
    """Choose between one net position in each contract and, in hedge mode, a long and a short leg at once.

    Only without positions and orders, and only where the rulebook offers it.
    """

    account: int
    mode: PositionMode


class TransferMargin(Struct, frozen=True, array_like=True, tag="transfer_margin"):
    """Move atoms from the wallet into an isolated position (positive) or back (negative)."""

    account: int
    instrument: int
    atoms: int
    leg: PositionLeg = "net"


class PlaceOrder(Struct, frozen=True, array_like=True, tag="place_order"):
    """A new order. `budget_atoms` is for fok alone: the most that a buyer's fills may cost in all, or the
    least that a seller's must bring; beyond it nothing is filled (exchange-core, FOK_BUDGET).

    An account in hedge mode names the `leg` in every order for a contract. Selling on the long leg and buying
    on the short one only reduce, as with `reduce_only`: a leg never flips.
    """

    account: int
    instrument: int
    side: Side
    size_lots: int
    price_ticks: int | None = None
    tif: TimeInForce = "gtc"
    post_only: bool = False
    reduce_only: bool = False
    self_trade: SelfTrade = "cancel_oldest"
    trigger: Trigger | None = None
    budget_atoms: int | None = None
    leg: PositionLeg = "net"


class AmendOrder(Struct, frozen=True, array_like=True, tag="amend_order"):
    """Change a resting order: `size_lots` is the new total size, filled part included.

    A smaller size keeps the place in the queue; a larger one or another price goes to the back.
    """

    account: int
    order_id: int
    price_ticks: int | None = None
    size_lots: int | None = None


class CancelOrder(Struct, frozen=True, array_like=True, tag="cancel_order"):
    account: int
    order_id: int


class CancelAll(Struct, frozen=True, array_like=True, tag="cancel_all"):
    """Cancel all orders and triggers of an account, in one instrument or (None) in all."""

    account: int
    instrument: int | None = None


class MassQuote(Struct, frozen=True, array_like=True, tag="mass_quote"):
    """Replace all orders of an account in an instrument by these (price_ticks, size_lots) levels, post-only.

    A level that would take is left out and named in the answer; the others stand.
    """

    account: int
    instrument: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class Observation(Struct, frozen=True, array_like=True):
    """What one source of the rulebook's index says about an instrument, and when it was published."""

    instrument: int
    source: int
    price_ticks: int
    published_ns: int


class UpdateIndex(Struct, frozen=True, array_like=True, tag="update_index"):
    """All prices of one instant; risk work follows."""

    observations: tuple[Observation, ...]


class Tick(Struct, frozen=True, array_like=True, tag="tick"):
    """Time passes: cooldowns, funding and risk work, at prices as they are."""


class SetStatus(Struct, frozen=True, array_like=True, tag="set_status"):
    """Say what an instrument allows; cancels and deposits are always possible."""

    instrument: int
    open: bool
    reduce: bool
    liquidate: bool


class SettleInstrument(Struct, frozen=True, array_like=True, tag="settle_instrument"):
    """End a contract: orders are cancelled and every position closes at the settlement price.

    Without a price that is the last index. A perpetual ends where the rulebook says how, at no stated price.
    """

    instrument: int
    price_ticks: int | None = None


class SettleVariation(Struct, frozen=True, array_like=True, tag="settle_variation"):
    """Settle a future for the day, or within it: every position is carried on at this price.

    What it gained or lost since the last time moves in cash, and the rulebook may call for margin.
    """

    instrument: int
    price_ticks: int


class Contribute(Struct, frozen=True, array_like=True, tag="contribute"):
    """Pay `atoms` from the wallet into the default fund (positive) or take them back (negative)."""

    account: int
    atoms: int


class AuctionBid(Struct, frozen=True, array_like=True):
    """What a member offers for a whole portfolio: a price for each of its instruments, in their order."""

    account: int
    price_ticks: tuple[int, ...]


class HoldAuction(Struct, frozen=True, array_like=True, tag="hold_auction"):
    """Sell the portfolio of a member in default to the best bid that can bear it.

    `instruments` are those of all his positions, ascending. The best bid is the one that leaves him the most;
    of equal ones the first.
    """

    account: int
    instruments: tuple[int, ...]
    bids: tuple[AuctionBid, ...]


class Supply(Struct, frozen=True, array_like=True, tag="supply"):
    """Lend `atoms` of the wallet to the venue's lending pool, for shares; they are no margin any more."""

    account: int
    atoms: int


class Redeem(Struct, frozen=True, array_like=True, tag="redeem"):
    """Give shares of the lending pool back for what they are worth, as far as the pool has not lent it."""

    account: int
    share_count: int


class Borrow(Struct, frozen=True, array_like=True, tag="borrow"):
    """Take `atoms` of the settlement asset out: first the wallet's, beyond it the lending pool's.

    A deposit pays it back.
    """

    account: int
    atoms: int


Command = (
    OpenAccounts
    | Deposit
    | Withdraw
    | LoadPositions
    | SetBackstop
    | SetLeverage
    | TransferMargin
    | PlaceOrder
    | AmendOrder
    | CancelOrder
    | CancelAll
    | MassQuote
    | UpdateIndex
    | Tick
    | SetStatus
    | SettleInstrument
    | SettleVariation
    | Contribute
    | HoldAuction
    | SetPositionMode
    | Supply
    | Redeem
    | Borrow
)


class Stamped(Struct, frozen=True, array_like=True):
    """A command as the journal keeps it."""

    seq: int
    time_ns: int
    command: Command
