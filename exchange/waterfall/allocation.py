"""Bankruptcy of a cross account, allocated over its positions by their requirement, and what follows from it.

The rules of dYdX v4 as pure functions over integers: every price is the index (their oracle price), amounts
are atoms of the settlement asset, and a signed amount of a trade is positive where the account receives it.
Source: dYdX v4 chain, protocol/x/clob/keeper (liquidations, deleveraging) and x/subaccounts/lib.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from zerodebt.exchange.instruments import MarginTable, initial_atoms, maintenance_atoms
from zerodebt.exchange.units import div_ceil, mul_ppb_floor

Refusal = Literal["invalid_delta", "state_transition_refused"]


class Standing(Struct, frozen=True):
    """An account's net collateral and its two requirements, in atoms."""

    equity_atoms: int
    initial_atoms: int
    maintenance_atoms: int


class Holding(Struct, frozen=True):
    """A position: signed lots, the value of one lot at the index, and its table of requirements."""

    instrument: int
    lots: int
    lot_value_atoms: int
    margin: MarginTable

    @property
    def value_atoms(self) -> int:
        return self.lots * self.lot_value_atoms

    @property
    def maintenance_atoms(self) -> int:
        return maintenance_atoms(self.margin, abs(self.value_atoms), abs(self.lots))

    @property
    def initial_atoms(self) -> int:
        return initial_atoms(self.margin, abs(self.value_atoms), abs(self.lots), 0)


class CrossAccount(Struct, frozen=True):
    """Cash, and at most one holding an instrument."""

    cash_atoms: int
    holdings: tuple[Holding, ...]

    @property
    def standing(self) -> Standing:
        return Standing(
            self.cash_atoms + sum(h.value_atoms for h in self.holdings),
            sum(h.initial_atoms for h in self.holdings),
            sum(h.maintenance_atoms for h in self.holdings),
        )

    def holding(self, instrument: int) -> Holding | None:
        return next((h for h in self.holdings if h.instrument == instrument), None)

    def after(self, instrument: int, delta_lots: int, quote_atoms: int) -> "CrossAccount":
        """The account after a trade in an instrument that it holds."""
        holdings = (
            structs.replace(h, lots=h.lots + delta_lots) if h.instrument == instrument else h
            for h in self.holdings
        )
        return CrossAccount(self.cash_atoms + quote_atoms, tuple(h for h in holdings if h.lots))


def share_atoms(missing_atoms: int, part: int, whole: int) -> int:
    """What a part of the requirement (or of the value) answers for of a shortfall, rounded up.

    `missing_atoms` is minus the equity: below zero it is a surplus, of which the part may keep the floor.
    """
    return div_ceil(missing_atoms * part, whole) if whole else missing_atoms


def bankruptcy_atoms(
    equity_atoms: int, value_change_atoms: int, requirement_change_atoms: int, requirement_atoms: int
) -> int:
    """Quote amount of a trade that leaves its part of the account with nothing.

    BK = -(NNV after - NNV before) - floor(TNC * |MMR after - MMR before| / TMMR). Positive: the least that a
    sale must bring; negative: the most that a purchase may cost. Rounded against the account.
    """
    return -value_change_atoms + share_atoms(-equity_atoms, abs(requirement_change_atoms), requirement_atoms)


def bankruptcy_quote_atoms(account: CrossAccount, instrument: int, delta_lots: int) -> int:
    """`bankruptcy_atoms` of a trade of `delta_lots` in a position of the account."""
    before, after = account.holding(instrument), account.after(instrument, delta_lots, 0).holding(instrument)
    assert before is not None, "the account holds no such position"
    required = after.maintenance_atoms if after else 0
    standing = account.standing
    return bankruptcy_atoms(
        standing.equity_atoms,
        delta_lots * before.lot_value_atoms,
        required - before.maintenance_atoms,
        standing.maintenance_atoms,
    )


