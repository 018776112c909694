"""Questions about one account as a bot would write them, in decimals, and their answers line by line.

A case names a venue, a day, balances, positions and prices, and asks. It is a plain table (JSON fits), so
that a bot in any language can use it. What cannot be answered gets an error that names the field; nothing is
guessed.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import BUY, SELL, Side
from zerodebt.exchange.decimals import from_units, to_units
from zerodebt.exchange.events import (
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    ReceivableBooked,
    StageArmed,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.instruments import Instrument, initial_rate, maintenance_rate, tier_of, value_atoms
from zerodebt.exchange.oracle import ASKED, Outcome, PathStep, Position, PricePoint, Situation, Standing
from zerodebt.exchange.rules import RulesError, VenueRules, profile_table, split_profile, venue_rules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument
from zerodebt.exchange.state import Compartment
from zerodebt.exchange.units import PPB, SECOND_NS

PLACES = 18
"""An exact answer that does not end is rounded to this many decimals, half to even."""


class PositionCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`size` above 0 in contracts; no `isolated_margin`: cross; `leverage` 0: the first tier's largest."""

    instrument: str
    side: Literal["long", "short"]
    size: Decimal
    entry: Decimal
    leverage: Annotated[int, Meta(ge=0)] = 0
    isolated_margin: Decimal | None = None


class PriceCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`index` None: as the mark. `index_age_s` is refused beyond what the rulebook takes for fresh."""

    mark: Decimal
    index: Decimal | None = None
    index_age_s: Decimal = Decimal(0)


class MarginQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="margin"):
    """Equity and requirements of the cross pool, or of the compartment of an instrument's position."""

    instrument: str | None = None


class LiquidationPriceQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="liquidation_price"
):
    """Where the position's compartment falls below maintenance, other prices standing still."""

    instrument: str


class BankruptcyPriceQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="bankruptcy_price"
):
    """Where closing the position leaves its compartment with nothing."""

    instrument: str


class WithdrawableQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="withdrawable"
):
    """What of the settlement asset may leave."""


class LargestOrderQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="largest_order"
):
    """The largest order that fits the initial requirement, all of it filled at `price`."""

    instrument: str
    side: Literal["buy", "sell"]
    price: Decimal


class AdlQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="adl_score"):
    """The score that the venue ranks the position by, highest first, and its place among other scores."""

    instrument: str
    others: tuple[Decimal, ...] = ()


class PathPoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Marks of an instant; instruments that are not named stay. `after_s` counts from the point before."""

    prices: dict[str, Decimal]
    after_s: Decimal = Decimal(1)


class WhatIfQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="what_if"):
    """What the venue does to the account along a path, stage by stage, and what is left.

    depth     contracts that the street bids and offers at each point, by instrument; none: an empty book
    slippage  how far from the mark it does, as a fraction
    fund      what the insurance fund and the house hold each, in the settlement asset
    backstop  is there a vault with money enough, where the rulebook knows one?
    """

    path: tuple[PathPoint, ...]
    depth: dict[str, Decimal] = {}
    slippage: Decimal = Decimal(0)
    fund: Decimal = Decimal(0)
    backstop: bool = True


Question = (
    MarginQuestion
    | LiquidationPriceQuestion
    | BankruptcyPriceQuestion
    | WithdrawableQuestion
    | LargestOrderQuestion
    | AdlQuestion
    | WhatIfQuestion
)


class Case(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One account under one rulebook.

    venue        name of a rulebook (`zerodebt list` shows them)
    as_of        the day whose rules hold; None: the newest
    rules        fields of the rulebook to override
    instruments  instruments to add, or fields of the rulebook's own to override
    """

    venue: str
    ask: tuple[Question, ...]
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    rules: dict[str, Any] = {}
    assets: tuple[AssetSpec, ...] = ()
    instruments: tuple[dict[str, Any], ...] = ()
    balances: dict[str, Decimal] = {}
    positions: tuple[PositionCase, ...] = ()
    prices: dict[str, PriceCase] = {}


