"""One run: the world against the venue, all on disk, then the second witness, tables, claims and report."""

import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import msgspec

import zerodebt
from zerodebt.agents import genesis
from zerodebt.agents.feed import BookPrices, PriceFeed, Waypoints
from zerodebt.agents.feed import Path as PricePath
from zerodebt.agents.members import Members
from zerodebt.agents.world import World as AgentWorld
from zerodebt.exchange.commands import (
    AuctionBid,
    Command,
    Deposit,
    HoldAuction,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Stamped,
    Tick,
)
from zerodebt.exchange.decimals import from_units, to_units
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, HOUSE_ACCOUNT_NAMES, INSURANCE, Batch, Rejected
from zerodebt.exchange.journal import replay
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.units import SECOND_NS, mul_ppb_floor
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import claims, config, rundir
from zerodebt.scenarios.config import AuctionAt, Scenario, SettleAt, StatusAt, VariationAt, World
from zerodebt.scenarios.prices import read_waypoints, waypoints_path
from zerodebt.scenarios.quantities import CallError, DataError, time_ns, utc
from zerodebt.scenarios.streams import Recorder

if TYPE_CHECKING:
    import polars as pl

    from zerodebt.exchange.audit import Report

Progress = Callable[[str, int, int], None]
"""Told (phase, done, whole); simulated seconds while simulating, otherwise 0 and 0."""

_ENOUGH_ACCOUNTS = 20_000
"""No larger number is tried to say how many accounts are enough."""
_PACKAGES = ("numpy", "msgspec", "simpy", "sortedcontainers", "polars", "plotly")


class Result:
    """A finished run: its verdict, figures, claims and tables. Equal to what its directory says."""

    def __init__(self, path: Path, *, is_temporary: bool = False) -> None:
        self.path = path
        self.summary: dict[str, Any] = rundir.read_json(path / rundir.SUMMARY)
        self._temporary = is_temporary

    @property
    def verdict(self) -> str:
        return str(self.summary["verdict"])

    @property
    def exit_code(self) -> int:
        """0 when the audit agrees and the verdict is what the rulebook promises, otherwise 1."""
        return 0 if self.summary["promise_kept"] and self.summary["audit"]["agrees"] else 1

    @property
    def claims(self) -> tuple[claims.Checked, ...]:
        return tuple(msgspec.convert(row, claims.Checked) for row in self.summary["claims"])

    def frame(self, name: str) -> "pl.DataFrame":
        """A table of the run."""
        import polars as pl

        folder = self.path / "tables" / name
        if not folder.is_dir():
            names = sorted(entry.name for entry in (self.path / "tables").iterdir() if entry.is_dir())
            raise CallError(f"table {name!r} is not in the run, allowed are {', '.join(names)}")
        return pl.read_parquet(folder / "part-*.parquet")

    def _repr_html_(self) -> str:
        rows = [
            ("scenario", self.summary["scenario"]),
            ("seed", self.summary["seed"]),
            ("verdict", self.verdict),
        ]
        rows += [(f"paid by {stage}", amount) for stage, amount in self.summary["paid_by_stage"].items()]
        received = self.summary.get("received_by_stage", {})
        rows += [(f"received by counterparties in {stage}", amount) for stage, amount in received.items()]
        rows += [(f"claim {c.id}", "held" if c.held else "failed") for c in self.claims]
        cells = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in rows)
        return f"<table>{cells}</table>"

    def __repr__(self) -> str:
        return f"Result({self.summary['scenario']}, seed {self.summary['seed']}: {self.verdict})"

    def __del__(self) -> None:
        if self._temporary:
            shutil.rmtree(self.path.parent, ignore_errors=True)


