"""What a deficit rests on: its positions, the pools that answer for it, who won where it was lost."""

from zerodebt.exchange.audit.forms.payers import Claim
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.events import DeficitOpened


class Claims:
    """Positions with which compartments were found in this command, and the profits that it settled."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._found: dict[Compartment, list[Market]] = {}
        self._opened: dict[Compartment, Claim] = {}
        self._profits: dict[int, int] = {}

    def meet(self, key: Compartment) -> None:
        """Risk work comes upon a compartment; what it holds by then counts for the whole command."""
        if key not in self._found:
            self._found[key] = self._holdings.positions(*key)

    def settle(self, account: int, profit_atoms: int) -> None:
        """A settlement has realised this against what the account once paid."""
        self._profits[account] = self._profits.get(account, 0) + profit_atoms

    def open(self, event: DeficitOpened) -> None:
        """From now on the same pools answer, whatever becomes of the positions."""
        key = (event.account, event.pocket)
        self.meet(key)
        self._opened[key] = self._fresh(key)

    def close(self) -> None:
        self._opened.clear()

    def of(self, key: Compartment) -> Claim:
        return self._opened.get(key) or self._fresh(key)

    def _fresh(self, key: Compartment) -> Claim:
        holdings = self._holdings
        found = self._found.get(key, [])
        answering = holdings.positions(*key) or found or holdings.contracts
        pools = holdings.pools
        pockets = list(dict.fromkeys(market.clearing for market in answering))
        if len(pockets) < len(pools):
            pools = pockets
        return Claim(*key, found, pools, self._profits)

    def rest(self) -> None:
        self._found.clear()
        self._opened.clear()
        self._profits.clear()
