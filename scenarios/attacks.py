"""Plays the economic attacks: each on the venue that falls to it, and on ours."""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, to_builtins

from zerodebt.agents import adversaries
from zerodebt.agents.adversaries import Attack, Floor, Outcome
from zerodebt.agents.world import World
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.audit import Audit
from zerodebt.exchange.commands import Command
from zerodebt.exchange.events import Batch
from zerodebt.exchange.rules import VenueRules, profile_table, venue_rules
from zerodebt.exchange.units import DAY_NS, SECOND_NS
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios.config import deep_merge, with_overrides
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.witness import differences

On = Literal["weak", "ours"]
Overrides = Sequence[tuple[str, Any]]
_START_NS = 1_760_130_000 * SECOND_NS
_CHECK_EVERY = 50


class Trial(Struct, frozen=True):
    """One playing of an attack. `disagreements` are the audit's findings and differences: none, or a bug."""

    outcome: Outcome
    verdict: str
    disagreements: tuple[str, ...]
    commands: int


class Verdict(Struct, frozen=True):
    """Both playings of an attack."""

    attack: Attack
    weak: Trial
    ours: Trial

    @property
    def is_bounded(self) -> bool:
        """The weak venue falls, ours lets him gain no more than the attack says, the audit agrees."""
        gained = self.weak.outcome.gain_atoms > 0
        capped = self.ours.outcome.gain_atoms <= self.attack.allowed_atoms
        return gained and capped and not (self.weak.disagreements or self.ours.disagreements)


def attacks() -> dict[str, Attack]:
    """Every module of `agents/adversaries/` has one and perhaps variants of it, by their ids."""
    modules = (
        importlib.import_module(f"{adversaries.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(adversaries.__path__)
    )
    found = [attack for module in modules for attack in (module.ATTACK, *getattr(module, "VARIANTS", ()))]
    return {attack.id: attack for attack in sorted(found, key=lambda attack: attack.id)}


def chosen(attack_id: str | None) -> list[Attack]:
    """The attack of an id, or (None) all of them."""
    known = attacks()
    if attack_id is None:
        return list(known.values())
    if attack_id not in known:
        raise CallError(f"attack: found {attack_id}, allowed are {', '.join(known)}")
    return [known[attack_id]]


def rules_of(attack: Attack, on: On, overrides: Overrides = ()) -> VenueRules:
    """The rulebook of a playing; `overrides` are (path from `venue`, value) and change ours alone."""
    table = deep_merge(profile_table(attack.profile), attack.ours)
    if on == "weak":
        return venue_rules(deep_merge(table, attack.weak))
    return venue_rules(with_overrides({"venue": table}, overrides)["venue"])


def play(attack: Attack, on: On, overrides: Overrides = ()) -> Trial:
    """Play it once; every event goes to the audit, and the venue's invariants are checked on the way."""
    rules = rules_of(attack, on, overrides)
    looser = attack.weak_instruments if on == "weak" else None
    venue = Venue(rules, (Asset(rules.settle_asset, 6),), looser or attack.instruments)
    witness = Audit()
    witness.feed(venue.opening())

    def send(command: Command, time_ns: int) -> Batch:
        batch = venue.apply(command, time_ns)
        witness.feed(batch)
        if batch.seq % _CHECK_EVERY == 0:
            venue.check()
        return batch

    world = World(venue.view, send, _START_NS, _START_NS + DAY_NS)
    floor = Floor(world, [source.name for source in rules.sources])
    world.process(attack.steps(floor))
    world.run()
    venue.check()
    statement = venue.view.statement()
    report = witness.finish()
    said = {name: getattr(statement, name) for name in statement.__struct_fields__}
    apart = [f"{finding.rule} at command {finding.seq}: {finding.text}" for finding in report.findings]
    apart += differences(report, said, venue.view.settle_asset)
    return Trial(floor.outcome(), report.verdict, tuple(apart), venue.seq)


def judge(attack: Attack, overrides: Overrides = ()) -> Verdict:
    return Verdict(attack, play(attack, "weak"), play(attack, "ours", overrides))


def row(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a table of plain values; gains in atoms of the settlement asset."""
    attack = verdict.attack
    told = ("id", "title", "does", "incident", "source", "weakness", "bound", "allowed_atoms")
    return {name: getattr(attack, name) for name in told} | {
        "weak": to_builtins(verdict.weak),
        "ours": to_builtins(verdict.ours),
        "is_bounded": verdict.is_bounded,
    }
