"""The oracle's answers about one account, as methods."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Any, Literal

from zerodebt.exchange.ask import Replier, situation_of, symbols_of
from zerodebt.exchange.cases import read_case, read_question
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.marks import Market
from zerodebt.exchange.oracle import ASKED, Situation
from zerodebt.exchange.rulebook import Rulebook
from zerodebt.exchange.testing.figures import Answer, Figure, Number

Path = Sequence[Mapping[str, Number]]
PositionSide = Literal["both", "long", "short"]


class Account:
    """One account under one rulebook. No question changes it.

    What cannot be answered raises `UnanswerableError`, which names the field.
    """

    def __init__(self, book: Rulebook, situation: Situation, name: str = "account") -> None:
        self._book = book
        self._situation = situation
        self.name = name

    def _ask(self, question: str, **fields: Any) -> Answer:
        asked = read_question({"question": question, **fields})
        found, lines = Replier(self._book, self._situation).reply(asked)
        explained = tuple(f"{line.what}: {line.value} ({line.rule}; {line.source})" for line in lines)
        return Answer(found, explained)

    def margin(self, instrument: str | None = None, position_side: PositionSide = "both") -> Answer:
        """equity, maintenance, initial, equity_over_maintenance, is_liquidatable, is_bankrupt.

        Of the cross pool, or of what answers for the position in an instrument.
        position_side  here and below: in hedge mode the leg that is meant
        """
        return self._ask("margin", instrument=instrument, position_side=position_side)

    def liquidation_price(self, instrument: str, position_side: PositionSide = "both") -> Answer:
        """price (exact), tick (the first whole one beyond it) and reached_by; None where no price does it."""
        return self._ask("liquidation_price", instrument=instrument, position_side=position_side)

    def bankruptcy_price(self, instrument: str, position_side: PositionSide = "both") -> Answer:
        """price (exact), tick (the last one that leaves no debt) and reached_by."""
        return self._ask("bankruptcy_price", instrument=instrument, position_side=position_side)

    def withdrawable(self) -> Figure:
        """What of the settlement asset may leave the wallet."""
        return Figure(self._ask("withdrawable").amount)

    def largest_order(
        self,
        instrument: str,
        side: Literal["buy", "sell"],
        price: Number,
        leverage: int = 0,
        position_side: PositionSide = "both",
    ) -> Figure:
        """The largest limit order at `price` that the venue takes, whether it fills at once or rests.

        position_side  in hedge mode the leg that it opens or closes; "both": the one that it opens
        """
        fields = {"instrument": instrument, "side": side, "price": price, "leverage": leverage}
        return Figure(self._ask("largest_order", **fields, position_side=position_side).size)

    def adl_score(
        self, instrument: str, others: Sequence[Number] = (), position_side: PositionSide = "both"
    ) -> Answer:
        """score, rank and of: the place in the queue of auto-deleveraging."""
        return self._ask("adl_score", instrument=instrument, others=others, position_side=position_side)

    def what_if(
        self,
        path: Path,
        *,
        after_s: Number = 1,
        depth: Mapping[str, Number] = {},
        slippage: Number = 0,
        fund: Number = 0,
        backstop: bool = True,
    ) -> Answer:
        """points: what each instant of a path of marks did and left; `left` is the last of them.

        path     prices by instrument, `after_s` seconds apart
        depth    contracts bid and offered at each instant, `slippage` (a fraction) from the mark
        fund     what the insurance fund and the house hold each
        """
        points = [{"prices": prices, "after_s": after_s} for prices in path]
        options = {"depth": depth, "slippage": slippage, "fund": fund, "backstop": backstop}
        found = self._ask("what_if", path=points, **options)
        return Answer({**found, "left": found.points[-1]}, found.explain)

    def table(self) -> str:
        """The margin table: compartments, then positions with their liquidation prices."""
        return "\n".join(_table_lines(self._book, self._situation, self))


def account(
    venue: str,
    as_of: str | None = None,
    *,
    balances: Mapping[str, Number] = {},
    positions: Sequence[Mapping[str, Any]] = (),
    position_mode: Literal["net", "hedge"] | None = None,
    prices: Mapping[str, Number | Mapping[str, Any]] = {},
    rules: Mapping[str, Any] = {},
    assets: Sequence[Mapping[str, Any]] = (),
    instruments: Sequence[Mapping[str, Any]] = (),
    name: str = "account",
) -> Account:
    """An account as a case describes it; a price may be the mark alone.

    venue  name of a rulebook, or the path of a .toml file of your own
    The fields are those of `zerodebt ask --schema`.
    """
    case = read_case(
        {
            "venue": venue,
            "as_of": as_of,
            "balances": balances,
            "positions": positions,
            "position_mode": position_mode,
            "prices": {
                symbol: price if isinstance(price, Mapping) else {"mark": price}
                for symbol, price in prices.items()
            },
            "rules": rules,
            "assets": assets,
            "instruments": instruments,
            "ask": (),
        }
    )
    book = Rulebook(
        venue,
        as_of,
        rules=case.rules,
        assets=case.assets,
        instruments=case.instruments,
        symbols=symbols_of(case),
        profile=own_rulebook(venue, as_of),
    )
    return Account(book, situation_of(book, case), name)


def own_rulebook(venue: str, as_of: str | None) -> dict[str, Any] | None:
    """What the file of a user's own rulebook says; None where `venue` is the name of a shipped one."""
    if not venue.endswith(".toml"):
        return None
    from zerodebt.scenarios.rulebooks import read_rulebook

    return read_rulebook(FilePath(venue), as_of)


