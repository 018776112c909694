"""Who pays in each stage that brings cash, and what there is to bring."""

from collections.abc import Callable
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.events import DEFAULT_FUND, FINANCIER, FIRST_ACCOUNT, HOUSE, INSURANCE, LENDING
from zerodebt.exchange.rules import SocialiseRules, VenueRules

# Atoms that each payer could bring for a debtor.
Means = dict[int, int]


class Claim(NamedTuple):
    """A compartment that cannot pay.

    found    markets in which it had positions when it was found in this command
    pools    pockets of the fund that answer for it
    profits  what the settlements of this command realised, by account
    """

    account: int
    pocket: int
    found: list[Market]
    pools: list[int]
    profits: dict[int, int]


class Base(NamedTuple):
    """What a loss is shared by, and the most that is taken for it."""

    atoms: int
    most_atoms: int


Bases = dict[Compartment, Base]


def is_payer(stage: str, holdings: Holdings, account: int) -> bool:
    """Does the stage name this account? Those who share a loss are named by their shares."""
    match stage:
        case "backstop":
            return account in holdings.serving
        case "insurance":
            return account == INSURANCE
        case "house":
            return account == HOUSE
        case "default_fund":
            return account in (DEFAULT_FUND, HOUSE) or holdings.is_protected(account)
        case "lenders":
            return account == LENDING
        case "recourse":
            return account == FINANCIER
        case _:
            return False


def could_bring(stage: str, holdings: Holdings, claim: Claim) -> int:
    """What the payers of a stage have for this debtor; 0 for one that brings no cash of its own."""
    return MEANS[stage](holdings, claim) if stage in MEANS else 0


def capacity(rules: VenueRules, holdings: Holdings, claim: Claim) -> int:
    """What those stages could bring for one deficit whose payers hold money of their own."""
    means = {
        stage: could_bring(stage, holdings, claim)
        for stage in rules.waterfall
        if stage in ("backstop", "insurance", "house")
    }
    most = rules.house.deficit_max_atoms
    if most is not None and "house" in means:
        means["house"] = min(means["house"], most)
    return sum(means.values())


def vaults(holdings: Holdings, claim: Claim) -> int:
    """The serving vaults' equity; they do not pay for each other."""
    if not holdings.is_protected(claim.account):
        return 0
    return sum(max(0, holdings.equity(vault, holdings.settle)) for vault in holdings.serving)


def fund(holdings: Holdings, claim: Claim) -> int:
    """The money of the pools that answer; they do not pay for each other, nor with assets that they hold."""
    if claim.account == INSURANCE:
        return 0
    return sum(max(0, holdings.money(INSURANCE, pocket)) for pocket in claim.pools)


def house(holdings: Holdings, _: Claim) -> int:
    return max(0, holdings.balances[holdings.settle][HOUSE])


def financier(holdings: Holdings, claim: Claim) -> int:
    """Whoever carries a customer's receivable can always carry more of it."""
    return 1 if holdings.is_protected(claim.account) else 0


MEANS: dict[str, Callable[[Holdings, Claim], int]] = {
    "backstop": vaults,
    "insurance": fund,
    "house": house,
    "recourse": financier,
}

SHARED = ("socialise", "settlement_haircut")


def bases(stage: str, rules: SocialiseRules, holdings: Holdings, claim: Claim) -> Bases:
    """Who shares a loss, and by what."""
    if stage == "settlement_haircut":
        return settlement_winners(holdings, claim)
    return FORMS[rules.form](holdings, claim)


def session_winners(holdings: Holdings, claim: Claim) -> Bases:
    """What each customer won beyond what it brought in, as far as its cross equity reaches."""
    gains: Bases = {}
    settle = holdings.settle
    for account in range(FIRST_ACCOUNT, len(holdings.held)):
        if account == claim.account or account in holdings.serving:
            continue
        pooled = holdings.equity(account, settle)
        equity = pooled - holdings.worth(account)
        for market in holdings.slots:
            if holdings.balances[market.pocket][account] or account in market.isolated:
                equity += holdings.equity(account, market.pocket)
        gain = min(equity, equity - holdings.brought_in.get(account, 0), max(0, pooled))
        if gain > 0:
            gains[account, settle] = Base(gain, gain)
    return gains


def open_lots(holdings: Holdings, claim: Claim) -> Bases:
    """All others' lots, long and short, where the loss arose, at the mark; each pays from its own margin."""
    values: dict[Compartment, int] = {}
    numbers = dict.fromkeys(market.instrument for market in claim.found)
    for market in (leg for number in numbers for leg in holdings.markets[number].legs):
        for account in sorted(market.holders):
            key = (account, holdings.pocket_of(account, market))
            if account >= FIRST_ACCOUNT and key != (claim.account, claim.pocket):
                values[key] = values.get(key, 0) + holdings.notional(account, market)
    return {key: Base(value, max(0, holdings.equity(*key))) for key, value in values.items()}


def settlement_winners(holdings: Holdings, claim: Claim) -> Bases:
    """Customers who made a profit where the debtor made a loss, as far as their cross equity reaches."""
    if claim.profits.get(claim.account, 0) >= 0:
        return {}
    settle = holdings.settle
    return {
        (account, settle): Base(profit, max(0, holdings.equity(account, settle)))
        for account, profit in claim.profits.items()
        if profit > 0 and account >= FIRST_ACCOUNT
    }


FORMS: dict[str, Callable[[Holdings, Claim], Bases]] = {
    "session_winners": session_winners,
    "funding_index": open_lots,
}


def shares(sharing: Bases, deficit_atoms: int) -> dict[Compartment, int]:
    """A loss by base, to the atom, at most all bases; nobody makes up for who cannot pay his share."""
    whole = sum(base.atoms for base in sharing.values())
    if not whole:
        return {}
    parts = split(min(deficit_atoms, whole), [base.atoms for base in sharing.values()])
    due = {key: min(part, sharing[key].most_atoms) for key, part in zip(sharing, parts, strict=True)}
    return {key: atoms for key, atoms in due.items() if atoms > 0}
