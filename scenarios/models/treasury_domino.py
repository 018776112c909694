"""S14: forty-six treasury companies while the coins double and then lose 60 %.

One venue in memory: three coins and every company's shares are spot markets of it. Value investors with so
much cash bid for coins and are met by other holders, who trade each day to the path's price; what the
investors spend is gone from their bids. Valuation traders quote shares around their multiple of net assets.
The companies' rules are those of agents/treasury_companies.

Chosen on 2026-11-22 (ours): all coins start at 100 USD, double in 90 days and then lose 60 % (the small one
80 %) in 120, along bridges with 3 % of noise a day, half of its variance common; investors bring 40 million
USD and bid 1 % of their cash for each 0.5 % below the last price, split .6/.25/.15 over the coins; the
tiers' coins are worth 60, 15 and 10 million USD at the top; 3 % of a company's shares are traded a day, 1 %
in the tail; puts fall between days 20 and 115 of the fall. An estate sells at the pace that companies may.
A company sells coins for a put in the five days before it. Debts, puts and notice were chosen again after
drafts in which nobody failed at all: see docs/studies/S14.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from zerodebt.agents import treasury_companies as rules
from zerodebt.agents.treasury_companies import TAIL, Companies
from zerodebt.agents.wealth import Floats
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import BUY, SELL, Deposit, MassQuote, PlaceOrder, Withdraw
from zerodebt.exchange.events import Filled, Rejected
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import DAY_NS
from zerodebt.scenarios.models.small_venue import USD, SmallVenue, of, rulebook

RISE_DAYS, FALL_DAYS = 90, 120
RISE, FALL = (2.0, 2.0, 2.0), (0.4, 0.4, 0.2)
"""Of each coin's price; the small coin falls deeper (V48)."""
DAYS = RISE_DAYS + FALL_DAYS
WARM_UP = 20
NOISE = 0.03
COINS, COMPANIES = 3, 46
COIN_TICK_ATOMS, SHARE_TICK_ATOMS = 10**4, 10**3
"""A hundredth and a thousandth of a USD for a coin and a share."""
START_COIN, START_SHARE = 100.0, 10.0
CASH = 40e6
WEIGHTS = (0.6, 0.25, 0.15)
STEP, LEVELS, CASH_OF_LEVEL = 0.005, 40, 0.01
SHARE_STEP, SHARE_LEVELS = 0.005, 10
TRADED_DAILY = {rules.LARGE: 0.03, rules.MIDDLE: 0.03, TAIL: 0.01}
VOLATILITY = 0.6
"""What the option market thinks; above what converts need, so that their price alone decides."""
PUTS = (RISE_DAYS + 20, RISE_DAYS + 115)
EXHAUSTED = 0.5
"""Of the investors' cash at the top: below it the coins' bids count as spent."""
DEAREST = 1.05
"""Over the last price: the most that a company pays."""
PLENTY = 10**9


def measure(seed: int, *, terms_follow_size: bool, has_debt: bool, notice_days: int) -> Mapping[str, float]:
    """Figures of one world.

    terms_follow_size  smaller companies owe more; otherwise that is luck
    has_debt           False: nobody owes anything at the start
    notice_days        how long ahead of a put a company sells coins for it
    """
    world = _World(seed, terms_follow_size=terms_follow_size, has_debt=has_debt, notice_days=notice_days)
    for day in range(DAYS):
        world.live(day)
    world.desk.end()
    return world.figures()


def paths(rng: np.random.Generator) -> Floats:
    """Prices of each coin by day (days + 1, coins): two legs, each a bridge in logs."""
    legs = []
    for days, ratio in ((RISE_DAYS, RISE), (FALL_DAYS, FALL)):
        noise = (rng.standard_normal((days, 1)) + rng.standard_normal((days, COINS))) * NOISE / np.sqrt(2)
        walk = np.cumsum(noise, axis=0)
        share = (np.arange(1, days + 1) / days)[:, None]
        legs.append(walk - share * walk[-1] + share * np.log(np.array(ratio)))
    rise, fall = legs
    logs = np.concatenate([np.zeros((1, COINS)), rise, rise[-1] + fall])
    prices: Floats = START_COIN * np.exp(logs)
    return prices


