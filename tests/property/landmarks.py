"""What a random run met: the events, refusals and situations without which a law is not put to the test."""

from collections import Counter

from zerodebt.exchange.commands import Command, Withdraw
from zerodebt.exchange.events import (
    Batch,
    Filled,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    Posted,
    Quoted,
    Rejected,
    StagePaid,
    TakenOver,
)


def landmarks(command: Command, batch: Batch, *, is_gate_shut: bool) -> Counter[str]:
    """Names and how often: of events, of reasons of refusal, and of what neither of them tells.

    is_gate_shut  somebody was below zero when the command came
    """
    met: Counter[str] = Counter(type(event).__name__ for event in batch.events)
    forced = {e.order_id for e in batch.events if isinstance(e, OrderAccepted) and e.forced}
    reducing = {e.order_id for e in batch.events if isinstance(e, OrderAccepted) and e.reduce_only}
    for event in batch.events:
        match event:
            case Rejected():
                met[event.reason.name] += 1
            case OrderAccepted():
                met[event.tif] += 1
                met["post_only"] += event.post_only
            case OrderAmended():
                met["keeps its place" if event.keeps_place else "loses its place"] += 1
            case OrderClosed():
                met[f"closed: {event.reason}"] += 1
            case Quoted():
                met["quotes replaced"] += bool(event.removed and event.placed)
            case Filled():
                met["forced fill"] += event.taker_order in forced
                met["forced fill with a fee"] += event.taker_order in forced and event.taker_fee_atoms > 0
                met["reduce-only fill"] += event.taker_order in reducing - forced
                met["rebate"] += event.maker_fee_atoms < 0
            case Posted():
                met[f"posted: {event.reason}"] += 1
            case StagePaid():
                met[f"paid: {event.stage}"] += 1
            case TakenOver():
                met["taken over below the mark"] += event.mark_ticks is not None
            case _:
                pass
    met["fills at two prices"] += len({e.price_ticks for e in batch.events if isinstance(e, Filled)}) > 1
    if is_gate_shut:
        met["gate shut"] += 1
        met["withdrawal while the gate is shut"] += isinstance(command, Withdraw)
    return met
