"""Double entry: the only writer of balances."""

from collections.abc import Iterable

from zerodebt.exchange.accounts import Accounts
from zerodebt.exchange.events import Posted, PostReason

Leg = tuple[int, int, int]


class Ledger:
    """Posts legs (account, pocket, atoms) whose sum is zero in every asset. Property LEDG-01."""

    def __init__(self, accounts: Accounts, pocket_assets: tuple[int, ...]) -> None:
        self._balances = accounts.balances
        self.pocket_assets = pocket_assets

    def post(self, reason: PostReason, legs: Iterable[Leg]) -> Posted:
        """Apply the legs that are not zero and return them as an event."""
        kept = tuple(leg for leg in legs if leg[2])
        assets = self.pocket_assets
        sums: dict[int, int] = {}
        for _, pocket, atoms in kept:
            asset = assets[pocket]
            sums[asset] = sums.get(asset, 0) + atoms
        assert not any(sums.values()), f"{reason}: legs do not sum to zero: {kept}"
        cells = self._balances.cells
        for account, pocket, atoms in kept:
            cells[pocket][account] += atoms
        return Posted(reason, kept)

    def asset_sums(self) -> list[int]:
        """Sum of all balances of each asset: zero, always."""
        sums = [0] * (max(self.pocket_assets) + 1)
        for pocket, asset in enumerate(self.pocket_assets):
            sums[asset] += sum(self._balances.cells[pocket].tolist())
        return sums
