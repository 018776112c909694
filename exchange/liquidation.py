"""What to send to the book for an account below maintenance: a plan, nothing more.

Sizes are lots of one position, prices the limit of its forced order. `equity_atoms` and `maintenance_atoms`
are those of the whole compartment, which may hold other positions. `cost_atoms` is what the position's lots
cost, signed as their value: its requirement is reckoned from it where the rulebook charges entry value.
"""

from zerodebt.exchange.instruments import ALONE, Size, closing_ticks, maintenance_atoms, shared_tier
from zerodebt.exchange.margin import Risk, maintained_value_atoms
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import ForcedForm, LiquidationRules
from zerodebt.exchange.units import PPB, mul_ppb_ceil, mul_ppb_floor


def forced_lots(
    rules: LiquidationRules,
    form: ForcedForm,
    market: Market,
    lots: int,
    cost_atoms: int,
    risk: Risk,
    fee_ppb: int,
    *,
    is_cooling: bool,
    beside: Size = ALONE,
) -> int:
    """Lots of the next forced order of this form for a position of signed `lots`; 0 sends none.

    fee_ppb  the liquidation fee, which `restore` expects to be paid
    beside   what is summed with the position to find its tier
    """
    match form:
        case "share":
            return share_lots(rules, abs(lots), abs(market.value_atoms(lots)), is_cooling)
        case "ladder":
            return ladder_lots(rules, market, lots, cost_atoms, beside)
        case "restore":
            return restoring_lots(rules, market, lots, cost_atoms, risk, fee_ppb)
        case "whole":
            return abs(lots)


def share_lots(rules: LiquidationRules, size_lots: int, notional_atoms: int, is_cooling: bool) -> int:
    """A share of a large position first, then the whole remainder.

    Above `chunk_threshold_atoms` the first order is `chunk_ppb` of the position, rounded down, at least one
    lot; while the cooldown runs every order is for all that is left. Source: Hyperliquid docs, Liquidations.
    """
    if notional_atoms <= rules.chunk_threshold_atoms or is_cooling:
        return size_lots
    return max(1, mul_ppb_floor(size_lots, rules.chunk_ppb))


def ladder_lots(
    rules: LiquidationRules, market: Market, lots: int, cost_atoms: int, beside: Size = ALONE
) -> int:
    """What is above the top of the tier that is `ladder_tiers` lower, or the lowest; 0 below `ladder_from`.

    Sources: Bybit help centre, Liquidation process; OKX help centre, Liquidation; BitMEX docs, Liquidation.
    """
    size, sign = abs(lots), 1 if lots > 0 else -1

    def tier_of(left_lots: int) -> int:
        value = maintained_value_atoms(market, lots, cost_atoms, sign * left_lots)
        return shared_tier(market.margin, value, left_lots, beside)

    tier = tier_of(size)
    if tier + 1 < rules.ladder_from:
        return 0
    target = max(0, tier - rules.ladder_tiers)
    kept, above = 0, size
    while above - kept > 1:
        middle = (kept + above) // 2
        if tier_of(middle) <= target:
            kept = middle
        else:
            above = middle
    return size - kept


def restoring_lots(
    rules: LiquidationRules, market: Market, lots: int, cost_atoms: int, risk: Risk, fee_ppb: int
) -> int:
    """The smallest lots that, closed at the mark, leave the account safe with the buffer. Property LIQ-06.

    All of them where that is not enough, and never more than `restore_max_ppb` of the position, rounded down,
    at least one. Found by bisection: closing more never leaves less over the requirement, as long as the fee
    is below the maintenance rate.
    """
    size = abs(lots)
    too_few, enough = 0, size
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _restores(rules, market, lots, cost_atoms, middle, risk, fee_ppb):
            enough = middle
        else:
            too_few = middle
    return min(enough, max(1, mul_ppb_floor(size, rules.restore_max_ppb)))


def _restores(
    rules: LiquidationRules,
    market: Market,
    lots: int,
    cost_atoms: int,
    closed_lots: int,
    risk: Risk,
    fee_ppb: int,
) -> bool:
    left = lots - closed_lots if lots > 0 else lots + closed_lots
    required = risk.maintenance_atoms - _own_requirement_atoms(market, lots, cost_atoms, lots)
    required += _own_requirement_atoms(market, lots, cost_atoms, left)
    required += mul_ppb_ceil(required, rules.restore_buffer_ppb)
    fee = mul_ppb_ceil(abs(market.value_atoms(closed_lots)), fee_ppb)
    return Risk(risk.equity_atoms - fee, required, risk.includes_equal, risk.haircut_atoms).is_safe


