"""Populations of the leverage cycle in small markets of two coins, with the expected orders worked out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from zerodebt.agents.arbitrageurs import ArbitrageurParams, Arbitrageurs
from zerodebt.agents.book_arbitrageurs import BookArbitrageurParams, BookArbitrageurs, crossed
from zerodebt.agents.coins import Routes, deepest_book, depth_lots
from zerodebt.agents.core_retail import CoreRetail, CoreRetailParams
from zerodebt.agents.feed import BookPrices, Waypoints
from zerodebt.agents.genesis import PopulationParams, build
from zerodebt.agents.institutions import InstitutionParams, Institutions, Priority
from zerodebt.agents.lender_of_last_resort import LenderParams
from zerodebt.agents.market_makers import MarketMakerParams, MarketMakers
from zerodebt.agents.natural_shorts import NaturalShortParams
from zerodebt.agents.value_and_trend import IssuerParams, TrendParams, ValueParams
from zerodebt.agents.world import World
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    Command,
    Deposit,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Side,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import Batch, Rejected
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.units import SECOND_NS
from zerodebt.exchange.venue import Venue

START_NS = 1_767_225_600 * SECOND_NS
USD = 10**6
HOUR_S = 3_600
SPOT_ETH, PERP_ETH, SPOT_BTC, PERP_BTC = range(4)
ASSETS = (Asset("USDT", 6), Asset("ETH", 8), Asset("BTC", 8))


def market(symbol: str, kind: str, asset: int) -> Instrument:
    """One tick is 0.01 USD, one lot 0.001 of a coin: a lot is worth ten atoms a tick."""
    size = {"size_max_lots": 10**9, "open_interest_max_lots": 10**9}
    common: dict[str, Any] = {"price_min_ticks": 1, "price_max_ticks": 10**7, **size}
    if kind == "spot":
        return Instrument(symbol, "spot", 0, 2, 3, 10, base_asset=asset, lot_atoms=10**5, **common)
    return Instrument(symbol, "perpetual", 0, 2, 3, 10, tiers=(Tier(0, 20),), **common)


INSTRUMENTS = (
    market("ETH", "spot", 1),
    market("ETH-PERP", "perpetual", -1),
    market("BTC", "spot", 2),
    market("BTC-PERP", "perpetual", -1),
)
START_TICKS = (200_000, 200_000, 1_000_000, 1_000_000)
"""ETH 2,000 USD, a lot 2 USD; BTC 10,000 USD, a lot 10 USD."""
SECOND_ETH = 4
"""A second spot book of ETH, in towns that have it."""


class Town:
    """A venue with these populations and one other trader, who has everything."""

    def __init__(
        self, specs: Sequence[PopulationParams], interest: int = 0, hours: int = 1, second: bool = False
    ) -> None:
        instruments = (*INSTRUMENTS, market("ETH-2", "spot", 1)) if second else INSTRUMENTS
        ticks = (*START_TICKS, START_TICKS[SPOT_ETH])[: len(instruments)]
        news = [Waypoints((START_NS,), (price,)) for price in ticks]
        lots = (0, interest, 0, interest, 0)[: len(instruments)]
        opened = build(specs, instruments, ticks, lots, 0, 0, USD, None, news)
        self.populations = opened.populations
        self.venue = Venue(venue_rules(profile_table("binance_usdm")), ASSETS, instruments)
        self.sent: list[Command] = []
        count = sum(len(p.accounts) for p in opened.populations)
        self.other = int(opened.populations[0].accounts[0]) + count
        opens = [c for c in opened.commands if isinstance(c, OpenAccounts)]
        rest = [c for c in opened.commands if not isinstance(c, OpenAccounts)]
        wealth = [Deposit(asset, self.other, (10**14,)) for asset in range(3)]
        for command in [*opens, OpenAccounts(1), *wealth, *rest]:
            events = self.venue.apply(command, START_NS).events
            assert not isinstance(events[0], Rejected), events
        self.world = World(self.venue.view, self._send, START_NS, START_NS + hours * HOUR_S * SECOND_NS)
        self.index(ticks)

    def _send(self, command: Command, time_ns: int) -> Batch:
        self.sent.append(command)
        return self.venue.apply(command, time_ns)

    def index(self, ticks: Sequence[int] = START_TICKS, at_ns: int = START_NS) -> None:
        seen = tuple(Observation(n, 0, price, at_ns) for n, price in enumerate(ticks))
        self.venue.apply(UpdateIndex(seen), at_ns)

    def rest(self, instrument: int, side: Side, price_ticks: int, lots: int) -> None:
        order = PlaceOrder(self.other, instrument, side, lots, price_ticks)
        events = self.venue.apply(order, self.venue.view.time_ns).events
        assert not isinstance(events[0], Rejected), events

    def run(self) -> list[PlaceOrder]:
        """Orders of the populations, in the order in which the venue had them."""
        for population in self.populations:
            population.start(self.world)
        return self.deliver()

    def deliver(self) -> list[PlaceOrder]:
        """The same, where what is on its way arrives and nobody starts to act."""
        self.world.run()
        return [c for c in self.sent if isinstance(c, PlaceOrder) and c.account != self.other]


def test_book_says_its_last_trade_kept_within_bid_and_ask() -> None:
    town = Town([ValueParams(name="v", count=1)])
    prices = BookPrices(INSTRUMENTS, START_TICKS)
    assert prices.ticks(town.venue.view) == list(START_TICKS), "nothing was traded yet"
    town.rest(SPOT_ETH, BUY, 199_000, 10)
    town.rest(SPOT_ETH, SELL, 203_000, 10)
    assert prices.ticks(town.venue.view)[:2] == [201_000, 201_000], "the middle, and so the contract"
    trader = int(town.populations[0].accounts[0])
    town.venue.apply(PlaceOrder(trader, SPOT_ETH, BUY, 10, 203_000), START_NS)
    town.rest(SPOT_ETH, SELL, 900_000, 10)
    assert prices.ticks(town.venue.view)[0] == 203_000, "not half-way to the quote that is left"
    town.rest(SPOT_ETH, SELL, 200_000, 10)
    assert prices.ticks(town.venue.view)[0] == 200_000, "within the best ask"


def test_value_trader_buys_for_the_gap_beyond_his_threshold() -> None:
    """Worth 2,000, index 1,800: gap ln(10/9) = .10536; gain 1 on half of 1 M for this coin, threshold 0.

    .10536 x 500,000 = 52,680 USD, at 1.8 USD a lot 29,266 lots.
    """
    params = ValueParams(name="v", count=1, threshold_max=0.0, value_sd=0.0, acts_per_day=1e9)
    town = Town([params], interest=1)
    shares = town.populations[0].shares  # type: ignore[attr-defined]
    town.index((180_000, 180_000, 1_000_000, 1_000_000), START_NS + 1)
    orders = town.run()
    expected = float(np.log(200 / 180)) * 1e6 * float(shares[0]) / 1.8
    assert (orders[0].instrument, orders[0].side, orders[0].tif) == (SPOT_ETH, BUY, "ioc")
    assert orders[0].size_lots == int(expected)
    assert orders[0].price_ticks == 200_000, "up to what it is worth, not to the index"
    assert all(order.instrument == SPOT_ETH for order in orders), "BTC is worth its price"


def test_trend_trader_holds_more_of_what_rose() -> None:
    params = TrendParams(name="t", count=1, acts_per_day=1e9, wake_s=600.0)
    town = Town([params], interest=1)
    town.index((240_000, 240_000, 1_000_000, 1_000_000), START_NS + 1)
    orders = town.run()
    assert {(order.instrument, order.side) for order in orders} == {(SPOT_ETH, BUY)}


def test_issuer_sells_at_its_pace_and_not_beyond() -> None:
    """10 M USD of ETH are 5 M lots; a month has 720 hours: 6,944.4 lots an hour at a share of one."""
    params = IssuerParams(name="i", coins=("ETH",), monthly_share=1.0, wake_s=600.0)
    orders = Town([params], interest=1).run()
    assert {(order.instrument, order.side) for order in orders} == {(SPOT_ETH, SELL)}
    assert sum(order.size_lots for order in orders) == 5_000_000 * 6 // (6 * 720)


def test_arbitrageur_trades_beyond_his_band_only() -> None:
    """Four legs of 4.5 bp and 8 % a year for three days: .0018 + .08 x 3/365."""
    params = ArbitrageurParams(name="a", count=1, short_share=0.0)
    for premium_ticks, pairs in ((400, 0), (600, 1)):
        town = Town([params], interest=0, hours=1)
        (arbitrageur,) = town.populations
        assert isinstance(arbitrageur, Arbitrageurs)
        assert arbitrageur.band == pytest.approx(0.0018 + 0.08 * 3 / 365)
        arbitrageur.shares = np.array([0.5, 0.5])
        town.rest(SPOT_ETH, SELL, 200_000, 10**6)
        town.rest(PERP_ETH, BUY, 200_000 + premium_ticks, 10**6)
        arbitrageur._act(town.world, 0, 0, arbitrageur.basis(town.world, 0))
        town.world.run()
        sent = [(c.instrument, c.side) for c in town.sent if isinstance(c, PlaceOrder)]
        assert sent == [(PERP_ETH, SELL), (SPOT_ETH, BUY)] * pairs, premium_ticks


def test_arbitrageur_sells_the_coins_whose_hedge_is_gone() -> None:
    """He is short 10 % of 1,000,000 contracts against as many coins; the contracts were taken from him."""
    params = ArbitrageurParams(name="a", count=1, short_share=0.1)
    shorts = NaturalShortParams(name="s", count=30)
    retail = CoreRetailParams(name="r", count=40, alts=("ETH",))
    town = Town([params, retail, shorts], interest=10**6)
    arbitrageur = town.populations[0]
    assert isinstance(arbitrageur, Arbitrageurs)
    account = int(arbitrageur.accounts[0])
    assert town.venue.view.position_lots(PERP_ETH, account) == -100_000
    town.rest(PERP_ETH, SELL, 200_000, 10**6)
    town.venue.apply(PlaceOrder(account, PERP_ETH, BUY, 100_000, 200_000, "ioc"), START_NS)
    arbitrageur._act(town.world, 0, 0, 0.0)
    town.world.run()
    (order,) = [c for c in town.sent if isinstance(c, PlaceOrder)]
    assert (order.instrument, order.side, order.size_lots) == (SPOT_ETH, SELL, 100_000)


def between_books(capital_usd: float = 10_000.0, coins_share: float = 0.5) -> tuple[Town, BookArbitrageurs]:
    """One arbitrageur whose margin is 9 bp of fees and .08 x 3/365: .00155753, 311.5 ticks of 200,000.

    Of 10,000 USD half are coins, all of them ETH, 2,500 lots.
    """
    params = BookArbitrageurParams(
        name="b", count=1, capital_usd=capital_usd, coins_share=coins_share, carry_annual=(0.08, 0.08)
    )
    town = Town([params], interest=1, second=True)
    (population,) = town.populations
    assert isinstance(population, BookArbitrageurs)
    assert population.margin[0] == pytest.approx(0.0009 + 0.08 * 3 / 365)
    return town, population


@pytest.mark.parametrize(("cheap", "rich"), [(SPOT_ETH, SECOND_ETH), (SECOND_ETH, SPOT_ETH)])
def test_book_arbitrageur_trades_from_one_tick_beyond_his_margin_on(cheap: int, rich: int) -> None:
    for bid_ticks, trades in ((200_311, False), (200_312, True)):
        town, population = between_books()
        town.rest(cheap, SELL, 200_000, 40)
        town.rest(rich, BUY, bid_ticks, 25)
        population._look(town.world, 0)
        sent = [(o.instrument, o.side, o.size_lots, o.price_ticks, o.tif) for o in town.deliver()]
        pair = [(cheap, BUY, 25, 200_000, "ioc"), (rich, SELL, 25, bid_ticks, "ioc")]
        assert sent == (pair if trades else []), bid_ticks


def test_what_two_books_show_to_each_other_beyond_a_margin() -> None:
    """Of 3 %: 3 and 2 at 100 against 110 and 106, then 2 at 102 against 106 (4 > 3.06), not against 104."""
    offers, bids = [(100, 5), (102, 5)], [(110, 3), (106, 4), (104, 9)]
    assert crossed(iter(offers), iter(bids), 0.03) == (3 + 2 + 2, 102, 106)
    assert crossed(iter(offers[:1]), iter(bids), 0.03) == (5, 100, 106), "all offers are taken"
    assert crossed(iter(offers), iter(bids[:1]), 0.03) == (3, 100, 110), "all bids are taken"
    assert crossed(iter(offers), iter(bids), 0.10) == (0, 0, 0), "10 is not more than 10 % of 100"
    assert crossed(iter([]), iter(bids), 0.0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("coins_share", "lots"),
    [
        (0.5, int(5_000 / (2.00 * 1.00045))),  # cash for 2,498 of the 2,500 lots that he has
        (0.25, 1_250),  # 2,500 USD of coins
        (0.0, 0),
    ],
)
def test_book_arbitrageur_trades_no_more_than_his_cash_and_coins_allow(coins_share: float, lots: int) -> None:
    town, population = between_books(coins_share=coins_share)
    town.rest(SPOT_ETH, SELL, 200_000, 10**6)
    town.rest(SECOND_ETH, BUY, 202_000, 10**6)
    population._look(town.world, 0)
    assert [order.size_lots for order in town.deliver()] == [lots, lots][: 2 * (lots > 0)]


def test_both_legs_settle_in_one_wallet_and_a_leg_that_missed_is_made_up() -> None:
    """1,000 of 2,500 lots: after both legs he has 2,500 again; without the bid 3,500, and sells 1,000."""
    for is_bid_there in (True, False):
        town, population = between_books()
        town.rest(SPOT_ETH, SELL, 200_000, 1_000)
        town.rest(SECOND_ETH, BUY, 202_000, 1_000)
        population._look(town.world, 0)
        if not is_bid_there:
            town.venue.apply(CancelAll(town.other, SECOND_ETH), START_NS)
        town.deliver()
        assert population.held_lots(town.world, 0, 0) == (2_500 if is_bid_there else 3_500)
        town.rest(SPOT_ETH, BUY, 199_900, 5_000)
        town.sent.clear()
        population._look(town.world, 0)
        made_up = [(o.instrument, o.side, o.size_lots) for o in town.deliver()]
        assert made_up == ([] if is_bid_there else [(SPOT_ETH, SELL, 1_000)])
        assert population.held_lots(town.world, 0, 0) == 2_500


def test_book_arbitrageurs_need_a_coin_with_two_books() -> None:
    with pytest.raises(ValueError, match=r"populations\.b: found no coin with two spot books"):
        Town([BookArbitrageurParams(name="b")], interest=1)


def test_deepest_book_counts_bids_within_one_percent_of_the_mid() -> None:
    """Mids 200,000: of the first book 100 lots count, those at 190,000 do not; of the second 300."""
    town = Town([ValueParams(name="v", count=1)], interest=1, second=True)
    view = town.venue.view
    assert deepest_book(view, (SPOT_ETH, SECOND_ETH), BUY) == SPOT_ETH, "of equals the first"
    for book in (SPOT_ETH, SECOND_ETH):
        town.rest(book, SELL, 200_100, 1)
    town.rest(SPOT_ETH, BUY, 199_900, 100)
    town.rest(SPOT_ETH, BUY, 190_000, 10_000)
    town.rest(SECOND_ETH, BUY, 199_900, 200)
    town.rest(SECOND_ETH, BUY, 198_000, 100)
    assert [depth_lots(view, book, BUY) for book in (SPOT_ETH, SECOND_ETH)] == [100, 300], "198,000 is 1 %"
    assert deepest_book(view, (SPOT_ETH, SECOND_ETH), BUY) == SECOND_ETH


@pytest.mark.parametrize(("routes", "book"), [("deepest", SECOND_ETH), ("first", SPOT_ETH)])
def test_institutions_and_retail_sell_coins_where_their_route_says(routes: Routes, book: int) -> None:
    specs: list[PopulationParams] = [
        InstitutionParams(name="f", tiers=(("BTC",), (), ("ETH",)), count=3, routes=routes),
        CoreRetailParams(name="r", count=40, alts=("ETH",), routes=routes),
        NaturalShortParams(name="s", count=30),
    ]
    town = Town(specs, interest=10**6, second=True)
    funds, retail = town.populations[:2]
    assert isinstance(funds, Institutions)
    assert isinstance(retail, CoreRetail)
    town.rest(SPOT_ETH, BUY, 199_900, 10)
    town.rest(SECOND_ETH, BUY, 199_900, 20)
    held = funds.start_lots[:, 0]
    prices = np.array([200_000.0, 1_000_000.0])
    funds._sell(town.world, 0, prices, held, 0.1, senior_too=False)
    owner = int(np.argmax(retail.start_lots[0])) - retail.owners
    retail._wanted_usd[owner] = retail._stable_usd(town.world, owner) + 2 * 10
    retail._defend(town.world, owner, PERP_ETH, 1, np.array(START_TICKS, float), 0.0)
    sent = {(o.account, o.instrument, o.side, o.size_lots) for o in town.deliver()}
    core = int(retail.accounts[retail.owners + owner])
    assert sent == {(int(funds.accounts[0]), book, SELL, int(held[0] * 0.1)), (core, book, SELL, 10)}


def test_makers_of_second_books_quote_there_alone() -> None:
    params = MarketMakerParams(name="m", count=2, books="second_spot", capital_usd=2e7, depth_usd=1e5)
    town = Town([params], interest=1, second=True)
    town.run()
    assert {c.instrument for c in town.sent if isinstance(c, MassQuote)} == {SECOND_ETH}
    assert town.venue.view.best_ticks(SECOND_ETH, BUY) is not None
    with pytest.raises(ValueError, match=r"populations\.m: books: found 'second_spot', no coin"):
        Town([params], interest=1)


@pytest.mark.parametrize(
    ("priority", "first"),
    [("junior_first", [0]), ("senior_first", [1]), ("pro_rata", [0, 1])],
)
def test_institution_sells_by_its_rule_of_priority(priority: Priority, first: list[int]) -> None:
    params = InstitutionParams(name="f", tiers=(("BTC",), (), ("ETH",)), count=3, priority=priority)
    (population,) = Town([params], interest=1).populations
    assert isinstance(population, Institutions)
    held = population.start_lots[:, 0]
    assert sorted(population._order_of_sale(held, 0, senior_too=False)) == first
    if priority == "junior_first":
        sold = held * np.array([0, 1])
        assert population._order_of_sale(sold, 0, senior_too=False) == [], "junior coins are gone"
        assert population._order_of_sale(sold, 0, senior_too=True) == [1]


def test_institutions_owe_what_their_coins_and_cash_exceed_their_equity() -> None:
    params = InstitutionParams(name="f", tiers=(("BTC",), (), ("ETH",)), count=5, capital_usd=1e6)
    (population,) = Town([params], interest=1).populations
    assert isinstance(population, Institutions)
    coins = (population.start_lots * population.lot_usd[:, None]).sum(axis=0)
    cash = population.deposits_atoms / USD
    assert coins + cash - population.loan_usd == pytest.approx(population.equity_usd, rel=1e-3)
    assert coins == pytest.approx(population.equity_usd * population.wanted_leverage(), rel=1e-3)


def test_defence_takes_stable_first_then_sells_eth_then_btc() -> None:
    """One owner, core 100 stable, 60 ETH and 60 BTC in USD, who wants 190: 100 + 60 + 30 of BTC, 3 lots."""
    retail = CoreRetailParams(name="r", count=40, alts=("ETH",), defend_share=1.0)
    town = Town([retail, NaturalShortParams(name="s", count=30)], interest=10**6)
    population = town.populations[0]
    assert isinstance(population, CoreRetail)
    row = 0
    core, core_row = int(population.accounts[population.owners]), population.owners
    view = town.venue.view
    _keep(town, core, 0, 100 * USD)
    _keep(town, core, 1, 30 * 10**5)
    _keep(town, core, 2, 6 * 10**5)
    assert [population.held_lots(town.world, k, core_row) for k in (0, 1)] == [30, 6]
    index = np.array(START_TICKS, float)
    lot_usd = 0.001 * 2_000.0
    equity = lot_usd / population._chosen(row, PERP_ETH) - 190.0
    population._defend(town.world, row, PERP_ETH, 1, index, equity)
    town.world.run()
    orders = [c for c in town.sent if isinstance(c, PlaceOrder)]
    assert [(o.instrument, o.side, o.size_lots) for o in orders] == [
        (SPOT_ETH, SELL, 30),
        (SPOT_BTC, SELL, 3),
    ]
    assert int(view.wallets((core,))[0]) == 0, "all of the stable part went first"
    assert population._wanted_usd[row] == pytest.approx(90.0), "moved when the coins are sold"
    spent = {kind: population.counters[f"core_spent_{kind}_usd"] for kind in ("stable", "ETH", "BTC")}
    assert spent == {"stable": 100, "ETH": 60, "BTC": 30}
    _keep(town, core, 0, 90 * USD)
    population._defend(town.world, row, PERP_ETH, 1, index, 0.0)
    town.world.run()
    assert int(view.wallets((core,))[0]) == 0
    assert population.counters["core_spent_stable_usd"] == 100, "what the coins brought counts once"


def _keep(town: Town, account: int, asset: int, atoms: int) -> None:
    """Bring the wallet of an account to `atoms`."""
    held = int(town.venue.view.holdings(asset, (account,))[0])
    command: Command = Deposit(asset, account, (atoms - held,))
    if atoms < held:
        command = Withdraw(account, asset, held - atoms)
    if atoms != held:
        events = town.venue.apply(command, town.world.now_ns).events
        assert not isinstance(events[0], Rejected), events


def test_retail_positions_and_shorts_sum_to_the_open_interest() -> None:
    retail = CoreRetailParams(name="r", count=60, alts=("ETH",))
    town = Town([retail, NaturalShortParams(name="s", count=30)], interest=10**6)
    for number in (PERP_ETH, PERP_BTC):
        assert town.venue.view.open_interest_lots(number) == 10**6


def test_lender_bids_at_his_haircut_when_the_book_is_nearly_empty() -> None:
    """Bids of 1,000 lots at first, then of 50: below a tenth. He bids 20 % below 2,000."""
    params = LenderParams(name="l", coins=("ETH",), capital_usd=1e6, wake_s=600.0)
    town = Town([params], interest=1, hours=1)
    town.rest(SPOT_ETH, BUY, 199_000, 950)
    town.rest(SPOT_ETH, BUY, 198_000, 50)
    (lender,) = town.populations
    lender.start(town.world)
    while town.world.env.peek() <= 1_900 * SECOND_NS:
        town.world.env.step()
    assert not [c for c in town.sent if isinstance(c, PlaceOrder)], "the book is as deep as ever"
    taker = int(lender.accounts[0])
    town.venue.apply(Deposit(1, taker, (10**9,)), START_NS + 1_900 * SECOND_NS)
    town.venue.apply(PlaceOrder(taker, SPOT_ETH, SELL, 950, 199_000, "ioc"), START_NS + 1_900 * SECOND_NS)
    town.world.run()
    bids = [c for c in town.sent if isinstance(c, PlaceOrder)]
    assert bids
    assert {(bid.instrument, bid.side, bid.price_ticks) for bid in bids} == {(SPOT_ETH, BUY, 160_000)}


def test_spot_makers_lower_their_price_by_what_they_bought() -> None:
    """One maker, all levels of one side taken: one outermost distance times `impact` .6."""
    params = MarketMakerParams(
        name="m", count=1, books="spot", capital_usd=2e7, depth_usd=1e5, inventory_cap_usd=5e6, dispersion=0.0
    )
    (makers,) = Town([params], interest=1).populations
    depth = np.rint(makers._depth_lots).astype(np.int64)  # type: ignore[attr-defined]
    held = np.zeros((1, 4), np.int64)
    held[0, SPOT_ETH] = depth[SPOT_ETH]
    after = makers._follow(held)  # type: ignore[attr-defined]
    outermost = 1.5e-4 * (0.65 / 0.4) * 2.2**4
    cap = makers._cap_lots[SPOT_ETH]  # type: ignore[attr-defined]
    pressure = (float(depth[SPOT_ETH]) / float(cap)) ** 3 / HOUR_S
    fallen = outermost * (0.6 * depth[SPOT_ETH] / makers._depth_lots[SPOT_ETH] + pressure)  # type: ignore[attr-defined]
    assert after[SPOT_ETH] == pytest.approx(200_000 * np.exp(-fallen))
    assert after[SPOT_BTC] == 1_000_000


def test_spot_makers_feel_the_stress_of_the_coins_that_they_quote() -> None:
    """A fall by 1 % in a minute, over a median minute of 65 % a year."""
    params = MarketMakerParams(name="m", count=1, books="spot", capital_usd=2e7, depth_usd=1e5, wake_s=60.0)
    (makers,) = Town([params], interest=1).populations
    assert isinstance(makers, MarketMakers)
    prices = np.array(makers._opening.start_ticks, np.float64)
    makers._history.note(prices)
    assert makers.stress()[0] == 0.0
    makers._history.note(prices * 0.99)
    market, ratio = makers.stress()
    minute_deviation = 0.65 * np.sqrt(1 / (365 * 24 * 60))
    assert ratio[SPOT_ETH] == pytest.approx(-np.log(0.99) / (0.6745 * minute_deviation), rel=1e-3)
    quoted = [SPOT_BTC, SPOT_ETH]
    assert min(ratio[quoted]) <= market <= max(ratio[quoted])
