"""What time brings: marks of an instant, premium samples, funding."""

from collections.abc import Iterator

import numpy as np

from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.events import (
    EXTERNAL,
    FIRST_ACCOUNT,
    HOUSE,
    LENDING,
    ROUNDING,
    FundingSampled,
    FundingSet,
    InterestCharged,
    Marked,
    RedemptionPaid,
)
from zerodebt.exchange.funding import (
    add_premium,
    cap_ppt,
    exposure_atoms,
    index_delta_ppm,
    payment_atoms,
    premium_average_ppt,
    premium_ppt,
    rate_ppt,
    settled_atoms,
    settlement_ppm,
    top_rates_ppt,
)
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.lending import annual_rate_ppb, earned_atoms, interest_atoms, utilisation_ppb
from zerodebt.exchange.marks import (
    fresh_prices,
    index_move_ppb,
    index_ticks,
    mark_inputs,
    mark_ticks,
    move_ppb,
    observe_own,
    reference_ticks,
)
from zerodebt.exchange.sessions import stands_still
from zerodebt.exchange.state import State
from zerodebt.exchange.waterfall import lenders

_METER_MAX_PPB = 2**60


def set_marks(state: State, clearing: Clearing) -> None:
    """Index and mark of every instrument; a mark stands still while nobody may be forced to trade."""
    rules = state.rules
    funding_left_ns = max(0, state.counters.next_funding_ns - state.time_ns)
    largest = 0
    pledged = {collateral.market.number for collateral in state.collateral}
    for market in state.markets:
        prices = market.prices
        before = prices.index_ticks
        book = state.books[market.number]
        observe_own(market, rules, book, state.time_ns)
        index = index_ticks(rules.index, fresh_prices(market, rules, ("spot", "own"), state.time_ns))
        if index is not None:
            prices.index_ticks = index
        assert prices.index_ticks is not None
        inputs = mark_inputs(market, rules, book, prices.index_ticks, state.time_ns, funding_left_ns)
        mark = mark_ticks(rules.mark, inputs)
        mark = max(market.instrument.price_min_ticks, min(market.instrument.price_max_ticks, mark))
        if stands_still(state, market.number) and prices.mark_ticks is not None:
            mark = prices.mark_ticks
        if market.instrument.kind != "spot":
            largest = max(largest, move_ppb(market, mark))
        elif market.number in pledged:
            largest = max(largest, index_move_ppb(market, before))
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
                inputs.funded_index_ticks,
                inputs.basis_mean_ticks,
                reference_ticks(market, rules, state.time_ns),
            )
        )
    state.counters.meter_ppb += largest
    if state.counters.meter_ppb > _METER_MAX_PPB:
        state.counters.meter_ppb = 0
        state.accounts.recheck_at.array[0, FIRST_ACCOUNT:] = -1


def sample_funding(state: State, clearing: Clearing) -> None:
    """One premium sample of every perpetual that has not ended."""
    for market in state.markets:
        if market.instrument.kind != "perpetual" or market.number in state.expired:
            continue
        prices = market.prices
        assert prices.index_ticks is not None
        assert prices.mark_ticks is not None
        rules = state.rules.funding
        book = state.books[market.number]
        premium = premium_ppt(book, rules, market.instrument, prices.index_ticks, prices.mark_ticks)
        add_premium(prices, rules, premium)
        clearing.out.append(FundingSampled(market.number, premium))