def insurance_delta_atoms(quote_atoms: int, bankruptcy_quote: int, fee_max_ppb: int) -> int:
    """What the fund receives (or, negative, pays) for a liquidation fill of this signed quote amount.

    Beyond the bankruptcy amount the fund takes at most floor(|quote| * fee); short of it the fund pays.
    """
    surplus = quote_atoms - bankruptcy_quote
    return min(surplus, mul_ppb_floor(abs(quote_atoms), fee_max_ppb)) if surplus > 0 else surplus


def fund_covers(balance_atoms: int, delta_atoms: int) -> bool:
    """May the fill be made? If not, the position is deleveraged."""
    return delta_atoms >= 0 or balance_atoms + delta_atoms >= 0


def deleveraging_price(
    equity_atoms: int, *, is_final_settlement: bool
) -> Literal["bankruptcy", "index"] | None:
    """Why an account may be deleveraged now: below zero, or because its market is settled for good."""
    if equity_atoms < 0:
        return "bankruptcy"
    return "index" if is_final_settlement else None


def is_allowed(before: Standing, after: Standing) -> bool:
    """May a trade leave the account so? Above the initial requirement always, below it if it gets no worse.

    No worse: the maintenance requirement does not rise, and net collateral over it does not fall; without a
    position before or after, net collateral must rise.
    """
    if after.equity_atoms >= after.initial_atoms:
        return True
    if after.maintenance_atoms > before.maintenance_atoms:
        return False
    if not after.maintenance_atoms or not before.maintenance_atoms:
        return after.equity_atoms > before.equity_atoms
    return after.equity_atoms * before.maintenance_atoms >= before.equity_atoms * after.maintenance_atoms


def is_closing(delta_lots: int, closed: Holding | None, offsetting: Holding | None) -> bool:
    """Does the trade make both positions smaller, which lie on opposite sides?"""
    if closed is None or offsetting is None or not delta_lots:
        return False
    return (
        delta_lots * closed.lots < 0 < delta_lots * offsetting.lots
        and abs(delta_lots) <= abs(closed.lots)
        and abs(delta_lots) <= abs(offsetting.lots)
    )


def offset(
    closed: CrossAccount,
    offsetting: CrossAccount,
    instrument: int,
    delta_lots: int,
    price: Literal["bankruptcy", "index"] = "bankruptcy",
) -> tuple[CrossAccount, CrossAccount] | Refusal:
    """Both accounts after `delta_lots` (of the first) changed hands at its bankruptcy price or the index."""
    holding = closed.holding(instrument)
    if not is_closing(delta_lots, holding, offsetting.holding(instrument)):
        return "invalid_delta"
    assert holding is not None
    quote = -delta_lots * holding.lot_value_atoms
    if price == "bankruptcy":
        quote = bankruptcy_quote_atoms(closed, instrument, delta_lots)
    after = closed.after(instrument, delta_lots, quote)
    other = offsetting.after(instrument, -delta_lots, -quote)
    if not is_allowed(closed.standing, after.standing):
        return "state_transition_refused"
    if not is_allowed(offsetting.standing, other.standing):
        return "state_transition_refused"
    return after, other


def offset_all(
    closed: CrossAccount, met: Sequence[CrossAccount], instrument: int, delta_lots: int
) -> tuple[CrossAccount, list[CrossAccount], list[int]]:
    """Deleverage `delta_lots` against accounts in the order in which they are met.

    Returns the account, those that were met, and what each took (signed like `delta_lots`). Each is asked for
    all that is left or all that he holds; same side, no position, or bankruptcy prices that do not overlap
    pass him over.
    """
    accounts: list[CrossAccount] = []
    taken: list[int] = []
    for account in met:
        holding = account.holding(instrument)
        open_lots = delta_lots - sum(taken)
        lots = min(abs(open_lots), abs(holding.lots)) if holding else 0
        result = offset(closed, account, instrument, lots if delta_lots > 0 else -lots)
        if isinstance(result, tuple):
            closed, account = result
            taken.append(lots if delta_lots > 0 else -lots)
        else:
            taken.append(0)
        accounts.append(account)
    return closed, accounts, taken