def run(
    scenario: str | Path | Scenario,
    *,
    seed: int = 0,
    accounts: int | None = None,
    out: str | Path | None = None,
    progress: bool | Progress = False,
    force: bool = False,
    single_file: bool = False,
    argv: Sequence[str] = (),
    **overrides: Any,
) -> Result:
    """Run a scenario to its end.

    scenario   a name of the catalogue, the path of a file, or a Scenario
    accounts   customers' accounts over all populations, instead of the scenario's own number
    out        folder for the run directory; without it a temporary one, as long as the Result lives
    overrides  keys of the scenario file: `venue={"waterfall": ["book"]}` or `**{"venue.waterfall": ["book"]}`

    Raises CallError or DataError, in one sentence, before anything is written.
    """
    prepared = prepare(
        scenario, seed=seed, accounts=accounts, overrides=tuple(config.flat_overrides(overrides))
    )
    if out is None:
        home = Path(tempfile.mkdtemp(prefix="zerodebt-"))
        return execute(prepared, home / prepared.id, progress, single_file, argv, is_temporary=True)
    path = Path(out) / prepared.id
    if rundir.is_done(path) and not force:
        return Result(path)
    return execute(prepared, path, progress, single_file, argv)


def execute(
    prepared: "Prepared",
    path: Path,
    progress: bool | Progress = False,
    single_file: bool = False,
    argv: Sequence[str] = (),
    *,
    is_temporary: bool = False,
) -> Result:
    """Run into `path`; what stood there is removed."""
    marker = rundir.begin(path, prepared.first_files(argv))
    _to_the_end(prepared, path, marker, progress, single_file, argv)
    return Result(path, is_temporary=is_temporary)


def resume(path: Path, progress: bool | Progress = False, single_file: bool = False) -> Result:
    """Take an unfinished run to its end: the world runs again from its seed.

    Each command and each event must be the one that is on disk, up to where the files end; DataError names
    the first that is not, and nothing is written then.
    """
    if rundir.is_done(path):
        return Result(path)
    if not path.is_dir():
        raise DataError(f"{path}: there is no such run, allowed is a run directory")
    with rundir.take_up(path) as marker:
        meta = path / rundir.META
        seed, argv = rundir.recorded(meta, "seed"), rundir.recorded(meta, "argv")
        versions = rundir.recorded(meta, "versions")
        version = versions.get("zerodebt") if isinstance(versions, dict) else versions
        if version != zerodebt.__version__:
            raise DataError(
                f"{path}: begun by zerodebt {version}, allowed is {zerodebt.__version__}, this one"
            )
        prepared = prepare(path / rundir.CONFIG, seed=seed)
        if prepared.id != (begun := rundir.recorded(meta, "id")):
            raise DataError(
                f"{path}: {rundir.CONFIG}, {rundir.WAYPOINTS} and seed are those of {prepared.id}, "
                f"allowed are those with which it began as {begun}"
            )
        rundir.check_streams(path)
        rundir.go_on(path)
        rundir.write_json(meta, prepared.identity(argv))
        _to_the_end(prepared, path, marker, progress, single_file, argv)
    return Result(path)


def _to_the_end(
    prepared: "Prepared",
    path: Path,
    marker: BinaryIO,
    progress: bool | Progress,
    single_file: bool,
    argv: Sequence[str],
) -> None:
    tell = _teller(progress)
    try:
        with marker, _Signals() as signals:
            prepared.execute(path, tell, single_file, argv, signals)
    finally:
        tell("done", 0, 0)


class _StopAskedError(Exception):
    """Between two steps of the world somebody wants it to stop."""


class _Signals:
    """SIGINT and SIGTERM during a run.

    While the world runs the first one waits until the venue is between two steps; every other one is a
    KeyboardInterrupt at once. Only the main thread hears signals; one that the process was told to ignore,
    as a job in the background is, stays ignored.
    """

    def __init__(self) -> None:
        self.wait = False
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if not self.wait or self.came:
            raise KeyboardInterrupt
        self.came = True

    def heed(self) -> None:
        if self.came:
            raise _StopAskedError


def _silent(_phase: str, _done: int, _whole: int) -> None:
    pass


