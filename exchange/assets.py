"""What can be held."""

from msgspec import Struct


class Asset(Struct, frozen=True, array_like=True):
    """An asset and its smallest unit: one unit is 10**decimals atoms."""

    symbol: str
    decimals: int
