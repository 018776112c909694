"""Hypothesis strategies: accounts, books, price paths and whole cases that a rulebook can answer.

What they draw is valid by construction: on the grids of tick and lot, within bounds, at a leverage that the
tier allows. Everything shrinks towards one lot at a round price, held at that price, with its value in cash.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from zerodebt.exchange.ask import leverage_max
from zerodebt.exchange.instruments import Instrument, order_step_ticks, value_atoms
from zerodebt.exchange.rulebook import Rulebook
from zerodebt.exchange.rules import profile_table

Table = dict[str, Any]
_MILLE = 1_000
_ATOMS_MAX = 2**52


def accounts(
    venue: str,
    as_of: str | None = None,
    *,
    symbols: Collection[str] | None = None,
    positions_max: int = 2,
) -> st.SearchStrategy[Table]:
    """`balances`, `positions` and `prices` of one account, as the fixture `oracle` takes them.

    symbols  the instruments that it may hold; None: all of the rulebook
    """
    books = _rulebooks(venue, as_of, symbols)
    return st.sampled_from(books).flatmap(lambda book: _accounts(book, positions_max))


def price_paths(
    venue: str,
    prices: Mapping[str, Any],
    as_of: str | None = None,
    *,
    points_max: int = 6,
    move_max: float = 0.3,
) -> st.SearchStrategy[list[dict[str, str]]]:
    """Paths from these prices (marks by instrument): each point moves some instruments by at most a share."""
    book = Rulebook(venue, as_of, symbols=set(prices))
    ticks = {
        symbol: book.ticks(symbol, book.number(symbol, symbol), _decimal(price))
        for symbol, price in prices.items()
    }
    return _paths(book, ticks, points_max, int(move_max * _MILLE))


def books(
    venue: str, symbol: str, mark: Any, as_of: str | None = None, *, levels_max: int = 5
) -> st.SearchStrategy[dict[str, list[tuple[str, str]]]]:
    """`bids` and `asks` as (price, size), best first, on prices that orders may use, around a mark."""
    book = Rulebook(venue, as_of, symbols={symbol})
    number = book.number("symbol", symbol)
    return _books(book, number, book.ticks("mark", number, _decimal(mark)), levels_max)


def cases(
    venue: str, as_of: str | None = None, *, symbols: Collection[str] | None = None
) -> st.SearchStrategy[Table]:
    """Whole cases for `zerodebt ask`: an account and questions that it can answer."""
    books = _rulebooks(venue, as_of, symbols)
    return st.sampled_from(books).flatmap(lambda book: _cases(book, venue, as_of))


def _decimal(value: Any) -> Any:
    from zerodebt.exchange.testing.figures import Figure

    return Figure(value)


def _rulebooks(venue: str, as_of: str | None, symbols: Collection[str] | None) -> list[Rulebook]:
    """The rulebook once for each settlement asset, with what settles in it."""
    settled: dict[str, set[str]] = {}
    for entry in profile_table(venue, as_of).get("instruments", ()):
        symbol = entry["symbol"]
        if entry["kind"] != "spot" and (symbols is None or symbol in symbols):
            settled.setdefault(entry.get("settle", ""), set()).add(symbol)
    if not settled:
        raise ValueError(f"{venue} brings no instrument of its own to hold")
    return [Rulebook(venue, as_of, symbols=together) for together in settled.values()]


def _contracts(book: Rulebook) -> list[int]:
    return [n for n, spec in enumerate(book.instruments) if spec.kind != "spot"]


def _round_price(spec: Instrument) -> int:
    """A power of ten of the instrument's order of magnitude, in ticks."""
    return int(10 ** (len(str(spec.price_max_ticks)) - 1))


def _moved(spec: Instrument, ticks: int, mille: int) -> int:
    """A price moved by parts per thousand, on the step of orders and within bounds."""
    moved = ticks + abs(ticks) * mille // _MILLE
    moved = min(max(moved, spec.price_min_ticks), spec.price_max_ticks)
    step = order_step_ticks(spec, moved)
    down = moved // step * step
    return down if down >= spec.price_min_ticks else moved


