"""The 125x wish: how far a position's liquidation is away, and how often an hour gets there (F73).

Distances are the venue's own answer for a new long under the Binance USD-M rulebook, as large as its leverage
allows; paths are a driftless log price in one-minute steps of Student t with three degrees of freedom.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.oracle import Position, Situation
from zerodebt.exchange.rules import profile_table, split_profile, venue_rules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument

_MINUTES_A_YEAR = 525_600
_CHUNK = 20_000
_PRICE_TICKS = 1_000_000
LEVERAGES = (125, 100, 50, 20, 10)
"""Those of the first tiers of BTCUSDT, in their order."""


def measure(
    seed: int, *, volatility: float = 0.6, minutes: int = 60, paths: int = 200_000
) -> Mapping[str, float]:
    """distance_<L> as a share of the price, and odds_<L> of reaching it within `minutes`."""
    distances = {leverage: distance(leverage) for leverage in LEVERAGES}
    generator = np.random.default_rng([seed, 73])
    step = volatility / np.sqrt(_MINUTES_A_YEAR)
    reached = dict.fromkeys(LEVERAGES, 0)
    for _ in range(paths // _CHUNK):
        moves = generator.standard_t(3, (_CHUNK, minutes)) * (step / np.sqrt(3.0))
        lowest = np.exp(np.cumsum(moves, axis=1)).min(axis=1)
        for leverage, far in distances.items():
            reached[leverage] += int((lowest <= 1 - far).sum())
    whole = paths // _CHUNK * _CHUNK
    return {f"distance_{leverage}": far for leverage, far in distances.items()} | {
        f"odds_{leverage}": count / whole for leverage, count in reached.items()
    }


def distance(leverage: int) -> float:
    """How far a long's liquidation is below its entry, as a share; of the largest lot number in its tier."""
    rules, extra = split_profile(profile_table("binance_usdm"))
    assets = msgspec.convert(extra["assets"], tuple[AssetSpec, ...])
    spec = msgspec.convert(extra["instruments"][0], InstrumentSpec)
    instrument = build_instrument(spec, assets, rules["settle_asset"])
    bounds = [tier.lower for tier in instrument.tiers if tier.leverage_max < leverage]
    lots = (min(bounds) - 1) // value_atoms(instrument, _PRICE_TICKS, 1)
    margin_atoms = value_atoms(instrument, _PRICE_TICKS, lots) // leverage
    position = Position(
        instrument=0,
        lots=lots,
        entry_ticks=_PRICE_TICKS,
        leverage=leverage,
        isolated_atoms=margin_atoms,
    )
    situation = Situation(
        venue_rules(rules), build_assets(assets), (instrument,), (0,), (position,), (_PRICE_TICKS,)
    )
    point = situation.liquidation_price(0)
    assert point is not None
    return 1 - float(point.exact_ticks) / _PRICE_TICKS
