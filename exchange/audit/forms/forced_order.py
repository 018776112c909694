"""How much of a position a forced order is for, and how far it may go."""

from collections.abc import Callable
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.forms.requirement import Size, tier_number
from zerodebt.exchange.audit.forms.valuation import Worth, price_of
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import LiquidationRules


class Case(NamedTuple):
    """A position of signed `lots` that is to be reduced, and the compartment that it answers with.

    worth         value of lots at the mark
    charged       unsigned value that the requirement is charged on, if it were of these signed lots
    maintenance   requirement of this position, if it were of these signed lots
    beside        value and lots that find its tier together with it
    margin, required, equity   of the compartment: after haircut, its requirement, without haircut
    fee_ppb       of the liquidation
    is_cooling    a part of it was closed not long ago
    used, lost    value that was sent of the account in this command, and what it lost beyond its equity
    """

    spec: Instrument
    lots: int
    mark_ticks: int
    worth: Worth
    charged: Callable[[int], int]
    maintenance: Callable[[int], int]
    beside: Size
    margin_atoms: int
    required_atoms: int
    equity_atoms: int
    is_safe: Callable[[int, int], bool]
    fee_ppb: int
    is_cooling: bool
    used_atoms: int
    lost_atoms: int

    @property
    def size(self) -> int:
        return abs(self.lots)

    @property
    def notional_atoms(self) -> int:
        return abs(self.worth(self.lots))


def lots_due(rules: LiquidationRules, form: str, case: Case) -> int:
    """Lots of an order of this form; a budget and a portion bound it while the account is not below zero."""
    lots = SIZES[form](rules, case)
    return lots if case.equity_atoms < 0 else min(lots, affordable_lots(rules, case))