def _sizes(spec: Instrument, price_ticks: int, most: int) -> st.SearchStrategy[int]:
    """Lots of every order of magnitude up to `most` whose value stays within the amounts of a case."""
    worth = max(1, abs(value_atoms(spec, price_ticks, spec.size_max_lots)) // spec.size_max_lots)
    bound = max(1, min(most, _ATOMS_MAX // worth))
    powers = [10**k for k in range(len(str(bound)))]
    return st.builds(
        lambda digit, power: min(digit * power, bound), st.integers(1, 9), st.sampled_from(powers)
    )


@st.composite
def _accounts(draw: st.DrawFn, book: Rulebook, positions_max: int) -> Table:
    held = draw(
        st.lists(st.sampled_from(_contracts(book)), min_size=1, max_size=positions_max, unique=True),
    )
    positions, prices, worth = [], {}, 0
    for n in held:
        spec, symbol = book.instruments[n], book.specs[n].symbol
        mark = _moved(spec, _round_price(spec), draw(st.integers(-900, 900)))
        prices[symbol] = {"mark": book.price(n, mark)}
        position, value = draw(_positions(book, n, mark))
        positions.append(position)
        worth += value
    cash = worth * (_MILLE + draw(st.integers(-_MILLE, _MILLE))) // _MILLE
    wallet = book.assets[book.settle].symbol
    return {"balances": {wallet: book.money(cash)}, "positions": positions, "prices": prices}


@st.composite
def _positions(draw: st.DrawFn, book: Rulebook, number: int, mark: int) -> tuple[Table, int]:
    """A position and its value at entry in atoms."""
    spec = book.instruments[number]
    entry = _moved(spec, mark, draw(st.integers(-500, 500)))
    lots = draw(_sizes(spec, max(abs(mark), abs(entry)), spec.open_interest_max_lots))
    value = abs(value_atoms(spec, entry, lots))
    position: Table = {
        "instrument": book.specs[number].symbol,
        "side": draw(st.sampled_from(["long", "short"])),
        "size": book.size(number, lots),
        "entry": book.price(number, entry),
        "leverage": draw(st.integers(0, leverage_max(spec, lots, entry))),
    }
    share = draw(st.none() | st.integers(0, _MILLE))
    if share is not None:
        position["isolated_margin"] = book.money(value * share // _MILLE)
    return position, value


@st.composite
def _paths(
    draw: st.DrawFn, book: Rulebook, start: Mapping[str, int], points_max: int, mille_max: int
) -> list[dict[str, str]]:
    ticks = dict(start)
    path = []
    for _ in range(draw(st.integers(1, points_max))):
        moving = draw(st.lists(st.sampled_from(sorted(ticks)), unique=True))
        for symbol in moving:
            spec = book.instruments[book.number(symbol, symbol)]
            ticks[symbol] = _moved(spec, ticks[symbol], draw(st.integers(-mille_max, mille_max)))
        path.append({symbol: book.price(book.number(symbol, symbol), ticks[symbol]) for symbol in moving})
    return path


@st.composite
def _books(
    draw: st.DrawFn, book: Rulebook, number: int, mark: int, levels_max: int
) -> dict[str, list[tuple[str, str]]]:
    spec = book.instruments[number]
    sides: dict[str, list[tuple[str, str]]] = {}
    for name, away in (("bids", -1), ("asks", 1)):
        levels: list[tuple[str, str]] = []
        price = mark
        for steps in draw(st.lists(st.integers(1, 9), max_size=levels_max)):
            step = order_step_ticks(spec, price + away)
            price = (price // step if away < 0 else -(-price // step)) * step + away * steps * step
            if not spec.price_min_ticks <= price <= spec.price_max_ticks or price % order_step_ticks(
                spec, price
            ):
                break
            lots = draw(_sizes(spec, price, spec.size_max_lots))
            levels.append((book.price(number, price), book.size(number, lots)))
        sides[name] = levels
    return sides


@st.composite
def _cases(draw: st.DrawFn, book: Rulebook, venue: str, as_of: str | None) -> Table:
    account = draw(_accounts(book, 2))
    asked = draw(st.lists(_questions(book, account), min_size=1, max_size=3))
    return {"venue": venue, "as_of": as_of, **account, "ask": asked}


def _questions(book: Rulebook, account: Table) -> st.SearchStrategy[Table]:
    symbols = [position["instrument"] for position in account["positions"]]
    held = st.fixed_dictionaries({"instrument": st.sampled_from(symbols)})
    about = ["margin", "liquidation_price", "bankruptcy_price"]
    if "adl" in book.rules.waterfall and book.rules.adl.policy == "queue":
        about.append("adl_score")
    simple = st.sampled_from([{"question": "margin"}, {"question": "withdrawable"}])
    return st.one_of(
        simple,
        st.builds(lambda name, fields: {"question": name, **fields}, st.sampled_from(about), held),
        _orders(book, account["prices"]),
        _what_ifs(book, account["prices"]),
    )


@st.composite
def _orders(draw: st.DrawFn, book: Rulebook, prices: Mapping[str, Table]) -> Table:
    symbol = draw(st.sampled_from(sorted(prices)))
    n = book.number(symbol, symbol)
    spec = book.instruments[n]
    mark = book.ticks(symbol, n, _decimal(prices[symbol]["mark"]))
    return {
        "question": "largest_order",
        "instrument": symbol,
        "side": draw(st.sampled_from(["buy", "sell"])),
        "price": book.price(n, _moved(spec, mark, draw(st.integers(-50, 50)))),
        "leverage": draw(st.integers(0, leverage_max(spec, 0, mark))),
    }


@st.composite
def _what_ifs(draw: st.DrawFn, book: Rulebook, prices: Mapping[str, Table]) -> Table:
    ticks = {
        symbol: book.ticks(symbol, book.number(symbol, symbol), _decimal(price["mark"]))
        for symbol, price in prices.items()
    }
    path: Sequence[Mapping[str, str]] = draw(_paths(book, ticks, 4, 300))
    deep = draw(st.lists(st.sampled_from(sorted(prices)), unique=True))
    depth = {}
    for symbol in deep:
        n = book.number(symbol, symbol)
        spec = book.instruments[n]
        depth[symbol] = book.size(n, draw(_sizes(spec, spec.price_max_ticks, spec.size_max_lots)))
    mille = draw(st.integers(0, 100))
    return {
        "question": "what_if",
        "path": [{"prices": dict(point)} for point in path],
        "depth": depth,
        "slippage": f"{mille / _MILLE:.3f}",
        "fund": book.money(draw(st.sampled_from([0, 10**6, 10**12]))),
        "backstop": draw(st.booleans()),
    }