def _own_requirement_atoms(market: Market, held: int, cost_atoms: int, lots: int) -> int:
    """Maintenance requirement of the position alone if its held signed lots became `lots`, rounded up."""
    value = maintained_value_atoms(market, held, cost_atoms, lots)
    return maintenance_atoms(market.margin, value, abs(lots))


def order_bounds_atoms(rules: LiquidationRules, notional_atoms: int) -> tuple[int, int]:
    """Least and most value of one forced order for a position worth `notional_atoms`.

    least = min(rule's minimum, position); most = max(least, floor(position * portion)).
    Source: dYdX v4, x/clob/keeper/liquidations.go.
    """
    least = min(rules.notional_min_atoms, notional_atoms)
    return least, max(least, mul_ppb_floor(notional_atoms, rules.portion_max_ppb))


def left_atoms(most_atoms: int, used_atoms: int) -> int:
    """What a budget of this command still allows."""
    return max(0, most_atoms - used_atoms)


def affordable_lots(rules: LiquidationRules, size_lots: int, notional_atoms: int, used_atoms: int) -> int:
    """The most lots of a position that one order may close: the portion, and what the budget leaves.

    used_atoms  value sent of this account in this command. Rounded down; a portion is at least one lot. 0
    when the budget leaves less than the least value of an order.
    """
    least, most = order_bounds_atoms(rules, notional_atoms)
    lots = size_lots
    if most < notional_atoms:
        lots = max(1, size_lots * most // notional_atoms)
    if rules.notional_max_atoms is not None and notional_atoms:
        left = left_atoms(rules.notional_max_atoms, used_atoms)
        lots = min(lots, size_lots * left // notional_atoms) if left >= least else 0
    return lots


def limit_ticks(
    rules: LiquidationRules,
    market: Market,
    lots: int,
    cost_atoms: int,
    closed_lots: int,
    risk: Risk,
    own_atoms: int,
    lost_atoms: int,
    *,
    beside: Size = ALONE,
) -> int | None:
    """How far a forced order for `closed_lots` of a position of signed `lots` may go; None: to any price.

    own_atoms   equity that the position may use up: the compartment's, or its share of it
    lost_atoms  what the account lost beyond its equity in this command; where the rulebook has a budget for
    it, closing at the limit loses no more than what it leaves. Rounded in favour of the account.
    beside      what is summed with the position to find its tier
    """
    limit = None
    match rules.price_limit:
        case "bankruptcy":
            limit = bankruptcy_ticks(market, lots, own_atoms)
        case "band":
            band = mul_ppb_floor(abs(market.mark_ticks), rules.band_ppb)
            limit = market.mark_ticks - band if lots > 0 else market.mark_ticks + band
        case "fillable":
            limit = fillable_ticks(rules, market, lots, cost_atoms, risk, beside)
    if rules.insurance_lost_max_atoms is not None:
        reach = risk.equity_atoms + left_atoms(rules.insurance_lost_max_atoms, lost_atoms)
        worst = bankruptcy_ticks(market, closed_lots if lots > 0 else -closed_lots, reach)
        if limit is None:
            return worst
        return max(limit, worst) if lots > 0 else min(limit, worst)
    return limit


def bankruptcy_ticks(market: Market, lots: int, equity_atoms: int) -> int:
    """Price at which closing signed lots costs at most `equity_atoms` against the mark. Property LIQ-08."""
    return closing_ticks(market.instrument, lots, market.value_atoms(lots) - equity_atoms)


def fillable_ticks(
    rules: LiquidationRules,
    market: Market,
    lots: int,
    cost_atoms: int,
    risk: Risk,
    beside: Size = ALONE,
) -> int:
    """Worst price at which a liquidation order may trade, rounded towards the mark.

    (value - clamp(adjustment * (1 - equity/requirement), 0, 1) * spread * position's requirement) / lots.
    Source: dYdX v4, x/clob/keeper/liquidations.go, GetFillablePrice.
    """
    whole = risk.maintenance_atoms * PPB
    reach = rules.fillable_adjustment_ppb * (risk.maintenance_atoms - risk.margin_atoms)
    reach = min(max(reach, 0), whole)
    value = maintained_value_atoms(market, lots, cost_atoms, lots)
    own = maintenance_atoms(market.margin, value, abs(lots), beside)
    spread = reach * rules.fillable_spread_ppb * own // (whole * PPB)
    return bankruptcy_ticks(market, lots, spread)
