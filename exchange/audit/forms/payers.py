"""Who pays in each stage that brings cash, and what there is to bring."""

from collections.abc import Callable, Iterable

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.events import DEFAULT_FUND, FINANCIER, FIRST_ACCOUNT, HOUSE, INSURANCE

# Atoms that each payer could bring for a debtor.
Means = dict[int, int]


def is_payer(stage: str, holdings: Holdings, account: int) -> bool:
    """Does the stage name this account?"""
    match stage:
        case "backstop":
            return account in holdings.serving
        case "insurance":
            return account == INSURANCE
        case "socialise":
            return holdings.is_protected(account)
        case "house":
            return account == HOUSE
        case "default_fund":
            return account in (DEFAULT_FUND, HOUSE) or holdings.is_protected(account)
        case "recourse":
            return account == FINANCIER
        case _:
            return False


def could_bring(stage: str, holdings: Holdings, debtor: int) -> Means:
    """Payers of a stage with what they have for this debtor; nothing for a stage that brings no cash."""
    return MEANS[stage](holdings, debtor) if stage in MEANS else {}


def capacity(stages: Iterable[str], holdings: Holdings, debtor: int) -> int:
    """What those stages could bring whose payers hold money of their own."""
    own = [stage for stage in stages if stage in ("backstop", "insurance", "house")]
    return sum(sum(could_bring(stage, holdings, debtor).values()) for stage in own)


def vaults(holdings: Holdings, debtor: int) -> Means:
    """The serving vaults with their equity; they do not pay for each other."""
    if not holdings.is_protected(debtor):
        return {}
    return {vault: max(0, holdings.equity(vault, holdings.settle)) for vault in holdings.serving}


def fund(holdings: Holdings, debtor: int) -> Means:
    if debtor == INSURANCE:
        return {}
    return {INSURANCE: max(0, holdings.equity(INSURANCE, holdings.settle))}


def house(holdings: Holdings, _: int) -> Means:
    return {HOUSE: max(0, holdings.balances[holdings.settle][HOUSE])}


def session_winners(holdings: Holdings, debtor: int) -> Means:
    """What each customer won beyond what it brought in, as far as its cross equity reaches."""
    gains = {}
    settle = holdings.settle
    for account in range(FIRST_ACCOUNT, len(holdings.held)):
        if account == debtor or account in holdings.serving:
            continue
        pooled = holdings.equity(account, settle)
        equity = pooled - holdings.worth(account)
        for market in holdings.markets:
            if holdings.balances[market.pocket][account] or account in market.isolated:
                equity += holdings.equity(account, market.pocket)
        gain = min(equity, equity - holdings.brought_in.get(account, 0), max(0, pooled))
        if gain > 0:
            gains[account] = gain
    return gains


def financier(holdings: Holdings, debtor: int) -> Means:
    """Whoever carries a customer's receivable can always carry more of it."""
    return {FINANCIER: 1} if holdings.is_protected(debtor) else {}


MEANS: dict[str, Callable[[Holdings, int], Means]] = {
    "backstop": vaults,
    "insurance": fund,
    "socialise": session_winners,
    "house": house,
    "recourse": financier,
}


def shares_of_winners(means: Means, deficit_atoms: int) -> Means:
    """A socialised loss by gain, to the atom; at most all that was gained."""
    whole = sum(means.values())
    if not whole:
        return {}
    shares = split(min(deficit_atoms, whole), list(means.values()))
    return {winner: share for winner, share in zip(means, shares, strict=True) if share}