def _table_lines(book: Rulebook, situation: Situation, asked: Account) -> Iterator[str]:
    state = situation.state
    wallets = [
        f"{Figure(Decimal(state.accounts.balances.cells[n][ASKED]).scaleb(-asset.decimals))} {asset.symbol}"
        for n, asset in enumerate(book.assets)
    ]
    yield f"{asked.name} at {book.rules.name}: wallet {', '.join(wallets)}"
    pools = {"cross": (ASKED, book.settle)}
    cells = state.accounts.lots.cells
    held = [market for market in state.contracts if cells[market.number][ASKED]]
    names = [_name(book, situation, market) for market in held]
    for name, market in zip(names, held, strict=True):
        if state.accounts.isolated.cells[market.number][ASKED]:
            pools[name] = state.compartment_of(ASKED, market.number)
    rows: list[tuple[str, ...]] = [("compartment", "equity", "maintenance", "initial", "")]
    for label, compartment in pools.items():
        standing = situation.standing(compartment)
        atoms = (standing.equity_atoms, standing.maintenance_atoms, standing.initial_atoms)
        word = "bankrupt" if standing.is_bankrupt else "liquidatable" if standing.is_liquidatable else "safe"
        rows.append((label, *map(book.money, atoms), word))
    yield from _aligned(rows)
    if not held:
        yield "no position"
        return
    rows = [("position", "size", "entry", "mark", "profit", "maintenance", "liquidation price")]
    for name, market in zip(names, held, strict=True):
        n, lots = market.instrument_number, cells[market.number][ASKED]
        cost = state.accounts.cost.cells[market.number][ASKED]
        profit = book.money(market.value_atoms(lots) - cost)
        entry = _entry(book.instruments[n], lots, cost)
        side: PositionSide = "long" if lots > 0 else "short"
        price = asked.liquidation_price(book.specs[n].symbol, side if situation.is_hedged else "both").tick
        needed = book.money(situation.maintenance_atoms(n, BUY if lots > 0 else SELL))
        liquidated = "none" if price is None else str(price)
        figures = (book.size(n, lots), entry, book.price(n, market.mark_ticks), profit, needed, liquidated)
        rows.append((name, *figures))
    yield from _aligned(rows)


def _name(book: Rulebook, situation: Situation, market: Market) -> str:
    """A position's instrument, and in hedge mode its leg."""
    symbol = book.specs[market.instrument_number].symbol
    if not situation.is_hedged:
        return symbol
    return f"{symbol} {'short' if market.number != market.instrument_number else 'long'}"


def _entry(instrument: Instrument, lots: int, cost: int) -> str:
    """Average entry price, to two decimals beyond the tick."""
    unit = lots * instrument.tick_value_atoms
    ticks = Fraction(cost, unit) if instrument.contract == "linear" else Fraction(-unit, cost)
    places = instrument.tick_decimals + 2
    figure = Decimal(round(ticks * 100)).scaleb(-places)
    return f"{figure:f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)
        ]
        yield "  " + "  ".join(cells).rstrip()
