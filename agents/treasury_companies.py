"""Listed companies whose business is to hold a coin (C7): issues, converts, puts, forced sales, failures.

Rows F81, F82, F83, F88, F96, F97, S14, V74, V75. Section (f): mNAV q is the book's share price over net asset
value; the mean-reverting process below drives valuation traders alone, and issues are capped by the shares
that were traded. Everything is an array over companies; a day is the step.

Net asset value is coins at the price of the book + cash - debt. Tier 1 is the large company, 2 the middle
ones, 3 the long tail. Coupons and preferred dividends are left out: converts bear next to none.

Ours, 2026-11-22: s = 0.03 a day (noise of the traders' q); the issue is the product that C7 names, 10 % x
20 % of the average daily share volume of 20 days; conversion price 1.5 times the share price at issue, and
those of the start were issued near the top, at net assets; a company buys back at most 2 % of its cash a
day. Debt over NAV is read as the companies publish it, over the value of the coins (Strategy: 8 of 65
billion USD). Tail companies' debt is 0 to 50 % of it by stratified quantiles, and falls with size where
`terms_follow_size`: rank correlation 0.8 (normal copula). Each has one put, on staggered days that do not
hang on its size. How long ahead of a put a company sells is a parameter of the world: a first draft with 30
days and two puts knew no failures at all.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from zerodebt.agents.wealth import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REVERSION, RESPONSE, NOISE = 0.05, 0.8, 0.03
ISSUES_ABOVE, CONVERTS_ABOVE, BUYS_BACK_BELOW = 1.2, 1.5, 0.8
VOLATILITY_MIN = 0.5
VOLUME_SHARE = 0.10 * 0.20
SALE_OF_VOLUME = 0.05
BUY_BACK_SHARE = 0.02
SIZE_CORRELATION = 0.8
CONVERSION_OVER_PRICE = 1.5
CONVERT_SHARE = 0.02
"""Of the coins' value, for each day of converts; ours."""
LARGE_DEBT_MAX = 0.15
"""Of the coins' value (C7: 10-15 %)."""
LARGE, MIDDLE, TAIL = 1, 2, 3
NEVER = 1 << 30


@dataclass(frozen=True)
class Companies:
    """One row a company. `puts` holds the days of two puts, `put_face` what each is for: the second is that
    of converts issued later.

    coin  number of the coin it holds
    """

    tier: Ints
    coin: Ints
    coins: Floats
    shares: Floats
    cash: Floats
    puts: Ints
    put_face: Floats
    conversion_price: Floats
    failed_day: Ints

    @property
    def debt(self) -> Floats:
        debt: Floats = self.put_face.sum(axis=1)
        return debt

    @property
    def is_alive(self) -> Bools:
        alive: Bools = self.failed_day == NEVER
        return alive


def net_assets(companies: Companies, coin_prices: Floats) -> Floats:
    """Of each company; may be below zero."""
    c = companies
    value: Floats = c.coins * coin_prices[c.coin] + c.cash - c.debt
    return value


def multiple_of_assets(companies: Companies, coin_prices: Floats, share_prices: Floats) -> Floats:
    """mNAV by the book's share prices; nothing where net assets are not above zero."""
    assets = net_assets(companies, coin_prices)
    value = share_prices * companies.shares
    return np.divide(value, assets, out=np.zeros_like(value), where=assets > 0)


def accretion(share_of_shares: float, multiple: float) -> float:
    """Growth of net assets a share when new shares are sold at this mNAV (F83, V74)."""
    return share_of_shares * (multiple - 1) / (1 + share_of_shares)


def traders_multiple_next(multiple: Floats, coin_return: Floats, normal: Floats) -> Floats:
    """What valuation traders pay a day later; `coin_return` is that of 90 days, of each company's coin."""
    target = 1 + RESPONSE * coin_return
    moved: Floats = multiple + REVERSION * (target - multiple) + NOISE * normal
    return np.maximum(moved, 0.05)


def shares_to_issue(companies: Companies, multiple: Floats, volume: Floats) -> Floats:
    """At the market, today. `volume` is the average number of shares traded a day."""
    return np.where(companies.is_alive & (multiple > ISSUES_ABOVE), VOLUME_SHARE * volume, 0.0)


def converts_to_issue(
    companies: Companies, multiple: Floats, volatility: float, coin_prices: Floats
) -> Floats:
    """Face of new converts: tier 1 alone has that market (F82)."""
    c = companies
    may = c.is_alive & (c.tier == LARGE) & (multiple > CONVERTS_ABOVE) & (volatility > VOLATILITY_MIN)
    room = np.maximum(LARGE_DEBT_MAX * c.coins * coin_prices[c.coin] - c.debt, 0.0)
    return np.where(may, np.minimum(CONVERT_SHARE * c.coins * coin_prices[c.coin], room), 0.0)


def cash_to_buy_back(companies: Companies, multiple: Floats) -> Floats:
    """Own shares are bought with a part of free cash while the book is far below net assets."""
    free = companies.is_alive & (multiple < BUYS_BACK_BELOW) & (companies.debt == 0)
    return np.where(free, BUY_BACK_SHARE * companies.cash, 0.0)


