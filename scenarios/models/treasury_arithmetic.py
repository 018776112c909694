"""What treasury companies publish about themselves, by the arithmetic of agents/treasury_companies.

V74: shares issued at a multiple of net assets, with the books before and after; Strategy's multiple of
November 2025; Sequans's sale. V75: the share price, and with it the coin's price, above which Strategy's put
of 2027 needs no sale. F92: what a carry trade must earn when its margin bears interest.
F96: whether issues of the tail say when the top is, on many paths of a coin.

Ours, 2026-11-22, before the first run: capital costs 8 %, bills bring 4 % and count 98 %; for F96 1000
paths of a year with 60 % volatility, and the top is met when the tail's busiest thirty days of issues end
within 15 days of it.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.agents import treasury_companies as rules
from zerodebt.agents.treasury_companies import NEVER, TAIL, Companies
from zerodebt.agents.wealth import Floats

COINS, COINS_USD, MARKET_VALUE_USD = 641_692, 65.04e9, 63.67e9
PUT_USD, PUT_SHARES = 1.01e9, 5_513_489
"""Face of the notes due in 2028, put in 2027, and the shares that they convert into."""
DILUTED_SHARES = 320.8e6
"""So many make 183 USD a share of 91,500 USD a coin: the source states both prices, not the count."""
CAPITAL_COST, BILL_YIELD, BILL_COUNTS = 0.08, 0.04, 0.98
PATHS, YEAR, BACK, WINDOW, NEAR = 1000, 365, 90, 30, 15
VOLATILITY = 0.6


def measure(seed: int, *, issues_by_multiple: bool = True) -> Mapping[str, float]:
    """issues_by_multiple  False: as many shares are issued every day, whatever the book says"""
    multiples = [n / 20 for n in range(4, 61) if n != 20]
    signs = [grown(0.1, q) > 0 for q in multiples]
    return {
        "growth_at_two": grown(0.1, 2.0),
        "growth_at_four_fifths": grown(0.1, 0.8),
        "sign_agrees": float(np.mean([sign == (q > 1) for sign, q in zip(signs, multiples, strict=True)])),
        "strategy_multiple": MARKET_VALUE_USD / COINS_USD,
        "sequans_debt_left": debt_left(189e6, 970, 94.5e6 / 970) / 189e6,
        "put_conversion_usd": PUT_USD / PUT_SHARES,
        "put_needs_no_sale_above_usd": coin_price_at(PUT_USD / PUT_SHARES),
        "break_even_cut_over_yield": (CAPITAL_COST - break_even(BILL_YIELD, BILL_COUNTS)) / BILL_YIELD,
        **top_signal(seed, issues_by_multiple=issues_by_multiple),
    }


def company(debt: float, coins: float, cash: float) -> Companies:
    """One of the tail with a thousand shares; its debt is due today."""
    return Companies(
        np.array([TAIL]),
        np.zeros(1, np.int64),
        np.array([coins]),
        np.array([1000.0]),
        np.array([cash]),
        np.array([[0, 0]]),
        np.array([[debt, 0.0]]),
        np.array([np.inf]),
        np.array([NEVER]),
    )


def grown(share: float, multiple: float) -> float:
    """Growth of net assets a share, from the books before and after an issue at this multiple."""
    one = np.array([1.0])
    before = rules.net_assets(company(200.0, 1000.0, 0.0), one)[0] / 1000
    money = share * 1000 * multiple * before
    after = rules.net_assets(company(200.0, 1000.0 + money, 0.0), one)[0] / (1000 * (1 + share))
    return float(after / before - 1)


def debt_left(debt: float, coins: float, price: float) -> float:
    """After selling so many coins at a price for a put."""
    paid = rules.after_puts(company(debt, 0.0, coins * price), np.zeros(1), 0)
    return float(paid.debt[0])


def coin_price_at(share_price: float) -> float:
    """Of a coin, where shares cost so much at a multiple of 1."""
    return share_price * DILUTED_SHARES / COINS


def break_even(collateral_yield: float, counts: float) -> float:
    """Funding a year that a fully margined carry trade needs, when its margin bears interest."""
    return (CAPITAL_COST - collateral_yield) / counts


def top_signal(seed: int, *, issues_by_multiple: bool) -> dict[str, float]:
    """Share of paths in which the tail's busiest month of issues ends near the top, and by chance."""
    rng = np.random.default_rng([seed, 96])
    steps = rng.standard_normal((PATHS, YEAR + BACK)) * VOLATILITY / np.sqrt(YEAR)
    prices = np.exp(np.cumsum(steps, axis=1))
    issued = issues(rng, prices, issues_by_multiple=issues_by_multiple)
    sums = np.cumsum(np.pad(issued, ((0, 0), (1, 0))), axis=1)
    months = sums[:, WINDOW:] - sums[:, :-WINDOW]
    busiest = months.argmax(axis=1) + WINDOW - 1
    tops = prices[:, BACK:].argmax(axis=1)
    is_issuing = months.max(axis=1) > 0
    hits = np.abs(busiest - tops)[is_issuing] <= NEAR
    guess = rng.integers(WINDOW - 1, YEAR, (100, is_issuing.sum()))
    chance = np.abs(guess - tops[is_issuing]) <= NEAR
    return {"top_hits": float(hits.mean()), "top_hits_over_chance": float(hits.mean() / chance.mean())}


def issues(rng: np.random.Generator, prices: Floats, *, issues_by_multiple: bool) -> Floats:
    """Shares issued each day of the year by a company of the tail, one a path."""
    count = len(prices)
    firms = Companies(
        np.full(count, TAIL),
        np.zeros(count, np.int64),
        np.ones(count),
        np.ones(count),
        np.zeros(count),
        np.zeros((count, 2), np.int64),
        np.zeros((count, 2)),
        np.ones(count),
        np.full(count, NEVER),
    )
    multiple = np.ones(count)
    issued = np.empty((count, YEAR))
    for day in range(YEAR):
        trend = prices[:, BACK + day] / prices[:, day] - 1
        multiple = rules.traders_multiple_next(multiple, trend, rng.standard_normal(count))
        volume = rng.lognormal(0, 0.5, count)
        shown = multiple if issues_by_multiple else np.full(count, np.inf)
        issued[:, day] = rules.shares_to_issue(firms, shown, volume)
    return issued
