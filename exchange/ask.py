"""Questions about one account, answered in decimals, and explained line by line with the rule's source.

A case is a plain table (JSON fits), so that a bot in any language can use it; `cases.py` says what it holds.
What cannot be answered gets an error that names the field; nothing is guessed.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from msgspec import Struct

from zerodebt.exchange.cases import (
    AdlQuestion,
    BankruptcyPriceQuestion,
    Case,
    ErrorCode,
    LargestOrderQuestion,
    LiquidationPriceQuestion,
    MarginQuestion,
    PositionCase,
    Question,
    UnanswerableError,
    WhatIfQuestion,
    WithdrawableQuestion,
    read_case,
    schema,
    wrong_rule,
)
from zerodebt.exchange.collateral import value_max_atoms
from zerodebt.exchange.commands import BUY, SELL, Side
from zerodebt.exchange.decimals import from_units
from zerodebt.exchange.events import (
    FIRST_ACCOUNT,
    HOUSE_ACCOUNT_NAMES,
    DefaultDeclared,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    MarginCalled,
    MarginCallEnded,
    OrderAccepted,
    Posted,
    ReceivableBooked,
    StageArmed,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.instruments import (
    ALONE,
    Instrument,
    Size,
    charged_rate,
    initial_rate,
    margin_table,
    order_step_ticks,
    shared_tier,
    value_atoms,
)
from zerodebt.exchange.margin import size_beside
from zerodebt.exchange.marks import Market
from zerodebt.exchange.oracle import (
    ASKED,
    BACKSTOP_VAULT,
    HOLDER,
    STREET,
    MarginState,
    Outcome,
    PathStep,
    Position,
    PricePoint,
    Situation,
)
from zerodebt.exchange.rulebook import ATOMS_MAX, Rulebook, decimal_text, units
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.state import Compartment, offers_legs
from zerodebt.exchange.units import PPB, SECOND_NS

__all__ = ["Case", "Line", "Oracle", "UnanswerableError", "answer", "schema"]

GIVEN = "the case"
_PAYERS = {STREET: "street", HOLDER: "holder of the other side", BACKSTOP_VAULT: "backstop vault"}


class Line(Struct, frozen=True):
    """One line of an explanation: a figure, the rule that made it, and who published the rule and when."""

    what: str
    value: str
    rule: str
    source: str


def answer(table: Mapping[str, Any] | Case, profile: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Answer every question of a case; money, prices and sizes are decimal strings in the venue's units.

    profile  a rulebook that does not ship, as it held on the case's day, instead of the one of `venue`
    Raises UnanswerableError where the case itself is wrong; a question that cannot be answered has an `error`
    in its own answer instead.
    """
    return Oracle.read(table, profile).answers()


class Oracle:
    """A case made ready: its rulebook and the account's situation. No question changes either."""

    def __init__(self, case: Case, profile: Mapping[str, Any] | None = None) -> None:
        self.case = case
        self.book = Rulebook(
            case.venue,
            case.as_of,
            rules=case.rules,
            assets=case.assets,
            instruments=case.instruments,
            symbols=symbols_of(case),
            profile=profile,
        )
        self.situation = situation_of(self.book, case)

    @classmethod
    def read(cls, table: Mapping[str, Any] | Case, profile: Mapping[str, Any] | None = None) -> "Oracle":
        """From a table as JSON or TOML have it; UnanswerableError names the place of what is wrong."""
        return cls(table if isinstance(table, Case) else read_case(table), profile)

    def answers(self) -> dict[str, Any]:
        """All answers, in the order of the questions."""
        rules = self.book.rules
        return {
            "venue": rules.name,
            "as_of": self.case.as_of,
            "rules_valid_from": rules.valid_from,
            "settle_asset": rules.settle_asset,
            "answers": [self._answered(n, question) for n, question in enumerate(self.case.ask)],
        }

    def _answered(self, n: int, question: Question) -> dict[str, Any]:
        name = msgspec.to_builtins(question)["question"]
        try:
            found, lines = self.reply(question, f"ask.{n}")
        except UnanswerableError as error:
            return {"question": name, "error": error.table(), "message": str(error)}
        return {"question": name, "answer": found, "explain": [msgspec.to_builtins(line) for line in lines]}

    def reply(self, question: Question, field: str = "ask") -> tuple[dict[str, Any], list[Line]]:
        """The answer to one question, with what it includes, and its explanation."""
        return Replier(self.book, self.situation).reply(question, field)


def symbols_of(case: Case) -> set[str]:
    """The instruments that a case names."""
    named = {position.instrument for position in case.positions} | set(case.prices)
    for question in case.ask:
        if isinstance(question, WhatIfQuestion):
            named |= {symbol for point in question.path for symbol in point.prices} | set(question.depth)
        elif not isinstance(question, WithdrawableQuestion) and question.instrument is not None:
            named.add(question.instrument)
    return named