def due_in_cash(companies: Companies, share_prices: Floats, day: int, within: int = 0) -> Floats:
    """Face of puts within so many days that holders will ask cash for: those not in the money (V75)."""
    c = companies
    is_due = (c.puts >= day) & (c.puts <= day + within) & (c.put_face > 0)
    wanted = share_prices <= c.conversion_price
    return np.where(wanted, (c.put_face * is_due).sum(axis=1), 0.0)


def coins_to_sell(
    companies: Companies,
    coin_prices: Floats,
    share_prices: Floats,
    coin_volume: Floats,
    day: int,
    notice_days: int,
) -> Floats:
    """Coins that a company sells today because cash will not reach; at most 5 % of a day's volume.

    coin_volume  of each coin's book, in coins a day; the cap is each company's own
    notice_days  how long ahead of a put it looks
    """
    c = companies
    lacking = due_in_cash(c, share_prices, day, notice_days) - c.cash
    wanted = np.minimum(np.maximum(lacking, 0.0) / coin_prices[c.coin], c.coins)
    return np.where(c.is_alive, np.minimum(wanted, SALE_OF_VOLUME * coin_volume[c.coin]), 0.0)


def selling_order(companies: Companies) -> Ints:
    """Tier 3 first; within a tier the smaller first."""
    order: Ints = np.lexsort((companies.coins, -companies.tier)).astype(np.int64)
    return order


def fails_today(companies: Companies, coin_prices: Floats, share_prices: Floats, day: int) -> Bools:
    """At a put that is asked for in cash, coins and cash are worth less than all that is owed."""
    c = companies
    asked = due_in_cash(c, share_prices, day) > 0
    failed: Bools = c.is_alive & asked & (c.coins * coin_prices[c.coin] + c.cash < c.debt)
    return failed


def after_puts(companies: Companies, share_prices: Floats, day: int) -> Companies:
    """Puts of the day are paid from cash as far as it reaches, or converted into shares."""
    c = companies
    is_due = (c.puts == day) & c.is_alive[:, None]
    face = (c.put_face * is_due).sum(axis=1)
    converts = share_prices > c.conversion_price
    shares = np.where(converts, face / c.conversion_price, 0.0)
    paid = np.where(converts, 0.0, np.minimum(face, np.maximum(c.cash, 0.0)))
    share_left = np.divide(face - paid, face, out=np.zeros_like(face), where=(face > 0) & ~converts)
    put_face = np.where(is_due, c.put_face * share_left[:, None], c.put_face)
    puts = np.where(is_due & (put_face > 0), day + 1, c.puts)
    return replace(c, shares=c.shares + shares, cash=c.cash - paid, put_face=put_face, puts=puts)


def drawn(
    rng: np.random.Generator,
    top_prices: Floats,
    share_price: float,
    start_prices: Floats,
    *,
    large: float,
    middle: float,
    tail: float,
    terms_follow_size: bool,
    has_debt: bool,
    first_put: int,
    last_put: int,
) -> Companies:
    """One large company of coin 0, five middle ones of coin 1, forty of the tail: coins 0 and 2 in turn.

    top_prices             of the coins, at which coins are worth what follows and debt is a share of it
    share_price            where the book starts, at net assets of `start_prices`
    large, middle, tail    value of all coins of the tier
    first_put, last_put    days between which puts are staggered
    """
    tier = np.array([LARGE] + [MIDDLE] * 5 + [TAIL] * 40)
    coin = np.array([0] + [1] * 5 + [0, 2] * 20)
    quantiles = (np.arange(40) + 0.5) / 40
    small = 1 / (1 - rng.permutation(quantiles))
    medium = 1 / (1 - (np.arange(5) + 0.5) / 5)
    value = np.concatenate([[large], middle * medium / medium.sum(), tail * small / small.sum()])
    ratio = np.empty(46)
    ratio[0], ratio[1:6] = 0.12, rng.uniform(0, 0.05, 5)
    smallness = -norm.ppf(_ranks(small))
    weight = SIZE_CORRELATION if terms_follow_size else 0.0
    ratio[6:] = 0.5 * _ranks(_tilted(rng, smallness, weight))
    days = np.empty(46, np.int64)
    days[0] = (first_put + last_put) // 2
    days[1:6] = np.linspace(first_put, last_put, 5)
    days[6:] = rng.permutation(np.linspace(first_put, last_put, 40).astype(np.int64))
    cash = 0.02 * value
    face = value * ratio * has_debt
    coins = np.floor(value / top_prices[coin])
    assets = coins * start_prices[coin] + cash - face
    shares = np.floor(assets / share_price)
    top_assets = value + cash - face
    return Companies(
        tier.astype(np.int64),
        coin.astype(np.int64),
        coins,
        shares,
        cash,
        np.stack([days, np.full(46, last_put)], axis=1),
        np.stack([face, np.zeros(46)], axis=1),
        CONVERSION_OVER_PRICE * top_assets / shares,
        np.full(46, NEVER),
    )


def _ranks(values: Floats) -> Floats:
    """Ranks as shares between 0 and 1."""
    ranks: Floats = (values.argsort().argsort() + 0.5) / len(values)
    return ranks


def _tilted(rng: np.random.Generator, normal: Floats, weight: float) -> Floats:
    mixed: Floats = weight * normal + np.sqrt(1 - weight**2) * rng.standard_normal(len(normal))
    return mixed
