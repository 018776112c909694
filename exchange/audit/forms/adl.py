"""Who stands on the other side of a bankrupt position, whom a queue asks first, and at which price."""

from collections.abc import Callable
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.forms.valuation import dust_atoms, price_of, value
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import AdlRules

SCORE_MAX = 2**63 - 1


class Candidate(NamedTuple):
    """A position of the other side and the compartment that it answers with; in atoms, at the mark.

    lots, value_atoms and entry_atoms are signed; the wallet is what of the equity is settled.
    """

    account: int
    pocket: int
    lots: int
    value_atoms: int
    entry_atoms: int
    wallet_atoms: int
    equity_atoms: int
    maintenance_atoms: Callable[[], int]

    @property
    def profit_atoms(self) -> int:
        return self.value_atoms - self.entry_atoms

    @property
    def wealth_atoms(self) -> int:
        """The compartment's open profit."""
        return max(0, self.equity_atoms - self.wallet_atoms)

    @property
    def leverage_ppb(self) -> int:
        return abs(self.value_atoms) * PPB // self.equity_atoms if self.equity_atoms > 0 else 0


def is_queue(rules: AdlRules) -> bool:
    return rules.policy == "queue"


def asks_losers(rules: AdlRules) -> bool:
    """May positions without a profit be deleveraged?"""
    return rules.policy == "iteration" or (is_queue(rules) and rules.score == "bitmex")


def score_ppb(rules: AdlRules, candidate: Candidate) -> int:
    """The rank's score, rounded down, 0 without one; within 64 bits."""
    score = SCORES[rules.score](rules, candidate) if candidate.equity_atoms > 0 else 0
    return max(-SCORE_MAX, min(SCORE_MAX, score))


def leverage_times_profit(_: AdlRules, c: Candidate) -> int:
    """Hyperliquid, Bybit: (value / equity) * (profit / entry value)."""
    return _ppb(abs(c.value_atoms) * c.profit_atoms, c.equity_atoms * max(1, abs(c.entry_atoms)))


def profit_times_margin(rules: AdlRules, c: Candidate) -> int:
    """Binance: profit / wallet * maintenance / (wallet + profit)."""
    margin_balance = c.wallet_atoms + c.profit_atoms
    if margin_balance <= 0:
        return 0
    denominator = max(rules.wallet_min_atoms, c.wallet_atoms) * margin_balance
    return _ppb(c.profit_atoms * c.maintenance_atoms(), denominator)


def profit_with_leverage(_: AdlRules, c: Candidate) -> int:
    """BitMEX: PNL% times the leverage of a winner, PNL% over the leverage of a loser."""
    mark, entry = abs(c.value_atoms), abs(c.entry_atoms)
    if not mark or not entry:
        return 0
    if c.profit_atoms > 0:
        return _ppb(c.profit_atoms * mark, entry * c.equity_atoms)
    return _ppb(c.profit_atoms * c.equity_atoms, entry * mark)


def leverage_over_bankruptcy(_: AdlRules, c: Candidate) -> int:
    """Chitra: leverage * mark / bankruptcy price; 0 for whom no price makes bankrupt."""
    mark = abs(c.value_atoms)
    at_bankruptcy = mark - c.equity_atoms if c.lots > 0 else mark + c.equity_atoms
    return _ppb(mark * mark, c.equity_atoms * at_bankruptcy) if at_bankruptcy > 0 else 0


def _ppb(numerator: int, denominator: int) -> int:
    """Rounded down, but what is above zero stays above it."""
    floored = numerator * PPB // denominator
    return max(1, floored) if numerator > 0 else floored


SCORES: dict[str, Callable[[AdlRules, Candidate], int]] = {
    "hyperliquid": leverage_times_profit,
    "bybit": leverage_times_profit,
    "binance": profit_times_margin,
    "bitmex": profit_with_leverage,
    "paper": leverage_over_bankruptcy,
}


def queue(rules: AdlRules, candidates: list[Candidate]) -> list[tuple[int, int, int]]:
    """(-score, account, pocket), the highest score first; only BitMEX keeps those without a positive one."""
    ranked = [(-score_ppb(rules, c), c.account, c.pocket) for c in candidates]
    return sorted(entry for entry in ranked if entry[0] < 0 or rules.score == "bitmex")


class Quotes(NamedTuple):
    """An instrument's prices that a rulebook may deleverage at."""

    mark_ticks: int
    previous_ticks: int | None
    index_ticks: int | None


def rule_ticks(rules: AdlRules, quotes: Quotes, lots: int) -> int:
    """The rulebook's price for a bankrupt position of `lots`; the bankruptcy price starts at the mark."""
    return PRICES[rules.price](quotes, lots)


def at_mark(quotes: Quotes, _lots: int) -> int:
    return quotes.mark_ticks


def at_kinder_mark(quotes: Quotes, lots: int) -> int:
    """The previous mark, unless the mark is kinder to the bankrupt account."""
    mark, previous = quotes.mark_ticks, quotes.previous_ticks
    if previous is None:
        return mark
    return max(mark, previous) if lots > 0 else min(mark, previous)


def at_index(quotes: Quotes, _lots: int) -> int:
    return quotes.mark_ticks if quotes.index_ticks is None else quotes.index_ticks


PRICES: dict[str, Callable[[Quotes, int], int]] = {
    "mark": at_mark,
    "previous_mark": at_kinder_mark,
    "index": at_index,
    "bankruptcy": at_mark,
}


def closing_ticks(
    rules: AdlRules, quotes: Quotes, lots: int, bankruptcy_ticks: int, *, absorber: bool, bearable: bool
) -> int:
    """The price of a bankrupt position: the rule's, or the bankruptcy price.

    absorber  the bankrupt account is a vault or the fund
    bearable  those with money of their own could pay what the rule's price leaves
    """
    price = rule_ticks(rules, quotes, lots)
    if absorber or not bearable:
        return bankruptcy_ticks
    if rules.price == "bankruptcy":
        far = abs(bankruptcy_ticks - price) * PPB > abs(price) * rules.bankruptcy_off_max_ppb
        return price if rules.bankruptcy_off_max_ppb and far else bankruptcy_ticks
    if rules.clamp == "bankruptcy":
        return min(price, bankruptcy_ticks) if lots > 0 else max(price, bankruptcy_ticks)
    return price


def allocated_atoms(missing_atoms: int, weights: list[int]) -> int:
    """The first position's part of a deficit by weight, rounded up; the others take the rest."""
    whole = sum(weights)
    return div_ceil(missing_atoms * weights[0], whole) if whole else missing_atoms


def bankruptcy_ticks(spec: Instrument, mark_ticks: int, lots: int, missing_atoms: int) -> int:
    """Where closing `lots` (signed) brings `missing_atoms` more than the mark; against the winners.

    An inverse position cannot be closed below one tick, however much is missing.
    """
    price = price_of(spec, lots, value(spec, mark_ticks, lots) + missing_atoms)
    return max(1, price) if spec.contract == "inverse" else price


def transfer_atoms(spec: Instrument, mark_ticks: int, price_ticks: int, lots: int) -> int:
    """What a winner gives up against the mark when `lots` (the winner's, signed) close at the price."""
    return value(spec, mark_ticks, lots) - value(spec, price_ticks, lots)


def charge_atoms(spec: Instrument, mark_ticks: int, price_ticks: int, side: int) -> int:
    """What one lot of a winner of this side gives up, at most."""
    return transfer_atoms(spec, mark_ticks, price_ticks, side) + dust_atoms(spec)
