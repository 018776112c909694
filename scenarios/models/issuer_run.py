"""S13: sixty days of a delta-neutral stablecoin after its funding turned, on a venue in memory.

A coin's perpetual and spot market, the stablecoin's and the token's spot markets. The issuer is short the
perpetual for what it holds in coins; the venue charges it the funding. Holders leave by the issuer's rules
(agents/stablecoin_issuer) and sell in the stablecoin's book, where the issuer's desk bids 1 less its fee for
what cash it has, as arbitrageurs who compete would; value buyers stand below, and below .995 the issuer
defends: out of its reserve, then out of what its token brings in the token's book.

Chosen on 2026-11-22 before the first run (ours): 14.3 million USD of supply for 14.3 billion; the coin
stays at 1000 USD; funding -30 % a year for 30 days, then 5 %; the share of a day's flow that comes in an
hour is lognormal (sd 1); the desk takes .25 % of the supply an hour; value buyers stand every 20 bp from
.998 down with .05 % of it; the token is worth a dollar times the supply left, and bids stand every 2 %
below its price with .05 % of the first supply; a tenth of the distance to its value returns a day.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zerodebt.agents import stablecoin_issuer as rules
from zerodebt.agents.stablecoin_issuer import Cooldown, IssuerRules
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import BUY, SELL, Deposit, MassQuote, PlaceOrder, Withdraw
from zerodebt.exchange.events import Event, Filled, Posted
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.units import HOUR_NS
from zerodebt.scenarios.models import stable_collateral
from zerodebt.scenarios.models.small_venue import USD, SmallVenue, of, rulebook

SUPPLY = 14_300_000
RESERVE = 61_840
HEDGED = 0.8
COIN_USD, COIN_TICKS = 1000, 100_000
LOT_USD = COIN_USD // 100
PERP, COIN, STABLE, TOKEN = range(4)
ONE = 10_000
"""Ticks of a dollar in the books of stablecoin and token."""
FUNDING_BAD, FUNDING_GOOD, BAD_DAYS, DAYS = -0.30, 0.05, 30, 60
INTERVALS_A_YEAR = 3 * 365
DESK_HOURLY = 0.0025
VALUE_STEP, VALUE_SHARE, VALUE_LEVELS = 20, 0.0005, 200
TOKEN_STEP, TOKEN_SHARE, TOKEN_RETURN, TOKEN_LEVELS = 0.02, 0.0005, 0.1, 60
TREASURY_TOKENS = SUPPLY // 5
BROKEN = 0.99
"""Below this the stablecoin's price has broken."""
TOKEN_FELL = 0.8
"""Below this the token has fallen, for the order of events."""
OPEN_INTEREST_OTHERS = 6_500_000
PLENTY = 10**9


def measure(
    seed: int,
    *,
    oracle: stable_collateral.Oracle,
    has_shock: bool = True,
    is_linked: bool = True,
    constant_supply: bool = False,
    sells_token: bool = True,
    cooldown_days: int = 7,
    days: int = DAYS,
) -> Mapping[str, float]:
    """What the stablecoin does as margin (stable_collateral), then `days` of the run, if any."""
    figures = dict(stable_collateral.measure(seed, oracle=oracle, has_shock=has_shock, is_linked=is_linked))
    if not days:
        return figures
    world = _World(seed, sells_token=sells_token, cooldown_days=cooldown_days)
    for hour in range(24 * days):
        world.live(hour, constant_supply=constant_supply)
        if constant_supply and world.reserve_gone is not None:
            break
    world.desk.end()
    return figures | world.figures()


