"""Waypoint files: index prices at times, exact on the tick, in order and covering the clock."""

import csv
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from zerodebt.agents.feed import Waypoints
from zerodebt.exchange.decimals import from_units, parse_decimal, round_to_units, to_units
from zerodebt.exchange.instruments import Instrument
from zerodebt.scenarios.config import CATALOGUE_PREFIX, Scenario, World, catalogue
from zerodebt.scenarios.quantities import DataError, nearest, parse_time_ns, utc

COLUMNS = ("time_utc", "instrument", "price", "source", "evidence")


def waypoints_path(scenario: Scenario, folder: Path) -> Path:
    """Where the scenario's waypoints are: in the catalogue, absolute, or beside the scenario file."""
    name = scenario.prices.waypoints
    path = (
        catalogue() / name.removeprefix(CATALOGUE_PREFIX)
        if name.startswith(CATALOGUE_PREFIX)
        else folder / name
    )
    if not path.is_file():
        raise DataError(
            f"prices.waypoints: {path} is not there, allowed is a file beside the scenario or absolute"
        )
    return path


def read_waypoints(path: Path, scenario: Scenario, world: World) -> tuple[Waypoints, ...]:
    """Waypoints by instrument. A price off the tick is refused, unless a `factor` made it."""
    symbols = [instrument.symbol for instrument in world.instruments]
    times: list[list[int]] = [[] for _ in symbols]
    prices: list[list[int]] = [[] for _ in symbols]
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines, strict=True)
            header = next(rows, [])
            if tuple(header) != COLUMNS:
                raise DataError(
                    f"{path.name}:1: found columns {','.join(header)}, allowed are {','.join(COLUMNS)}"
                )
            latest = -1
            for row in rows:
                where = f"{path.name}:{rows.line_num}"
                if len(row) != len(COLUMNS):
                    raise DataError(f"{where}: found {len(row)} columns, allowed are {len(COLUMNS)}")
                if row[1] not in symbols:
                    hint = nearest(row[1], symbols)
                    raise DataError(f"{where}: instrument {row[1]!r} is not in the scenario{hint}")
                number = symbols.index(row[1])
                try:
                    at_ns = parse_time_ns(row[0])
                    ticks = _ticks(row[2], world.instruments[number], scenario.prices.factor)
                except ValueError as error:
                    raise DataError(f"{where}: {error}") from None
                if at_ns < latest:
                    raise DataError(f"{where}: {row[0]} is before the line above, allowed are times in order")
                latest = at_ns
                if times[number] and times[number][-1] == at_ns:
                    raise DataError(f"{where}: {row[1]} has two prices at {row[0]}, allowed is one")
                times[number].append(at_ns)
                prices[number].append(ticks)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: not readable as CSV: {error}") from None
    for symbol, seen in zip(symbols, times, strict=True):
        _check_cover(path, symbol, seen, world)
    return tuple(Waypoints(tuple(t), tuple(p)) for t, p in zip(times, prices, strict=True))


def _ticks(text: str, instrument: Instrument, factor: Decimal | None) -> int:
    price = parse_decimal(text)
    if factor is not None:
        ticks = round_to_units(price * factor, instrument.tick_decimals)
    else:
        ticks = to_units(price, instrument.tick_decimals)
    if not instrument.price_min_ticks <= ticks <= instrument.price_max_ticks:
        low = from_units(instrument.price_min_ticks, instrument.tick_decimals)
        high = from_units(instrument.price_max_ticks, instrument.tick_decimals)
        raise ValueError(f"found price {text}, allowed for {instrument.symbol} are {low}..{high}")
    return ticks


def _check_cover(path: Path, symbol: str, times_ns: Sequence[int], world: World) -> None:
    if not times_ns:
        raise DataError(f"{path.name}: has no price of {symbol}, allowed is one or more")
    if times_ns[0] > world.start_ns:
        begins, start = utc(times_ns[0]), utc(world.start_ns)
        raise DataError(f"{path.name}: {symbol} begins at {begins}, allowed is clock.start {start} or before")
    if times_ns[-1] < world.end_ns:
        ends, end = utc(times_ns[-1]), utc(world.end_ns)
        raise DataError(f"{path.name}: {symbol} ends at {ends}, allowed is clock.end {end} or after")
