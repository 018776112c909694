"""Who has what: balances by pocket, positions by market, and what they are worth at the marks."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil, split
from zerodebt.exchange.audit.forms import grid
from zerodebt.exchange.audit.forms.collateral import pledges
from zerodebt.exchange.audit.forms.requirement import ALONE, Size
from zerodebt.exchange.audit.forms.valuation import Worth, worth_at
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
    PositionModeSet,
    PositionsLoaded,
)

# (account, pocket): the smallest pool that answers for a position.
Compartment = tuple[int, int]


class Risk(NamedTuple):
    """Where a compartment stands: equity without haircut, its requirement, and what the haircut takes off.

    at_or_below  the rulebook liquidates who just has what is required, too
    """

    equity_atoms: int
    maintenance_atoms: int
    haircut_atoms: int
    at_or_below: bool

    @property
    def margin_atoms(self) -> int:
        """What answers for the requirement."""
        return self.equity_atoms - self.haircut_atoms

    @property
    def is_short(self) -> bool:
        return self.is_short_with(self.margin_atoms, self.maintenance_atoms)

    def is_short_with(self, margin_atoms: int, required_atoms: int) -> bool:
        equal = self.at_or_below and margin_atoms == required_atoms > 0
        return equal or margin_atoms < required_atoms

    def is_below(self, share_ppb: int) -> bool:
        """Does less than this share of the requirement stand against it?"""
        return self.margin_atoms * PPB < self.maintenance_atoms * share_ppb


class Holdings:
    """Balances, positions and memberships of every account, as the events move them."""

    def __init__(self, opened: Opened, notes: Notes) -> None:
        self._find = notes.find
        self.markets = [
            Market(n, spec, opened.rules, len(opened.assets) + n) for n, spec in enumerate(opened.instruments)
        ]
        self.slots = [*self.markets, *(_short_legs(opened, self.markets) if _offers_legs(opened) else ())]
        self.contracts = [market for market in self.slots if not market.is_spot]
        self.hedged: set[int] = set()
        self.assets = len(opened.assets)
        self.settle = [asset.symbol for asset in opened.assets].index(opened.rules.settle_asset)
        self.pledges = pledges(opened, self.markets, self.settle)
        self.coming: dict[tuple[int, int], int] = {}
        self._grid = opened.rules.portfolio
        self.at_or_below = opened.rules.liquidation.trigger == "at_or_below"
        self.has_grid = bool(self._grid.moves_ppb)
        self._groups = grid.groups(self._grid, opened.instruments)
        self.other_assets = [asset for asset in range(self.assets) if asset != self.settle]
        self.pocket_assets = (*range(self.assets), *(m.spec.settle_asset for m in self.slots))
        self.balances: list[list[int]] = [[0] * FIRST_ACCOUNT for _ in self.pocket_assets]
        self.held: list[dict[int, list[int]]] = [{} for _ in range(FIRST_ACCOUNT)]
        self.worths: list[Worth | None] = [None] * len(self.slots)
        self.alone: dict[int, set[int]] = {}
        self.backstops: dict[int, int] = {}
        self.serving: set[int] = set()
        self.pools = [self.settle]
        self.brought_in: dict[int, int] = {}
        self.touched: set[int] = set()
        self.all_touched = False
        self._vaults: set[int] = set()
        self._lineage = Lineage()
        if opened.rules.insurance.scope == "instrument":
            pooled = [market for market in self.markets if not market.is_spot]
            for market in pooled:
                self._isolate(market, INSURANCE)
            self.pools = [market.pocket for market in pooled]

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
        for market in self.markets[event.instrument].legs:
            market.leverage[event.account] = event.leverage
            self._set_margin_mode(market, event.account, isolate=event.mode == "isolated")

    def _set_margin_mode(self, market: Market, account: int, *, isolate: bool) -> None:
        if isolate == (account in market.isolated):
            return
        if account in market.holders:
            self._find("MARG-06", f"account {account} changes its margin mode under an open position")
        if isolate:
            self._isolate(market, account)
        else:
            self._pool(market, account)

    def set_position_mode(self, event: PositionModeSet) -> None:
        """Both legs begin with the leverage and margin mode of the net position, of which nothing is open."""
        account = event.account
        if len(self.slots) == len(self.markets) or account in self._vaults:
            self._find("MARG-06", f"account {account} gets two legs, which the rulebook does not offer it")
            return
        if self.held[account]:
            self._find("MARG-06", f"account {account} changes its position mode under an open position")
        if event.mode == "net":
            self.hedged.discard(account)
            return
        self.hedged.add(account)
        for market in self.markets:
            for leg in market.legs[1:]:
                leg.leverage.pop(account, None)
                if account in market.leverage:
                    leg.leverage[account] = market.leverage[account]
                self._set_margin_mode(leg, account, isolate=account in market.isolated)

    def leg(self, account: int, market: Market, sign: int) -> Market:
        """What holds the account's position of this sign: in hedge mode there is one for each."""
        return market.legs[1] if sign < 0 and account in self.hedged and not market.is_spot else market

    def leg_of_order(self, account: int, market: Market, side: int, *, reduces: bool) -> Market:
        """An order opens the leg of its side; one that may only reduce closes the other."""
        return self.leg(account, market, -side if reduces else side)

    def _isolate(self, market: Market, account: int) -> None:
        if account >= len(self.held):
            self._find("EVENT-02", f"account {account} isolates a position but was never opened")
            return
        market.isolated.add(account)
        self.alone.setdefault(account, set()).add(market.pocket)

    def _pool(self, market: Market, account: int) -> None:
        market.isolated.discard(account)
        self.alone[account].discard(market.pocket)

    def load_positions(self, event: PositionsLoaded) -> None:
        instrument = self.markets[event.instrument]
        if sum(event.lots):
            self._find(
                "(b)",
                f"loaded positions of instrument {event.instrument} sum to {sum(event.lots)} lots, not to 0",
            )
        worth = worth_at(instrument.spec, event.price_ticks)
        instrument.swept_max = instrument.dust * len(event.accounts)
        for account, lots, entry, leverage, isolated in zip(
            event.accounts, event.lots, event.entry_ticks, event.leverage, event.isolated_atoms, strict=True
        ):
            market = self.leg(account, instrument, lots)
            market.leverage[account] = leverage
            if isolated:
                self._isolate(market, account)
            elif account in market.isolated:
                self._pool(market, account)
            cost = worth(lots)
            position = [lots, cost, worth_at(market.spec, entry)(lots)]
            if account in market.holders:
                self._find(
                    "POS-03", f"account {account} is given a position in instrument {event.instrument} twice"
                )
            self.held[account][market.number] = market.holders[account] = position
            market.cost_sum += cost
            market.lots_sum += lots

    def move(
        self, market: Market, account: int, signed_lots: int, worth: Worth, origin: int | None = None
    ) -> int:
        """A fill's effect on a position; returns what its closed lots realise.

        The cost released by a partial close is cost * closed / lots, rounded down. A fill has one value: the
        lots that close bring their share of it, rounded up, and what is left of it opens.
        """
        if not signed_lots:
            return 0
        position = market.holders.get(account)
        closed = realised = 0
        if position is None:
            value = worth(signed_lots)
            # An account that does not exist is met here, before anything has moved.
            self.held[account][market.number] = market.holders[account] = [signed_lots, value, value]
            market.cost_sum += value
            opened = signed_lots
        elif (position[0] > 0) == (signed_lots > 0):
            value = worth(signed_lots)
            position[0] += signed_lots
            position[1] += value
            position[2] += value
            market.cost_sum += value
            opened = signed_lots
        else:
            lots, cost, entry = position
            closed = -signed_lots if abs(signed_lots) < abs(lots) else lots
            opened = signed_lots + closed
            traded = worth(signed_lots)
            proceeds = -(traded * abs(closed) // abs(signed_lots))
            released = cost * closed // lots
            value = traded + proceeds
            position[0] = lots + signed_lots
            position[1] = cost - released + value
            position[2] = entry - entry * closed // lots + value
            market.cost_sum += value - released
            realised = proceeds - released
            if not position[0]:
                del market.holders[account]
                del self.held[account][market.number]
        market.lots_sum += signed_lots
        if account in self._vaults or account == INSURANCE:
            self._lineage.trace(account, market.number, abs(closed), abs(opened), origin)
        return realised

    def change_hands(
        self,
        given: tuple[int, Market],
        taken: tuple[int, Market],
        lots: int,
        worth: Worth,
        *,
        origin: int | None,
    ) -> dict[Compartment, int]:
        """Move `lots` (signed) from one position to another, (account, market) both.

        Returns the legs of the ledger that realise profit.
        """
        legs: dict[Compartment, int] = {}
        clearing = (CLEARING, given[1].clearing)
        for (account, market), moved in ((given, -lots), (taken, lots)):
            realised = self.move(market, account, moved, worth, origin)
            key = (account, self.pocket_of(account, market))
            legs[key] = legs.get(key, 0) + realised
            legs[clearing] = legs.get(clearing, 0) - realised
        return legs

    def pocket_of(self, account: int, market: Market) -> int:
        """The pocket that answers for the account's position in a market."""
        return market.pocket if account in market.isolated else self.settle

    def pool_of(self, market: Market) -> int:
        """The fund's pocket that answers for an instrument."""
        return self.pocket_of(INSURANCE, self.markets[market.instrument])

    def positions(self, account: int, pocket: int) -> list[Market]:
        """Markets whose positions answer with this pocket, by number."""
        markets, held = self.slots, self.held[account]
        if pocket != self.settle:
            market = markets[pocket - self.assets]
            return [market] if account in market.holders and account in market.isolated else []
        return [markets[n] for n in sorted(held) if account not in markets[n].isolated]

    def equity(self, account: int, pocket: int) -> int:
        """Balance and profit at the marks; before its first mark a market counts at cost."""
        equity = self.balances[pocket][account]
        if self.pledges and pocket == self.settle:
            equity += self.worth(account)
        held, worths = self.held[account], self.worths
        answering: Iterable[int] = held
        if pocket != self.settle or self.alone.get(account):
            answering = [market.number for market in self.positions(account, pocket)]
        for n in answering:
            worth = worths[n]
            if worth is not None:
                lots, cost, _ = held[n]
                equity += worth(lots) - cost
        return equity

    def worth(self, account: int) -> int:
        """All collateral of an account at the indices, without haircut, and what issuers owe for some."""
        return sum(
            pledge.worth_atoms(self.balances[pledge.asset][account])
            + self.coming.get((account, pledge.asset), 0)
            for pledge in self.pledges
        )

    def coming_atoms(self, account: int) -> int:
        """What issuers owe an account for collateral that they took back."""
        return sum(self.coming.get((account, pledge.asset), 0) for pledge in self.pledges)

    def money(self, account: int, pocket: int) -> int:
        """Equity without what is held in other assets; may be below zero."""
        equity = self.equity(account, pocket)
        return equity - self.worth(account) if pocket == self.settle else equity

    def collateral_margin(self, account: int) -> int:
        """What an account's collateral counts for when it takes new risk."""
        coming = sum(p.coming_margin_atoms(self.coming.get((account, p.asset), 0)) for p in self.pledges)
        return coming + self.held_margin(account)

    def held_margin(self, account: int) -> int:
        """The same of what is still held."""
        return sum(pledge.margin_atoms(self.balances[pledge.asset][account]) for pledge in self.pledges)

    def risk(self, account: int, pocket: int) -> Risk:
        """At the marks; a market without one requires by its lots alone."""
        return self._risk(account, pocket, self.worths)

    def risk_at_index(self, account: int, pocket: int) -> Risk:
        """As it would be with the marks at the indices."""
        worths: list[Worth | None] = [None] * len(self.slots)
        for market in self.positions(account, pocket):
            worths[market.number] = worth_at(market.spec, market.reference or 0)
        return self._risk(account, pocket, worths)

    def _risk(self, account: int, pocket: int, worths: list[Worth | None]) -> Risk:
        equity, required, haircut = self.balances[pocket][account], 0, 0
        exposures: list[grid.Exposure] = []
        for market in self.positions(account, pocket):
            lots, cost, _ = market.holders[account]
            worth = worths[market.number]
            if worth is None:
                required += market.maintenance(0, abs(lots))
                continue
            value = worth(lots)
            equity += value - cost
            required += market.required(lots, cost, value, self.beside(account, market, worths))
            if self.has_grid:
                exposures.append(grid.Exposure(market.spec, self._groups[market.instrument], value))
        if pocket == self.settle:
            if self.has_grid:
                required = grid.maintenance_atoms(self._grid, exposures)
            for pledge in self.pledges:
                held = self.balances[pledge.asset][account]
                equity += pledge.worth_atoms(held)
                haircut += pledge.haircut_atoms(held)
                coming = self.coming.get((account, pledge.asset), 0)
                equity += coming
                haircut += pledge.coming_haircut_atoms(coming)
        return Risk(equity, required, haircut, self.at_or_below)

    def other_leg(self, account: int, market: Market) -> Market | None:
        """The leg on the other side, where both answer with the cross pool."""
        if account not in self.hedged or market.is_spot:
            return None
        first, second = self.markets[market.instrument].legs
        if account in first.isolated or account in second.isolated:
            return None
        return first if market is second else second

    def beside(self, account: int, market: Market, worths: list[Worth | None]) -> Size:
        """Value and lots that find a position's tier together with it: those of the other leg. OKX."""
        other = self.other_leg(account, market) if market.sums_legs else None
        lots = 0 if other is None else other.lots_of(account)
        worth = worths[market.number]
        return ALONE if not lots or worth is None else (abs(worth(lots)), abs(lots))

    def value(self, market: Market, lots: int) -> int:
        """Lots at the mark, with their sign; 0 before the first mark."""
        worth = self.worths[market.number]
        return 0 if worth is None else worth(lots)

    def notional(self, account: int, market: Market) -> int:
        return abs(self.value(market, market.holders[account][0]))

    def initial(self, account: int, pocket: int) -> int:
        """Initial requirement of a compartment's positions at the marks, without its orders."""
        if self.has_grid and pocket == self.settle:
            return div_ceil(self.risk(account, pocket).maintenance_atoms * self._grid.initial_ppb, PPB)
        held = self.positions(account, pocket)
        return sum(self.initial_of(account, market, market.holders[account][0]) for market in held)

    def initial_of(self, account: int, market: Market, lots: int) -> int:
        """Initial requirement of signed lots of this account at the mark."""
        return market.initially_required(
            abs(self.value(market, lots)),
            abs(lots),
            market.leverage.get(account, market.spec.tiers[0].leverage_max),
            self._open_interest_atoms(market),
            self.beside(account, market, self.worths),
        )

    def gross(self, account: int, pocket: int) -> int:
        """Value of a compartment's positions at the marks, long and short alike."""
        return sum(self.notional(account, market) for market in self.positions(account, pocket))

    def _open_interest_atoms(self, market: Market) -> int:
        """Value of all long lots at the mark, where the rulebook asks."""
        if not market.spec.open_interest_high_atoms:
            return 0
        legs = self.markets[market.instrument].legs
        longs = sum(max(0, position[0]) for leg in legs for position in leg.holders.values())
        return abs(self.value(market, longs))

    def requirement(self, account: int, market: Market) -> int:
        """Maintenance requirement of one position at the mark."""
        lots, cost, _ = market.holders[account]
        beside = self.beside(account, market, self.worths)
        return market.required(lots, cost, self.value(market, lots), beside)

    def requirement_of(self, account: int, market: Market, after: int) -> int:
        """The same of `after` lots instead, and of the other leg where one finds the tier of the other.

        Lots that stay keep their cost, others cost the mark.
        """
        required = self.own_requirement_of(account, market, after)
        other = self.other_leg(account, market) if market.sums_legs else None
        if other is None or not other.lots_of(account):
            return required
        left = other.lots_of(account)
        basis = self.maintained_value(account, other, left)
        return required + other.required(left, basis, basis, (abs(self.value(market, after)), abs(after)))

    def own_requirement_of(
        self, account: int, market: Market, after: int, before: tuple[int, int, int] | None = None
    ) -> int:
        """Without the other leg's. `before` is the position that the cost is of; None: as it is."""
        basis = self.maintained_value(account, market, after, before)
        return market.required(after, basis, basis, self.beside(account, market, self.worths))

    def maintained_value(
        self, account: int, market: Market, after: int, before: tuple[int, int, int] | None = None
    ) -> int:
        """Unsigned value that `after` lots instead would be charged on: at the mark, or what they cost."""
        held, cost, _ = before if before else market.holders.get(account, (0, 0, 0))
        if not market.is_at_entry or held * after <= 0:
            basis = self.value(market, after)
        elif abs(after) <= abs(held):
            basis = cost - cost * (held - after) // held
        else:
            basis = cost + self.value(market, after - held)
        return abs(basis)

    def is_absorber(self, account: int) -> bool:
        return account == INSURANCE or account in self.serving

    def is_protected(self, account: int) -> bool:
        return account >= FIRST_ACCOUNT and account not in self.serving

    def origins(self, account: int, pocket: int, deficit: int) -> tuple[tuple[int, int], ...]:
        """The deficit by the accounts whose lots the inventory still holds, each lot at what one is worth."""
        weights: dict[int, int] = {}
        for market in self.positions(account, pocket):
            lot_atoms = abs(self.value(market, 1))
            for origin, lots in self._lineage.of(account, market.number):
                weights[origin] = weights.get(origin, 0) + lots * lot_atoms
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
        """Signed lots by (account, number of the position), without zeros: short legs follow all instruments.

        Where the rulebook offers no hedge mode that is the number of the instrument.
        """
        return {
            (account, market.number): position[0]
            for market in self.slots
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
        for market in self.markets:
            if market.is_spot:
                continue
            positions = [position for leg in market.legs for position in leg.holders.values()]
            cost = sum(position[1] for position in positions)
            lots = sum(position[0] for position in positions)
            self._check_signs(market)
            clearing = self.balances[market.pocket][CLEARING]
            if clearing != -cost:
                self._find(
                    "LEDG-02",
                    f"clearing of instrument {market.number} is at {clearing}, positions cost {cost}",
                )
            if lots:
                self._find("(b)", f"positions of instrument {market.number} sum to {lots} lots, not to 0")

    def _check_signs(self, market: Market) -> None:
        """A leg never flips, and only who is in hedge mode has a short one."""
        for leg in market.legs:
            sign = 1 if leg is market else -1
            for account, (lots, _, _) in leg.holders.items():
                is_free = leg is market and account not in self.hedged
                if not is_free and (lots * sign < 0 or account not in self.hedged):
                    name = "long" if leg is market else "short"
                    self._find("POS-03", f"account {account} holds {lots} lots in its {name} leg")


def _offers_legs(opened: Opened) -> bool:
    """Gross sums have no meaning beside marginal tiers, which charge no whole position at one rate."""
    is_marginal = any(len(spec.tiers) > 1 and spec.tier_form == "marginal" for spec in opened.instruments)
    margin = opened.rules.margin
    return margin.hedge_mode and not (margin.tier_sum == "gross" and is_marginal)


def _short_legs(opened: Opened, markets: list[Market]) -> Iterable[Market]:
    first = len(markets)
    for market in markets:
        number = first + market.number
        yield Market(number, market.spec, opened.rules, len(opened.assets) + number, market)
