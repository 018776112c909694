"""What a position of a cross account answers for, and what the fund gets or pays when lots of it are closed.

Amounts are atoms of the settlement asset; a quote amount is positive where the account receives it. A weight
is the position's requirement or its value, as the rulebook allocates a bankruptcy.
Source: dYdX v4 chain, protocol/x/clob/keeper (liquidations, deleveraging).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from zerodebt.exchange.margin import maintenance_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.state import State
from zerodebt.exchange.units import div_floor, mul_ppb_floor


def weight_of(state: State, account: int, market: Market, lots: int) -> int:
    """What a position of these signed lots weighs when its account's equity is allocated."""
    if state.rules.adl.bankruptcy_allocation == "pro_rata_value":
        return abs(market.value_atoms(lots))
    return maintenance_of(state, market, account, lots)


def weights_of(state: State, account: int, markets: Iterable[Market]) -> list[int]:
    """What an account's positions in these markets weigh, as they are."""
    lots = state.accounts.lots.cells
    return [weight_of(state, account, m, lots[m.number][account]) for m in markets]


class Closing(NamedTuple):
    """Lots that are closed: what they bring, their worth at the mark, the weight that goes with them."""

    quote_atoms: int
    value_atoms: int
    weight: int


def own_atoms(equity_atoms: int, weight: int, whole: int) -> int:
    """The part of an account's equity (or, below zero, of its debt) that goes with a weight, rounded down.

    All of it where nothing weighs.
    """
    return div_floor(equity_atoms * weight, whole) if whole else equity_atoms


def equity_shares(equity_atoms: int, weights: list[int]) -> Iterator[int]:
    """A compartment's equity over its positions, in proportion to weights; each takes of what is left.

    Rounded down, and the last takes what is left: shares sum to the equity, so that prices made of them never
    take more than it.
    """
    left, whole = equity_atoms, sum(weights)
    for weight in weights:
        share = own_atoms(left, weight, whole)
        yield share
        left -= share
        whole -= weight


def closings(
    state: State, account: int, market: Market, fills: Iterable[tuple[int, int]]
) -> Iterator[Closing]:
    """An account's fills one after the other, each (signed lots that it buys, what they bring in atoms)."""
    lots = state.accounts.lots.cells[market.number][account]
    for bought, quote in fills:
        after = lots + bought
        value = market.value_atoms(lots) - market.value_atoms(after)
        weight = weight_of(state, account, market, lots) - weight_of(state, account, market, after)
        yield Closing(quote, value, weight)
        lots = after


def bankruptcy_atoms(value_atoms: int, equity_atoms: int, weight: int, whole: int) -> int:
    """Quote amount at which closing lots takes the equity that goes with them, rounded against the account.

    BK = -(NNV after - NNV before) - floor(TNC * |MMR after - MMR before| / TMMR). Positive: the least that a
    sale must bring; negative: the most that a purchase may cost. LIQ-08.

    value_atoms  signed value of the closed lots at the mark
    """
    return value_atoms - own_atoms(equity_atoms, weight, whole)


def fund_delta_atoms(quote_atoms: int, bankruptcy_quote_atoms: int, fee_max_ppb: int) -> int:
    """What the fund receives (or, negative, pays) for a liquidation fill.

    Of what the fill brings beyond the bankruptcy amount at most floor(|quote| * fee); what it lacks the fund
    pays.
    """
    surplus = quote_atoms - bankruptcy_quote_atoms
    return min(surplus, mul_ppb_floor(abs(quote_atoms), fee_max_ppb)) if surplus > 0 else surplus


def can_bear(balance_atoms: int, delta_atoms: int) -> bool:
    """May the fill be made, or would the fund go below zero by it?"""
    return delta_atoms >= 0 or balance_atoms + delta_atoms >= 0


def fund_deltas(
    fills: Iterable[Closing], equity_atoms: int, whole: int, fee_max_ppb: int, fund_atoms: int | None
) -> list[int]:
    """What the fund receives or pays for each of an account's fills, one after the other.

    fund_atoms  what it can pay: the list ends before the first fill that this does not bear. None: it pays
                nothing, and what a fill lacks the rest of the account's equity bears
    """
    deltas: list[int] = []
    for fill in fills:
        least = bankruptcy_atoms(fill.value_atoms, equity_atoms, fill.weight, whole)
        delta = fund_delta_atoms(fill.quote_atoms, least, fee_max_ppb)
        if fund_atoms is None:
            delta = max(0, delta)
        elif can_bear(fund_atoms, delta):
            fund_atoms += delta
        else:
            break
        deltas.append(delta)
        equity_atoms += fill.quote_atoms - fill.value_atoms - delta
        whole -= fill.weight
    return deltas
