"""The opening of a world: accounts, money, backstops and positions, as commands."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs

from zerodebt.agents.arbitrageurs import ArbitrageurParams, Arbitrageurs
from zerodebt.agents.book_arbitrageurs import BookArbitrageurParams, BookArbitrageurs
from zerodebt.agents.clients import ClientParams, Clients, Upstream, UpstreamParams
from zerodebt.agents.core_retail import CoreRetail, CoreRetailParams
from zerodebt.agents.feed import Waypoints
from zerodebt.agents.institutions import InstitutionParams, Institutions
from zerodebt.agents.lender_of_last_resort import LenderOfLastResort, LenderParams
from zerodebt.agents.leveraged_retail import LeveragedRetail, RetailParams
from zerodebt.agents.market_makers import MarketMakerParams, MarketMakers
from zerodebt.agents.members import MemberParams, Members
from zerodebt.agents.natural_shorts import NaturalShortParams, NaturalShorts
from zerodebt.agents.noise import Noise, NoiseParams
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Population
from zerodebt.agents.value_and_trend import (
    IssuerParams,
    TokenIssuers,
    TrendParams,
    TrendTraders,
    ValueParams,
    ValueTraders,
)
from zerodebt.agents.vault import Vault, VaultParams
from zerodebt.exchange.commands import Command, Deposit, LoadPositions, OpenAccounts
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.units import Int64Array

PopulationParams = (
    MarketMakerParams
    | RetailParams
    | NaturalShortParams
    | NoiseParams
    | VaultParams
    | ClientParams
    | UpstreamParams
    | MemberParams
    | CoreRetailParams
    | InstitutionParams
    | ArbitrageurParams
    | BookArbitrageurParams
    | ValueParams
    | TrendParams
    | IssuerParams
    | LenderParams
)

_MAKERS_MIN = 2
_SCALED = (RetailParams, NaturalShortParams)
_RESIDUAL = (NaturalShortParams, UpstreamParams)


class Genesis(Struct, frozen=True):
    """Commands for a fresh venue, in this order and before the first index, and who acts afterwards."""

    commands: list[Command]
    populations: list[Population]


def build(
    specs: Sequence[PopulationParams],
    instruments: Sequence[Instrument],
    start_ticks: Sequence[int],
    open_interest_lots: Sequence[int],
    seed: int,
    settle_asset: int,
    atoms_per_usd: float,
    accounts: int | None = None,
    news: Sequence[Waypoints] = (),
) -> Genesis:
    """Open every population in the order of `specs`, with accounts numbered in that order.

    open_interest_lots  sum of the long positions in each instrument; met exactly, as is a net of zero
    accounts            wanted number of retail and natural-short accounts together; makers become fewer with
                        the same depth together, the others stay. Open interest stays too: each account is
                        larger by the ratio, and so are the caps on the largest account and position
    news                what value traders know, one an instrument

    Natural shorts or an upstream account hold what makes the positions sum to zero; they are computed last.
    """
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"populations: the name {twice!r} is used twice")
    opening = Opening(
        tuple(instruments),
        tuple(start_ticks),
        tuple(open_interest_lots),
        settle_asset,
        atoms_per_usd,
        seed,
        tuple(news),
    )
    counts, relax = _counts(specs, accounts)
    firsts = (FIRST_ACCOUNT + np.concatenate(([0], np.cumsum(counts)[:-1]))).tolist()
    made: dict[int, Population] = {}
    net = np.zeros(len(instruments), np.int64)
    order = sorted(range(len(specs)), key=lambda n: (isinstance(specs[n], _RESIDUAL), n))
    for n in order:
        try:
            population = _open(specs[n], opening, firsts[n], counts[n], relax, net)
        except ValueError as error:
            raise ValueError(f"populations.{specs[n].name}: {error}") from None
        made[n] = population
        if population.positions is not None:
            net = net + population.positions.lots.sum(axis=1)
    if net.any():
        found = ", ".join(
            f"{i.symbol} {lots}" for i, lots in zip(instruments, net.tolist(), strict=True) if lots
        )
        raise ValueError(f"populations: positions do not sum to zero, nobody holds the other side of {found}")
    populations = [made[n] for n in range(len(specs))]
    return Genesis(_commands(opening, populations), populations)


def _counts(specs: Sequence[PopulationParams], accounts: int | None) -> tuple[list[int], float]:
    """Accounts of each population, and how many nominal ones an actual one of the scaled ones stands for."""
    nominal = sum(spec.count for spec in specs if isinstance(spec, _SCALED))
    scale = 1.0 if accounts is None or not nominal else accounts / nominal
    counts = []
    for spec in specs:
        if isinstance(spec, _SCALED):
            counts.append(max(1, round(spec.count * scale)))
        elif isinstance(spec, ClientParams):
            counts.append(spec.count + (1 if spec.named_lots else 0))
        elif isinstance(spec, MemberParams):
            counts.append(len(spec.members))
        elif isinstance(spec, VaultParams | UpstreamParams | IssuerParams | LenderParams):
            counts.append(1)
        elif isinstance(spec, CoreRetailParams):
            counts.append(2 * spec.count)
        elif isinstance(spec, MarketMakerParams):
            counts.append(min(spec.count, max(_MAKERS_MIN, round(spec.count * scale))))
        else:
            counts.append(spec.count)
    return counts, max(1.0, 1 / scale)


def _open(
    spec: PopulationParams, opening: Opening, first: int, count: int, relax: float, net: Int64Array
) -> Population:
    match spec:
        case MarketMakerParams():
            return MarketMakers(_merged(spec, count), opening, first)
        case NoiseParams():
            return Noise(spec, opening, first)
        case VaultParams():
            return Vault(spec, opening, first)
        case ClientParams():
            return Clients(spec, opening, first)
        case MemberParams():
            return Members(spec, opening, first)
        case CoreRetailParams():
            return CoreRetail(spec, opening, first)
        case InstitutionParams():
            return Institutions(spec, opening, first)
        case ArbitrageurParams():
            return Arbitrageurs(spec, opening, first)
        case BookArbitrageurParams():
            return BookArbitrageurs(spec, opening, first)
        case ValueParams():
            return ValueTraders(spec, opening, first)
        case TrendParams():
            return TrendTraders(spec, opening, first)
        case IssuerParams():
            return TokenIssuers(spec, opening, first)
        case LenderParams():
            return LenderOfLastResort(spec, opening, first)
        case RetailParams():
            return LeveragedRetail(spec, opening, first, count, relax)
        case NaturalShortParams():
            if (net < 0).any():
                raise ValueError("the others are already net short, nothing is left to hold")
            return NaturalShorts(spec, opening, first, count, relax, net)
        case UpstreamParams():
            return Upstream(spec, opening, first, net)


def _merged(spec: MarketMakerParams, count: int) -> MarketMakerParams:
    """Fewer makers with the same depth, cap and capital together."""
    if count == spec.count:
        return spec
    ratio = spec.count / count
    return structs.replace(
        spec,
        count=count,
        depth_usd=spec.depth_usd * ratio,
        inventory_cap_usd=spec.inventory_cap_usd * ratio,
        capital_usd=spec.capital_usd * ratio,
    )


def _commands(opening: Opening, populations: Sequence[Population]) -> list[Command]:
    commands: list[Command] = [OpenAccounts(len(p.accounts), p.role) for p in populations]
    for population in populations:
        first = int(population.accounts[0])
        if population.deposits_atoms.any():
            commands.append(Deposit(opening.settle_asset, first, tuple(population.deposits_atoms.tolist())))
    for population in populations:
        commands += population.opening_commands()
    for number, price_ticks in enumerate(opening.start_ticks):
        columns: list[list[int]] = [[], [], [], [], []]
        for population in populations:
            positions = population.positions
            if positions is None:
                continue
            rows = positions.lots[number].nonzero()[0]
            columns[0] += population.accounts[rows].tolist()
            columns[1] += positions.lots[number, rows].tolist()
            columns[2] += positions.entry_ticks[number, rows].tolist()
            columns[3] += positions.leverage[number, rows].tolist()
            columns[4] += positions.isolated_atoms[number, rows].tolist()
        if columns[0]:
            commands.append(LoadPositions(number, price_ticks, *(tuple(column) for column in columns)))
    return commands