class _World:
    def __init__(self, seed: int, *, sells_token: bool, cooldown_days: int) -> None:
        self.rng = np.random.default_rng([seed, 13])
        self.rules = IssuerRules(
            sells_token=sells_token, cooldown_days=cooldown_days, flow_speed=float(self.rng.uniform(2, 5))
        )
        self.supply = float(SUPPLY)
        self.hedged_share = HEDGED
        self.reserve = float(RESERVE)
        self.lent_reserve = 0.0
        self.reserve_gone: int | None = None
        self.holders_paid = 0.0
        self.token_price = 1.0
        self.token_low = 1.0
        self.tokens = TREASURY_TOKENS
        self.bought_back = 0
        self.token_fell: int | None = None
        self.price, self.low = 1.0, 1.0
        self.broke: int | None = None
        self.to_sell = 0.0
        self.left_today = 0.0
        self.cooldown = Cooldown(cooldown_days)
        self.week: list[float] = [0.1] * 7
        self.supplies: list[float] = []
        self.desk = self._opened()

    def _opened(self) -> SmallVenue:
        table = rulebook(
            ("book",),
            collateral=[{"asset": "COIN", "decimals": 3}],
            margin={"index_age_max_ns": 4 * HOUR_NS},
            funding={
                "interval_ns": 8 * HOUR_NS,
                "sample_ns": HOUR_NS,
                "premium": "mid",
                "rate": "plain",
                "interest_ppt": 0,
                "divisor": 1,
            },
        )
        base: dict[str, Any] = {
            "settle_asset": 0,
            "lot_decimals": 0,
            "price_min_ticks": 1,
            "size_max_lots": 20_000_000,
            "open_interest_max_lots": 20_000_000,
        }
        coin: dict[str, Any] = {
            "tick_value_atoms": 100,
            "tick_decimals": 2,
            "price_max_ticks": 2 * COIN_TICKS,
        }
        dollar: dict[str, Any] = {"tick_value_atoms": 100, "tick_decimals": 4, "price_max_ticks": 2 * ONE}
        instruments = (
            Instrument(symbol="COIN-PERP", kind="perpetual", tiers=(Tier(0, 10),), **base, **coin),
            Instrument(symbol="COIN/USD", kind="spot", base_asset=1, lot_atoms=10, **base, **coin),
            Instrument(symbol="STABLE/USD", kind="spot", base_asset=2, lot_atoms=1, **base, **dollar),
            Instrument(symbol="TOKEN/USD", kind="spot", base_asset=3, lot_atoms=1, **base, **dollar),
        )
        held = (Asset("COIN", 3), Asset("STABLE", 0), Asset("TOKEN", 0))
        desk = SmallVenue(table, instruments, held)
        cash = int((1 - HEDGED) * SUPPLY + RESERVE)
        self.issuer, self.makers, self.holders, self.buyers, self.longs, self.shorts = desk.open(
            [cash * USD] + [PLENTY * USD] * 5
        )
        lots = int(HEDGED * SUPPLY) // LOT_USD
        desk.do(Deposit(1, self.issuer, (10 * lots, 10 * 10**8)))
        desk.do(Deposit(2, self.holders, (SUPPLY,)))
        desk.do(Deposit(3, self.issuer, (TREASURY_TOKENS,)))
        desk.load(
            {
                self.issuer: -lots,
                self.longs: lots + OPEN_INTEREST_OTHERS,
                self.shorts: -OPEN_INTEREST_OTHERS,
            },
            10,
            ticks=COIN_TICKS,
        )
        desk.index(COIN_TICKS, COIN_TICKS, ONE, ONE)
        return desk

    # An hour

    def live(self, hour: int, *, constant_supply: bool) -> None:
        funding = FUNDING_BAD if hour < 24 * BAD_DAYS else FUNDING_GOOD
        if hour % 24 == 0:
            self._begin_day(hour // 24, funding)
        self._index(hour)
        if constant_supply:
            return
        self._quote_stable()
        self._leave(hour, funding)
        self._defend(hour)

    def _begin_day(self, day: int, funding: float) -> None:
        """Makers' quotes carry the funding; yesterday's books are closed and hedges cut."""
        if day:
            self.supplies.append(self.supply)
        self.left_today = 0.0
        self.reserve, self.lent_reserve = self.reserve + self.lent_reserve, 0.0
        premium = int(np.floor(COIN_TICKS * funding / INTERVALS_A_YEAR))
        for instrument, middle in ((PERP, COIN_TICKS + premium), (COIN, COIN_TICKS)):
            quotes = ((middle, 5_000_000),), ((middle + 1, 5_000_000),)
            self.desk.do(MassQuote(self.makers, instrument, *quotes))
        self.week = [*self.week[1:], funding]
        value = self.supply / SUPPLY
        self.token_price += TOKEN_RETURN * (value - self.token_price)

    def _index(self, hour: int) -> None:
        events = self.desk.index(
            COIN_TICKS, COIN_TICKS, round(self.price * ONE), round(self.token_price * ONE), later_ns=HOUR_NS
        )
        paid = -self._flow(events, "funding")
        if paid > 0:
            self._bear(paid, hour)

    def _flow(self, events: tuple[Event, ...], reason: str) -> float:
        """What the issuer's wallet got, in USD."""
        return sum(
            atoms / USD
            for posted in of(events, Posted)
            if posted.reason == reason
            for account, pocket, atoms in posted.legs
            if account == self.issuer and pocket == 0
        )

    def _bear(self, paid: float, hour: int) -> None:
        """Funding beyond what the bills earn falls on the reserve, then on the token, then on holders."""
        floor = self.rules.reserve_floor * RESERVE if self.rules.sells_token else 0.0
        who = rules.who_pays(self.rules, paid, self.reserve, floor, self._token_room())
        self.reserve -= who.reserve
        if who.token:
            self._sell_tokens(who.token, hour)
        self.holders_paid += who.holders
        gone = paid > who.reserve
        if gone and self.reserve_gone is None:
            self.reserve_gone = hour

    def _quote_stable(self) -> None:
        """The issuer's desk at 1 less its fee, its defence below, both for cash that it has; value buyers."""
        cash = float(self.desk.view.wallets([self.issuer])[0]) / USD
        desk = min(DESK_HOURLY * self.supply, cash)
        floor = self.rules.reserve_floor * RESERVE if self.rules.sells_token else 0.0
        defence = min(max(0.0, self.reserve - floor), cash - desk)
        wanted = ((1 - self.rules.fee, desk), (self.rules.defends_below, defence))
        bids = tuple((round(ONE * price), int(money)) for price, money in wanted if money >= 1)
        self.desk.do(MassQuote(self.issuer, STABLE, bids, ()))
        depth = max(1, int(VALUE_SHARE * self.supply))
        levels = tuple((ONE - VALUE_STEP * k, depth) for k in range(1, VALUE_LEVELS + 1))
        self.desk.do(MassQuote(self.buyers, STABLE, levels, ()))

    def _leave(self, hour: int, funding: float) -> None:
        """Holders sell what flows out in this hour and what has cooled down; the desk burns what it got."""
        earned = rules.backing_yield(self.hedged_share, funding, self.rules.bill_yield)
        flow = rules.flow_daily(self.rules, max(0.0, earned), self.rules.bill_yield, self.price)
        staying = self.supply - self.cooldown.amount - self.to_sell
        room = self.rules.flow_daily_max * self.supply - self.left_today
        wanted = -flow / 24 * float(self.rng.lognormal(-0.5, 1.0)) * staying
        leaves = max(0.0, min(room, wanted))
        self.left_today += leaves
        staked = self.rules.staked_share * leaves if self.rules.cooldown_days else 0.0
        self.cooldown.ask(hour, staked)
        self.to_sell += leaves - staked + self.cooldown.due(hour)
        self._sell_stable(hour)
        if hour % 24 == 23:
            self._end_day()

    def _sell_stable(self, hour: int) -> None:
        lots = int(self.to_sell)
        if lots <= 0:
            return
        events = self.desk.do(PlaceOrder(self.holders, STABLE, SELL, lots, tif="ioc"))
        for fill in of(events, Filled):
            self.to_sell -= fill.size_lots
            self.price = fill.price_ticks / ONE
            if fill.maker == self.issuer:
                self.supply -= fill.size_lots
                self.bought_back += fill.size_lots
                if self.price <= self.rules.defends_below:
                    self.reserve -= fill.size_lots * self.price
                    self.lent_reserve += fill.size_lots
        self.low = min(self.low, self.price)
        if self.broke is None and self.price < BROKEN:
            self.broke = hour

    def _defend(self, hour: int) -> None:
        """Below the line the token is sold for what an hour of the largest outflow may ask."""
        if self.price < self.rules.defends_below and self.rules.sells_token:
            need = self.rules.run_share_daily / 24 * self.supply
            self.reserve += self._sell_tokens(min(need, self._token_room()), hour)

    def _token_levels(self) -> list[tuple[int, int]]:
        """(price in ticks, tokens) that are bid for below the token's price."""
        levels = []
        for k in range(1, TOKEN_LEVELS + 1):
            price = self.token_price * (1 - TOKEN_STEP) ** k
            levels.append((int(price * ONE), int(TOKEN_SHARE * SUPPLY / price)))
        return [(price, lots) for price, lots in levels if price > 0 and lots > 0]

    def _token_room(self) -> float:
        """What the treasury's tokens would bring now."""
        left, money = self.tokens, 0.0
        for price, lots in self._token_levels():
            sold = min(left, lots)
            left, money = left - sold, money + sold * price / ONE
        return money

    def _sell_tokens(self, money: float, hour: int) -> float:
        """Sell tokens for so much; returns what they brought."""
        self.desk.do(MassQuote(self.buyers, TOKEN, tuple(self._token_levels()), ()))
        brought = 0.0
        while brought < money and self.tokens:
            best = self.desk.view.best_ticks(TOKEN, BUY)
            if best is None:
                break
            lots = min(self.tokens, max(1, int((money - brought) * ONE / best)))
            events = self.desk.do(PlaceOrder(self.issuer, TOKEN, SELL, lots, best, tif="ioc"))
            for fill in of(events, Filled):
                brought += fill.size_lots * fill.price_ticks / ONE
                self.tokens -= fill.size_lots
                self.token_price = fill.price_ticks / ONE
        self.token_low = min(self.token_low, self.token_price)
        if self.token_fell is None and self.token_price < TOKEN_FELL:
            self.token_fell = hour
        return brought

    def _end_day(self) -> None:
        """Burn what was bought back, and take the hedges down with supply and share."""
        if self.bought_back:
            self.desk.do(Withdraw(self.issuer, 2, self.bought_back))
            self.bought_back = 0
        self.hedged_share = rules.hedged_share_next(
            self.rules, self.hedged_share, sum(self.week) / len(self.week)
        )
        short = -self.desk.view.position_lots(PERP, self.issuer)
        cut = short - int(self.hedged_share * self.supply) // LOT_USD
        if cut > 0:
            self.desk.do(PlaceOrder(self.issuer, COIN, SELL, cut, tif="ioc"))
            self.desk.do(PlaceOrder(self.issuer, PERP, BUY, cut, tif="ioc"))

    # Figures

    def figures(self) -> dict[str, float]:
        supplies = np.array([SUPPLY, *self.supplies, self.supply]) / SUPPLY
        fell, broke = self.token_fell, self.broke
        gone = np.nan if self.reserve_gone is None else self.reserve_gone / 24
        return {
            "reserve_days": gone,
            "supply_change": float(supplies[-1] - 1),
            "day_one_share": float(1 - supplies[1]),
            "week_one_share": float(1 - supplies[min(7, len(supplies) - 1)]),
            "price_deviation": 1 - self.low,
            "token_drawdown": 1 - self.token_low,
            "token_fell_first": float(fell is not None and (broke is None or fell < broke)),
            "holders_paid": self.holders_paid / SUPPLY,
            "unsold": self.to_sell / SUPPLY,
            "flow_speed": self.rules.flow_speed,
        }
