"""What a held asset counts for beside the settlement asset, and how much of it is sold for what is owed."""

from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.events import Opened
from zerodebt.exchange.rules import CollateralRules, ExchangeRules


class Pledge(NamedTuple):
    """An asset that the rulebook takes as collateral, and the spot market whose index prices it."""

    rule: CollateralRules
    asset: int
    market: Market

    def worth_atoms(self, atoms: int) -> int:
        """At the index, without haircut, rounded down; nothing before the first index."""
        index, spec = self.market.index, self.market.spec
        return 0 if index is None else atoms * index * spec.tick_value_atoms // spec.lot_atoms

    def margin_atoms(self, atoms: int) -> int:
        """After haircut and buffers; what is owed counts in full and more."""
        rule = self.rule
        if atoms < 0:
            owed = -self.worth_atoms(atoms)
            return -(owed + div_ceil(owed * rule.ask_buffer_ppb, PPB))
        if rule.tier_unit == "quantity":
            counts = self.worth_atoms(counted(rule, atoms))
        else:
            counts = counted(rule, self.worth_atoms(atoms))
        return counts * (PPB - rule.bid_buffer_ppb) // PPB

    def coming_margin_atoms(self, atoms: int) -> int:
        """What money that the issuer owes counts for: as much as its worth of the asset would."""
        return counted(self.rule, atoms) * (PPB - self.rule.bid_buffer_ppb) // PPB

    def coming_haircut_atoms(self, atoms: int) -> int:
        return 0 if self.rule.haircut_for == "initial" else atoms - self.coming_margin_atoms(atoms)

    def haircut_atoms(self, atoms: int) -> int:
        """What of its worth does not answer for the maintenance requirement."""
        if self.rule.haircut_for == "initial":
            return 0
        return self.worth_atoms(atoms) - self.margin_atoms(atoms)


def pledges(opened: Opened, markets: list[Market], settle: int) -> list[Pledge]:
    """Those of the rulebook's assets that are held here, in the rulebook's order."""
    symbols = [asset.symbol for asset in opened.assets]
    found = []
    for rule in opened.rules.collateral:
        if rule.asset not in symbols:
            continue
        asset = symbols.index(rule.asset)
        own = (m for m in markets if m.is_spot and m.spec.base_asset == asset)
        found += [Pledge(rule, asset, market) for market in own if market.spec.settle_asset == settle]
    return found


def counted(rule: CollateralRules, amount: int) -> int:
    """An amount at its ratio, or each part of it at its tier's; above the last tier nothing counts."""
    if amount <= 0:
        return amount
    if not rule.tiers:
        return amount * rule.ratio_ppb // PPB
    counts = lower = 0
    for tier in rule.tiers:
        part = min(amount, tier.upto) - lower
        if part <= 0:
            break
        counts += part * tier.ratio_ppb // PPB
        lower = tier.upto
    return counts


def limit_ticks(rules: ExchangeRules, index_ticks: int) -> int:
    """The lowest price that collateral is sold at, rounded up."""
    return div_ceil(index_ticks * rules.price_ratio_ppb, PPB)


def lots_for(rules: ExchangeRules, pledge: Pledge, held_atoms: int, owed_atoms: int) -> int:
    """Whole lots that bring in what is owed even at the lowest price, as far as they are held."""
    spec = pledge.market.spec
    value = div_ceil(owed_atoms * PPB, rules.price_ratio_ppb)
    atoms = div_ceil(value * spec.lot_atoms, (pledge.market.index or 0) * spec.tick_value_atoms)
    return min(held_atoms // spec.lot_atoms, div_ceil(atoms, spec.lot_atoms))


def affordable_atoms(rules: ExchangeRules, pledge: Pledge, held_atoms: int, cash_atoms: int) -> int:
    """Atoms of what is held that this money buys at the index times the rulebook's ratio, rounded down."""
    spec = pledge.market.spec
    price = rules.price_ratio_ppb * (pledge.market.index or 0) * spec.tick_value_atoms
    return min(held_atoms, cash_atoms * PPB * spec.lot_atoms // price) if price else 0


def handed_over_atoms(rules: ExchangeRules, pledge: Pledge, atoms: int) -> int:
    """What the fund pays for collateral that nobody buys, rounded down."""
    return pledge.worth_atoms(atoms) * rules.price_ratio_ppb // PPB
