"""Orders as files: JSON Lines that `zerodebt replay` runs, and whole cases that the simulation runs again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.simulation.workload import Order
from tests.simulation.worlds import Built, World, build
from zerodebt.exchange.commands import (
    BUY,
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    MassQuote,
    OpenAccounts,
    PlaceOrder,
    Redeem,
    SetBackstop,
    SetLeverage,
    SetPositionMode,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Supply,
    Tick,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.decimals import from_units
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE_ACCOUNT_NAMES
from zerodebt.scenarios.orders import read
from zerodebt.scenarios.quantities import DataError

Table = dict[str, Any]
_SIDES = {"net": "both", "long": "long", "short": "short"}


class InexpressibleError(ValueError):
    """A command that a command file has no words for: garbled fields, several sources at once."""


class Case(Struct):
    """A world and the orders of phase one, as they are: restarts and garbled fields included."""

    world: World
    law: str
    orders: list[Order]


def write_case(path: Path, case: Case) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(case)))


def read_case(path: Path) -> Case:
    return msgspec.json.decode(path.read_bytes(), type=Case)


def command_lines(world: World, orders: list[Order]) -> list[bytes]:
    """A command file. Restarts leave no trace in one; raises InexpressibleError."""
    writer = _Writer(build(world))
    lines = [world.opening_line()]
    for order in orders:
        if order.command is None:
            continue
        lines += [{"at": order.time_ns, **table} for table in writer.tables(order.command)]
    written = [msgspec.json.encode(line) for line in lines]
    try:
        read(written, "case")
    except DataError as error:
        raise InexpressibleError(str(error)) from None
    return written


class _Writer:
    def __init__(self, built: Built) -> None:
        self._built = built
        self._settle = [asset.symbol for asset in built.assets].index(built.rules.settle_asset)
        self._count = FIRST_ACCOUNT

    def tables(self, command: Command) -> Iterator[Table]:
        """The lines of a command; opening or paying several accounts takes one for each."""
        match command:
            case OpenAccounts(count=count):
                if not 1 <= count <= 1000:
                    raise InexpressibleError(f"{count} accounts")
                for _ in range(count):
                    yield {"do": "open_account", "name": f"a{self._count}", "role": command.role}
                    self._count += 1
            case Deposit():
                for k, atoms in enumerate(command.atoms):
                    if atoms:
                        yield self._money("deposit", command.first_account + k, atoms, command.asset)
            case Withdraw():
                yield self._money("withdraw", command.account, command.atoms, command.asset)
            case _:
                yield {"do": self._verb(command), **self._table(command)}

    @staticmethod
    def _verb(command: Command) -> str:
        tag = str(command.__struct_config__.tag)
        return "settle" if tag == "settle_instrument" else tag

    def _table(self, command: Command) -> Table:
        match command:
            case SetBackstop():
                symbols = [self._symbol(n) for n in command.instruments]
                return {"account": self._account(command.account), "instruments": symbols}
            case SetLeverage():
                return self._in(command) | {"leverage": command.leverage, "mode": command.mode}
            case SetPositionMode():
                return {"account": self._account(command.account), "mode": command.mode}
            case TransferMargin():
                amount = self._amount(command.atoms, self._settle)
                return self._in(command) | {"amount": amount, "position_side": _SIDES[command.leg]}
            case Supply() | Borrow():
                amount = self._amount(command.atoms, self._settle)
                return {"account": self._account(command.account), "amount": amount}
            case Redeem():
                return {"account": self._account(command.account), "share_count": command.share_count}
            case PlaceOrder():
                return self._order(command)
            case AmendOrder():
                table: Table = {
                    "account": self._account(command.account),
                    "order": self._id(command.order_id),
                }
                table["instrument"] = self._symbol(0)
                if command.price_ticks is not None:
                    table["price"] = self._price(0, command.price_ticks)
                if command.size_lots is not None:
                    table["size"] = self._size(command.size_lots)
                return table
            case CancelOrder():
                return {"account": self._account(command.account), "order": self._id(command.order_id)}
            case CancelAll(instrument=None):
                return {"account": self._account(command.account)}
            case CancelAll():
                return self._in(command)
            case MassQuote():
                sides = {"bids": command.bids, "asks": command.asks}
                n = command.instrument
                self._symbol(n)
                return self._in(command) | {
                    name: [[self._price(n, price), self._size(lots)] for price, lots in levels]
                    for name, levels in sides.items()
                }
            case UpdateIndex():
                return self._index(command)
            case Tick():
                return {}
            case SetStatus():
                table = {"instrument": self._symbol(command.instrument), "open": command.open}
                return table | {"reduce": command.reduce, "liquidate": command.liquidate}
            case SettleInstrument(price_ticks=None):
                return {"instrument": self._symbol(command.instrument)}
            case SettleInstrument(price_ticks=int(price)) | SettleVariation(price_ticks=price):
                symbol = self._symbol(command.instrument)
                return {"instrument": symbol, "price": self._price(command.instrument, price)}
            case Contribute():
                amount = self._amount(command.atoms, self._settle)
                return {"account": self._account(command.account), "amount": amount}
            case LoadPositions():
                return self._positions(command)
            case HoldAuction():
                return self._auction(command)
        raise InexpressibleError(f"{command}")

    def _order(self, order: PlaceOrder) -> Table:
        if order.budget_atoms is not None:
            raise InexpressibleError(f"{order}")
        n = order.instrument
        table = self._in(order) | {
            "side": "buy" if order.side == BUY else "sell",
            "size": self._size(order.size_lots),
            "tif": order.tif,
            "post_only": order.post_only,
            "reduce_only": order.reduce_only,
            "self_trade": order.self_trade,
            "position_side": _SIDES[order.leg],
        }
        if order.price_ticks is not None:
            table["price"] = self._price(n, order.price_ticks)
        if order.trigger is not None:
            trigger = order.trigger
            price = self._price(n, trigger.price_ticks)
            table["trigger"] = {"kind": trigger.kind, "reference": trigger.reference, "price": price}
        return table

    def _index(self, command: UpdateIndex) -> Table:
        seen = command.observations
        if len({(s.source, s.published_ns) for s in seen}) != 1 or len({s.instrument for s in seen}) < len(
            seen
        ):
            raise InexpressibleError("several sources in one update")
        if not 0 <= seen[0].source < len(self._built.rules.sources) or seen[0].published_ns < 0:
            raise InexpressibleError(f"{seen[0]}")
        return {
            "prices": {self._symbol(s.instrument): self._price(s.instrument, s.price_ticks) for s in seen},
            "source": self._built.rules.sources[seen[0].source].name,
            "published": seen[0].published_ns,
        }

    def _positions(self, command: LoadPositions) -> Table:
        n = command.instrument
        symbol = self._symbol(n)
        rows = zip(
            command.accounts, command.lots, command.entry_ticks, command.leverage, command.isolated_atoms,
            strict=False,
        )  # fmt: skip
        return {
            "instrument": symbol,
            "price": self._price(n, command.price_ticks),
            "positions": [
                {
                    "account": self._account(account),
                    "size": str(lots),
                    "entry": self._price(n, entry),
                    "leverage": leverage,
                    "isolated": self._amount(isolated, self._settle),
                }
                for account, lots, entry, leverage, isolated in rows
            ],
        }

    def _auction(self, command: HoldAuction) -> Table:
        bids = []
        for bid in command.bids:
            if len(bid.price_ticks) != len(command.instruments) or not command.instruments:
                raise InexpressibleError(f"{bid}")
            pairs = zip(command.instruments, bid.price_ticks, strict=True)
            prices = {self._symbol(n): self._price(n, price) for n, price in pairs}
            bids.append({"account": self._account(bid.account), "prices": prices})
        return {"account": self._account(command.account), "bids": bids}

    def _in(self, command: Any) -> Table:
        return {"account": self._account(command.account), "instrument": self._symbol(command.instrument)}

    def _money(self, verb: str, account: int, atoms: int, asset: int) -> Table:
        if not 0 <= asset < len(self._built.assets) or atoms < 0:
            raise InexpressibleError(f"{atoms} atoms of asset {asset}")
        symbol = self._built.assets[asset].symbol
        return {
            "do": verb,
            "account": self._account(account),
            "amount": self._amount(atoms, asset),
            "asset": symbol,
        }

    def _account(self, account: int) -> str:
        if 0 <= account < len(HOUSE_ACCOUNT_NAMES):
            return HOUSE_ACCOUNT_NAMES[account]
        if not FIRST_ACCOUNT <= account < self._count:
            raise InexpressibleError(f"account {account}")
        return f"a{account}"

    def _symbol(self, instrument: int) -> str:
        if not 0 <= instrument < len(self._built.instruments):
            raise InexpressibleError(f"instrument {instrument}")
        return self._built.instruments[instrument].symbol

    def _amount(self, atoms: int, asset: int) -> str:
        return from_units(atoms, self._built.assets[asset].decimals)

    def _price(self, instrument: int, ticks: int) -> str:
        return from_units(ticks, self._built.instruments[instrument].tick_decimals)

    @staticmethod
    def _size(lots: int) -> str:
        if lots < 1:
            raise InexpressibleError(f"{lots} lots")
        return str(lots)

    @staticmethod
    def _id(order_id: int) -> int:
        return order_id
