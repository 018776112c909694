"""Whom deleveraging ranks how high, and at which price it closes."""

from collections.abc import Callable
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.forms.valuation import value
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import AdlRules


class Winner(NamedTuple):
    """A position with a profit, and the compartment that it answers with; all in atoms, at the mark."""

    value_atoms: int
    entry_atoms: int
    profit_atoms: int
    wallet_atoms: int
    equity_atoms: int
    maintenance_atoms: Callable[[], int]


def score_ppb(rules: AdlRules, winner: Winner) -> int:
    """The rank's score, rounded down; nobody is asked whose score is not above zero."""
    return SCORES[rules.score](winner)


def leverage_times_profit(winner: Winner) -> int:
    """Hyperliquid: (value / equity) * (profit / entry value)."""
    numerator = abs(winner.value_atoms) * winner.profit_atoms * PPB
    return numerator // (winner.equity_atoms * max(1, abs(winner.entry_atoms)))


def profit_times_margin(winner: Winner) -> int:
    """Binance: profit / wallet * maintenance / (wallet + profit)."""
    margin_balance = winner.wallet_atoms + winner.profit_atoms
    if margin_balance <= 0:
        return 0
    numerator = winner.profit_atoms * winner.maintenance_atoms() * PPB
    return numerator // (max(1, winner.wallet_atoms) * margin_balance)


SCORES: dict[str, Callable[[Winner], int]] = {
    "hyperliquid": leverage_times_profit,
    "binance": profit_times_margin,
}


def rule_ticks(rules: AdlRules, mark_ticks: int, previous_ticks: int | None, lots: int) -> int:
    """The rulebook's price for a bankrupt position of `lots`; the bankruptcy price starts at the mark."""
    return PRICES[rules.price](mark_ticks, previous_ticks, lots)


def at_mark(mark_ticks: int, _previous_ticks: int | None, _lots: int) -> int:
    return mark_ticks


def at_kinder_mark(mark_ticks: int, previous_ticks: int | None, lots: int) -> int:
    """The previous mark, unless the mark is kinder to the bankrupt account."""
    if previous_ticks is None:
        return mark_ticks
    return max(mark_ticks, previous_ticks) if lots > 0 else min(mark_ticks, previous_ticks)


PRICES: dict[str, Callable[[int, int | None, int], int]] = {
    "mark": at_mark,
    "previous_mark": at_kinder_mark,
    "bankruptcy": at_mark,
}


def allocated_atoms(missing_atoms: int, values_atoms: list[int]) -> int:
    """The first position's part of a deficit, by value and rounded up; the others take the rest."""
    whole = sum(values_atoms)
    return div_ceil(missing_atoms * values_atoms[0], whole) if whole else missing_atoms


def bankruptcy_ticks(spec: Instrument, mark_ticks: int, lots: int, missing_atoms: int) -> int:
    """Where closing `lots` (signed) brings `missing_atoms` more than the mark; against the winners."""
    away = div_ceil(missing_atoms, abs(lots) * spec.tick_value_atoms)
    return mark_ticks + away if lots > 0 else mark_ticks - away


def transfer_atoms(spec: Instrument, mark_ticks: int, price_ticks: int, lots: int) -> int:
    """What a winner gives up against the mark when `lots` (the winner's, signed) close at the price."""
    return value(spec, mark_ticks, lots) - value(spec, price_ticks, lots)


def bearable_lots(spec: Instrument, mark_ticks: int, price_ticks: int, lots: int, equity_atoms: int) -> int:
    """Of `lots` (the winner's, signed) how many, unsigned, close without taking the winner below zero."""
    charge = transfer_atoms(spec, mark_ticks, price_ticks, 1 if lots > 0 else -1)
    if charge <= 0:
        return abs(lots)
    return min(abs(lots), max(0, equity_atoms) // charge)
