"""Why a command was refused. The members stand in the order of the checks: the first failure answers."""

from enum import StrEnum
from typing import NoReturn


class RejectReason(StrEnum):
    """Ordered by precedence."""

    TIME_RUNS_BACK = "time runs back"
    TIME_OUT_OF_RANGE = "time is beyond the year 2262"
    UNKNOWN_ACCOUNT = "unknown account"
    NOT_A_CUSTOMER = "account belongs to the house"
    UNKNOWN_INSTRUMENT = "unknown instrument"
    UNKNOWN_ASSET = "unknown asset"
    UNKNOWN_ORDER = "unknown order"
    NOT_YOUR_ORDER = "order of another account"
    WRONG_KIND = "not possible for this kind of instrument"
    WRONG_LEG = "the leg does not fit the account's position mode"
    NOT_IN_RULEBOOK = "the rulebook has no such thing"
    ALREADY_STARTED = "only possible before the first index"
    NOTHING_TO_DO = "nothing to do"
    IN_LIQUIDATION = "account is in liquidation"
    NOT_IN_DEFAULT = "account is not in default"
    DEFAULT_OPEN = "contributions are frozen while a default is open"
    SESSION_CLOSED = "there is no session now"
    HALTED = "instrument is halted for this operation"
    NO_PRICE = "instrument has no mark price yet"
    INDEX_STALE = "the index of an open position is too old"
    FUNDING_DUE = "funding is due first"
    SIZE_NOT_POSITIVE = "size is not positive"
    SIZE_TOO_LARGE = "size is beyond the largest"
    SIZE_BELOW_FILLED = "size is not above what is filled"
    PRICE_OUT_OF_RANGE = "price is outside the instrument's range"
    PRICE_OFF_STEP = "price is off the order step"
    PRICE_BEYOND_BAND = "price is beyond the band"
    PRICE_BEYOND_LIMIT = "price is beyond the limit of the day"
    VALUE_TOO_SMALL = "order value is below the smallest"
    AMOUNT_NOT_POSITIVE = "amount is not positive"
    AMOUNT_TOO_LARGE = "amount is beyond the largest"
    LEVERAGE_OUT_OF_RANGE = "leverage is outside 1..maximum"
    MODE_HAS_POSITION = "margin mode cannot change with a position or orders"
    POSITION_MODE_IN_USE = "position mode cannot change with a position or orders"
    TOO_MANY_ORDERS = "too many open orders"
    CONTRADICTION = "order options contradict each other"
    TRIGGER_ALREADY_MET = "trigger is already met"
    REDUCE_ONLY_NOTHING = "nothing to reduce"
    WOULD_TAKE = "post-only order would take"
    CANNOT_FILL = "fill-or-kill order cannot fill"
    NO_LIQUIDITY = "no order on the other side"
    OPEN_INTEREST_CAP = "open interest is at its cap"
    BALANCE_TOO_SMALL = "balance is too small"
    MARGIN_TOO_SMALL = "margin is too small"
    DEFICIT_OPEN = "this waits while a deficit is open"


class RefusedError(Exception):
    """A command is refused; it never leaves the venue, which answers with a `Rejected` event."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refuse(reason: RejectReason, detail: str) -> NoReturn:
    """Stop the command before anything has changed."""
    raise RefusedError(reason, detail)