# Reading


def situation_of(book: Rulebook, case: Case) -> Situation:
    """The account of a case in the venue's integers."""
    balances = [0] * len(book.assets)
    for symbol, amount in case.balances.items():
        field = f"balances.{symbol}"
        number = book.asset(field, symbol)
        balances[number] = book.atoms(field, amount, number)
    positions = [_position(book, f"positions.{n}", held) for n, held in enumerate(case.positions)]
    is_hedged = _is_hedged(book, case, positions)
    marks, indexes = _prices(book, case)
    for position in positions:
        if marks[position.instrument] is None:
            symbol = book.specs[position.instrument].symbol
            raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
    try:
        situation = Situation(
            book.rules,
            book.assets,
            book.instruments,
            balances,
            positions,
            marks,
            indexes,
            is_hedged=is_hedged,
        )
    except RulesError as error:
        raise wrong_rule(error) from None
    for collateral in situation.state.collateral:
        atoms, symbol = balances[collateral.asset], collateral.market.instrument.symbol
        if atoms and not collateral.is_priced:
            raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
        if value_max_atoms(collateral, abs(atoms)) > ATOMS_MAX:
            asset = book.assets[collateral.asset]
            allowed = f"is worth at most {book.money(ATOMS_MAX)} at the highest price of {symbol}"
            raise UnanswerableError(
                "out_of_bounds", f"balances.{asset.symbol}", from_units(atoms, asset.decimals), allowed
            )
    return situation


def _is_hedged(book: Rulebook, case: Case, positions: Sequence[Position]) -> bool:
    """Is the account in hedge mode? It is where it says so, or says nothing and holds both sides."""
    offered = offers_legs(book.rules, book.instruments)
    absent = f"is net: {book.rules.name} offers no hedge mode here"
    if case.position_mode == "hedge" and not offered:
        raise UnanswerableError("no_hedge_mode", "position_mode", "hedge", absent)
    is_hedged = case.position_mode == "hedge"
    sides: dict[int, set[bool]] = {}
    for n, position in enumerate(positions):
        field, symbol = f"positions.{n}.instrument", case.positions[n].instrument
        known = sides.setdefault(position.instrument, set())
        is_other_side = bool(known) and (position.lots > 0) not in known
        if is_other_side and not offered:
            allowed = f"is one position of each: {book.rules.name} offers no hedge mode here"
            raise UnanswerableError("no_hedge_mode", field, symbol, allowed)
        if known and (not is_other_side or case.position_mode == "net"):
            raise UnanswerableError("second_position", field, symbol, "is one position of each")
        known.add(position.lots > 0)
        is_hedged |= is_other_side
    return is_hedged


def _prices(book: Rulebook, case: Case) -> tuple[list[int | None], list[int | None]]:
    """(marks, indexes) by instrument, None where nothing is said."""
    marks: list[int | None] = [None] * len(book.specs)
    indexes: list[int | None] = [None] * len(book.specs)
    oldest_ns = book.rules.margin.index_age_max_ns
    for symbol, price in case.prices.items():
        field = f"prices.{symbol}"
        number = book.number(field, symbol)
        marks[number] = book.ticks(f"{field}.mark", number, price.mark)
        index = price.mark if price.index is None else price.index
        indexes[number] = book.ticks(f"{field}.index", number, index)
        age_ns = units(f"{field}.index_age_s", price.index_age_s, 9)
        if not 0 <= age_ns <= oldest_ns:
            code: ErrorCode = "stale_index" if age_ns > 0 else "out_of_bounds"
            oldest = decimal_text(Fraction(oldest_ns, SECOND_NS))
            raise UnanswerableError(code, f"{field}.index_age_s", price.index_age_s, f"is 0..{oldest} s")
    return marks, indexes


def _position(book: Rulebook, field: str, held: PositionCase) -> Position:
    number = book.number(f"{field}.instrument", held.instrument)
    spec = book.instruments[number]
    if spec.kind == "spot":
        raise UnanswerableError("wrong_kind", f"{field}.instrument", "spot", "are perpetuals and futures")
    lots = book.lots(f"{field}.size", number, held.size)
    if not lots:
        raise UnanswerableError("zero_position", f"{field}.size", held.size, "are sizes above 0")
    entry = book.ticks(f"{field}.entry", number, held.entry)
    _check_leverage(f"{field}.leverage", spec, held.leverage, lots, entry)
    isolated = None
    if held.isolated_margin is not None:
        isolated = book.atoms(f"{field}.isolated_margin", held.isolated_margin, book.settle)
        if isolated < 0:
            allowed = "are amounts from 0"
            raise UnanswerableError(
                "out_of_bounds", f"{field}.isolated_margin", held.isolated_margin, allowed
            )
    return Position(
        instrument=number,
        lots=lots if held.side == "long" else -lots,
        entry_ticks=entry,
        leverage=held.leverage,
        isolated_atoms=isolated,
    )