def pay_funding(state: State, clearing: Clearing, intervals: int) -> None:
    """One posting an instrument: payers owe rounded up, receivers get rounded down.

    The rounding account gets what that leaves, less than an atom a position.
    """
    rules = state.rules.funding
    for market in state.markets:
        prices = market.prices
        if market.instrument.kind != "perpetual" or not prices.premium_samples:
            continue
        if market.number in state.expired:
            continue
        cap = cap_ppt(rules, market.instrument.symbol, *top_rates_ppt(market.instrument))
        rate = rate_ppt(rules, premium_average_ppt(prices, rules), cap)
        prices.premium_sum_ppt = prices.premium_samples = 0
        prices.premiums_ppt = []
        prices.last_rate_ppt = rate
        price = prices.index_ticks if rules.paid_on == "index" else prices.mark_ticks
        assert price is not None
        settled_ppm, index_ppm = prices.funding_index_ppm, None
        if rules.accrual == "index":
            lot_value = exposure_atoms(market.instrument, price, 1)
            prices.funding_index_ppm += intervals * index_delta_ppm(rate, lot_value, rules.quanta_per_lot)
            index_ppm = prices.funding_index_ppm
        clearing.out.append(FundingSet(market.number, rate, price, intervals, index_ppm))
        legs: list[Leg] = []
        total = 0
        for n, account, held in _held(state, market.number):
            if index_ppm is None:
                value = exposure_atoms(market.instrument, price, held)
                owed = payment_atoms(value, rate * intervals)
            else:
                owed = settled_atoms(settlement_ppm(held * rules.quanta_per_lot, index_ppm, settled_ppm))
            total += owed
            legs.append((*state.compartment_of(account, n), -owed))
        legs.append((ROUNDING, state.settle, total))
        clearing.post("funding", legs)


def _held(state: State, instrument: int) -> Iterator[tuple[int, int, int]]:
    """(slot, account, signed lots) of every position in an instrument."""
    for leg in state.legs_of(instrument):
        lots = state.accounts.lots.array[leg.number, : state.accounts.count]
        rows = np.flatnonzero(lots)
        for account, held in zip(rows.tolist(), lots[rows].tolist(), strict=True):
            yield leg.number, account, held


def charge_interest(state: State, clearing: Clearing) -> None:
    """One posting for all wallets below zero: what they owe rounded up, the pool's part of it rounded down.

    The pool gets the part that it finances of all that is owed, the house the rest. What is owed now counts
    for all of the time since the last charge: whoever borrowed just before pays for all of it, whoever paid
    back pays nothing. Both are our choice.
    """
    rules, pool = state.rules.lending, state.lending
    if rules is None or pool is None or state.time_ns < pool.next_ns:
        return
    due_ns = pool.next_ns
    pool.next_ns = (state.time_ns // rules.interval_ns + 1) * rules.interval_ns
    if not due_ns:
        return
    intervals = (state.time_ns - due_ns) // rules.interval_ns + 1
    borrowers, held = lenders.borrowers(state), lenders.pool_atoms(state)
    owed = sum(atoms for _, atoms in borrowers)
    lent = min(owed, held)
    rate = annual_rate_ppb(rules, utilisation_ppb(owed, held))
    elapsed_ns = intervals * rules.interval_ns
    legs: list[Leg] = [
        (account, state.settle, -interest_atoms(atoms, rate, elapsed_ns)) for account, atoms in borrowers
    ]
    paid = -sum(atoms for _, _, atoms in legs)
    earned = earned_atoms(paid, lent, owed)
    pool.earn(earned)
    clearing.out.append(InterestCharged(rate, intervals, owed, lent, paid, pool.index))
    legs += [(LENDING, state.settle, earned), (HOUSE, state.settle, paid - earned)]
    clearing.post("interest", legs)


def pay_redemptions(state: State, clearing: Clearing) -> None:
    """What issuers owe for redeemed collateral arrives when its lag is over, in the order of the requests."""
    due = [redemption for redemption in state.redemptions if redemption.due_ns <= state.time_ns]
    for redemption in due:
        state.redemptions.remove(redemption)
        account, atoms = redemption.account, redemption.atoms
        state.accounts.coming.cells[redemption.row][account] -= atoms
        clearing.out.append(RedemptionPaid(account, state.collateral[redemption.row].asset, atoms))
        clearing.post("redemption", [(account, state.settle, atoms), (EXTERNAL, state.settle, -atoms)])
        state.accounts.session_base.cells[0][account] += atoms