def spot(symbol: str, asset: int, tick_atoms: int, tick_decimals: int) -> Instrument:
    """A lot is one whole coin or share."""
    values: dict[str, Any] = {"tick_value_atoms": tick_atoms, "tick_decimals": tick_decimals}
    return Instrument(
        symbol=symbol,
        kind="spot",
        settle_asset=0,
        lot_decimals=0,
        price_min_ticks=1,
        price_max_ticks=1_000_000,
        size_max_lots=50_000_000,
        open_interest_max_lots=100_000_000,
        base_asset=asset,
        lot_atoms=1,
        **values,
    )


def herfindahl(values: Floats) -> float:
    """Sum of squared shares."""
    return float(((values / values.sum()) ** 2).sum())


class _World:
    def __init__(self, seed: int, *, terms_follow_size: bool, has_debt: bool, notice_days: int) -> None:
        self.notice_days = notice_days
        self.rng = np.random.default_rng([seed, 14])
        self.path = paths(self.rng)
        self.companies = rules.drawn(
            self.rng,
            self.path[RISE_DAYS],
            START_SHARE,
            self.path[0],
            large=60e6,
            middle=15e6,
            tail=10e6,
            terms_follow_size=terms_follow_size,
            has_debt=has_debt,
            first_put=PUTS[0],
            last_put=PUTS[1],
        )
        self.desk = self._opened()
        self.last_coin = self.path[0].copy()
        self.last_share = np.full(COMPANIES, START_SHARE)
        self.multiple = np.ones(COMPANIES)
        self.volumes = np.zeros((DAYS, COMPANIES))
        self.coin_volumes = np.zeros((DAYS, COINS))
        self.coin_days = np.empty((DAYS + 1, COINS))
        self.coin_days[0] = self.path[0]
        self.to_invest = np.zeros(COMPANIES)
        self.issued = np.zeros((DAYS, COMPANIES))
        self.book_multiple = np.ones((DAYS, COMPANIES))
        self.converts = np.zeros(COMPANIES)
        self.accretion_signs: list[bool] = []
        self.peak: Companies = self.companies
        self.debt_peak = self.companies.debt
        self.repaid_by_coins = np.zeros(COMPANIES)
        self.sold_before_failure = np.zeros(COMPANIES)
        self.cash_days = np.full(DAYS, CASH)
        self.share_days = np.full((DAYS, COMPANIES), START_SHARE)
        self.response = {"before": 0.0, "after": 0.0}

    def _opened(self) -> SmallVenue:
        c = self.companies
        symbols = ["BTC", "ETH", "ALT"] + [f"T{n}" for n in range(COMPANIES)]
        instruments = tuple(
            spot(f"{symbol}/USD", n + 1, *((COIN_TICK_ATOMS, 2) if n < COINS else (SHARE_TICK_ATOMS, 3)))
            for n, symbol in enumerate(symbols)
        )
        held = tuple(Asset(symbol, 0) for symbol in symbols)
        desk = SmallVenue(rulebook(("book",)), instruments, held)
        self.firms = desk.open([int(cash * USD) for cash in c.cash])
        self.investors, self.holders, self.street, self.noise = desk.open(
            [int(CASH * USD), PLENTY * USD, PLENTY * USD, PLENTY * USD]
        )
        for n in range(COINS):
            amounts = np.where(c.coin == n, c.coins, 0)
            desk.do(Deposit(n + 1, self.firms[0], tuple(int(coins) for coins in amounts)))
            desk.do(Deposit(n + 1, self.investors, (10_000_000, 10_000_000)))
        for n in range(COMPANIES):
            shares = 20 * int(c.shares[n])
            desk.do(Deposit(COINS + n + 1, self.street, (shares, shares)))
        desk.index(*[int(100 * START_COIN)] * COINS, *[int(1000 * START_SHARE)] * COMPANIES)
        return desk

    # A day

    def live(self, day: int) -> None:
        self.desk.time_ns += DAY_NS
        if day == RISE_DAYS:
            self.peak, self.debt_peak = self.companies, self.companies.debt
            self._quote_coins()
            self.response["before"] = self._response()
        self._quote_coins()
        self._companies_trade_coins(day)
        self._holders_trade(day)
        self.coin_days[day + 1] = self.last_coin
        self._share_markets(day)
        self._issue(day)
        self._settle(day)
        self.cash_days[day] = self.desk.view.wallets([self.investors])[0] / USD
        self.share_days[day] = self.last_share
        if day == DAYS - 1:
            self._quote_coins()
            self.response["after"] = self._response()

    def _quote_coins(self) -> None:
        """Investors bid a share of the cash that they have, and offer as much."""
        cash = float(self.desk.view.wallets([self.investors])[0]) / USD
        for n in range(COINS):
            price = self.last_coin[n]
            value = cash * CASH_OF_LEVEL * WEIGHTS[n]
            prices = [price * (1 + STEP * k) for k in range(1, LEVELS + 1)]
            bids = {int(100 * price * (1 - STEP * k)): int(value / price) for k in range(1, LEVELS + 1)}
            asks = {int(100 * p) + 1: int(value / p) for p in prices}
            self.desk.do(
                MassQuote(
                    self.investors,
                    n,
                    tuple((p, lots) for p, lots in bids.items() if p > 0 and lots > 0),
                    tuple((p, lots) for p, lots in asks.items() if lots > 0),
                )
            )

    def _trade(
        self, account: int, instrument: int, side: int, lots: int, ticks: int | None = None
    ) -> tuple[int, float]:
        """Lots done and money moved (USD); notes the last price."""
        if lots <= 0:
            return 0, 0.0
        events = self.desk.ask(
            PlaceOrder(account, instrument, BUY if side > 0 else SELL, lots, ticks, tif="ioc")
        )
        for refused in of(events, Rejected):
            assert refused.reason is RejectReason.NO_LIQUIDITY, refused
        done, money = 0, 0.0
        is_coin = instrument < COINS
        unit = (COIN_TICK_ATOMS if is_coin else SHARE_TICK_ATOMS) / USD
        for fill in of(events, Filled):
            done += fill.size_lots
            money += fill.size_lots * fill.price_ticks * unit
            if is_coin:
                self.last_coin[instrument] = fill.price_ticks * unit
            else:
                self.last_share[instrument - COINS] = fill.price_ticks * unit
        return done, money

    def _companies_trade_coins(self, day: int) -> None:
        """Proceeds of yesterday's issues are invested; who lacks cash sells; estates sell."""
        c = self.companies
        average = self.coin_volumes[max(0, day - WARM_UP) : max(1, day)].mean(axis=0)
        sales = rules.coins_to_sell(c, self.last_coin, self.last_share, average, day, self.notice_days)
        estates = np.where(~c.is_alive, np.minimum(c.coins, rules.SALE_OF_VOLUME * average[c.coin]), 0.0)
        coins, cash = c.coins.copy(), c.cash.copy()
        for n in rules.selling_order(c).tolist():
            coin, account = int(c.coin[n]), self.firms[n]
            dearest = self.last_coin[coin] * DEAREST
            budget = min(self.to_invest[n], cash[n] - 1) if c.is_alive[n] else 0.0
            buying = int(budget / dearest)
            done, money = self._trade(account, coin, 1, buying, int(100 * dearest))
            coins[n], cash[n] = coins[n] + done, cash[n] - money
            self.coin_volumes[day, coin] += done
            done, money = self._trade(account, coin, -1, int(np.ceil(max(sales[n], estates[n]))))
            coins[n], cash[n] = coins[n] - done, cash[n] + money
            self.coin_volumes[day, coin] += done
            if c.is_alive[n]:
                self.sold_before_failure[n] += done
                self.repaid_by_coins[n] += money
        self.to_invest[:] = 0
        self.companies = replace(c, coins=coins, cash=cash)

    def _holders_trade(self, day: int) -> None:
        """Other holders take the price to the path's."""
        for n in range(COINS):
            target = int(100 * self.path[day + 1, n])
            side = 1 if target > 100 * self.last_coin[n] else -1
            done, _ = self._trade(self.holders, n, side, 10_000_000 // 2, target)
            self.coin_volumes[day, n] += done

    def _share_markets(self, day: int) -> None:
        c = self.companies
        back = self.coin_days[max(0, day + 1 - 90)]
        returns = self.last_coin / back - 1
        self.multiple = rules.traders_multiple_next(
            self.multiple, returns[c.coin], self.rng.standard_normal(COMPANIES)
        )
        assets = rules.net_assets(c, self.last_coin)
        fair = np.maximum(self.multiple * assets / c.shares, 0.01)
        sides = self.rng.choice((-1, 1), COMPANIES)
        sizes = self.rng.lognormal(0, 0.5, COMPANIES)
        for n in np.flatnonzero(c.is_alive).tolist():
            daily = TRADED_DAILY[int(c.tier[n])] * c.shares[n]
            lots = max(1, int(daily / 4))
            ticks = [max(1, int(1000 * fair[n] * (1 - SHARE_STEP * k))) for k in range(1, SHARE_LEVELS + 1)]
            tops = [int(1000 * fair[n] * (1 + SHARE_STEP * k)) + 1 for k in range(1, SHARE_LEVELS + 1)]
            bids = tuple((p, lots) for p in dict.fromkeys(ticks))
            asks = tuple((p, lots) for p in dict.fromkeys(tops))
            self.desk.do(MassQuote(self.street, COINS + n, bids, asks))
            done, _ = self._trade(self.noise, COINS + n, int(sides[n]), max(1, int(daily * sizes[n])))
            self.volumes[day, n] = done
        self.book_multiple[day] = rules.multiple_of_assets(c, self.last_coin, self.last_share)

    def _issue(self, day: int) -> None:
        """At the market, by converts, and buying back; by the multiple that the book shows."""
        c, q = self.companies, self.book_multiple[day]
        volume = self.volumes[max(0, day + 1 - WARM_UP) : day + 1].mean(axis=0)
        shares = np.floor(rules.shares_to_issue(c, q, volume))
        face = rules.converts_to_issue(c, q, VOLATILITY, self.last_coin)
        back = rules.cash_to_buy_back(c, q)
        sold, cash = np.zeros(COMPANIES), c.cash.copy()
        for n in np.flatnonzero((shares > 0) | (back > 0)).tolist():
            account, asset, price = self.firms[n], COINS + n + 1, self.last_share[n]
            if shares[n] > 0:
                before = rules.net_assets(c, self.last_coin)[n] / c.shares[n]
                self.desk.do(Deposit(asset, account, (int(shares[n]),)))
                done, money = self._trade(account, COINS + n, -1, int(shares[n]))
                if done < shares[n]:
                    self.desk.do(Withdraw(account, asset, int(shares[n]) - done))
                after = (before * c.shares[n] + money) / (c.shares[n] + done)
                is_above = money / max(done, 1) > before
                self.accretion_signs.append((after > before) == is_above)
            else:
                dearest = price * DEAREST
                done, money = self._trade(account, COINS + n, 1, int(back[n] / dearest), int(1000 * dearest))
                if done:
                    self.desk.do(Withdraw(account, asset, done))
                done, money = -done, -money
            sold[n] += done
            cash[n] += money
            self.to_invest[n] = max(0.0, money)
        self.issued[day] = np.maximum(sold, 0)
        self.converts += face
        cash += face
        self.to_invest += face
        for n in np.flatnonzero(face).tolist():
            self.desk.do(Deposit(0, self.firms[n], (int(face[n] * USD),)))
        price = np.where(face > 0, rules.CONVERSION_OVER_PRICE * self.last_share, c.conversion_price)
        self.companies = replace(
            c,
            shares=c.shares + sold,
            cash=cash,
            put_face=c.put_face + np.stack([np.zeros(COMPANIES), face], axis=1),
            conversion_price=np.where(c.debt > 0, c.conversion_price, price),
        )

    def _settle(self, day: int) -> None:
        """Puts, and failures."""
        c = self.companies
        failed = rules.fails_today(c, self.last_coin, self.last_share, day)
        c = replace(c, failed_day=np.where(failed, day, c.failed_day))
        paid = rules.after_puts(c, self.last_share, day)
        for n in np.flatnonzero(c.cash - paid.cash > 0).tolist():
            atoms = int((c.cash[n] - paid.cash[n]) * USD)
            held = int(self.desk.view.wallets([self.firms[n]])[0])
            self.desk.do(Withdraw(self.firms[n], 0, min(atoms, held)))
        self.companies = paid

    # Figures

    def _response(self) -> float:
        """Fall of the price when 1 % of the large company's coins are sold: steps, the last one in part."""
        left, steps = float(self.companies.coins[0]) * 0.01, 0.0
        for _, lots in self.desk.view.depth(0, BUY):
            steps += min(left / lots, 1.0)
            left -= min(left, lots)
        return steps * STEP if left <= 0 else 1.0

    def _equity_falls(self) -> dict[str, float]:
        """Of all market value since the top: once half of the bids for coins is spent, and last."""
        values = self.share_days[RISE_DAYS - 1 :] @ self.peak.shares
        cash = self.cash_days[RISE_DAYS - 1 :]
        is_spent = cash < EXHAUSTED * cash[0]
        falls = {"equity_fall": float(1 - values[-1] / values[0])}
        if is_spent.any():
            falls["equity_fall_before"] = float(1 - values[is_spent.argmax()] / values[0])
        return falls

    def figures(self) -> dict[str, float]:
        c = self.companies
        small = c.tier != rules.LARGE
        failed = ~c.is_alive
        last = self.book_multiple[-1]
        alive = c.is_alive
        below = self.book_multiple < 1
        sizes = self.peak.coins * self.path[RISE_DAYS][c.coin]
        figures = {
            "failures_tail": float((failed & (c.tier == TAIL)).sum()),
            "failures_middle": float((failed & (c.tier == rules.MIDDLE)).sum()),
            "large_survives": float(c.is_alive[0]),
            "order_tau": float(kendalltau(sizes[small], c.failed_day[small]).statistic),
            "issued_below_one": float(self.issued[below].sum()),
            "issued_in_rise": float(self.issued[:RISE_DAYS].sum()),
            "accretive_signs": float(np.mean(self.accretion_signs)) if self.accretion_signs else np.nan,
            "converts_large": float(self.converts[0]),
            "converts_others": float(self.converts[1:].sum()),
            "below_one_at_bottom": float((last[alive] < 1).mean()),
            "response_before": self.response["before"],
            "response_after": self.response["after"],
            "response_ratio": self.response["after"] / self.response["before"],
            "concentration_rise": herfindahl(np.where(alive, c.coins * self.last_coin[c.coin], 0))
            / herfindahl(sizes),
        }
        halved = alive & (self.debt_peak > 0) & (c.debt <= self.debt_peak / 2)
        figures["debt_halved_by_sales"] = float((halved & (self.repaid_by_coins >= self.debt_peak / 2)).sum())
        senior = failed & (c.coin < COINS - 1)
        figures |= self._equity_falls()
        if (failed & small).sum() > 1:
            figures["order_tau_of_failed"] = float(
                kendalltau(sizes[failed & small], c.failed_day[failed & small]).statistic
            )
        if senior.any():
            figures["senior_sold_before_failure"] = float(
                self.sold_before_failure[senior].sum() / self.peak.coins[senior].sum()
            )
        return figures
