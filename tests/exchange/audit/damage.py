"""Runs as a dishonest venue would have written them: events changed, moved, left out."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import structs

from zerodebt.exchange import events as says
from zerodebt.exchange.audit import Report, audit
from zerodebt.exchange.events import Batch, Event

E = TypeVar("E")
Batches = list[Batch]
Edit = Callable[[Batches], Batches]


def positions(batches: Batches, kind: type[E], where: Callable[[E], bool]) -> Iterator[tuple[int, int, E]]:
    for b, batch in enumerate(batches):
        for k, event in enumerate(batch.events):
            if isinstance(event, kind) and where(event):
                yield b, k, event


def first(batches: Batches, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> tuple[int, int, E]:
    return next(positions(batches, kind, where))


def put(batches: Batches, b: int, events: list[Event]) -> Batches:
    return [*batches[:b], structs.replace(batches[b], events=tuple(events)), *batches[b + 1 :]]


def edited(kind: type[E], where: Callable[[E], bool] = lambda _: True, **changes: Callable[[E], Any]) -> Edit:
    """Change fields of the first event of a kind."""

    def edit(batches: Batches) -> Batches:
        b, k, event = first(batches, kind, where)
        fields = {name: change(event) for name, change in changes.items()}
        events: list[Any] = list(batches[b].events)
        events[k] = structs.replace(event, **fields)  # type: ignore[type-var]
        return put(batches, b, events)

    return edit


def off(kind: type[E], field: str, by: int = 1, where: Callable[[E], bool] = lambda _: True) -> Edit:
    """The first event of a kind that has the number states it so much too high."""
    return edited(
        kind,
        lambda event: getattr(event, field) is not None and where(event),
        **{field: lambda event: getattr(event, field) + by},
    )


def without(kind: type[E], where: Callable[[E], bool] = lambda _: True) -> Edit:
    """Leave the first event of a kind out."""

    def edit(batches: Batches) -> Batches:
        b, k, _ = first(batches, kind, where)
        events = list(batches[b].events)
        del events[k]
        return put(batches, b, events)

    return edit


def posted(reason: str) -> Callable[[says.Posted], bool]:
    return lambda event: event.reason == reason and len(event.legs) > 1


def rules_broken(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def judged_by(batches: Batches, *waterfall: str) -> Report:
    """The audit of a run that claims another waterfall than the one it followed."""
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claimed = structs.replace(opened.rules, waterfall=waterfall)
    return audit(put(batches, 0, [structs.replace(opened, rules=claimed)]))


def audit_without(batches: list[Batch], drop: Callable[[Event], bool]) -> Report:
    kept = (tuple(event for event in batch.events if not drop(event)) for batch in batches)
    return audit(Batch(b.seq, b.time_ns, events) for b, events in zip(batches, kept, strict=True))
