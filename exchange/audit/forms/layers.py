"""Whose money each layer of a default fund brings, and how much of it there is."""

from typing import get_args

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.forms.payers import Means
from zerodebt.exchange.audit.forms.valuation import value
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, FundLayer
from zerodebt.exchange.rules import DefaultFundRules

LAYERS: tuple[FundLayer, ...] = get_args(FundLayer)


def house_capital(rules: DefaultFundRules, holdings: Holdings) -> Means:
    """What of its capital the house has named for one default, as far as it is there."""
    return {HOUSE: max(0, min(rules.house_capital_atoms, holdings.balances[holdings.settle][HOUSE]))}


def assessments(rules: DefaultFundRules, holdings: Holdings, others: Means) -> Means:
    """A multiple of each contribution, as far as cash and equity reach."""
    settle = holdings.settle
    return {
        member: max(
            0,
            min(
                atoms * rules.assessment_ppb // PPB,
                holdings.balances[settle][member],
                holdings.equity(member, settle),
            ),
        )
        for member, atoms in others.items()
    }


def haircuts(
    rules: DefaultFundRules, holdings: Holdings, settled_ticks: dict[int, int], defaulter: int
) -> Means:
    """A share of what each customer's positions gained from the last settlement price to the mark."""
    means: Means = {}
    if not rules.variation_haircut_ppb:
        return means
    for account in range(FIRST_ACCOUNT, len(holdings.held)):
        won = 0
        for n, (lots, _, _) in holdings.held[account].items():
            market = holdings.markets[n]
            if n in settled_ticks and market.mark is not None:
                won += holdings.value(market, lots) - value(market.spec, settled_ticks[n], lots)
        if won > 0 and account != defaulter and account not in holdings.serving:
            most = min(won * rules.variation_haircut_ppb // PPB, holdings.equity(account, holdings.settle))
            means[account] = max(0, most)
    return means
