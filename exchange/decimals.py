"""Decimal text, exactly, to and from the venue's integers."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation

_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])
_PLACES_MAX = 60
"""No number has more digits before its point, and none starts later behind it."""


def parse_decimal(text: str) -> Decimal:
    """A finite decimal; ValueError says what was found."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"found {text!r}, allowed is a decimal number") from None
    if not value.is_finite():
        raise ValueError(f"found {text!r}, allowed is a finite decimal number")
    if value and abs(value.adjusted()) > _PLACES_MAX:
        raise ValueError(f"found {text!r}, allowed are numbers of at most {_PLACES_MAX} digits")
    return value


def to_units(value: Decimal, decimals: int) -> int:
    """`value` in units of 10**-decimals; ValueError when it is off that grid, never rounded."""
    if not value.is_finite() or (value and value.adjusted() > _PLACES_MAX):
        raise ValueError(f"found {value}, allowed are numbers of at most {_PLACES_MAX} digits")
    if not value:
        return 0
    try:
        return int(value.scaleb(decimals, _EXACT).to_integral_exact(context=_EXACT))
    except Inexact:
        raise ValueError(f"found {value}, allowed are multiples of {from_units(1, decimals)}") from None


def round_to_units(value: Decimal, decimals: int) -> int:
    """`value` in units of 10**-decimals, half to even; for converted figures only."""
    return int(value.scaleb(decimals, _EXACT).to_integral_value(ROUND_HALF_EVEN))


def from_units(units: int, decimals: int) -> str:
    """`units` of 10**-decimals as plain decimal text; all decimals are written."""
    return f"{Decimal(units).scaleb(-decimals, _EXACT):f}"