def _teller(progress: bool | Progress) -> Progress:
    if callable(progress):
        return progress
    if not progress:
        return _silent
    from zerodebt.scenarios.terminal import progress_bar

    return progress_bar()


def prepare(
    scenario: str | Path | Scenario,
    *,
    seed: int = 0,
    accounts: int | None = None,
    overrides: Sequence[tuple[str, Any]] = (),
) -> "Prepared":
    """Everything that can be wrong is found here, before anything is written."""
    if type(seed) is not int or seed < 0:
        raise CallError(f"seed: found {seed!r}, allowed are whole numbers from 0")
    folder = Path()
    if isinstance(scenario, Scenario):
        table = config.to_table(scenario)
        scenario = config.resolve(table, scenario.name, overrides, accounts)
    else:
        scenario, folder = config.load(scenario, overrides, accounts)
    world = config.build(scenario, scenario.name)
    path = waypoints_path(scenario, folder)
    waypoints = read_waypoints(path, scenario, world)
    return Prepared(scenario, world, waypoints, path.read_bytes(), seed)


class Prepared:
    """A checked scenario with its prices and seed."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        waypoints: tuple[Waypoints, ...],
        waypoint_bytes: bytes,
        seed: int,
    ) -> None:
        self.scenario = scenario
        self.world = world
        self.seed = seed
        self._waypoints = waypoints
        self._waypoint_bytes = waypoint_bytes
        self._table = config.to_table(scenario)
        self._table["prices"]["waypoints"] = rundir.WAYPOINTS
        self.id = rundir.run_id(scenario.name, self._table, waypoint_bytes, seed, zerodebt.__version__)
        self._start_ticks = tuple(PricePath(w).ticks_at(world.start_ns) for w in waypoints)
        try:
            self._genesis = self._opened(scenario.accounts)
        except ValueError as error:
            raise CallError(f"{scenario.name}: {self._too_few() or error}") from None
        self._check_opening()

    def _check_opening(self) -> None:
        """The venue takes the rulebook and everything that the world starts with."""
        world, name = self.world, self.scenario.name
        try:
            venue = Venue(world.rules, world.assets, world.instruments)
        except RulesError as error:
            raise CallError(f"{name}: {error}") from None
        for command in self.opening_commands():
            for event in venue.apply(command, world.start_ns).events:
                if isinstance(event, Rejected):
                    raise CallError(
                        f"{name}: the opening is refused: {event.command}: {event.reason}, {event.detail}"
                    )

    def _opened(self, accounts: int | None) -> genesis.Genesis:
        scenario, world = self.scenario, self.world
        return genesis.build(
            scenario.populations,
            world.instruments,
            self._start_ticks,
            config.open_interest_lots(scenario, world, self._start_ticks),
            self.seed,
            world.settle,
            world.atoms_per_usd,
            accounts,
            self._waypoints if scenario.prices.index == "books" else (),
        )

    def _too_few(self) -> str:
        """The sentence on a number of accounts of which some multiple would do, or nothing."""
        few = self.scenario.accounts
        enough = 2 * few if few is not None else _ENOUGH_ACCOUNTS + 1
        while enough <= _ENOUGH_ACCOUNTS:
            try:
                self._opened(enough)
            except ValueError:
                enough *= 2
                continue
            return f"accounts: found {few}, allowed are enough to hold the open interest, as {enough} are"
        return ""

    def first_files(self, argv: Sequence[str]) -> dict[str, bytes]:
        """What a run directory holds from the start: enough to run the world again."""
        import tomli_w

        return {
            rundir.CONFIG: tomli_w.dumps(self._table).encode(),
            rundir.WAYPOINTS: self._waypoint_bytes,
            rundir.META: rundir.as_json(self.identity(argv)),
        }

    def execute(
        self, path: Path, tell: Progress, single_file: bool, argv: Sequence[str], signals: _Signals
    ) -> None:
        """Simulate, then read the events again for the audit, the tables, the claims and the report."""
        seconds: dict[str, float] = {}
        try:
            began = time.perf_counter()
            simulated = simulate(self, path, tell, signals)
            seconds["simulate"] = time.perf_counter() - began
            if simulated.stopped_at_ns is not None:
                said = self._finish_partly(path, simulated, tell, argv, seconds)
                raise KeyboardInterrupt(said)
            self._finish(path, simulated.venue, tell, single_file, argv, seconds)
        except KeyboardInterrupt as stop:
            said = str(stop) or "interrupted without a verdict"
            rundir.interrupt(path, said)
            raise KeyboardInterrupt(f"{said}; `zerodebt resume {path}` goes on with it") from None
        rundir.end(path)

    def _finish_partly(
        self,
        path: Path,
        simulated: "Simulated",
        tell: Progress,
        argv: Sequence[str],
        seconds: dict[str, float],
    ) -> str:
        """The verdict on the world up to where it was stopped, and the sentence on it."""
        from zerodebt.exchange.audit import audit
        from zerodebt.scenarios.witness import differences

        venue, at_ns = simulated.venue, simulated.stopped_at_ns
        assert at_ns is not None
        stopped = f"interrupted at {utc(at_ns)} after {venue.seq} commands"
        if simulated.is_behind:
            return f"{stopped}, before it had caught up with its files"
        rundir.write_json(path / rundir.META, self._meta(path, venue, argv, seconds))
        tell("audit", 0, 0)
        report = audit(rundir.read_batches(path / rundir.EVENTS))
        apart = tuple(differences(report, msgspec.to_builtins(venue.view.statement()), self.world.settle))
        summary = self._summary(report, apart, None) | {"stopped_utc": utc(at_ns)}
        rundir.write_json(path / rundir.SUMMARY, summary)
        return f"{stopped}, {summary['verdict']}"

    def _finish(
        self,
        path: Path,
        venue: Venue,
        tell: Progress,
        single_file: bool,
        argv: Sequence[str],
        seconds: dict[str, float],
    ) -> None:
        from zerodebt.exchange.audit import audit
        from zerodebt.scenarios.measure import measure
        from zerodebt.scenarios.report import write_report
        from zerodebt.scenarios.tables import write_tables
        from zerodebt.scenarios.witness import differences

        def timed(phase: str, action: Callable[[], Any]) -> Any:
            tell(phase, 0, 0)
            began = time.perf_counter()
            answer = action()
            seconds[phase] = time.perf_counter() - began
            return answer

        rundir.write_json(path / rundir.META, self._meta(path, venue, argv, seconds))
        report = timed("audit", lambda: audit(rundir.read_batches(path / rundir.EVENTS)))
        timed("tables", lambda: write_tables(path))
        measures = timed("measure", lambda: steady(measure(path)))
        statement = msgspec.to_builtins(venue.view.statement())
        apart = tuple(differences(report, statement, self.world.settle))
        rundir.write_json(path / rundir.SUMMARY, self._summary(report, apart, measures))
        timed("report", lambda: write_report(path, single_file))
        rundir.write_json(path / rundir.META, self._meta(path, venue, argv, seconds))

    def _meta(
        self, path: Path, venue: Venue, argv: Sequence[str], seconds: Mapping[str, float]
    ) -> dict[str, Any]:
        return self.identity(argv) | {
            "commands": venue.seq,
            "state_hash": venue.state_hash(),
            "settle": self.world.settle,
            "statement": msgspec.to_builtins(venue.view.statement()),
            "journal_sha256": rundir.sha256_of(path / rundir.JOURNAL),
            "events_sha256": rundir.sha256_of(path / rundir.EVENTS),
            "populations": self.populations(),
            "wall_s": {phase: round(value, 3) for phase, value in seconds.items()},
        }

    def identity(self, argv: Sequence[str]) -> dict[str, Any]:
        """The part of meta.json that is known before the run."""
        return {
            "schema": rundir.SCHEMA,
            "id": self.id,
            "scenario": self.scenario.name,
            "seed": self.seed,
            "argv": list(argv),
            "versions": {
                "zerodebt": zerodebt.__version__,
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in _PACKAGES},
            },
        }

    def populations(self) -> list[dict[str, Any]]:
        """Account ranges by population, and what each did."""
        return [
            {
                "name": population.name,
                "kind": spec.__struct_config__.tag,
                "role": population.role,
                "first_account": int(population.accounts[0]),
                "count": len(population.accounts),
                "counters": {key: int(count) for key, count in population.counters.items()},
            }
            for spec, population in zip(self.scenario.populations, self._genesis.populations, strict=True)
        ]

    def opening_commands(self) -> list[Command]:
        """What the house brings, then the populations' accounts, deposits and positions."""
        world = self.world
        endowments = ((INSURANCE, world.insurance_atoms), (HOUSE, world.house_atoms))
        house = [Deposit(world.settle, account, (atoms,)) for account, atoms in endowments if atoms]
        coins = [Deposit(asset, INSURANCE, (atoms,)) for asset, atoms in world.insurance_assets if atoms]
        return [*house, *coins, *self._genesis.commands]

    def start(self, agents: AgentWorld) -> None:
        """Put feed, schedule and populations into the world."""
        world, books = self.world, None
        if self.scenario.prices.index == "books":
            books = BookPrices(world.instruments, self._start_ticks)
        feed = PriceFeed(self._waypoints, world.index_every_ns, world.sources, self._actions(), books)
        feed.start(agents)
        for population in self._genesis.populations:
            population.start(agents)

    def _actions(self) -> list[tuple[int, Command]]:
        symbols = [instrument.symbol for instrument in self.world.instruments]
        found: list[tuple[int, Command]] = []
        for action in self.scenario.schedule:
            command: Command = Tick()
            if isinstance(action, StatusAt):
                number = symbols.index(action.instrument)
                command = SetStatus(number, action.open, action.reduce, action.liquidate)
            elif isinstance(action, SettleAt):
                number = symbols.index(action.instrument)
                price, decimals = action.price, self.world.instruments[number].tick_decimals
                ticks = None if price is None else to_units(price, decimals)
                command = SettleInstrument(number, ticks)
            elif isinstance(action, VariationAt):
                number = symbols.index(action.instrument)
                ticks = to_units(action.price, self.world.instruments[number].tick_decimals)
                command = SettleVariation(number, ticks)
            elif isinstance(action, AuctionAt):
                command = self._auction(action)
            found.append((time_ns(action.at), command))
        return found

    def _auction(self, action: AuctionAt) -> HoldAuction:
        instruments = self.world.instruments
        accounts: dict[str, int] = {}
        for population in self._genesis.populations:
            if isinstance(population, Members):
                names = (member.name for member in population.params.members)
                accounts |= dict(zip(names, population.accounts.tolist(), strict=True))
        symbols = [instrument.symbol for instrument in instruments]
        numbers = tuple(sorted(symbols.index(symbol) for symbol in action.bids[0].prices))
        bids = tuple(
            AuctionBid(
                accounts[bid.account],
                tuple(to_units(bid.prices[symbols[n]], instruments[n].tick_decimals) for n in numbers),
            )
            for bid in action.bids
        )
        return HoldAuction(accounts[action.account], numbers, bids)

    def _summary(
        self, report: "Report", apart: Sequence[str], measures: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Without measures: of a run that was stopped, whose verdict is partial and whose claims are open."""
        is_partial = measures is None
        checked: tuple[claims.Checked, ...] = ()
        if measures is not None:
            checked = claims.check(self.scenario.claims, {**audit_measures(report), **measures})
        asset = self.world.assets[self.world.settle]
        owed = sum(share.atoms for share in report.receivables)
        verdict = report.verdict if report.agrees and not apart else "NO VERDICT"
        is_kept = self.world.rules.promise == "none" or verdict.startswith("HELD")

        def money(atoms: int) -> str:
            return from_units(atoms, asset.decimals)

        return {
            "schema": rundir.SCHEMA,
            "id": self.id,
            "scenario": self.scenario.name,
            "title": self.scenario.title,
            "rulebook": self.world.rules.name,
            "seed": self.seed,
            "version": zerodebt.__version__,
            "start_utc": utc(self.world.start_ns),
            "end_utc": utc(self.world.end_ns),
            "settle_asset": asset.symbol,
            "partial": is_partial,
            "verdict": f"PARTIAL: {verdict}" if is_partial else verdict,
            "promise": self.world.rules.promise,
            "promise_kept": None if is_partial else is_kept,
            "audit": self._audit_summary(report, apart),
            "paid_by_stage": {stage: money(atoms) for stage, atoms in report.paid_by_stage.items()},
            "paid": [
                {"stage": paid.stage, "payer": self.account_name(paid.payer), "amount": money(paid.atoms)}
                for paid in sorted(report.paid, key=lambda p: -p.atoms)[:100]
            ],
            "received_by_stage": {stage: money(atoms) for stage, atoms in report.received_by_stage.items()},
            "received": [
                {"stage": got.stage, "account": self.account_name(got.payer), "amount": money(got.atoms)}
                for got in sorted(report.received, key=lambda r: -r.atoms)[:100]
            ],
            "residual_arose": self._by_asset(report.residual_arose_atoms),
            "residual_open": self._by_asset(report.residual_open_atoms),
            "residuals": [
                {
                    "asset": self.world.assets[r.asset].symbol,
                    "origin": self.account_name(r.origin),
                    "arose": from_units(r.arose_atoms, self.world.assets[r.asset].decimals),
                    "open": from_units(r.open_atoms, self.world.assets[r.asset].decimals),
                }
                for r in sorted(report.residuals, key=lambda r: -r.open_atoms)
            ],
            "receivables": {
                "count": len(report.receivables),
                "amount": money(owed),
                "expected_back": money(mul_ppb_floor(owed, self.world.rules.recourse.recovery_ppb)),
            },
            "overcharge": money(sum(share.atoms for share in report.overcharge_by_payer)),
            "harm": money(report.harm_atoms),
            "interventions": [{"at": utc(i.time_ns), "what": i.what} for i in report.interventions],
            "metrics": dict(measures or {}),
            "claims": [msgspec.to_builtins(claim) for claim in checked],
            "claims_by_evidence": [msgspec.to_builtins(score) for score in claims.scores(checked)],
        }

    def _audit_summary(self, report: "Report", apart: Sequence[str]) -> dict[str, Any]:
        return {
            "agrees": report.agrees and not apart,
            "differences": list(apart),
            "findings": [msgspec.to_builtins(finding) for finding in report.findings[:20]],
            "findings_count": report.findings_count,
            "clauses": [msgspec.to_builtins(clause) for clause in report.clauses],
            "holdings_digest": report.holdings_digest,
            "counts": report.counts,
        }

    def _by_asset(self, atoms: Mapping[int, int]) -> dict[str, str]:
        assets = self.world.assets
        return {assets[n].symbol: from_units(value, assets[n].decimals) for n, value in atoms.items()}

    def account_name(self, account: int) -> str:
        """A house account by its name, others as population and number."""
        if account < FIRST_ACCOUNT:
            return HOUSE_ACCOUNT_NAMES[account] if account < len(HOUSE_ACCOUNT_NAMES) else str(account)
        for population in self._genesis.populations:
            first = int(population.accounts[0]) if len(population.accounts) else -1
            if first >= 0 and first <= account < first + len(population.accounts):
                return f"{population.name} {account}"
        return str(account)


def steady(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures at twelve significant digits: the last ones of a float sum depend on the order of threads."""
    return {k: float(f"{v:.12g}") if isinstance(v, float) else v for k, v in measures.items()}


def audit_measures(report: "Report") -> dict[str, Any]:
    """What the second witness says, as figures that a claim can name."""
    return {
        "verdict_holds": int(report.verdict.startswith("HELD")),
        "audit_findings": report.findings_count,
        "value_conserved": int(all(clause.holds for clause in report.clauses if clause.letter == "e")),
        "nobody_below_zero": int(all(clause.holds for clause in report.clauses if clause.letter == "a")),
    }


class Simulated(NamedTuple):
    """The venue after its last command, and when the world was stopped before its end."""

    venue: Venue
    stopped_at_ns: int | None
    is_behind: bool
    """It was stopped before it had come again to where an earlier run ended."""


def simulate(prepared: Prepared, path: Path, tell: Progress, signals: _Signals) -> Simulated:
    """Drive the venue; each command is in the journal before it is applied."""
    world = prepared.world
    venue = Venue(world.rules, world.assets, world.instruments)
    recorder = Recorder(path)
    signals.wait = True
    stopped_at_ns = None
    try:
        recorder.batch(venue.opening())

        def send(command: Command, at_ns: int) -> Batch:
            recorder.command(Stamped(venue.seq + 1, at_ns, command))
            batch = venue.apply(command, at_ns)
            recorder.batch(batch)
            if isinstance(command, SetStatus | SettleInstrument | SettleVariation | HoldAuction):
                _must_be_done(batch)
            return batch

        for command in prepared.opening_commands():
            batch = send(command, world.start_ns)
            for event in batch.events:
                assert not isinstance(event, Rejected), f"opening refused: {event.reason}, {event.detail}"
        agents = AgentWorld(venue.view, send, world.start_ns, world.end_ns)
        prepared.start(agents)
        whole = (world.end_ns - world.start_ns) // SECOND_NS

        def on_progress(elapsed_ns: int) -> None:
            tell("simulate", elapsed_ns // SECOND_NS, whole)
            signals.heed()

        try:
            agents.run(on_progress, SECOND_NS)
            recorder.end()
        except _StopAskedError:
            stopped_at_ns = agents.now_ns
        venue.check()
    finally:
        signals.wait = False
        recorder.close()
    return Simulated(venue, stopped_at_ns, recorder.is_behind)


def _must_be_done(batch: Batch) -> None:
    """What the schedule asks of the venue is part of the scenario; a refusal ends the run."""
    for event in batch.events:
        if isinstance(event, Rejected):
            at = utc(batch.time_ns)
            raise DataError(f"schedule: {event.command} at {at} is refused: {event.reason}, {event.detail}")


class Replayed(NamedTuple):
    """A journal's commands applied to a venue of their own."""

    commands: int
    state_hash: str
    recorded: str | None
    """What the run said was its state hash; None of one that did not come so far."""
    broken_off: str
    """The sentence on the frame that a killed run left unfinished, or nothing."""


def replay_run(path: Path) -> Replayed:
    """Replay a run's journal, of a killed run up to its last whole command.

    Of a finished run every command must be there, else DataError; so is any other damage.
    """
    if not (path / rundir.CONFIG).is_file():
        raise DataError(f"{path}: found no {rundir.CONFIG}, allowed is a run directory")
    scenario, _ = config.load(path / rundir.CONFIG)
    world = config.build(scenario, str(path / rundir.CONFIG))
    meta, journal = path / rundir.META, path / rundir.JOURNAL
    is_done = rundir.is_done(path)
    is_told = is_done or (meta.is_file() and rundir.says(meta, "state_hash"))
    state_hash = str(rundir.recorded(meta, "state_hash")) if is_told else None
    venue = Venue(world.rules, world.assets, world.instruments)
    broken_off = ""
    try:
        for _ in replay(venue, rundir.read_commands(journal)):
            pass
    except rundir.BrokenOffError as error:
        if is_done:
            raise
        broken_off = str(error)
    if is_told and venue.seq != (commands := rundir.recorded(meta, "commands")):
        raise DataError(f"{journal}: ends after command {venue.seq}, the run had {commands}")
    return Replayed(venue.seq, venue.state_hash(), state_hash, broken_off)