class UnanswerableError(ValueError):
    """A case that cannot be answered. `code` is for programs, the message for people."""

    def __init__(self, code: str, field: str, found: object, allowed: str) -> None:
        super().__init__(f"{field}: found {found}, allowed {allowed}")
        self.code, self.field, self.found, self.allowed = code, field, str(found), allowed

    def table(self) -> dict[str, str]:
        return {"code": self.code, "field": self.field, "found": self.found, "allowed": self.allowed}


class Line(Struct, frozen=True):
    """One line of an explanation: a figure, and the rule that made it with its source."""

    what: str
    value: str
    rule: str = ""
    source: str = ""


def schema() -> dict[str, Any]:
    """JSON Schema of a case."""
    return msgspec.json.schema(Case)


def answer(table: Mapping[str, Any] | Case) -> dict[str, Any]:
    """Answer every question of a case; money, prices and sizes are decimal strings in the venue's units.

    Raises UnanswerableError where the case itself is wrong; a question that cannot be answered has an `error`
    in its own answer instead.
    """
    return Oracle.read(table).answers()


class Oracle:
    """A case made ready: its rulebook, its instruments and the account's situation."""

    def __init__(self, case: Case) -> None:
        self.case = case
        try:
            rules, extra = split_profile(profile_table(case.venue, case.as_of))
        except RulesError as error:
            code = "no_rule_then" if "nothing is known" in str(error) else "unknown_venue"
            raise UnanswerableError(code, "venue", case.venue, str(error)) from None
        self.specs = self._specs(extra)
        try:
            self.rules: VenueRules = venue_rules(_merged(rules, case.rules))
            asset_specs = case.assets or msgspec.convert(extra.get("assets", ()), tuple[AssetSpec, ...])
            self.assets: tuple[Asset, ...] = build_assets(asset_specs)
            self.instruments: tuple[Instrument, ...] = tuple(
                build_instrument(spec, asset_specs, self.rules.settle_asset) for spec in self.specs
            )
        except RulesError as error:
            raise UnanswerableError("wrong_rule", "rules", "a field out of bounds", str(error)) from None
        self._numbers = {spec.symbol: n for n, spec in enumerate(self.specs)}
        self._asset_numbers = {asset.symbol: n for n, asset in enumerate(self.assets)}
        self.settle = self._asset_numbers[self.rules.settle_asset]
        self.situation = self._situation()

    @classmethod
    def read(cls, table: Mapping[str, Any] | Case) -> "Oracle":
        """From a table as JSON or TOML have it; UnanswerableError names the place of what is wrong."""
        if isinstance(table, Case):
            return cls(table)
        try:
            case = msgspec.convert(table, Case, strict=False)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at ")
            raise UnanswerableError(
                "wrong_case", place.strip("`").removeprefix("$.") or "$", what, "is what --schema says"
            ) from None
        return cls(case)

    def _specs(self, extra: Mapping[str, Any]) -> tuple[InstrumentSpec, ...]:
        tables = {entry["symbol"]: dict(entry) for entry in extra.get("instruments", ())}
        for n, entry in enumerate(self.case.instruments):
            if "symbol" not in entry:
                raise UnanswerableError("wrong_case", f"instruments.{n}.symbol", "nothing", "is a symbol")
            tables[entry["symbol"]] = {**tables.get(entry["symbol"], {}), **entry}
        asked = {position.instrument for position in self.case.positions} | set(self.case.prices)
        asked |= {getattr(question, "instrument", None) or "" for question in self.case.ask}
        try:
            return tuple(
                msgspec.convert(entry, InstrumentSpec, strict=False)
                for symbol, entry in tables.items()
                if symbol in asked
            )
        except msgspec.ValidationError as error:
            raise UnanswerableError(
                "wrong_case", "instruments", str(error), "is what --schema says"
            ) from None

    # Reading

    def _situation(self) -> Situation:
        case = self.case
        for symbol in case.balances:
            if symbol not in self._asset_numbers:
                allowed = "are " + ", ".join(self._asset_numbers)
                raise UnanswerableError("unknown_asset", f"balances.{symbol}", symbol, allowed)
        balances = [
            self._atoms(f"balances.{asset.symbol}", case.balances.get(asset.symbol, Decimal(0)), n)
            for n, asset in enumerate(self.assets)
        ]
        positions = [self._position(n, position) for n, position in enumerate(case.positions)]
        marks: list[int | None] = [None] * len(self.specs)
        indexes: list[int | None] = [None] * len(self.specs)
        for symbol, price in case.prices.items():
            number = self._number(f"prices.{symbol}", symbol)
            marks[number] = self._ticks(f"prices.{symbol}.mark", number, price.mark)
            index = price.mark if price.index is None else price.index
            indexes[number] = self._ticks(f"prices.{symbol}.index", number, index)
            oldest = Decimal(self.rules.margin.index_age_max_ns) / SECOND_NS
            if price.index_age_s > oldest:
                raise UnanswerableError(
                    "stale_index", f"prices.{symbol}.index_age_s", price.index_age_s, f"is at most {oldest} s"
                )
        for position in positions:
            if marks[position.instrument] is None:
                symbol = self.specs[position.instrument].symbol
                raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
        return Situation(self.rules, self.assets, self.instruments, balances, positions, marks, indexes)

    def _position(self, n: int, position: PositionCase) -> Position:
        at = f"positions.{n}"
        number = self._number(f"{at}.instrument", position.instrument)
        spec = self.instruments[number]
        lots = self._lots(f"{at}.size", number, position.size)
        if lots <= 0:
            raise UnanswerableError("zero_position", f"{at}.size", position.size, "are sizes above 0")
        side = 1 if position.side == "long" else -1
        margin = position.isolated_margin
        entry = self._ticks(f"{at}.entry", number, position.entry)
        self._check_leverage(f"{at}.leverage", spec, position.leverage, lots, entry)
        return Position(
            instrument=number,
            lots=side * lots,
            entry_ticks=entry,
            leverage=position.leverage,
            isolated_atoms=None
            if margin is None
            else self._atoms(f"{at}.isolated_margin", margin, self.settle),
        )

    def _check_leverage(self, field: str, spec: Instrument, leverage: int, lots: int, entry: int) -> None:
        """A chosen leverage may not be above that of the tier that the position is in at its entry."""
        value = abs(value_atoms(spec, entry, lots))
        size = lots if spec.tier_unit == "lots" else value
        tier = [tier for tier in spec.tiers if not tier.lower or tier.lower < size][-1]
        most = tier.leverage_max if spec.tier_form == "whole" else spec.tiers[0].leverage_max
        if leverage > most:
            raise UnanswerableError("leverage_above_tier", field, leverage, f"is at most {most}")

    def _number(self, field: str, symbol: str) -> int:
        if symbol not in self._numbers:
            allowed = "are the rulebook's instruments, or one given under `instruments`"
            raise UnanswerableError("unknown_instrument", field, symbol, allowed)
        return self._numbers[symbol]

    def _atoms(self, field: str, value: Decimal, asset: int) -> int:
        return self._units(field, value, self.assets[asset].decimals)

    def _ticks(self, field: str, instrument: int, value: Decimal) -> int:
        spec = self.instruments[instrument]
        ticks = self._units(field, value, spec.tick_decimals)
        if not spec.price_min_ticks <= ticks <= spec.price_max_ticks:
            low, high = (
                from_units(t, spec.tick_decimals) for t in (spec.price_min_ticks, spec.price_max_ticks)
            )
            raise UnanswerableError("price_out_of_bounds", field, value, f"is {low}..{high}")
        return ticks

    def _lots(self, field: str, instrument: int, value: Decimal) -> int:
        return self._units(field, value, self.instruments[instrument].lot_decimals)

    def _units(self, field: str, value: Decimal, decimals: int) -> int:
        if not value.is_finite():
            raise UnanswerableError("not_a_number", field, value, "are finite decimal numbers")
        try:
            return to_units(value, decimals)
        except ValueError:
            step = from_units(1, decimals)
            raise UnanswerableError("off_the_grid", field, value, f"are multiples of {step}") from None

    # Answering

    def answers(self) -> dict[str, Any]:
        """All answers, in the order of the questions."""
        return {
            "venue": self.rules.name,
            "as_of": self.case.as_of,
            "rules_valid_from": self.rules.valid_from,
            "settle_asset": self.rules.settle_asset,
            "answers": [self._answered(n, question) for n, question in enumerate(self.case.ask)],
        }

    def _answered(self, n: int, question: Question) -> dict[str, Any]:
        asked = msgspec.to_builtins(question)
        try:
            found, lines = self.reply(question, f"ask.{n}")
        except UnanswerableError as error:
            return {"question": asked["question"], "error": error.table(), "message": str(error)}
        explained = [msgspec.to_builtins(line) for line in lines]
        return {"question": asked["question"], "answer": found, "explain": explained}

    def reply(self, question: Question, field: str = "ask") -> tuple[dict[str, Any], list[Line]]:
        """The answer to one question and its explanation."""
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

    def _held(self, field: str, symbol: str) -> int:
        number = self._number(f"{field}.instrument", symbol)
        if not self.situation.lots(number):
            raise UnanswerableError("zero_position", f"{field}.instrument", symbol, "is one with a position")
        return number

    def _margin(self, question: MarginQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        compartment = (ASKED, self.settle)
        if question.instrument is not None:
            number = self._held(field, question.instrument)
            compartment = self.situation.compartment_of(number)
        standing = self.situation.standing(compartment)
        return self._standing(standing), list(self._margin_lines(compartment, standing))

    def _standing(self, standing: Standing) -> dict[str, Any]:
        ratio = None
        if standing.maintenance_atoms:
            ratio = _decimal(Fraction(standing.equity_atoms, standing.maintenance_atoms))
        return {
            "equity": self._money(standing.equity_atoms),
            "maintenance": self._money(standing.maintenance_atoms),
            "initial": self._money(standing.initial_atoms),
            "equity_over_maintenance": ratio,
            "is_liquidatable": standing.is_liquidatable,
            "is_bankrupt": standing.is_bankrupt,
        }

    def _margin_lines(self, compartment: Compartment, standing: Standing) -> Iterator[Line]:
        state = self.situation.state
        account, pocket = compartment
        where = "wallet" if pocket == self.settle else "isolated margin"
        yield Line(where, self._money(state.accounts.balances.cells[pocket][account]))
        for market in state.positions_of(compartment):
            n = market.number
            lots = state.accounts.lots.cells[n][account]
            value = market.value_atoms(lots)
            profit = value - state.accounts.cost.cells[n][account]
            symbol = self.specs[n].symbol
            yield Line(f"{symbol} value at the mark", self._money(abs(value)))
            yield Line(f"{symbol} unrealised profit", self._money(profit), "value less what the lots cost")
            yield self._requirement_line(n, abs(value), abs(lots))
        yield Line("equity", self._money(standing.equity_atoms), "balance plus unrealised profit")
        yield Line("maintenance", self._money(standing.maintenance_atoms), "each position's, rounded up")

    def _requirement_line(self, instrument: int, value: int, lots: int) -> Line:
        table = self.situation.state.markets[instrument].margin
        spec, tiers = self.specs[instrument], self.instruments[instrument].tiers
        basis = "value"
        if table.is_at_entry:
            value = abs(self.situation.state.accounts.cost.cells[instrument][ASKED])
            basis = "entry value"
        n = tier_of(table, value, lots)
        rate = _decimal(maintenance_rate(tiers[n]))
        least = _decimal(initial_rate(tiers[n]))
        deduction = _decimal(Fraction(table.deductions[n], table.denominator * 10**self._decimals))
        return Line(
            f"{spec.symbol} tier from {spec.tiers[n].above} {spec.tier_unit}",
            f"{rate} of the {basis} less {deduction}",
            f"maintenance rate {rate}, least initial rate {least}, {spec.tier_form} tiers",
            f"{spec.source or self.rules.source} ({spec.valid_from or self.rules.valid_from})",
        )

    def _liquidation_price(
        self, question: LiquidationPriceQuestion, field: str
    ) -> tuple[dict[str, Any], list[Line]]:
        number = self._held(field, question.instrument)
        point = self.situation.liquidation_price(number)
        lines = list(self._margin_lines(self.situation.compartment_of(number), self._standing_of(number)))
        if point is None:
            return {"price": None, **_NOT_INCLUDED}, [
                *lines,
                Line("liquidation price", "none", "no price does it"),
            ]
        spec = self.instruments[number]
        lots = self.situation.lots(number)
        value = abs(value_atoms(spec, point.ticks, lots)) if point.ticks > 0 else 0
        lines.append(self._requirement_line(number, value, abs(lots)))
        lines.append(
            Line(
                "liquidation price",
                self._point(number, point)["price"],
                "the price at which equity equals maintenance in that tier",
                self._source("liquidation"),
            )
        )
        return {**self._point(number, point), **_NOT_INCLUDED}, lines

    def _bankruptcy_price(
        self, question: BankruptcyPriceQuestion, field: str
    ) -> tuple[dict[str, Any], list[Line]]:
        number = self._held(field, question.instrument)
        point = self.situation.bankruptcy_price(number)
        lines = list(self._margin_lines(self.situation.compartment_of(number), self._standing_of(number)))
        found = {"price": None} if point is None else self._point(number, point)
        lines.append(Line("bankruptcy price", str(found["price"]), "the price at which equity is zero"))
        return {**found, **_NOT_INCLUDED}, lines

    def _standing_of(self, number: int) -> Standing:
        return self.situation.standing(self.situation.compartment_of(number))

    def _point(self, number: int, point: PricePoint) -> dict[str, Any]:
        decimals = self.instruments[number].tick_decimals
        return {
            "price": _decimal(point.exact_ticks / 10**decimals),
            "tick": from_units(point.ticks, decimals),
            "reached_by": "falling" if point.falls else "rising",
        }

    def _withdrawable(self) -> tuple[dict[str, Any], list[Line]]:
        atoms = self.situation.withdrawable_atoms()
        rule = "settled cash beyond the initial requirement; unrealised profit is never paid out"
        return {"amount": self._money(atoms)}, [
            Line("withdrawable", self._money(atoms), rule, self._source("margin"))
        ]

    def _largest_order(self, question: LargestOrderQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        number = self._number(f"{field}.instrument", question.instrument)
        if self.situation.state.markets[number].prices.mark_ticks is None:
            raise UnanswerableError("missing_price", f"prices.{question.instrument}", "nothing", "is a mark")
        ticks = self._ticks(f"{field}.price", number, question.price)
        side: Side = BUY if question.side == "buy" else SELL
        lots = self.situation.largest_order(number, side, ticks)
        size = from_units(lots, self.instruments[number].lot_decimals)
        rule = "initial requirement after the fill at the mark, and the taker fee, out of equity"
        return {"size": size, "closing_fees": False}, [
            Line("largest order", size, rule, self._source("margin"))
        ]

    def _adl(self, question: AdlQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        number = self._held(field, question.instrument)
        score = Fraction(self.situation.adl_score_ppb(number), PPB)
        above = sum(1 for other in question.others if Fraction(other) > score)
        rank = above + 1 if score else None
        rule = f"score {self.rules.adl.score}: without profit nobody is ranked"
        lines = [Line("score", _decimal(score), rule, self._source("adl"))]
        return {"score": _decimal(score), "rank": rank, "of": len(question.others) + 1}, lines

    def _what_if(self, question: WhatIfQuestion, field: str) -> tuple[dict[str, Any], list[Line]]:
        steps = list(self._steps(question, field))
        fund = self._atoms(f"{field}.fund", question.fund, self.settle)
        outcomes = self.situation.what_if(steps, fund_atoms=fund, has_backstop=question.backstop)
        points = [self._outcome(step, outcome) for step, outcome in zip(steps, outcomes, strict=True)]
        lines = [
            Line(f"{n}: {event['event']}", ", ".join(f"{k} {v}" for k, v in event.items() if k != "event"))
            for n, point in enumerate(points)
            for event in point["events"]
        ]
        return {"points": points, "left": points[-1] if points else None, **_NOT_INCLUDED}, lines

    def _steps(self, question: WhatIfQuestion, field: str) -> Iterator[PathStep]:
        marks = [market.prices.mark_ticks for market in self.situation.state.markets]
        depth = [0] * len(self.specs)
        for symbol, size in question.depth.items():
            number = self._number(f"{field}.depth.{symbol}", symbol)
            depth[number] = self._lots(f"{field}.depth.{symbol}", number, size)
        for n, point in enumerate(question.path):
            for symbol, price in point.prices.items():
                at = f"{field}.path.{n}.prices.{symbol}"
                number = self._number(at, symbol)
                marks[number] = self._ticks(at, number, price)
            for number, mark in enumerate(marks):
                if mark is None:
                    symbol = self.specs[number].symbol
                    raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
            yield PathStep(
                tuple(mark for mark in marks if mark is not None),
                self._units(f"{field}.path.{n}.after_s", point.after_s, 9),
                tuple(depth),
                self._units(f"{field}.slippage", question.slippage, 9),
            )

    def _outcome(self, step: PathStep, outcome: Outcome) -> dict[str, Any]:
        return {
            "prices": {
                spec.symbol: from_units(mark, self.instruments[n].tick_decimals)
                for n, (spec, mark) in enumerate(zip(self.specs, step.mark_ticks, strict=True))
            },
            "events": [told for event in outcome.events for told in self._told(event)],
            "positions": {
                spec.symbol: from_units(lots, self.instruments[n].lot_decimals)
                for n, (spec, lots) in enumerate(zip(self.specs, outcome.lots, strict=True))
            },
            "balances": {
                asset.symbol: from_units(outcome.balances[n], asset.decimals)
                for n, asset in enumerate(self.assets)
            },
            "isolated_margins": {
                spec.symbol: self._money(outcome.balances[len(self.assets) + n])
                for n, spec in enumerate(self.specs)
            },
            "cross": self._standing(outcome.cross),
        }

    def _told(self, event: Event) -> Iterator[dict[str, str]]:
        """The events that happened to the account, in its words."""
        match event:
            case LiquidationStarted() | LiquidationEnded() if event.account == ASKED:
                name = "liquidation_started" if isinstance(event, LiquidationStarted) else "liquidation_ended"
                equity, needed = self._money(event.equity_atoms), self._money(event.maintenance_atoms)
                yield {"event": name, "equity": equity, "maintenance": needed}
            case StageArmed() if event.account == ASKED:
                yield {"event": "stage", "stage": event.stage, "because": event.because}
            case Filled() if event.taker == ASKED:
                yield {
                    "event": "forced_fill",
                    "size": self._size(event.instrument, event.size_lots),
                    "price": self._price(event.instrument, event.price_ticks),
                    "fee": self._money(event.taker_fee_atoms),
                }
            case TakenOver() if event.account == ASKED:
                yield {
                    "event": "taken_over",
                    "size": self._size(event.instrument, event.lots),
                    "price": self._price(event.instrument, event.price_ticks),
                }
            case Deleveraged() if ASKED in (event.account, event.winner):
                yield {
                    "event": "deleveraged",
                    "size": self._size(event.instrument, event.lots),
                    "price": self._price(event.instrument, event.price_ticks),
                    "transfer": self._money(event.transfer_atoms),
                }
            case DeficitOpened() if event.account == ASKED:
                yield {"event": "deficit", "amount": self._money(event.atoms)}
            case StagePaid():
                yield {"event": "paid", "stage": event.stage, "amount": self._money(event.atoms)}
            case ReceivableBooked() if event.account == ASKED:
                yield {"event": "owed_by_the_account", "amount": self._money(event.atoms)}
            case DeficitClosed() if event.residual_atoms:
                yield {"event": "residual", "amount": self._money(event.residual_atoms)}

    # Writing

    @property
    def _decimals(self) -> int:
        return self.assets[self.settle].decimals

    def _money(self, atoms: int) -> str:
        return from_units(atoms, self._decimals)

    def _price(self, instrument: int, ticks: int) -> str:
        return from_units(ticks, self.instruments[instrument].tick_decimals)

    def _size(self, instrument: int, lots: int) -> str:
        return from_units(abs(lots), self.instruments[instrument].lot_decimals)

    def _source(self, table: str) -> str:
        rule = getattr(self.rules, table)
        return f"{rule.source or self.rules.source} ({rule.valid_from or self.rules.valid_from})"


_NOT_INCLUDED = {"closing_fees_included": False, "funding_included": False, "other_prices_move": False}


def _decimal(value: Fraction) -> str:
    """Plain decimal text: exact where it ends within PLACES decimals, else rounded half to even there."""
    scaled = value * 10**PLACES
    text = from_units(round(scaled), PLACES)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
