"""Assets and instruments as people write them, in decimals, and the integers that the venue works with."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.decimals import to_units
from zerodebt.exchange.instruments import Instrument, Kind, Tier, budget_error
from zerodebt.exchange.rules import A_DAY, Day, RulesError, is_day

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

_CONTRACT_MAX = Decimal(10) ** 18

MARGIN_KEYS = (
    "tiers",
    "tier_unit",
    "tier_form",
    "margin_floor",
    "initial_per_lot",
    "slope",
    "slope_per",
    "maintenance_of_initial",
    "open_interest_low",
    "open_interest_high",
    "maintenance_basis",
)
"""What a scenario's instrument takes from the rulebook's instrument of its symbol or underlying."""


class AssetSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What can be held; its smallest unit is 10**-decimals."""

    symbol: Name
    decimals: Annotated[int, Meta(ge=0, le=18)]


class TierSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """From `above` on, in the settlement asset or in contracts as `tier_unit` says.

    leverage_max  largest leverage that may be chosen; 0 where nobody chooses
    maintenance   rate, as a fraction; None: half of the initial rate
    initial       least initial rate, as a fraction; None: 1/leverage_max
    """

    above: Decimal
    leverage_max: Annotated[int, Meta(ge=0, le=1000)] = 0
    maintenance: Decimal | None = None
    initial: Decimal | None = None


class InstrumentSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A market in decimals: prices and `tick` in the quote asset, sizes and `lot` in contracts.

    contract_size       what one contract is of: underlying (linear) or quote asset (inverse)
    margin_floor, initial_per_lot  least maintenance and initial margin of one lot, in the settlement asset
    slope, slope_per    both rates grow by `slope` for every `slope_per` contracts (inverse: settlement asset)
    underlying          a scenario's instrument of this symbol takes its margin from here
    open_interest       a size; `open_interest_share` is this market's share of `open_interest_value`
    valid_from, source  of the margin table
    """

    symbol: Name
    kind: Kind
    tick: Decimal
    lot: Decimal
    price_min: Decimal
    price_max: Decimal
    size_max: Decimal
    open_interest_max: Decimal
    contract: Literal["linear", "inverse"] = "linear"
    contract_size: Decimal = Decimal(1)
    tiers: tuple[TierSpec, ...] = ()
    tier_unit: Literal["value", "lots"] = "value"
    tier_form: Literal["marginal", "whole"] = "marginal"
    significant_figures: Annotated[int, Meta(ge=0, le=18)] = 0
    margin_floor: Decimal = Decimal(0)
    initial_per_lot: Decimal = Decimal(0)
    slope: Decimal = Decimal(0)
    slope_per: Decimal = Decimal(1)
    maintenance_of_initial: Decimal | None = None
    open_interest_low: Decimal = Decimal(0)
    open_interest_high: Decimal = Decimal(0)
    maintenance_basis: Literal["mark", "entry"] = "mark"
    settle: str | None = None
    base: str | None = None
    underlying: str | None = None
    open_interest: Decimal | None = None
    open_interest_share: Decimal | None = None
    valid_from: Day = ""
    source: str = ""


def build_assets(specs: Iterable[AssetSpec]) -> tuple[Asset, ...]:
    return tuple(Asset(spec.symbol, spec.decimals) for spec in specs)


def build_instrument(spec: InstrumentSpec, assets: Sequence[AssetSpec], settle_asset: str) -> Instrument:
    """Ticks and lots of a market; RulesError names the field, what was found and what is allowed."""
    return _Builder(spec, assets, settle_asset).build()


class _Builder:
    def __init__(self, spec: InstrumentSpec, assets: Sequence[AssetSpec], settle_asset: str) -> None:
        self.spec = spec
        self._check_finite("", spec)
        for tier in spec.tiers:
            self._check_finite("tiers.", tier)
        self.symbols = [asset.symbol for asset in assets]
        self.settle = self._asset("settle", spec.settle or settle_asset)
        self.decimals = assets[self.settle].decimals
        self.base = self._asset("base", spec.base) if spec.base is not None else -1
        self.base_decimals = assets[self.base].decimals if self.base >= 0 else 0
        self.tick = self._power_of_ten("tick")
        self.lot = self._power_of_ten("lot")

    def build(self) -> Instrument:
        spec = self.spec
        if not 0 < spec.contract_size <= _CONTRACT_MAX:
            self._fail("contract_size", spec.contract_size, f"are numbers above 0 up to {_CONTRACT_MAX}")
        if (spec.kind == "spot") != (spec.base is not None):
            self._fail("base", spec.base, "is an asset for spot and only there")
        if spec.valid_from and not is_day(spec.valid_from):
            self._fail("valid_from", repr(spec.valid_from), A_DAY)
        tier_decimals = self.lot if spec.tier_unit == "lots" else self.decimals
        slope_decimals = self.lot if spec.contract == "linear" else self.decimals
        instrument = Instrument(
            symbol=spec.symbol,
            kind=spec.kind,
            settle_asset=self.settle,
            tick_decimals=self.tick,
            lot_decimals=self.lot,
            tick_value_atoms=self._tick_value_atoms(),
            price_min_ticks=self._units("price_min", spec.price_min, self.tick),
            price_max_ticks=self._units("price_max", spec.price_max, self.tick),
            size_max_lots=self._units("size_max", spec.size_max, self.lot, least=1),
            open_interest_max_lots=self._units(
                "open_interest_max", spec.open_interest_max, self.lot, least=1
            ),
            tiers=tuple(self._tier(tier, tier_decimals) for tier in spec.tiers),
            significant_figures=spec.significant_figures,
            margin_floor_atoms_per_lot=self._units("margin_floor", spec.margin_floor, self.decimals, least=0),
            base_asset=self.base,
            lot_atoms=10 ** (self.base_decimals - self.lot) if self.base >= 0 else 0,
            contract=spec.contract,
            tier_unit=spec.tier_unit,
            tier_form=spec.tier_form,
            initial_atoms_per_lot=self._units(
                "initial_per_lot", spec.initial_per_lot, self.decimals, least=0
            ),
            slope_ppb=self._units("slope", spec.slope, 9, least=0),
            slope_size=self._units("slope_per", spec.slope_per, slope_decimals, least=1),
            maintenance_of_initial_ppb=None
            if spec.maintenance_of_initial is None
            else self._units("maintenance_of_initial", spec.maintenance_of_initial, 9, least=0),
            open_interest_low_atoms=self._units(
                "open_interest_low", spec.open_interest_low, self.decimals, least=0
            ),
            open_interest_high_atoms=self._units(
                "open_interest_high", spec.open_interest_high, self.decimals, least=0
            ),
            maintenance_basis=spec.maintenance_basis,
        )
        error = budget_error(instrument)
        if error:
            raise RulesError(error)
        if spec.open_interest is not None:
            self._units("open_interest", spec.open_interest, self.lot, least=1)
        if spec.open_interest_share is not None and not 0 < spec.open_interest_share <= 1:
            self._fail("open_interest_share", spec.open_interest_share, "are numbers above 0 up to 1")
        return instrument

    def _check_finite(self, prefix: str, holder: Struct) -> None:
        for key in holder.__struct_fields__:
            value = getattr(holder, key)
            if isinstance(value, Decimal) and not value.is_finite():
                self._fail(f"{prefix}{key}", value, "are finite numbers")

    def _tick_value_atoms(self) -> int:
        """What one lot is worth at a price of one tick: a product, or for inverse contracts a quotient."""
        spec = self.spec
        per_lot = spec.contract_size * spec.lot
        value = per_lot * spec.tick if spec.contract == "linear" else per_lot / spec.tick
        try:
            atoms = to_units(value, self.decimals)
        except ValueError:
            atoms = 0
        if atoms < 1:
            step = f"{Decimal(1).scaleb(-self.decimals):f} {self.symbols[self.settle]}"
            raise RulesError(
                f"instruments.{spec.symbol}.tick: at a price of one tick a lot is worth {value}, "
                f"allowed are multiples of {step}"
            )
        return atoms

    def _tier(self, tier: TierSpec, decimals: int) -> Tier:
        if tier.maintenance is not None and not 0 < tier.maintenance <= 1:
            self._fail("tiers.maintenance", tier.maintenance, "are rates above 0 up to 1")
        if tier.initial is not None and not 0 < tier.initial <= 1:
            self._fail("tiers.initial", tier.initial, "are rates above 0 up to 1")
        if not tier.leverage_max and tier.initial is None:
            self._fail("tiers.leverage_max", 0, "is 1..1000, or 0 beside `initial`")
        return Tier(
            self._units("tiers.above", tier.above, decimals, least=0),
            tier.leverage_max,
            self._units("tiers.maintenance", tier.maintenance or Decimal(0), 9),
            self._units("tiers.initial", tier.initial or Decimal(0), 9),
        )

    def _asset(self, key: str, symbol: str) -> int:
        if symbol not in self.symbols:
            self._fail(key, repr(symbol), f"are {', '.join(self.symbols)}")
        return self.symbols.index(symbol)

    def _power_of_ten(self, key: str) -> int:
        """Decimals of a grid step: 0.01 has 2."""
        value: Decimal = getattr(self.spec, key)
        decimals = -int(value.adjusted())
        if value <= 0:
            self._fail(key, value, "are numbers above 0")
        if not 0 <= decimals <= 18 or value != Decimal(1).scaleb(-decimals):
            self._fail(key, value, "are 1, 0.1, 0.01 and so on")
        return decimals

    def _units(self, key: str, value: Decimal, decimals: int, least: int | None = None) -> int:
        try:
            units = to_units(value, decimals)
        except ValueError as error:
            raise RulesError(f"instruments.{self.spec.symbol}.{key}: {error}") from None
        if least is not None and units < least:
            self._fail(key, value, "are numbers above 0" if least else "are numbers from 0")
        return units

    def _fail(self, key: str, found: Any, allowed: str) -> None:
        raise RulesError(f"instruments.{self.spec.symbol}.{key}: found {found}, allowed {allowed}")
