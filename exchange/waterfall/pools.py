"""The insurance fund's pools: which of them answers for what, and when a fall closes one of them.

A pool is a compartment of the INSURANCE account: its wallet, or, by instrument, the pocket beside which its
positions in the instrument are isolated. The wallet may hold assets beside the settlement asset: they
count in its equity at the index, and pay for nobody before they are sold.
"""

from collections.abc import Sequence

from zerodebt.exchange.collateral import worth_atoms
from zerodebt.exchange.events import INSURANCE
from zerodebt.exchange.margin import risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import DrawdownRules
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import PPB, mul_ppb_floor, split_exact


def pools(state: State) -> list[Compartment]:
    """All pools, the wallet first."""
    wallet = (INSURANCE, state.settle)
    if state.rules.insurance.scope == "shared":
        return [wallet]
    return [wallet, *_pools_of(state, state.contracts)]


def bearers(state: State, markets: Sequence[Market]) -> list[Compartment]:
    """The pools that answer for a deficit on positions in these markets; all of them if there are none."""
    if state.rules.insurance.scope == "shared":
        return [(INSURANCE, state.settle)]
    return _pools_of(state, markets or state.contracts)


def _pools_of(state: State, markets: Sequence[Market]) -> list[Compartment]:
    """The pool of each instrument, once where both of its legs are named."""
    numbers = dict.fromkeys(market.instrument_number for market in markets)
    return [state.compartment_of(INSURANCE, number) for number in numbers]


def equity_atoms(state: State, pool: Compartment) -> int:
    return risk_of(state, pool).equity_atoms


def money_atoms(state: State, pool: Compartment) -> int:
    """A pool's equity without what it holds in other assets; may be below zero."""
    equity = equity_atoms(state, pool)
    if pool[1] == state.settle:
        balances, coming = state.accounts.balances.cells, state.accounts.coming.cells
        for collateral in state.collateral:
            equity -= worth_atoms(collateral, balances[collateral.asset][INSURANCE])
            equity -= coming[collateral.row][INSURANCE]
    return equity


def payable_atoms(state: State, pool: Compartment) -> int:
    """What a pool can pay at once."""
    return max(0, money_atoms(state, pool))


def may_sell(state: State) -> bool:
    """Would the fund's wallet stay at or above zero if all that it holds went at the lowest price?"""
    wallet = (INSURANCE, state.settle)
    money = money_atoms(state, wallet)
    held = equity_atoms(state, wallet) - money
    return money + mul_ppb_floor(held, state.rules.exchange.price_ratio_ppb) >= 0


def cash_atoms(state: State) -> int:
    """What the fund may buy collateral for: money in its wallet that its positions have not lost."""
    wallet = (INSURANCE, state.settle)
    return max(0, min(state.accounts.balances.cells[state.settle][INSURANCE], payable_atoms(state, wallet)))


def may_hold(state: State, asset: int) -> bool:
    """Could the fund pay out of this asset: does it settle, or is it sold at once by a wallet that pays?"""
    if asset == state.settle:
        return True
    is_sold = any(c.asset == asset and not c.rule.redemption_lag_ns for c in state.collateral)
    return is_sold and state.rules.insurance.scope == "shared"


def endowment_legs(state: State, atoms: int) -> list[tuple[int, int, int]]:
    """Split what was brought into the fund's wallet evenly over its pools, the first get the odd atoms."""
    pockets = [pocket for _, pocket in pools(state)[1:]]
    if not pockets:
        return []
    shares = split_exact(atoms, [1] * len(pockets))
    legs = [(INSURANCE, pocket, share) for pocket, share in zip(pockets, shares, strict=True)]
    return [(INSURANCE, state.settle, -atoms), *legs]


def takes_position(state: State, market: Market, lots: int) -> bool:
    """Does the cap on a pool's position in an instrument leave room for these signed lots at the mark?"""
    cap = state.rules.insurance.net_notional_max_atoms
    held = state.accounts.lots.cells[market.instrument_number][INSURANCE]
    return cap is None or abs(market.value_atoms(held + lots)) <= cap


def is_drawn_down(rules: DrawdownRules, peak_atoms: int, now_atoms: int, *, was_drawn_down: bool) -> bool:
    """Has a pool fallen too far from its peak? A fall of exactly the threshold counts.

    Sources: Bybit docs, ADL alert; OKX help centre, Insurance fund and ADL.
    """
    if now_atoms <= 0:
        return True
    rate = rules.stop_ppb if was_drawn_down else rules.start_ppb
    return (peak_atoms - now_atoms) * PPB >= max(peak_atoms * rate, rules.fall_min_atoms * PPB)


def sample_peaks(state: State, rules: DrawdownRules) -> None:
    """Keep the largest equity of each pool in each interval of `sample_ns` that the window reaches.

    Read at each instant, after marks and funding and before anything is done about them.
    """
    now = state.time_ns // rules.sample_ns
    oldest = now - rules.window_ns // rules.sample_ns
    for pool in pools(state):
        equity = equity_atoms(state, pool)
        peaks = {at: peak for at, peak in state.pool_peaks.get(pool[1], ()) if at >= oldest}
        peaks[now] = max(equity, peaks.get(now, equity))
        state.pool_peaks[pool[1]] = sorted(peaks.items())


def peak_atoms(state: State, pool: Compartment) -> int:
    """The largest equity in the window; what it is now, where nothing was sampled."""
    return max((peak for _, peak in state.pool_peaks.get(pool[1], ())), default=equity_atoms(state, pool))
