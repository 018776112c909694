"""The value funds of `leveraged_funds` in a real order book.

Noise traders quote their demand curve: who holds `held` shares and wants them to be worth xi bids and asks
in steps of 1 % about xi / held, each as large as brings him back onto the curve. The funds then trade in
the book, in rounds, each half of what he lacks or has too much at the midpoint; a fund at its limit sells
as the price falls. Who closes is sold out. Prices are ticks, shares lots, cash ticks times lots, all whole;
the book and the walk are those of the venue.

Ours, 2026-11-22: steps of 1 %, 40 a side; at most 6 rounds a step; half of the difference a round.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.matching import plan_fills
from zerodebt.scenarios.models import leveraged_funds as pure
from zerodebt.scenarios.series import Series, kurtosis

VALUE_TICKS, SHARE_LOTS = 1000, 1000
UNIT = VALUE_TICKS * SHARE_LOTS
"""Cash of one share at its value."""
QUOTE_STEP, QUOTES, ROUNDS = 0.01, 40, 6
NOISE_ACCOUNT, FUND_ACCOUNT = 1, 2
LEAST_LOTS = 100
"""A round that trades less is the last."""
BURN_IN = 500


class Market:
    """The book and what the noise traders hold and want."""

    def __init__(self) -> None:
        self.held_lots = int(pure.SHARES) * SHARE_LOTS
        self.worth = self.held_lots * VALUE_TICKS
        self.book = Book()

    def quote(self) -> None:
        """The noise traders' whole demand curve, anew."""
        self.book = Book()
        fair_ticks = self.worth / self.held_lots
        for side in (BUY, SELL):
            standing = self.held_lots
            for k in range(1, QUOTES + 1):
                price = round(fair_ticks * (1 + QUOTE_STEP) ** (-side * k))
                wanted = int(self.worth / price)
                lots = side * (wanted - standing)
                if lots > 0:
                    order_id = (side > 0) * QUOTES + k
                    self.book.add(Order(order_id, NOISE_ACCOUNT, 0, side, price, lots, 0, False))
                    standing = wanted

    def price_ticks(self) -> float:
        """The midpoint; the noise traders' fair price when a side is swept clean."""
        bid, ask = self.book.best_ticks(BUY), self.book.best_ticks(SELL)
        return self.worth / self.held_lots if bid is None or ask is None else (bid + ask) / 2

    def trade(self, side: int, lots: int) -> tuple[int, int]:
        """A fund's market order: lots that it fills, and what they are worth at the quotes."""
        plan = plan_fills(self.book, FUND_ACCOUNT, side, lots, None, "cancel_newest", self)
        worth = 0
        for step in plan.steps:
            worth += step.maker.price_ticks * step.fill_lots
            step.maker.open_lots -= step.fill_lots
            if not step.maker.open_lots:
                self.book.remove(step.maker)
        self.held_lots -= side * plan.filled_lots
        return plan.filled_lots, worth

    # Makers, for the walk: noise traders can bear what they quote

    def position_lots(self, maker: Order) -> int:
        return self.held_lots if maker.account == NOISE_ACCOUNT else 0

    def bearable_lots(self, maker: Order, lots: int) -> int:
        return min(lots, maker.open_lots)

    def take(self, maker: Order, lots: int) -> None:
        """Nothing hangs on it."""


class Fund:
    """Cash and lots; `waiting` steps until a fund that closed starts again."""

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.cash = int(pure.WEALTH * UNIT)
        self.lots = 0
        self.average = 0.0
        self.waiting = 0

    def wealth(self, price_ticks: float) -> float:
        """In units of a share's value."""
        return (self.cash + self.lots * price_ticks) / UNIT

    def lacking_lots(self, price_ticks: float, limit: float) -> int:
        """Lots to buy, or to sell below zero, for what is wanted at this price."""
        wealth = self.wealth(price_ticks)
        if self.waiting or wealth <= 0:
            return -self.lots
        wanted = pure.wanted(self.beta, limit, price_ticks / VALUE_TICKS)
        return int(wanted * wealth * UNIT / price_ticks) - self.lots


def measure(seed: int, *, limit: float, steps: int, prudence: float = 0.0) -> Mapping[str, float]:
    """As in `leveraged_funds`."""
    luck = np.random.default_rng([seed, 4])
    prices, defaults = run(luck.standard_normal(steps), limit, prudence)
    returns = np.diff(np.log(prices))[BURN_IN:]
    return {
        "kurtosis": kurtosis(returns),
        "deviation": float(returns.std()),
        "defaults": defaults * 10_000 / steps,
    }


def run(shocks: Series, limit: float, prudence: float) -> tuple[Series, int]:
    """Midpoints after each step, and how often a fund closed."""
    market, funds = Market(), [Fund(beta) for beta in pure.BETAS.tolist()]
    prices = np.full(len(shocks), float(VALUE_TICKS))
    recent = np.zeros(pure.VOLATILITY_STEPS)
    log_worth = float(np.log(pure.SHARES))
    defaults = 0
    for step, shock in enumerate(shocks.tolist()):
        log_worth = pure.next_log_worth(log_worth, shock)
        market.worth = int(np.exp(log_worth) * UNIT)
        before = market.price_ticks()
        wealth = [fund.wealth(before) for fund in funds]
        rebalance(market, funds, limit / (1 + prudence * float(recent.var())))
        prices[step] = price = market.price_ticks()
        recent[step % pure.VOLATILITY_STEPS] = np.log(price / before)
        for fund, was in zip(funds, wealth, strict=True):
            defaults += settle(fund, was, price)
    return prices, defaults


def rebalance(market: Market, funds: list[Fund], limit: float) -> None:
    """Rounds of quotes and of trades, until hardly anything is traded."""
    for _ in range(ROUNDS):
        market.quote()
        traded = 0
        for fund in funds:
            lacking = fund.lacking_lots(market.price_ticks(), limit)
            side = BUY if lacking > 0 else SELL
            lots, worth = market.trade(side, (abs(lacking) + 1) // 2)
            fund.lots += side * lots
            fund.cash -= side * worth
            traded += lots
        if traded < LEAST_LOTS:
            return


def settle(fund: Fund, was: float, price_ticks: float) -> bool:
    """Investors' flows after a step; True when the fund closes. What it owes then is its lender's loss."""
    if fund.waiting:
        fund.waiting -= 1
        if not fund.waiting:
            fund.cash = int(pure.WEALTH * UNIT) - int(fund.lots * price_ticks)
        return False
    wealth = fund.wealth(price_ticks)
    fund.average += pure.FLOW_MEMORY * ((wealth - was) / was - fund.average)
    fund.cash += int(pure.flow(fund.average) * wealth * UNIT)
    if fund.wealth(price_ticks) >= pure.WEALTH_OUT:
        return False
    fund.average, fund.waiting = 0.0, pure.STEPS_OUT
    return True