def share_lots(rules: LiquidationRules, case: Case) -> int:
    """The whole position, or above the threshold a share of it, rounded down to at least one lot."""
    if case.notional_atoms <= rules.chunk_threshold_atoms or case.is_cooling:
        return case.size
    return max(1, case.size * rules.chunk_ppb // PPB)


def whole_lots(_: LiquidationRules, case: Case) -> int:
    return case.size


def ladder_lots(rules: LiquidationRules, case: Case) -> int:
    """What lies above the largest size that is so many tiers lower; nothing below the ladder's first tier."""
    tier = _tier(case, case.size)
    if tier + 1 < rules.ladder_from:
        return 0
    target = max(0, tier - rules.ladder_tiers)
    return case.size - _last(case.size, lambda lots: _tier(case, lots) <= target)


def _tier(case: Case, size_lots: int) -> int:
    left = size_lots if case.lots > 0 else -size_lots
    value_atoms, lots = case.beside
    return tier_number(case.spec, case.charged(left) + value_atoms, size_lots + lots)


def restore_lots(rules: LiquidationRules, case: Case) -> int:
    """The fewest that leave the account safe with the buffer after the fee, up to a share of the position."""
    fewest = 1 + _last(case.size - 1, lambda lots: not _is_restored(rules, case, lots))
    return min(fewest, max(1, case.size * rules.restore_max_ppb // PPB))


def _is_restored(rules: LiquidationRules, case: Case, closed: int) -> bool:
    if not closed:
        return False
    left = case.lots - closed if case.lots > 0 else case.lots + closed
    required = case.required_atoms - case.maintenance(case.lots) + case.maintenance(left)
    required += div_ceil(required * rules.restore_buffer_ppb, PPB)
    fee = div_ceil(abs(case.worth(closed)) * case.fee_ppb, PPB)
    return case.is_safe(case.margin_atoms - fee, required)


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `most` for which something holds that stops holding once; 0 always holds."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


SIZES: dict[str, Callable[[LiquidationRules, Case], int]] = {
    "share": share_lots,
    "whole": whole_lots,
    "ladder": ladder_lots,
    "restore": restore_lots,
}


def affordable_lots(rules: LiquidationRules, case: Case) -> int:
    """The portion of a position that an order may be for, and what the command's budget leaves of it."""
    notional = case.notional_atoms
    least = min(rules.notional_min_atoms, notional)
    most = max(least, notional * rules.portion_max_ppb // PPB)
    lots = case.size if most >= notional else max(1, case.size * most // notional)
    if rules.notional_max_atoms is None or not notional:
        return lots
    left = max(0, rules.notional_max_atoms - case.used_atoms)
    return min(lots, case.size * left // notional) if left >= least else 0


def limit_ticks(rules: LiquidationRules, case: Case, closed_lots: int, own_atoms: int) -> int | None:
    """How far an order for so many lots may go, given the equity that it may use up; None: anywhere."""
    if case.equity_atoms < 0:
        return None
    limit = LIMITS[rules.price_limit](rules, case, own_atoms)
    if rules.insurance_lost_max_atoms is None:
        return limit
    reach = case.equity_atoms + max(0, rules.insurance_lost_max_atoms - case.lost_atoms)
    worst = ticks_losing(case, closed_lots if case.lots > 0 else -closed_lots, reach)
    if limit is None:
        return worst
    return max(limit, worst) if case.lots > 0 else min(limit, worst)


def ticks_losing(case: Case, lots: int, atoms: int) -> int:
    """Where closing signed lots costs so much against the mark, rounded towards it."""
    return price_of(case.spec, lots, case.worth(lots) - atoms)


def no_limit(_rules: LiquidationRules, _case: Case, _own_atoms: int) -> None:
    return None


def bankruptcy_limit(_: LiquidationRules, case: Case, own_atoms: int) -> int:
    """Where closing the position leaves nothing of its equity."""
    return ticks_losing(case, case.lots, own_atoms)


def band_limit(rules: LiquidationRules, case: Case, _own_atoms: int) -> int:
    width = abs(case.mark_ticks) * rules.band_ppb // PPB
    return case.mark_ticks - width if case.lots > 0 else case.mark_ticks + width


def fillable_limit(rules: LiquidationRules, case: Case, _own_atoms: int) -> int:
    """Beyond the mark by clamp(adjustment * (1 - margin/requirement), 0, 1) * spread * own requirement."""
    whole = case.required_atoms * PPB
    reach = rules.fillable_adjustment_ppb * (case.required_atoms - case.margin_atoms)
    spread = max(0, min(whole, reach)) * rules.fillable_spread_ppb * case.maintenance(case.lots)
    return ticks_losing(case, case.lots, spread // (whole * PPB))


LIMITS: dict[str, Callable[[LiquidationRules, Case, int], int | None]] = {
    "none": no_limit,
    "bankruptcy": bankruptcy_limit,
    "band": band_limit,
    "fillable": fillable_limit,
}


def own_atoms(equity_atoms: int, weight: int, whole: int) -> int:
    """What of a compartment's equity, or debt, goes with a weight; rounded down."""
    return equity_atoms * weight // whole if whole else equity_atoms


class Ebb:
    """A compartment as a forced order's fills take lots of one position away, and what the fund gets of it.

    equity, whole   of the compartment; the whole is the weight of all of its positions
    fund_atoms      what the fund can pay; None where it pays for no fill
    """

    def __init__(
        self,
        rules: LiquidationRules,
        form: str,
        lots: int,
        weigh: Callable[[int], int],
        worth: Worth,
        *,
        equity_atoms: int,
        whole: int,
        fund_atoms: int,
    ) -> None:
        self._fee_ppb = rules.surplus_max_ppb if form == "whole" else 0
        self._is_backed = rules.shortfall == "fund"
        self._lots = lots
        self._weigh = weigh
        self._worth = worth
        self._equity = equity_atoms
        self._whole = whole
        self._fund = fund_atoms
        self.given_atoms = 0

    def delta_atoms(self, paid_atoms: int, bought: int) -> int:
        """What the fund gets, or pays, for a fill of so many signed lots at so many atoms.

        dYdX: what the fill brings beyond the position's part of the equity, up to a fee; what it lacks.
        """
        after = self._lots + bought
        lost = self._worth(self._lots) - self._worth(after) + paid_atoms
        own = own_atoms(self._equity, self._weigh(self._lots) - self._weigh(after), self._whole)
        if own > lost:
            return min(own - lost, abs(paid_atoms) * self._fee_ppb // PPB)
        return own - lost if self._is_backed else 0

    def is_borne(self, delta_atoms: int) -> bool:
        return not self._is_backed or delta_atoms >= min(0, -self._fund)

    def take(self, paid_atoms: int, bought: int) -> None:
        """A fill is made."""
        delta = self.delta_atoms(paid_atoms, bought)
        after = self._lots + bought
        self._equity -= self._worth(self._lots) - self._worth(after) + paid_atoms + delta
        self._whole -= self._weigh(self._lots) - self._weigh(after)
        self._lots = after
        self._fund += delta
        self.given_atoms += delta


def equity_shares(equity_atoms: int, weights: list[int]) -> list[int]:
    """A compartment's equity over its positions: each takes its part of what is left, the last all of it."""
    shares, left, whole = [], equity_atoms, sum(weights)
    for weight in weights:
        share = own_atoms(left, weight, whole)
        shares.append(share)
        left, whole = left - share, whole - weight
    return shares
