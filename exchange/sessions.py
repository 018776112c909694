"""Trading hours, expiries and the day's price limits of dated futures, all from the rulebook's data."""

from zerodebt.exchange.rules import ContractRules, Session
from zerodebt.exchange.state import State
from zerodebt.exchange.units import DAY_NS

_EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday."""


def is_within(session: Session, time_ns: int) -> bool:
    """From the opening on, the closing excluded; a session of yesterday may still last."""
    day, since_midnight = divmod(time_ns, DAY_NS)
    for days_ago in (0, 1):
        elapsed = since_midnight + days_ago * DAY_NS
        weekday = (day - days_ago + _EPOCH_WEEKDAY) % 7
        if weekday in session.weekdays and session.opens_ns <= elapsed < session.closes_ns:
            return True
    return False


def is_closed(state: State, instrument: int) -> bool:
    """Is it a dated future, with none of the rulebook's sessions open at the time of the command?"""
    sessions = state.rules.settlement.sessions
    if not sessions or state.instruments[instrument].kind != "future":
        return False
    return not any(is_within(session, state.time_ns) for session in sessions)


def stands_still(state: State, instrument: int) -> bool:
    """May nobody be forced to trade now, so that the mark must not move either?"""
    return not state.status[instrument].liquidate or is_closed(state, instrument)


def contract_of(state: State, instrument: int) -> ContractRules | None:
    """The rulebook's terms of a dated future, if it has any."""
    symbol = state.instruments[instrument].symbol
    return next((c for c in state.rules.settlement.contracts if c.symbol == symbol), None)


def expiring(state: State, instrument: int) -> ContractRules | None:
    """The terms of a future whose time has come, and which was not settled yet."""
    contract = contract_of(state, instrument)
    if contract is None or not contract.expires_at_ns or instrument in state.expired:
        return None
    return contract if state.time_ns >= contract.expires_at_ns else None


def limit_band(state: State, instrument: int) -> tuple[int, int] | None:
    """Lowest and highest price that an order may have today; None without a limit or a settlement so far."""
    if not state.rules.settlement.contracts:
        return None
    reference = state.settled_ticks.get(instrument)
    contract = contract_of(state, instrument)
    if reference is None or contract is None or not contract.limit_ticks:
        return None
    return reference - contract.limit_ticks, reference + contract.limit_ticks


def within_limits(state: State, instrument: int, side: int, price_ticks: int | None) -> int | None:
    """A market or forced order's price, no further than the day's limit; None still means any price."""
    band = limit_band(state, instrument)
    if band is None:
        return price_ticks
    edge = band[1] if side > 0 else band[0]
    if price_ticks is None:
        return edge
    return min(price_ticks, edge) if side > 0 else max(price_ticks, edge)
