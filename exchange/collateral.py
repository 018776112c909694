"""What an account's assets are worth as margin.

In the rulebooks of today one asset answers for positions: the settlement asset. Its wallet counts in full;
what resting spot purchases have promised is not free. Other assets are held and traded, and answer for
nothing.
"""

from zerodebt.exchange.accounts import Accounts
from zerodebt.exchange.marks import Market


def promised_atoms(accounts: Accounts, markets: list[Market], account: int, asset: int) -> int:
    """Atoms of `asset` that the account's resting spot orders would hand over."""
    promised = 0
    for market in markets:
        instrument = market.instrument
        if instrument.kind != "spot":
            continue
        if instrument.settle_asset == asset:
            promised += accounts.buy_value.cells[market.number][account]
        if instrument.base_asset == asset:
            promised += accounts.sell_lots.cells[market.number][account] * instrument.lot_atoms
    return promised


def free_atoms(accounts: Accounts, markets: list[Market], account: int, asset: int) -> int:
    """Wallet less what resting spot orders have promised; of an asset that carries no positions."""
    return accounts.balances.cells[asset][account] - promised_atoms(accounts, markets, account, asset)
