"""Index, mark and funding from the rulebook's formulas."""

from fractions import Fraction

from tests.reference import arithmetic as exact
from tests.reference.book import queue
from tests.reference.margin import initial_rate, maintenance_rate
from tests.reference.world import Prices, World
from zerodebt.exchange.commands import BUY, SELL, Observation
from zerodebt.exchange.events import ROUNDING, FundingSampled, FundingSet, Marked

PREMIUM_MAX = 1_000 * exact.PPT


def observe(w: World, seen: Observation) -> None:
    known = w.prices[seen.instrument].seen
    if seen.source not in known or seen.published_ns > known[seen.source][1]:
        known[seen.source] = (seen.price_ticks, seen.published_ns)


def fresh(w: World, prices: Prices, kind: str) -> list[tuple[int, int]]:
    """(price, weight) of the sources of a kind that are not too old."""
    return [
        (prices.seen[k][0], source.weight)
        for k, source in enumerate(w.rules.sources)
        if source.kind == kind
        and k in prices.seen
        and w.now - prices.seen[k][1] <= w.rules.margin.index_age_max_ns
    ]


def without_outliers(w: World, spots: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sources too far from their weighted median are dropped, or count at the furthest price allowed."""
    rules = w.rules.index
    if not rules.outlier_ppb or not spots:
        return spots
    middle = exact.weighted_middle(spots)
    far = exact.down(exact.share(abs(middle), rules.outlier_ppb))
    if rules.outliers == "drop":
        return [(price, weight) for price, weight in spots if abs(price - middle) <= far]
    return [(max(middle - far, min(middle + far, price)), weight) for price, weight in spots]


def set_marks(w: World) -> None:
    for n in w.contracts:
        prices = w.prices[n]
        spots = without_outliers(w, fresh(w, prices, "spot"))
        if spots:
            if w.rules.index.statistic == "median":
                prices.index = exact.weighted_middle(spots)
            else:
                whole = sum(weight for _, weight in spots)
                prices.index = exact.down(Fraction(sum(price * weight for price, weight in spots), whole))
        event = mark(w, n, prices)
        prices.previous, prices.mark = prices.mark, event.mark_ticks
        w.say(event)


def mark(w: World, n: int, prices: Prices) -> Marked:
    rules, index = w.rules.mark, prices.index
    assert index is not None
    bid, ask, last = w.best(n, BUY), w.best(n, SELL), prices.last
    of_book = None
    if bid is not None and ask is not None:
        prices.basis.add(bid + ask - 2 * index, w.now, rules.basis_ema_ns)
        if rules.formula == "funding_median" and w.now >= prices.next_basis_ns:
            prices.next_basis_ns = (w.now // rules.basis_sample_ns + 1) * rules.basis_sample_ns
            prices.basis_points = [*prices.basis_points, bid + ask - 2 * index][-rules.basis_points :]
        if last is not None:
            of_book = exact.middle((bid, ask, last))
            prices.book.add(of_book, w.now, rules.book_ema_ns)
    with_basis = index
    if prices.basis.den:
        with_basis += exact.down(Fraction(prices.basis.num, 2 * prices.basis.den))
    perps = fresh(w, prices, "perp")
    of_perps = exact.weighted_middle(perps) if perps else None
    slow_book = exact.down(Fraction(prices.book.num, prices.book.den)) if prices.book.den else None
    funded = of_basis = None
    if rules.formula in ("funding_median", "fair"):
        left = Fraction(max(0, w.next_funding_ns - w.now), w.rules.funding.interval_ns)
        funded = index + exact.down(index * Fraction(prices.last_rate, exact.PPT) * left)
    if prices.basis_points:
        of_basis = index + exact.down(Fraction(sum(prices.basis_points), 2 * len(prices.basis_points)))
    price: int | None
    if rules.formula == "median":
        main = [x for x in (with_basis, of_book, of_perps) if x is not None]
        if len(main) == 2 and slow_book is not None:
            main.append(slow_book)
        price = exact.middle(main)
    elif rules.formula == "funding_median":
        price = exact.middle([x for x in (funded, of_basis, last) if x is not None])
    else:
        price = {"index": index, "fair": funded, "basis_ema": with_basis}[rules.formula]
    assert price is not None
    if rules.band_ppb:
        width = exact.down(exact.share(abs(index), rules.band_ppb))
        price = max(index - width, min(index + width, price))
    price = max(w.instruments[n].price_min_ticks, min(w.instruments[n].price_max_ticks, price))
    if not w.status[n].liquidate and prices.mark is not None:
        price = prices.mark
    spread = (bid, ask, last)
    return Marked(
        n, index, price, prices.mark, spread, with_basis, of_book, of_perps, slow_book, funded, of_basis
    )


def impact(w: World, n: int, side: int) -> int | None:
    """Average price of trading the rulebook's value against a side, rounded towards the mid."""
    rules, tick = w.rules.funding, w.instruments[n].tick_value_atoms
    wanted = rules.impact_notional_atoms
    if rules.impact_margin_atoms is not None:
        wanted = exact.down(rules.impact_margin_atoms / initial_rate(w.instruments[n].tiers[0]))
    orders = queue(w.resting(n), side)
    lots = value = 0
    for price in dict.fromkeys(order.price for order in orders):
        level = sum(order.lots for order in orders if order.price == price)
        missing = Fraction(wanted, price * tick)
        take = level if level < missing else exact.up(missing)
        lots, value, wanted = lots + take, value + take * price, wanted - level * price * tick
        if wanted <= 0:
            return exact.up(Fraction(value, lots)) if side == BUY else exact.down(Fraction(value, lots))
    return None


def sample_funding(w: World) -> None:
    for n in w.contracts:
        prices = w.prices[n]
        index = prices.index
        assert index is not None
        form = w.rules.funding.premium
        if form == "impact":
            bid, ask = impact(w, n, BUY), impact(w, n, SELL)
            above = max(bid - index, 0) if bid is not None else 0
            below = max(index - ask, 0) if ask is not None else 0
            distance = Fraction(above - below)
        elif form == "mid":
            bid, ask = w.best(n, BUY), w.best(n, SELL)
            distance = Fraction(0) if bid is None or ask is None else Fraction(bid + ask - 2 * index, 2)
        else:
            distance = Fraction(w.mark(n) - index)
        premium = exact.clamp(exact.down(distance / index * exact.PPT), PREMIUM_MAX)
        prices.premiums.append(premium)
        w.say(FundingSampled(n, premium))


def cap(w: World, n: int) -> int | None:
    rules = w.rules.funding
    top = exact.down(maintenance_rate(w.instruments[n].tiers[0]) * exact.PPT)
    own = {entry.symbol: entry.cap_ppt for entry in rules.caps}
    at_most = {
        "rate": rules.cap_ppt,
        "maintenance": exact.down(exact.share(top, rules.cap_factor_ppb)),
        "none": None,
    }
    return own.get(w.instruments[n].symbol, at_most[rules.cap])


def rate(w: World, n: int, premium: int) -> int:
    rules = w.rules.funding
    if rules.rate == "dampened":
        of_period = premium + exact.clamp(rules.interest_ppt - premium, rules.clamp_ppt)
    elif rules.rate == "deadband":
        of_period = max(rules.clamp_ppt, premium) + min(-rules.clamp_ppt, premium)
    else:
        of_period = premium + rules.interest_ppt
    of_interval, most = exact.down(Fraction(of_period, rules.divisor)), cap(w, n)
    return of_interval if most is None else exact.clamp(of_interval, most)


def pay_funding(w: World, intervals: int) -> None:
    """Payers owe rounded up, receivers get rounded down; the rounding account keeps the difference."""
    for n in w.contracts:
        prices = w.prices[n]
        if not prices.premiums:
            continue
        count = len(prices.premiums)
        weights = range(1, count + 1) if w.rules.funding.average == "linear" else [1] * count
        total = sum(p * k for p, k in zip(prices.premiums, weights, strict=True))
        prices.last_rate = rate(w, n, exact.down(Fraction(total, sum(weights))))
        prices.premiums = []
        price = prices.index if w.rules.funding.paid_on == "index" else prices.mark
        assert price is not None
        w.say(FundingSet(n, prices.last_rate, price, intervals))
        for account in range(len(w.accounts)):
            lots = w.position(account, n).lots
            if lots:
                owed = exact.up(Fraction(w.value(n, price, lots) * prices.last_rate * intervals, exact.PPT))
                w.pay(w.compartment(account, n), (ROUNDING, w.settle), owed)
