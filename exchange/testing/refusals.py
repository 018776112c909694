"""What a venue says of a refused command, in the decimals and symbols that a bot writes."""

import re

from zerodebt.exchange.commands import Command
from zerodebt.exchange.decimals import from_units
from zerodebt.exchange.events import Rejected
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rulebook import Rulebook

PRICE_REASONS = frozenset(
    {
        RejectReason.PRICE_OUT_OF_RANGE,
        RejectReason.PRICE_OFF_STEP,
        RejectReason.PRICE_BEYOND_BAND,
        RejectReason.PRICE_BEYOND_LIMIT,
        RejectReason.WOULD_TAKE,
        RejectReason.TRIGGER_ALREADY_MET,
    }
)
_NUMBER = re.compile(r"(?<!account )-?\b\d+")


def detail_in_units(book: Rulebook, command: Command, refused: Rejected) -> str:
    """The refusal's detail; what counts neither money nor prices nor sizes (accounts, leverage) stays."""
    text, instrument = refused.detail, getattr(command, "instrument", None)
    if " atoms" in text:
        return _money(book, command, text)
    if instrument is None:
        return text
    spec = book.instruments[instrument]
    size, _, at = text.partition(" lots at ")
    if at:
        return f"{_decimals(size, spec.lot_decimals)} at {_decimals(at, spec.tick_decimals)}"
    if " lots" in text:
        return _decimals(text.replace(" lots", ""), spec.lot_decimals)
    if refused.reason in PRICE_REASONS:
        return _decimals(text.replace(" ticks", ""), spec.tick_decimals)
    return text


def _money(book: Rulebook, command: Command, text: str) -> str:
    """Of the asset that the command moves, or of the settlement asset."""
    asset = getattr(command, "asset", book.settle)
    if " atoms of the base asset" in text:
        asset = book.instruments[getattr(command, "instrument", 0)].base_asset
        text = text.replace(" of the base asset", "")
    return _decimals(text, book.assets[asset].decimals).replace(" atoms", f" {book.assets[asset].symbol}")


def _decimals(text: str, decimals: int) -> str:
    return _NUMBER.sub(lambda number: from_units(int(number[0]), decimals), text)
