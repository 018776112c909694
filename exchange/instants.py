"""What time brings: marks of an instant, premium samples, funding."""

import numpy as np

from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.events import FIRST_ACCOUNT, ROUNDING, FundingSampled, FundingSet, Marked
from zerodebt.exchange.funding import payment_atoms, premium_ppt, rate_ppt
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.marks import mark_inputs, mark_ticks, move_ppb, source_median
from zerodebt.exchange.sessions import stands_still
from zerodebt.exchange.state import State
from zerodebt.exchange.units import div_floor

_METER_MAX_PPB = 2**60


def set_marks(state: State, clearing: Clearing) -> None:
    """Index and mark of every instrument; a mark stands still while nobody may be forced to trade."""
    rules = state.rules
    largest = 0
    for market in state.markets:
        prices = market.prices
        index = source_median(market, rules, "spot", state.time_ns)
        if index is not None:
            prices.index_ticks = index
        assert prices.index_ticks is not None
        inputs = mark_inputs(market, rules, state.books[market.number], prices.index_ticks, state.time_ns)
        mark = prices.index_ticks if rules.mark.formula == "index" else mark_ticks(inputs)
        mark = max(market.instrument.price_min_ticks, min(market.instrument.price_max_ticks, mark))
        if stands_still(state, market.number) and prices.mark_ticks is not None:
            mark = prices.mark_ticks
        if market.instrument.kind != "spot":
            largest = max(largest, move_ppb(market, mark))
        prices.previous_mark_ticks = prices.mark_ticks
        prices.mark_ticks = mark
        clearing.out.append(
            Marked(
                market.number,
                prices.index_ticks,
                mark,
                prices.previous_mark_ticks,
                inputs.spread,
                inputs.index_basis_ticks,
                inputs.book_median_ticks,
                inputs.perp_median_ticks,
                inputs.book_ema_ticks,
            )
        )
    state.counters.meter_ppb += largest
    if state.counters.meter_ppb > _METER_MAX_PPB:
        state.counters.meter_ppb = 0
        state.accounts.recheck_at.array[0, FIRST_ACCOUNT:] = -1


def sample_funding(state: State, clearing: Clearing) -> None:
    for market in state.markets:
        if market.instrument.kind != "perpetual":
            continue
        prices = market.prices
        assert prices.index_ticks is not None
        book = state.books[market.number]
        premium = premium_ppt(book, state.rules.funding, prices.index_ticks, market.tick_value)
        prices.premium_sum_ppt += premium
        prices.premium_samples += 1
        clearing.out.append(FundingSampled(market.number, premium))


def pay_funding(state: State, clearing: Clearing, intervals: int) -> None:
    """One posting an instrument: payers owe rounded up, receivers get rounded down."""
    for market in state.markets:
        prices = market.prices
        if market.instrument.kind != "perpetual" or not prices.premium_samples:
            continue
        rate = rate_ppt(state.rules.funding, div_floor(prices.premium_sum_ppt, prices.premium_samples))
        prices.premium_sum_ppt = prices.premium_samples = 0
        price = prices.index_ticks if state.rules.funding.paid_on == "index" else prices.mark_ticks
        assert price is not None
        clearing.out.append(FundingSet(market.number, rate, price, intervals))
        n = market.number
        rows = np.flatnonzero(state.accounts.lots.array[n, : state.accounts.count])
        lots = state.accounts.lots.array[n, rows].tolist()
        legs: list[Leg] = []
        total = 0
        for account, held in zip(rows.tolist(), lots, strict=True):
            owed = payment_atoms(held, price, market.tick_value, rate * intervals)
            total += owed
            legs.append((*state.compartment_of(account, n), -owed))
        legs.append((ROUNDING, state.settle, total))
        clearing.post("funding", legs)