def leverage_max(spec: Instrument, lots: int, price_ticks: int) -> int:
    """The most that may be chosen for a size at this price: that of the tier it falls into."""
    size = lots if spec.tier_unit == "lots" else abs(value_atoms(spec, price_ticks, lots))
    return [tier for tier in spec.tiers if not tier.lower or tier.lower < size][-1].leverage_max


def _check_leverage(field: str, spec: Instrument, leverage: int, lots: int, price_ticks: int) -> None:
    most = leverage_max(spec, lots, price_ticks)
    if leverage > most:
        raise UnanswerableError("leverage_above_tier", field, leverage, f"is at most {most}")


# Answering


class Replier:
    """Answers about one situation under one rulebook; figures as decimal strings."""

    def __init__(self, book: Rulebook, situation: Situation) -> None:
        self.book = book
        self.situation = situation
        self.cross: Compartment = (ASKED, book.settle)

    def reply(self, question: Question, field: str = "ask") -> tuple[dict[str, Any], list[Line]]:
        """The answer to one question, with what it includes, and its explanation."""
        found, lines = self._figures(question, field)
        return {**found, "includes": self._includes(question)}, lines

    def _figures(self, question: Question, field: str) -> tuple[dict[str, Any], list[Line]]:
        match question:
            case MarginQuestion():
                return self._margin(question, field)
            case LiquidationPriceQuestion():
                return self._liquidation_price(question, field)
            case BankruptcyPriceQuestion():
                return self._bankruptcy_price(question, field)
            case WithdrawableQuestion():
                return self._withdrawable()
            case LargestOrderQuestion():
                return self._largest_order(question, field)
            case AdlQuestion():
                return self._adl(question, field)
            case WhatIfQuestion():
                return self._what_if(question, field)

    def _includes(self, question: Question) -> dict[str, bool]:
        """What the figures hold of what is still to come.

        opening_fees   the fee of the order that is asked about; not where the rulebook has no fees
        closing_fees   the fee of closing: where the venue adds it to its requirement, or charges it on a path
        funding        payments until liquidation; never, since no rate is known ahead
        other_prices   moves of other instruments' prices
        """
        is_path = isinstance(question, WhatIfQuestion)
        counted = any(m.margin != margin_table(m.instrument) for m in self.situation.state.contracts)
        uses_maintenance = isinstance(question, MarginQuestion | LiquidationPriceQuestion)
        return {
            "opening_fees": isinstance(question, LargestOrderQuestion) and self.book.knows_fees,
            "closing_fees": (is_path and self.book.knows_fees) or (counted and uses_maintenance),
            "funding": False,
            "other_prices": is_path,
        }

    def _held(self, field: str, symbol: str, position_side: str) -> tuple[int, Side | None]:
        """The instrument of a position that is held, and in hedge mode the side of its leg."""
        number = self.book.number(f"{field}.instrument", symbol)
        side = self._side(f"{field}.position_side", number, position_side)
        if not self.situation.lots(number, side):
            raise self._not_held(field, number, position_side)
        return number, side

    def _not_held(self, field: str, number: int, position_side: str) -> UnanswerableError:
        """The leg that is held instead, or the positions."""
        situation, symbol = self.situation, self.book.specs[number].symbol
        held = [m for m in situation.state.contracts if situation.state.accounts.lots.cells[m.number][ASKED]]
        other = [self._name(market) for market in held if market.instrument_number == number]
        if other:
            allowed = f"is the leg that is held: {other[0]}"
            return UnanswerableError("zero_position", f"{field}.position_side", position_side, allowed)
        names = ", ".join(map(self._name, held)) or "none"
        allowed = f"is one with a position, of which there is {names}"
        return UnanswerableError("zero_position", f"{field}.instrument", symbol, allowed)

    def _side(self, field: str, number: int, position_side: str) -> Side | None:
        """Of an account in hedge mode the leg that is named, or the only one that is held."""
        if not self.situation.is_hedged:
            if position_side == "both":
                return None
            rules = self.book.rules
            if not self.situation.state.offers_legs:
                allowed = f"is both: {rules.name} offers no hedge mode here"
                raise UnanswerableError("no_hedge_mode", field, position_side, allowed)
            raise UnanswerableError("wrong_leg", field, position_side, "is both: the account is in net mode")
        if position_side != "both":
            return BUY if position_side == "long" else SELL
        if self.situation.lots(number, BUY) and self.situation.lots(number, SELL):
            raise UnanswerableError("wrong_leg", field, "both", "are long and short: both legs are held")
        return BUY if self.situation.lots(number, BUY) else SELL

    def _margin(self, question: MarginQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        compartment = self.cross
        if question.instrument is not None:
            held = self._held(field, question.instrument, question.position_side)
            compartment = self.situation.compartment_of(*held)
        elif question.position_side != "both":
            allowed = "is both: without an instrument it is the cross pool that is asked about"
            raise UnanswerableError("wrong_leg", f"{field}.position_side", question.position_side, allowed)
        return self._standing(self.situation.standing(compartment)), list(self._margin_lines(compartment))

    def _standing(self, standing: MarginState) -> dict[str, Any]:
        ratio = None
        if standing.maintenance_atoms:
            answering = standing.equity_atoms - standing.haircut_atoms
            ratio = decimal_text(Fraction(answering, standing.maintenance_atoms))
        return {
            "equity": self.book.money(standing.equity_atoms),
            "haircut": self.book.money(standing.haircut_atoms),
            "maintenance": self.book.money(standing.maintenance_atoms),
            "initial": self.book.money(standing.initial_atoms),
            "equity_over_maintenance": ratio,
            "is_liquidatable": standing.is_liquidatable,
            "is_bankrupt": standing.is_bankrupt,
        }

    def _margin_lines(self, compartment: Compartment) -> Iterator[Line]:
        book, state = self.book, self.situation.state
        account, pocket = compartment
        where = "wallet" if pocket == book.settle else "isolated margin"
        yield Line(where, book.money(state.accounts.balances.cells[pocket][account]), "as given", GIVEN)
        source = book.source("margin")
        if pocket == book.settle:
            for n, asset in enumerate(book.assets):
                atoms = state.accounts.balances.cells[n][account]
                if n != book.settle and atoms:
                    counts = any(collateral.asset == n for collateral in state.collateral)
                    rule = "as given" if counts else "as given; counts nothing: no `collateral` names it"
                    yield Line(f"{asset.symbol} balance", from_units(atoms, asset.decimals), rule, GIVEN)
        for market in state.positions_of(compartment):
            n, symbol = market.number, self._name(market)
            lots = state.accounts.lots.cells[n][account]
            value = market.value_atoms(lots)
            profit = value - state.accounts.cost.cells[n][account]
            yield Line(f"{symbol} value", book.money(abs(value)), "size times mark", source)
            yield Line(f"{symbol} profit", book.money(profit), "value less what the lots cost", source)
            yield self._requirement_line(market, abs(value), abs(lots))
        standing = self.situation.standing(compartment)
        equity, needed = standing.equity_atoms, standing.maintenance_atoms
        yield Line("equity", book.money(equity), f"{where} and unrealised profit", source)
        if standing.haircut_atoms:
            taken = book.money(standing.haircut_atoms)
            yield Line("haircut", taken, "off collateral before it answers for a requirement", source)
        yield Line("maintenance", book.money(needed), "each position's requirement, rounded up", source)

    def _name(self, market: Market) -> str:
        """A position's instrument, and in hedge mode its leg."""
        symbol = self.book.specs[market.instrument_number].symbol
        if not self.situation.is_hedged:
            return symbol
        return f"{symbol} {'short' if market.number != market.instrument_number else 'long'}"

    def _requirement_line(self, market: Market, value: int, lots: int, beside: Size | None = None) -> Line:
        """beside  value and lots that find the tier with the position; None: as they are now"""
        table, state = market.margin, self.situation.state
        instrument = market.instrument_number
        spec, tiers = self.book.specs[instrument], self.book.instruments[instrument].tiers
        side = SELL if market.number != instrument else None
        if self.situation.is_on_grid(instrument, side):
            alone = self.book.money(self.situation.maintenance_atoms(instrument, side))
            rule = "alone its worst loss over the grid of price moves, and its contingency; positions offset"
            return Line(f"{self._name(market)} over the grid", alone, rule, self.book.source("portfolio"))
        basis = "value"
        if table.is_at_entry:
            value = abs(state.accounts.cost.cells[market.number][ASKED])
            basis = "entry value"
        n = shared_tier(table, value, lots, size_beside(state, market, ASKED) if beside is None else beside)
        exact = charged_rate(table, n, value, lots)
        rate = decimal_text(exact)
        least = decimal_text(initial_rate(tiers[n]))
        decimals = self.book.assets[self.book.settle].decimals
        deduction = decimal_text(Fraction(table.deductions[n], table.denominator * 10**decimals))
        return Line(
            f"{self._name(market)} tier from {spec.tiers[n].above:f} {spec.tier_unit}",
            f"{rate} of the {basis} less {deduction}",
            f"maintenance rate {rate}, least initial rate {least}, {spec.tier_form} tiers",
            self.book.margin_source(instrument),
        )

    def _liquidation_price(
        self, question: LiquidationPriceQuestion, field: str
    ) -> tuple[dict[str, Any], list[Line]]:
        number, side = self._held(field, question.instrument, question.position_side)
        point = self.situation.liquidation_price(number, side)
        lines = list(self._margin_lines(self.situation.compartment_of(number, side)))
        if point is not None and not self.situation.is_on_grid(number, side):
            lines += self._requirement_lines_at(number, side, point.ticks)
        found = self._point(number, point)
        rule = "where equity equals maintenance in that tier; liquidated beyond it"
        if self.situation.is_on_grid(number, side):
            rule = "the nearest tick at which the worst loss over the grid exceeds equity, by search"
        lines.append(_price_line("liquidation price", found, rule, self.book.source("liquidation")))
        return found, lines

    def _requirement_lines_at(self, number: int, side: Side | None, ticks: int) -> Iterator[Line]:
        """The position's tier at this price; those of both legs, where it moves both."""
        state, spec = self.situation.state, self.book.instruments[number]
        at_price = spec.contract == "linear" or ticks > 0
        moved = [self.situation.leg(number, side)]
        if self.situation.is_joint(number, side):
            moved = state.legs_of(number)
        sizes = []
        for market in moved:
            lots = state.accounts.lots.cells[market.number][ASKED]
            sizes.append((abs(value_atoms(spec, ticks, lots)) if at_price else 0, abs(lots)))
        is_gross = state.rules.margin.tier_sum == "gross" and len(moved) > 1
        for k, market in enumerate(moved):
            yield self._requirement_line(market, *sizes[k], sizes[1 - k] if is_gross else ALONE)

    def _bankruptcy_price(
        self, question: BankruptcyPriceQuestion, field: str
    ) -> tuple[dict[str, Any], list[Line]]:
        number, side = self._held(field, question.instrument, question.position_side)
        found = self._point(number, self.situation.bankruptcy_price(number, side))
        lines = list(self._margin_lines(self.situation.compartment_of(number, side)))
        rule = "where closing leaves the compartment with nothing; the tick leaves no debt"
        lines.append(_price_line("bankruptcy price", found, rule, self.book.source("liquidation")))
        return found, lines

    def _point(self, number: int, point: PricePoint | None) -> dict[str, Any]:
        if point is None:
            return {"price": None, "tick": None, "reached_by": None}
        decimals = self.book.instruments[number].tick_decimals
        return {
            "price": decimal_text(point.exact_ticks / 10**decimals),
            "tick": self.book.price(number, point.ticks),
            "reached_by": "falling" if point.falls else "rising",
        }

    def _withdrawable(self) -> tuple[dict[str, Any], list[Line]]:
        amount = self.book.money(self.situation.withdrawable_atoms())
        rule = "cash of the wallet beyond the initial requirement; unrealised profit is never paid out"
        share = self.book.rules.margin.transfer_min_ppb
        if share:
            rule += f"; {decimal_text(Fraction(share, PPB))} of the positions' value stays"
        custody = self.situation.custody
        if custody is not None and (custody.hole_atoms > 0 or custody.is_shut):
            most = "the account's share of" if custody.is_shared else "at most all of"
            rule += f"; while debts stand that nobody paid, {most} what the venue holds"
        if self.situation.is_stale:
            rule += "; nothing while the index of an open position is too old"
        if self.situation.state.is_in_liquidation(ASKED):
            rule += "; nothing in liquidation"
        line = Line("withdrawable", amount, rule, self.book.source("margin"))
        return {"amount": amount}, [*self._margin_lines(self.cross), self._initial_line(), line]

    def _initial_line(self) -> Line:
        initial = self.book.money(self.situation.standing(self.cross).initial_atoms)
        rule = "at the chosen leverage, and never less than the tier asks for"
        return Line("initial requirement", initial, rule, self.book.source("margin"))

    def _largest_order(self, question: LargestOrderQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        book = self.book
        number = book.number(f"{field}.instrument", question.instrument)
        spec = book.instruments[number]
        if spec.kind == "spot":
            raise UnanswerableError("wrong_kind", f"{field}.instrument", "spot", "are perpetuals and futures")
        if self.situation.state.markets[number].prices.mark_ticks is None:
            raise UnanswerableError("missing_price", f"prices.{question.instrument}", "nothing", "is a mark")
        ticks = book.ticks(f"{field}.price", number, question.price)
        side: Side = BUY if question.side == "buy" else SELL
        step = order_step_ticks(spec, ticks)
        if ticks % step:
            allowed = f"are multiples of {book.price(number, step)} there"
            raise UnanswerableError("off_the_grid", f"{field}.price", question.price, allowed)
        _check_leverage(f"{field}.leverage", spec, question.leverage, 0, ticks)
        reduces = self._closes(field, number, side, question.position_side)
        most = self.situation.largest_order(number, side, ticks, question.leverage, reduces=reduces)
        size = book.size(number, most)
        fee = decimal_text(Fraction(book.rules.fees.taker_ppb, PPB))
        rule = (
            f"the most whose initial requirement at the mark, loss against it and fee ({fee}) fit the "
            "equity; while it rests it has no profit against the mark; what only reduces the position is "
            "taken as a reduce-only order where it leaves no worse ratio"
        )
        return {"size": size}, [
            *self._margin_lines(self.cross),
            self._initial_line(),
            self._fee_line("taker fee", fee, "of the order's value"),
            Line("largest order", size, rule, book.source("margin")),
        ]

    def _closes(self, field: str, number: int, side: Side, position_side: str) -> bool:
        """In hedge mode: does an order of this side close the leg that is named, and not open it?"""
        if position_side == "both":
            return False
        leg = self._side(f"{field}.position_side", number, position_side)
        if leg != side and not self.situation.lots(number, leg):
            raise self._not_held(field, number, position_side)
        return leg != side

    def _fee_line(self, what: str, value: str, rule: str) -> Line:
        if not self.book.knows_fees:
            return Line(what, "0", "not known, 0 used", "none: the rulebook has no fees")
        return Line(what, value, rule, self.book.source("fees"))

    def _adl(self, question: AdlQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        number, side = self._held(field, question.instrument, question.position_side)
        self._check_is_ranked(field)
        score = Fraction(self.situation.adl_score_ppb(number, side), PPB)
        rank = 1 + sum(Fraction(other) > score for other in question.others) if score else None
        text = decimal_text(score)
        rule = f"score {self.book.rules.adl.score!r}, rounded down to a part per billion; 0 without a profit"
        ranked = "the largest score first; without a profit nobody is ranked"
        source = self.book.source("adl")
        lines = list(self._margin_lines(self.situation.compartment_of(number, side)))
        lines += [Line("score", text, rule, source), Line("rank", str(rank or "none"), ranked, source)]
        return {"score": text, "rank": rank, "of": len(question.others) + 1}, lines

    def _check_is_ranked(self, field: str) -> None:
        """Only a waterfall with deleveraging by queue gives a position a score."""
        rules = self.book.rules
        if "adl" in rules.waterfall and rules.adl.policy == "queue":
            return
        allowed = f"is not asked of {rules.name}: "
        allowed += (
            f"policy {rules.adl.policy!r} ranks nobody"
            if "adl" in rules.waterfall
            else "nobody is deleveraged"
        )
        raise UnanswerableError("not_ranked", f"{field}.question", "adl_score", allowed)

    def _what_if(self, question: WhatIfQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        steps = list(self._steps(question, field))
        fund = self.book.atoms(f"{field}.fund", question.fund, self.book.settle)
        outcomes = self.situation.what_if(steps, fund_atoms=fund, has_backstop=question.backstop)
        told = _Told(self.book, self.situation)
        points = [
            {"prices": self._prices(step), "events": told.events(outcome), **self._left(outcome)}
            for step, outcome in zip(steps, outcomes, strict=True)
        ]
        lines = [line for n, point in enumerate(points) for line in self._path_lines(n, point)]
        if not self.book.knows_fees:
            lines.append(self._fee_line("fees", "0", ""))
        return {"points": points}, lines

    def _path_lines(self, n: int, point: dict[str, Any]) -> Iterator[Line]:
        """What happened at an instant, and where each compartment then stands."""
        for event in point["events"]:
            yield self._event_line(n, event)
        for name, pool in {"cross": point["cross"], **point["isolated"]}.items():
            value = f"equity {pool['equity']}, maintenance {pool['maintenance']}"
            yield Line(f"{n}: {name}", value, "at the marks of this instant", self.book.source("margin"))

    def _event_line(self, n: int, event: dict[str, str]) -> Line:
        figures = ", ".join(f"{key} {value}" for key, value in event.items() if key != "event")
        rule, table = _EVENT_RULES[event["event"]]
        return Line(f"{n}: {event['event']}", figures, rule, self.book.source(table))

    def _steps(self, question: WhatIfQuestion, field: str) -> Iterator[PathStep]:
        book = self.book
        marks = [market.prices.mark_ticks for market in self.situation.state.markets]
        depth = [0] * len(book.specs)
        for symbol, size in question.depth.items():
            at = f"{field}.depth.{symbol}"
            number = book.number(at, symbol)
            depth[number] = book.lots(at, number, size)
            most = book.instruments[number].size_max_lots
            if depth[number] > most:
                raise UnanswerableError("out_of_bounds", at, size, f"is 0..{book.size(number, most)}")
        slippage = from_zero(f"{field}.slippage", units(f"{field}.slippage", question.slippage, 9), PPB)
        for n, point in enumerate(question.path):
            for symbol, price in point.prices.items():
                at = f"{field}.path.{n}.prices.{symbol}"
                number = book.number(at, symbol)
                marks[number] = book.ticks(at, number, price)
            for number, mark in enumerate(marks):
                if mark is None and depth[number]:
                    symbol = book.specs[number].symbol
                    raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
            at = f"{field}.path.{n}.after_s"
            after_ns = from_zero(at, units(at, point.after_s, 9), STEP_MAX_NS)
            if not after_ns:
                allowed = "is a time above 0: an index that is not newer moves nothing"
                raise UnanswerableError("out_of_bounds", at, point.after_s, allowed)
            yield PathStep(
                tuple(marks),
                after_ns,
                tuple(depth),
                slippage,
            )

    def _prices(self, step: PathStep) -> dict[str, str]:
        return {
            spec.symbol: self.book.price(n, mark)
            for n, (spec, mark) in enumerate(zip(self.book.specs, step.mark_ticks, strict=True))
            if mark is not None
        }

    def _left(self, outcome: Outcome) -> dict[str, Any]:
        """What an instant left: signed positions, wallets, the cross pool and each isolated compartment.

        In hedge mode the positions are net, and the legs stand beside them.
        """
        book = self.book
        legs = {
            spec.symbol: dict(zip(("long", "short"), (book.size(n, lots) for lots in held), strict=True))
            for n, (spec, held) in enumerate(zip(book.specs, outcome.legs, strict=True))
            if self.situation.is_hedged and spec.kind != "spot"
        }
        return {
            "positions": {
                spec.symbol: book.size(n, lots)
                for n, (spec, lots) in enumerate(zip(book.specs, outcome.lots, strict=True))
            },
            **({"legs": legs} if legs else {}),
            "balances": {
                asset.symbol: from_units(outcome.balances[n], asset.decimals)
                for n, asset in enumerate(book.assets)
            },
            "cross": self._standing(outcome.cross),
            "isolated": {
                self._name(self.situation.state.slots[n]): self._standing(standing)
                for n, standing in outcome.isolated
            },
        }


STEP_MAX_NS = 10**7 * SECOND_NS
"""An instant of a path is at most about four months after the one before."""

_EVENT_RULES = {
    "liquidation_started": ("equity is below maintenance", "liquidation"),
    "liquidation_ended": ("equity reaches maintenance again, or no position is left", "liquidation"),
    "margin_called": ("equity is below maintenance: money is asked for", "liquidation"),
    "margin_call_ended": ("equity reaches what was called for", "liquidation"),
    "default_declared": ("the call is overdue", "liquidation"),
    "stage": ("the first stage of the waterfall that may act", "liquidation"),
    "forced_fill": ("a forced order at the book's prices", "liquidation"),
    "fill": ("an order of the account trades", "orders"),
    "taken_over": ("the position moves at the price named, and its profit is settled", "liquidation"),
    "deleveraged": ("the position is closed against a winner", "adl"),
    "money": ("what reached the account (negative: what left it)", "liquidation"),
    "deficit": ("equity is below zero: a debt", "liquidation"),
    "paid": ("a stage pays the debt", "liquidation"),
    "owed_by_the_account": ("the rest is owed", "recourse"),
    "residual": ("nobody paid it", "liquidation"),
}


class _Told:
    """The events that happened to the account, in its words, with what is left of a position after each."""

    def __init__(self, book: Rulebook, situation: Situation) -> None:
        self._book = book
        self._is_hedged = situation.is_hedged
        held = situation.state.accounts.lots.cells
        self._lots = {market.number: held[market.number][ASKED] for market in situation.state.slots}
        self._leg = situation.state.leg
        self._deficits: set[int] = set()
        self._forced: set[int] = set()
        self._reduces = {order.order_id: order.reduce_only for order in situation.state.orders.values()}

    def events(self, outcome: Outcome) -> list[dict[str, str]]:
        return [told for event in outcome.events for told in self._told(event)]

    def _told(self, event: Event) -> Iterator[dict[str, str]]:
        book = self._book
        match event:
            case LiquidationStarted() | LiquidationEnded() if event.account == ASKED:
                name = "liquidation_started" if isinstance(event, LiquidationStarted) else "liquidation_ended"
                equity, needed = book.money(event.equity_atoms), book.money(event.maintenance_atoms)
                yield {"event": name, "equity": equity, "maintenance": needed}
            case MarginCalled() if event.account == ASKED:
                yield {"event": "margin_called", "amount": book.money(event.called_atoms)}
            case MarginCallEnded() if event.account == ASKED:
                yield {"event": "margin_call_ended", "equity": book.money(event.equity_atoms)}
            case DefaultDeclared() if event.account == ASKED:
                yield {"event": "default_declared"}
            case StageArmed() if event.account == ASKED:
                yield {"event": "stage", "stage": event.stage, "because": event.because}
            case OrderAccepted() if event.account == ASKED:
                self._reduces[event.order_id] = event.reduce_only or event.forced
                if event.forced:
                    self._forced.add(event.order_id)
            case Filled() if ASKED in (event.taker, event.maker):
                is_taker = event.taker == ASKED
                lots = event.taker_side * event.size_lots * (1 if is_taker else -1)
                order_id = event.taker_order if is_taker else event.maker_order
                reduces = self._reduces[order_id]
                yield {
                    "event": "forced_fill" if order_id in self._forced else "fill",
                    **self._change(event.instrument, lots, event.price_ticks, reduces=reduces),
                    "fee": book.money(event.taker_fee_atoms if is_taker else event.maker_fee_atoms),
                }
            case TakenOver() if event.account == ASKED:
                change = self._change(event.instrument, -event.lots, event.price_ticks)
                yield {"event": "taken_over", **change, "by": _name(event.taker)}
            case Deleveraged() if ASKED in (event.account, event.winner):
                lots = event.lots if event.account == ASKED else -event.lots
                yield {
                    "event": "deleveraged",
                    **self._change(event.instrument, lots, event.price_ticks),
                    "as": "bankrupt" if event.account == ASKED else "winner",
                    "transfer": book.money(event.transfer_atoms),
                }
            case Posted():
                yield from self._posted(event)
            case DeficitOpened() if event.account == ASKED:
                self._deficits.add(event.deficit_id)
                yield {"event": "deficit", "amount": book.money(event.atoms)}
            case StagePaid() if event.deficit_id in self._deficits:
                amount = book.money(event.atoms)
                yield {"event": "paid", "stage": event.stage, "by": _name(event.payer), "amount": amount}
            case ReceivableBooked() if event.account == ASKED:
                yield {"event": "owed_by_the_account", "amount": book.money(event.atoms)}
            case DeficitClosed() if event.deficit_id in self._deficits and event.residual_atoms:
                yield {"event": "residual", "amount": book.money(event.residual_atoms)}

    def _change(
        self, instrument: int, lots: int, price_ticks: int, *, reduces: bool = True
    ) -> dict[str, str]:
        """Signed lots that came to the account, their price, and what it holds afterwards.

        reduces  in hedge mode they close the leg of the other sign: all but orders of the account that open
        """
        slot = self._leg(ASKED, instrument, lots, reduces=reduces).number
        self._lots[slot] += lots
        side = {"position_side": "long" if (lots < 0) == reduces else "short"} if self._is_hedged else {}
        return {
            "instrument": self._book.specs[instrument].symbol,
            **side,
            "size": self._book.size(instrument, lots),
            "price": self._book.price(instrument, price_ticks),
            "left": self._book.size(instrument, self._lots[slot]),
        }

    def _posted(self, event: Posted) -> Iterator[dict[str, str]]:
        """What reached the account in the settlement asset; moves between its pockets sum to nothing."""
        settle, assets = self._book.settle, len(self._book.assets)
        atoms = sum(
            atoms
            for account, pocket, atoms in event.legs
            if account == ASKED and (pocket == settle or pocket >= assets)
        )
        if atoms:
            yield {"event": "money", "by": event.reason, "amount": self._book.money(atoms)}


def _name(account: int) -> str:
    return HOUSE_ACCOUNT_NAMES[account] if account < FIRST_ACCOUNT else _PAYERS[account]


def _price_line(what: str, found: Mapping[str, Any], rule: str, source: str) -> Line:
    value = "none" if found["price"] is None else f"{found['price']}, first tick {found['tick']}"
    return Line(what, value, rule if found["price"] is not None else "no price does it", source)


def from_zero(field: str, value: int, most: int) -> int:
    """A value in billionths, when it is 0..most."""
    if not 0 <= value <= most:
        shown, largest = (decimal_text(Fraction(number, PPB)) for number in (value, most))
        raise UnanswerableError("out_of_bounds", field, shown, f"is 0..{largest}")
    return value
