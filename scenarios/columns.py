"""The columns of a run's tables and their units; docs/tables.md describes every one."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.events import Opened
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.rundir import EVENTS, read_batches, write_bytes

SCHEMA_VERSION = 1
TABLES = "tables"
PART_ROWS = 200_000

INT, TEXT, FLAG = pl.Int64(), pl.String(), pl.Boolean()
_TYPES: dict[str, pl.DataType] = {"text": TEXT, "flag": FLAG, "": INT}

# Names of columns, 64-bit integers unless `:text` or `:flag` follows.
_COLUMNS = {
    "trades": "seq time_ns trade_id instrument taker_side price_ticks size_lots taker maker taker_fee_atoms "
    "maker_fee_atoms forced:flag mark_ticks notional_atoms slippage_atoms taker_leg:text maker_leg:text",
    "liquidations": "seq time_ns account population:text compartment:text equity_atoms maintenance_atoms "
    "gross_notional_atoms net_notional_atoms book_notional_atoms takeover_notional_atoms "
    "adl_notional_atoms ended_seq ended_time_ns ended:text end_equity_atoms end_maintenance_atoms",
    "waterfall": "seq time_ns entry:text deficit_id stage:text account population:text compartment:text "
    "amount_atoms because:text",
    "adl": "seq time_ns deficit_id instrument account population:text account_is_vault:flag winner "
    "winner_population:text lots price_ticks mark_ticks notional_atoms transfer_atoms profit_atoms rank "
    "score_ppb full_closure:flag",
    "takeovers": "seq time_ns account population:text taker taker_population:text instrument lots "
    "price_ticks notional_atoms",
    "ledger": "seq time_ns reason:text instrument account population:text asset:text amount_atoms legs",
    "marks": "seq time_ns instrument index_ticks mark_ticks bid_ticks ask_ticks depth_bid_atoms "
    "depth_ask_atoms depth_bid_10bp_atoms open_interest_lots open_interest_atoms",
    "absorbers": "seq time_ns account population:text equity_atoms balance_atoms gross_notional_atoms",
    "funding": "seq time_ns instrument rate_ppt price_ticks",
}
STREAMED = tuple(_COLUMNS)
TABLE_NAMES = (*STREAMED, "instruments", "accounts", "populations")


def schema(name: str) -> dict[str, pl.DataType]:
    """Columns that are written row by row; those that follow from them are added when a part is written."""
    fields = (field.partition(":") for field in _COLUMNS[name].split())
    return {column: _TYPES[kind] for column, _, kind in fields}


def settle_asset(opened: Opened) -> Asset:
    return next(asset for asset in opened.assets if asset.symbol == opened.rules.settle_asset)


def money_unit(asset: Asset) -> str:
    """Ending of money columns: usd for dollars and their tokens, else the symbol in lower case."""
    return "usd" if asset.symbol.upper().startswith("USD") else asset.symbol.lower()


def opening(run: Path) -> Opened:
    """The run's first event: rulebook, assets and instruments."""
    first = next(iter(read_batches(run / EVENTS)), None)
    if first is None or not first.events or not isinstance(first.events[0], Opened):
        raise DataError(f"{run / EVENTS}: does not begin with an 'opened' event")
    return first.events[0]


def read_table(run: Path, name: str) -> pl.DataFrame:
    """A whole table of a run."""
    parts = sorted((run / TABLES / name).glob("part-*.parquet"))
    if not parts:
        raise DataError(f"{run / TABLES / name}: found no part-*.parquet, allowed is a run with its tables")
    return pl.read_parquet(parts)


class Units:
    """Turns integers into units: money by the asset's decimals, prices and sizes by the instrument's."""

    def __init__(self, opened: Opened) -> None:
        settle = settle_asset(opened)
        self.money = money_unit(settle)
        self.scale = 10.0**settle.decimals
        instruments = opened.instruments
        self._symbols = {n: i.symbol for n, i in enumerate(instruments)}
        self._ticks = {n: 10.0**i.tick_decimals for n, i in enumerate(instruments)}
        self._lots = {n: 10.0**i.lot_decimals for n, i in enumerate(instruments)}
        self._assets = {asset.symbol: 10.0**asset.decimals for asset in opened.assets}

    def derived(self, columns: Iterable[str]) -> list[pl.Expr]:
        """symbol, *_ticks as prices, *_lots as *_contracts, *_atoms in units of the settlement asset."""
        names = list(columns)
        added: list[pl.Expr] = []
        if "instrument" in names:
            if "symbol" not in names:
                added.append(_looked_up(self._symbols, TEXT).alias("symbol"))
            tick, lot = _looked_up(self._ticks, pl.Float64()), _looked_up(self._lots, pl.Float64())
            added += [
                (pl.col(n) / tick).alias(n.removesuffix("_ticks")) for n in names if n.endswith("_ticks")
            ]
            added += [
                (pl.col(n) / lot).alias(n.removesuffix("lots") + "contracts")
                for n in names
                if n == "lots" or n.endswith("_lots")
            ]
        if "asset" in names:
            scale = pl.col("asset").replace_strict(self._assets, return_dtype=pl.Float64)
            added.append((pl.col("amount_atoms") / scale).alias("amount"))
        else:
            added += self.in_money(names)
        return added

    def in_money(self, columns: Iterable[str]) -> list[pl.Expr]:
        """Every column of atoms once more in units of the settlement asset."""
        return [
            (pl.col(name) / self.scale).alias(name.removesuffix("atoms") + self.money)
            for name in columns
            if name.endswith("_atoms")
        ]


def _looked_up(values: dict[int, Any], dtype: pl.DataType) -> pl.Expr:
    return pl.col("instrument").replace_strict(values, default=None, return_dtype=dtype)


class Writer:
    """A table on its way to disk: rows by `add`, parts by `flush`."""

    def __init__(self, folder: Path, name: str, units: Units) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("part-*.parquet"):
            old.unlink()
        self.rows: list[Sequence[Any]] = []
        self.add = self.rows.append
        self.parts = 0
        self._units = units
        self._schema = schema(name) if name in _COLUMNS else {}

    def flush(self) -> None:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self._schema)
        pairs = zip(self._schema.items(), columns, strict=True)
        frame = pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in pairs])
        self.rows.clear()
        self.put(frame.with_columns(self._units.derived(self._schema)))

    def put(self, frame: pl.DataFrame) -> None:
        """Write a part of its own."""
        version = {"zerodebt_schema_version": str(SCHEMA_VERSION)}
        part = BytesIO()
        frame.write_parquet(part, metadata=version)
        write_bytes(self.folder / f"part-{self.parts:05}.parquet", part.getvalue())
        self.parts += 1
