"""A venue's rules, assets and instruments on a day, read and written in the decimals that its users see."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.cases import UnanswerableError, plain, wrong_case, wrong_rule
from zerodebt.exchange.decimals import from_units, to_units
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import (
    A_DAY,
    FeeRules,
    RulesError,
    VenueRules,
    is_day,
    profile_days,
    profile_names,
    profile_table,
    split_profile,
    venue_rules,
    with_amounts_scaled,
)
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument

PLACES = 18
"""An exact figure that does not end is written to this many decimals, half to even."""
ATOMS_MAX = 2**58
"""No single amount of a case is larger, so that sums of them stay within 64 bits."""


class Rulebook:
    """Numbers of instruments and assets stand in the order of `instruments` and `assets`.

    Everything that cannot be read raises UnanswerableError with the field that it was given for.
    """

    def __init__(
        self,
        venue: str,
        as_of: str | None = None,
        *,
        rules: Mapping[str, Any] = {},
        assets: Sequence[AssetSpec] = (),
        instruments: Sequence[Mapping[str, Any]] = (),
        symbols: Collection[str] | None = None,
        profile: Mapping[str, Any] | None = None,
    ) -> None:
        """The rulebook `venue` as it held on a day, some of its fields overridden.

        rules        fields to override
        assets       instead of the rulebook's, where there are any
        instruments  to add, or fields of the rulebook's own to override
        symbols      the instruments that matter; None: all
        profile      a rulebook that does not ship, as it held on the day; `venue` is then not looked at

        Where all of them settle in one asset, that is the settlement asset, if it is not overridden. The
        rulebook's amounts are then as many of that asset; amounts that override are taken as they are.
        """
        own_rules, extra = split_profile(dict(profile) if profile is not None else profile_on(venue, as_of))
        for key in ("assets", "instruments"):
            if key in rules:
                raise UnanswerableError("wrong_rule", f"rules.{key}", key, f"is `{key}` beside `rules`")
        if not isinstance(rules.get("settle_asset", ""), str):
            raise UnanswerableError("wrong_rule", "rules.settle_asset", rules["settle_asset"], "is a symbol")
        known = _specs(extra.get("instruments", ()), instruments)
        named = [spec for spec in known if symbols is None or spec.symbol in symbols]
        table = _settled(_merged(own_rules, plain(rules)), rules, named)
        own_assets = msgspec.convert(extra.get("assets", ()), tuple[AssetSpec, ...])
        asset_specs = tuple(assets) or own_assets
        try:
            own_rules = settled_in(own_rules, own_assets, table["settle_asset"], asset_specs)
            table = _settled(_merged(own_rules, plain(rules)), rules, named)
            self.rules: VenueRules = venue_rules(table)
            collateral = {rule.asset for rule in self.rules.collateral}
            self.specs = tuple(spec for spec in known if spec in named or spec.base in collateral)
            self.assets: tuple[Asset, ...] = build_assets(asset_specs)
            self._asset_numbers = {asset.symbol: n for n, asset in enumerate(self.assets)}
            if len(self._asset_numbers) < len(self.assets):
                raise UnanswerableError("wrong_case", "assets", "a symbol twice", "is one asset of each")
            if self.rules.settle_asset not in self._asset_numbers:
                held, needed = ", ".join(self._asset_numbers), self.rules.settle_asset
                raise UnanswerableError(
                    "unknown_asset", "assets", held or "nothing", f"are those with {needed}"
                )
            self.instruments: tuple[Instrument, ...] = tuple(
                build_instrument(spec, asset_specs, self.rules.settle_asset) for spec in self.specs
            )
            overridden = {entry["symbol"] for entry in instruments} - {spec.symbol for spec in self.specs}
            for spec in known:
                if spec.symbol in overridden:
                    build_instrument(spec, asset_specs, self.rules.settle_asset)
        except RulesError as error:
            raise wrong_rule(error, table) from None
        self._numbers = {spec.symbol: n for n, spec in enumerate(self.specs)}
        self._known = {entry["symbol"] for entry in extra.get("instruments", ())}
        for spec in self.specs:
            if spec.kind != "spot" and spec.settle not in (None, self.rules.settle_asset):
                allowed = f"is {self.rules.settle_asset}, as for the others of the case"
                raise UnanswerableError(
                    "other_settlement", f"instruments.{spec.symbol}", spec.settle, allowed
                )
        self.settle = self._asset_numbers[self.rules.settle_asset]

    # Reading

    def number(self, field: str, symbol: str) -> int:
        if symbol not in self._numbers and symbol in self._known:
            raise UnanswerableError("missing_price", f"prices.{symbol}", "nothing", "is a mark")
        if symbol not in self._numbers:
            allowed = "are the rulebook's instruments, or one given under `instruments`"
            raise UnanswerableError("unknown_instrument", field, symbol, allowed)
        return self._numbers[symbol]

    def asset(self, field: str, symbol: str) -> int:
        if symbol not in self._asset_numbers:
            raise UnanswerableError("unknown_asset", field, symbol, "are " + ", ".join(self._asset_numbers))
        return self._asset_numbers[symbol]

    def atoms(self, field: str, value: Decimal, asset: int) -> int:
        decimals = self.assets[asset].decimals
        atoms = units(field, value, decimals)
        if abs(atoms) > ATOMS_MAX:
            most = from_units(ATOMS_MAX, decimals)
            raise UnanswerableError("out_of_bounds", field, value, f"are amounts of at most {most}")
        return atoms

    def ticks(self, field: str, instrument: int, value: Decimal) -> int:
        spec = self.instruments[instrument]
        ticks = units(field, value, spec.tick_decimals)
        if not spec.price_min_ticks <= ticks <= spec.price_max_ticks:
            low, high = (self.price(instrument, end) for end in (spec.price_min_ticks, spec.price_max_ticks))
            raise UnanswerableError("out_of_bounds", field, value, f"is {low}..{high}")
        return ticks

    def lots(self, field: str, instrument: int, value: Decimal) -> int:
        """A size, not negative and not above the largest open interest."""
        spec = self.instruments[instrument]
        lots = units(field, value, spec.lot_decimals)
        if not 0 <= lots <= spec.open_interest_max_lots:
            most = self.size(instrument, spec.open_interest_max_lots)
            raise UnanswerableError("out_of_bounds", field, value, f"is 0..{most}")
        return lots

    # Writing

    def money(self, atoms: int) -> str:
        """Atoms of the settlement asset."""
        return from_units(atoms, self.assets[self.settle].decimals)

    def price(self, instrument: int, ticks: int) -> str:
        return from_units(ticks, self.instruments[instrument].tick_decimals)

    def size(self, instrument: int, lots: int) -> str:
        """With the sign of the lots."""
        return from_units(lots, self.instruments[instrument].lot_decimals)

    def source(self, table: str) -> str:
        """Who published a table of the rules, and since when it holds."""
        rule = getattr(self.rules, table)
        return f"{rule.source or self.rules.source} ({rule.valid_from or self.rules.valid_from})"

    @property
    def knows_fees(self) -> bool:
        """Has the rulebook (or the case) a table of fees? Without one they are 0."""
        return self.rules.fees != FeeRules()

    def margin_source(self, instrument: int) -> str:
        """The same of an instrument's margin table."""
        spec = self.specs[instrument]
        return f"{spec.source or self.rules.source} ({spec.valid_from or self.rules.valid_from})"


