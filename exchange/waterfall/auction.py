"""The auction of a defaulter's portfolio: which bid takes it."""

from collections.abc import Sequence

from zerodebt.exchange.commands import AuctionBid
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.margin import Change, initial_excess_atoms
from zerodebt.exchange.state import State


def best_bid(
    state: State, lots: Sequence[tuple[int, int]], bids: Sequence[AuctionBid]
) -> tuple[AuctionBid | None, list[int]]:
    """The bid that leaves the defaulter the most and can be borne, and the better ones that cannot.

    lots  (instrument, signed lots of the defaulter), in the order of the bids' prices
    """
    refused: list[int] = []
    for bid in sorted(bids, key=lambda bid: -_value(state, lots, bid)):
        if excess_after(state, lots, bid) >= 0:
            return bid, refused
        refused.append(bid.account)
    return None, refused


def _value(state: State, lots: Sequence[tuple[int, int]], bid: AuctionBid) -> int:
    prices = zip(lots, bid.price_ticks, strict=True)
    return sum(value_atoms(state.instruments[n], price, held) for (n, held), price in prices)


def excess_after(state: State, lots: Sequence[tuple[int, int]], bid: AuctionBid) -> int:
    """The bidder's equity over his initial requirement with the portfolio, resting orders at their worst."""
    now = initial_excess_atoms(state, bid.account)
    excess = now
    for (n, held), price in zip(lots, bid.price_ticks, strict=True):
        market = state.markets[n]
        gain = market.gain_atoms(held, price)
        excess += initial_excess_atoms(state, bid.account, Change(n, held, gain)) - now
    return excess
