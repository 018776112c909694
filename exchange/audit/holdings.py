"""Who has what: balances by pocket, positions by market, and what they are worth at the marks."""

from collections.abc import Iterable
from hashlib import blake2b

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.lineage import Lineage
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    CLEARING,
    FIRST_ACCOUNT,
    INSURANCE,
    AccountsOpened,
    BackstopSet,
    LeverageSet,
    Opened,
    PositionsLoaded,
)

# (account, pocket): the smallest pool that answers for a position.
Compartment = tuple[int, int]


class Holdings:
    """Balances, positions and memberships of every account, as the events move them."""

    def __init__(self, opened: Opened, notes: Notes) -> None:
        self._find = notes.find
        self.markets = [
            Market(n, spec, opened.rules, len(opened.assets) + n) for n, spec in enumerate(opened.instruments)
        ]
        self.contracts = [market for market in self.markets if not market.is_spot]
        self.assets = len(opened.assets)
        self.settle = [asset.symbol for asset in opened.assets].index(opened.rules.settle_asset)
        self.other_assets = [asset for asset in range(self.assets) if asset != self.settle]
        self.pocket_assets = (*range(self.assets), *(m.spec.settle_asset for m in self.markets))
        self.balances: list[list[int]] = [[0] * FIRST_ACCOUNT for _ in self.pocket_assets]
        self.held: list[dict[int, list[int]]] = [{} for _ in range(FIRST_ACCOUNT)]
        self.lot_values: list[int | None] = [None] * len(self.markets)
        self.alone: dict[int, set[int]] = {}
        self.backstops: dict[int, int] = {}
        self.serving: set[int] = set()
        self.brought_in: dict[int, int] = {}
        self.touched: set[int] = set()
        self.all_touched = False
        self._vaults: set[int] = set()
        self._lineage = Lineage()

    def open_accounts(self, event: AccountsOpened) -> None:
        if event.first_account != len(self.held):
            self._find("EVENT-02", f"account {event.first_account} is opened, the next is {len(self.held)}")
        for row in self.balances:
            row.extend([0] * event.count)
        self.held.extend({} for _ in range(event.count))
        if event.role == "vault":
            self._vaults.update(range(event.first_account, event.first_account + event.count))

    def set_backstop(self, event: BackstopSet) -> None:
        if event.account not in self._vaults:
            self._find("(f)", f"account {event.account} becomes the backstop but is no vault")
        for instrument in event.instruments:
            self.backstops[instrument] = event.account
        self.serving = set(self.backstops.values())

    def set_leverage(self, event: LeverageSet) -> None:
        market = self.markets[event.instrument]
        isolate = event.mode == "isolated"
        if isolate != (event.account in market.isolated):
            if event.account in market.holders:
                self._find(
                    "MARG-06", f"account {event.account} changes its margin mode under an open position"
                )
            if isolate:
                self._isolate(market, event.account)
            else:
                self._pool(market, event.account)

    def _isolate(self, market: Market, account: int) -> None:
        market.isolated.add(account)
        self.alone.setdefault(account, set()).add(market.pocket)

    def _pool(self, market: Market, account: int) -> None:
        market.isolated.discard(account)
        self.alone[account].discard(market.pocket)

    def load_positions(self, event: PositionsLoaded) -> None:
        market = self.markets[event.instrument]
        if sum(event.lots):
            self._find(
                "(b)",
                f"loaded positions of instrument {event.instrument} sum to {sum(event.lots)} lots, not to 0",
            )
        for account, lots, entry, isolated in zip(
            event.accounts, event.lots, event.entry_ticks, event.isolated_atoms, strict=True
        ):
            if isolated:
                self._isolate(market, account)
            elif account in market.isolated:
                self._pool(market, account)
            cost = lots * event.price_ticks * market.tick_value
            position = [lots, cost, lots * entry * market.tick_value]
            if account in market.holders:
                self._find(
                    "POS-03", f"account {account} is given a position in instrument {event.instrument} twice"
                )
            market.holders[account] = position
            self.held[account][market.number] = position
            market.cost_sum += cost
            market.lots_sum += lots

    def move(
        self, market: Market, account: int, signed_lots: int, lot_value: int, origin: int | None = None
    ) -> int:
        """A fill's effect on a position; returns what its closed lots realise.

        The cost released by a partial close is cost * closed / lots, rounded down.
        """
        if not signed_lots:
            return 0
        market.lots_sum += signed_lots
        holders = market.holders
        position = holders.get(account)
        if position is None:
            value = signed_lots * lot_value
            holders[account] = self.held[account][market.number] = [signed_lots, value, value]
            market.cost_sum += value
            if account in self._vaults or account == INSURANCE:
                self._lineage.trace(account, market.number, 0, abs(signed_lots), origin)
            return 0
        lots, cost, entry = position
        if (lots > 0) == (signed_lots > 0):
            value = signed_lots * lot_value
            position[0] = lots + signed_lots
            position[1] = cost + value
            position[2] = entry + value
            market.cost_sum += value
            closed = realised = 0
            opened = signed_lots
        else:
            closed = -signed_lots if abs(signed_lots) < abs(lots) else lots
            released = cost * closed // lots
            opened = signed_lots + closed
            position[0] = lots + signed_lots
            position[1] = cost - released + opened * lot_value
            position[2] = entry - entry * closed // lots + opened * lot_value
            market.cost_sum += position[1] - cost
            realised = closed * lot_value - released
            if not position[0]:
                del holders[account]
                del self.held[account][market.number]
        if account in self._vaults or account == INSURANCE:
            self._lineage.trace(account, market.number, abs(closed), abs(opened), origin)
        return realised

    def change_hands(
        self, market: Market, loser: int, winner: int, lots: int, lot_value: int, *, origin: int | None
    ) -> dict[Compartment, int]:
        """Move `lots` (signed) from one account to another; returns the legs that realise profit."""
        legs: dict[Compartment, int] = {}
        settle, own = self.settle, market.pocket
        for account, moved in ((loser, -lots), (winner, lots)):
            realised = self.move(market, account, moved, lot_value, origin)
            key = (account, own if account in market.isolated else settle)
            legs[key] = legs.get(key, 0) + realised
            legs[CLEARING, own] = legs.get((CLEARING, own), 0) - realised
        return legs

    def positions(self, account: int, pocket: int) -> list[Market]:
        """Markets whose positions answer with this pocket, by number."""
        markets, held = self.markets, self.held[account]
        if pocket != self.settle:
            market = markets[pocket - self.assets]
            return [market] if account in market.holders and account in market.isolated else []
        return [markets[n] for n in sorted(held) if account not in markets[n].isolated]

    def equity(self, account: int, pocket: int) -> int:
        """Balance and profit at the marks; before its first mark a market counts at cost."""
        equity = self.balances[pocket][account]
        held, lot_values = self.held[account], self.lot_values
        answering: Iterable[int] = held
        if pocket != self.settle or self.alone.get(account):
            answering = [market.number for market in self.positions(account, pocket)]
        for n in answering:
            value = lot_values[n]
            if value is not None:
                lots, cost, _ = held[n]
                equity += lots * value - cost
        return equity

    def risk(self, account: int, pocket: int) -> tuple[int, int]:
        """(equity, maintenance requirement) at the marks."""
        equity, required = self.balances[pocket][account], 0
        for market in self.positions(account, pocket):
            lots, cost, _ = market.holders[account]
            value = self.lot_values[market.number]
            if value is not None:
                equity += lots * value - cost
            required += market.maintenance(abs(lots * (value or 0)), abs(lots))
        return equity, required

    def risk_at_index(self, account: int, pocket: int) -> tuple[int, int]:
        equity = self.balances[pocket][account]
        required = 0
        for market in self.positions(account, pocket):
            lots, cost, _ = market.holders[account]
            value = lots * (market.index or 0) * market.tick_value
            equity += value - cost
            required += market.maintenance(abs(value), abs(lots))
        return equity, required

    def notional(self, account: int, market: Market) -> int:
        return abs(market.holders[account][0] * (self.lot_values[market.number] or 0))

    def is_protected(self, account: int) -> bool:
        return account >= FIRST_ACCOUNT and account not in self.serving

    def origins(self, account: int, pocket: int, deficit: int) -> tuple[tuple[int, int], ...]:
        """The deficit by the accounts whose positions the inventory still holds, in proportion to value."""
        weights: dict[int, int] = {}
        for market in self.positions(account, pocket):
            value = abs(self.lot_values[market.number] or 0)
            for origin, lots in self._lineage.of(account, market.number):
                weights[origin] = weights.get(origin, 0) + lots * value
        if not any(weights.values()):
            return ((account, deficit),)
        names = sorted(weights)
        shares = split(deficit, [weights[name] for name in names])
        return tuple((name, share) for name, share in zip(names, shares, strict=True) if share)

    def nonzero_balances(self) -> dict[Compartment, int]:
        """Atoms by (account, pocket), without zeros."""
        return {
            (account, pocket): atoms
            for pocket, row in enumerate(self.balances)
            for account, atoms in enumerate(row)
            if atoms
        }

    def lots(self) -> dict[Compartment, int]:
        """Signed lots by (account, instrument), without zeros."""
        return {
            (account, market.number): position[0]
            for market in self.markets
            for account, position in market.holders.items()
        }

    def digest(self) -> str:
        """BLAKE2b (16 bytes, hex) of sorted lines: "b account pocket atoms", then "l account market lots"."""
        lines = [f"b {a} {p} {atoms}\n" for (a, p), atoms in sorted(self.nonzero_balances().items())]
        lines += [f"l {a} {n} {lots}\n" for (a, n), lots in sorted(self.lots().items())]
        return blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    def rest(self) -> None:
        self.touched.clear()
        self.all_touched = False

    def recount(self) -> None:
        """The running sums against whole ones."""
        sums = [0] * self.assets
        for pocket, row in enumerate(self.balances):
            sums[self.pocket_assets[pocket]] += sum(row)
        for asset, atoms in enumerate(sums):
            if atoms:
                self._find("LEDG-01", f"balances of asset {asset} sum to {atoms} atoms, not to 0")
        for market in self.contracts:
            cost = sum(position[1] for position in market.holders.values())
            lots = sum(position[0] for position in market.holders.values())
            clearing = self.balances[market.pocket][CLEARING]
            if clearing != -cost:
                self._find(
                    "LEDG-02",
                    f"clearing of instrument {market.number} is at {clearing}, positions cost {cost}",
                )
            if lots:
                self._find("(b)", f"positions of instrument {market.number} sum to {lots} lots, not to 0")
