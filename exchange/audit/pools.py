"""Pools of the fund: which of them are closed, having fallen too far from their peak."""

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.forms.payers import Claim
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import INSURANCE, PoolStatus
from zerodebt.exchange.rules import VenueRules


class Pools:
    """Which pools are closed, and the peaks that they fell from.

    A pool is read at each instant, after marks and funding and before anything is done about them; of each
    sampling interval the largest reading counts, as long as the window reaches it.
    """

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings) -> None:
        self._rules = rules.insurance.drawdown
        self._cap = rules.insurance.net_notional_max_atoms
        self._holdings = holdings
        self._find = notes.find
        self._closed: set[int] = set()
        self._notes = notes
        self._peaks: dict[int, dict[int, int]] = {}
        self._is_sampled = False

    def sample(self) -> None:
        """Read every pool, once a command."""
        if self._rules is None or self._is_sampled:
            return
        self._is_sampled = True
        interval = self._notes.time_ns // self._rules.sample_ns
        reach = self._rules.window_ns // self._rules.sample_ns
        for pocket in {self._holdings.settle, *self._holdings.pools}:
            equity = self._holdings.equity(INSURANCE, pocket)
            peaks = {at: peak for at, peak in self._peaks.get(pocket, {}).items() if interval - at <= reach}
            peaks[interval] = max(equity, peaks.get(interval, equity))
            self._peaks[pocket] = peaks

    def _peak(self, pocket: int, equity: int) -> int:
        return max(self._peaks.get(pocket, {}).values(), default=equity)

    def rest(self) -> None:
        self._is_sampled = False

    def paying(self, claim: Claim) -> list[int]:
        """The pools that pay a debtor in cash: closed ones only where deleveraging reaches no position."""
        if not self._holdings.positions(claim.account, claim.pocket):
            return claim.pools
        return [pocket for pocket in claim.pools if pocket not in self._closed]

    def can_take(
        self, lots_by_market: dict[Market, int], parts: dict[int, int], *, by_worth: bool = False
    ) -> bool:
        """Is every pool open that bears a part, and has it; and does the cap leave room for the positions?

        Where pools close, an empty one is closed.
        by_worth  other assets count at the index; otherwise a pool must have its part in money
        """
        holdings, cap = self._holdings, self._cap
        for market, lots in lots_by_market.items():
            held = holdings.markets[market.instrument].lots_of(INSURANCE)
            if cap is not None and abs(holdings.value(market, held + lots)) > cap:
                return False
        least = 0 if self._rules is None else 1
        return all(
            pocket not in self._closed
            and holdings.equity(INSURANCE, pocket) >= max(atoms, least)
            and (by_worth or max(0, holdings.money(INSURANCE, pocket)) >= atoms)
            for pocket, atoms in parts.items()
        )

    def set_status(self, event: PoolStatus) -> None:
        pocket, rules = event.pocket, self._rules
        was_closed = pocket in self._closed
        equity = self._holdings.equity(INSURANCE, pocket)
        if pocket not in (self._holdings.settle, *self._holdings.pools):
            self._find("WFALL-01", f"pocket {pocket} is said to be a pool of the fund")
            return
        if rules is None or event.is_closed == was_closed:
            self._find("WFALL-01", f"pool {pocket} is said to be closed: {event.is_closed}, it was already")
            return
        if event.equity_atoms != equity:
            self._find(
                "WFALL-01",
                f"pool {pocket} is said to hold {event.equity_atoms}, it holds {equity}",
            )
        peak = self._peak(pocket, equity)
        if event.peak_atoms != peak:
            self._find(
                "WFALL-01", f"pool {pocket} is said to fall from {event.peak_atoms}, its peak is {peak}"
            )
        share = rules.stop_ppb if was_closed else rules.start_ppb
        fall = peak - equity
        is_fallen = fall * PPB >= peak * share and fall >= rules.fall_min_atoms
        if event.is_closed != (equity <= 0 or is_fallen):
            self._find(
                "WFALL-01",
                f"pool {pocket} is closed: {event.is_closed}, with {equity} of a peak of {peak}",
            )
        if event.is_closed:
            self._closed.add(pocket)
        else:
            self._closed.discard(pocket)