def units(field: str, value: Decimal, decimals: int) -> int:
    """A decimal in units of 10**-decimals, never rounded."""
    if not value.is_finite():
        raise UnanswerableError("not_a_number", field, value, "are finite decimal numbers")
    if not value:
        return 0
    if value.adjusted() > PLACES:
        raise UnanswerableError("out_of_bounds", field, value, f"are numbers below 1e{PLACES + 1}")
    try:
        return to_units(value, decimals)
    except ValueError:
        step = from_units(1, decimals)
        raise UnanswerableError("off_the_grid", field, value, f"are multiples of {step}") from None


def decimal_text(value: Fraction) -> str:
    """Plain decimal text: exact where it ends within PLACES decimals, else rounded half to even there."""
    text = from_units(round(value * 10**PLACES), PLACES)
    return text.rstrip("0").rstrip(".")


def profile_on(venue: str, as_of: str | None) -> dict[str, Any]:
    """A shipped rulebook as it held on a day (None: the newest); UnanswerableError where there is none."""
    if venue not in profile_names():
        raise UnanswerableError("unknown_venue", "venue", venue, "are " + ", ".join(profile_names()))
    if as_of is not None and not is_day(as_of):
        raise UnanswerableError("wrong_case", "as_of", as_of, A_DAY)
    try:
        return profile_table(venue, as_of)
    except RulesError:
        first = profile_days(venue)[0]
        raise UnanswerableError("no_rule_then", "as_of", as_of, f"are days from {first}") from None


def settled_in(
    rules: dict[str, Any], own: Sequence[AssetSpec], settle_asset: str, held: Sequence[AssetSpec]
) -> dict[str, Any]:
    """A rulebook's table with its amounts in atoms of the settlement asset that it gets, as many as before.

    own, held  assets of the rulebook and of who settles; where one of them does not know its asset, amounts
               stay as they are
    RulesError where an amount has no whole number of the new atoms.
    """
    before = {spec.symbol: spec.decimals for spec in own}.get(rules.get("settle_asset", ""))
    after = {spec.symbol: spec.decimals for spec in held}.get(settle_asset)
    if before is None or after is None or before == after:
        return rules
    return with_amounts_scaled(rules, after - before)


def _settled(
    table: dict[str, Any], given: Mapping[str, Any], specs: Sequence[InstrumentSpec]
) -> dict[str, Any]:
    """The rules, settled in what all contracts settle in."""
    assets = {spec.settle or table["settle_asset"] for spec in specs if spec.kind != "spot"}
    if "settle_asset" not in given and len(assets) == 1:
        return {**table, "settle_asset": assets.pop()}
    return table


def _specs(
    own: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> tuple[InstrumentSpec, ...]:
    """The rulebook's instruments and those of the case, each one of which must be whole."""
    tables = {entry["symbol"]: dict(entry) for entry in own}
    for n, entry in enumerate(given):
        symbol = entry.get("symbol")
        if not isinstance(symbol, str):
            raise UnanswerableError("wrong_case", f"instruments.{n}.symbol", symbol, "is a symbol")
        if any(earlier.get("symbol") == symbol for earlier in given[:n]):
            where = f"instruments.{n}.symbol"
            raise UnanswerableError("wrong_case", where, f"{symbol} twice", "is one table of each")
        tables[symbol] = {**tables.get(symbol, {}), **entry}
    specs = []
    for symbol, table in tables.items():
        try:
            specs.append(msgspec.convert(plain(table), InstrumentSpec, strict=False))
        except msgspec.ValidationError as error:
            raise wrong_case(f"instruments.{symbol}", error, table, InstrumentSpec) from None
    return tuple(specs)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
