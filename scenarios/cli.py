"""The command line. What costs time is imported where it is used, so that `--help` answers at once."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, Token

import zerodebt

if TYPE_CHECKING:
    from zerodebt.scenarios.orders import Session
    from zerodebt.scenarios.runner import Result
    from zerodebt.scenarios.studies import Done, Study

OK, BROKEN, WRONG_CALL, BAD_DATA, INTERRUPTED = 0, 1, 2, 3, 130

app = App(
    name="zerodebt",
    version=zerodebt.__version__,
    help="""Replay the days on which exchanges nearly broke: was every debt made zero, and who paid for it?

    Examples:
      zerodebt run 2025-10-11
      zerodebt run 2025-10-11 --accounts 2000 --set 'venue.waterfall=["book"]'
      zerodebt show 2025-10-11 --toml > mine.toml
      zerodebt ask case.json --json

    Exit codes: 0 done and the promise kept, 1 promise broken or audit disagrees (with --strict: or a claim
    failed), 2 wrong call or a question without an answer, 3 data problem, 130 interrupted.""",
    help_format="plaintext",
    group_parameters=Group("Options"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)


def _whole(_kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number as it was written; by itself cyclopts would round 1.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"found {text!r}, allowed are whole numbers") from None


Sets = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", help="key.of.the.file=value in TOML; repeatable, the last one wins"),
]
Out = Annotated[Path, Parameter(help="folder of the run directories")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="the result as JSON on standard output")]


@app.command(name="list", sort_key=1)
def list_(what: Literal["scenarios", "studies", "venues"] | None = None, /, *, as_json: Json = False) -> int:
    """What is built in, one line each: scenarios, studies, venues with the days of their rules."""
    from zerodebt.scenarios.catalogue import scenario_rows, study_rows, venue_rows

    tables = {}
    if what in (None, "scenarios"):
        tables["scenarios"] = scenario_rows()
    if what in (None, "studies"):
        tables["studies"] = study_rows()
    if what in (None, "venues"):
        tables["venues"] = venue_rows()
    if as_json:
        _write_json(tables if what is None else tables[what])
        return OK
    from zerodebt.scenarios.terminal import print_table

    for n, rows in enumerate(tables.values()):
        shown = [tuple(" ".join(v) if isinstance(v, list) else v for v in row.values()) for row in rows]
        print_table("" if n == 0 else " ", tuple(rows[0]), shown)
    return OK


@app.command(sort_key=2)
def show(
    scenario: str,
    /,
    *,
    toml: Annotated[bool, Parameter(negative="", help="as a file to edit and run")] = False,
    sets: Sets = (),
    as_of: Annotated[str | None, Parameter(help="of a venue: the day whose rules hold, YYYY-MM-DD")] = None,
    as_json: Json = False,
) -> int:
    """A scenario: what it is, what it claims; with --toml the resolved file. A study; a venue: its rulebook.

    Either is a name of `zerodebt list` or the path of a .toml file.
    """
    from zerodebt.exchange.rules import profile_names
    from zerodebt.scenarios import config, rulebooks, studies
    from zerodebt.scenarios.quantities import CallError, nearest

    venues, names = profile_names(), config.scenario_names()
    is_file = scenario.endswith(rulebooks.SUFFIX)
    if scenario in venues or (is_file and rulebooks.is_rulebook(Path(scenario))):
        return _show_venue(scenario, as_of, sets, as_json=as_json)
    if studies.is_study(scenario):
        return _show_study(scenario, toml=toml)
    if not is_file and scenario not in names:
        raise CallError(
            f"{scenario!r} is not known{nearest(scenario, [*names, *venues])}; allowed are the scenarios "
            f"{', '.join(names)}, the venues {', '.join(venues)} and the studies of `zerodebt list studies`"
        )
    if as_of is not None or as_json:
        raise CallError(f"{scenario} is no venue, and --as-of and --json are of venues")
    loaded, folder = config.load(scenario, [config.parse_override(text) for text in sets])
    if toml:
        sys.stdout.write(config.to_toml(config.anchored(loaded, folder)))
        return OK
    from zerodebt.scenarios.claims import allowed_text
    from zerodebt.scenarios.terminal import console, print_table

    out = console()
    out.print(f"{loaded.title}\n{loaded.about.strip()}\n", markup=False)
    rules = loaded.venue
    out.print(f"{loaded.clock.start} to {loaded.clock.end}, index every {loaded.clock.index_every_s} s")
    out.print(f"venue {rules['name']}: {' -> '.join(rules['waterfall'])}, promise {rules['promise']}")
    out.print(f"instruments {', '.join(spec.symbol for spec in loaded.instruments)}")
    out.print(f"populations {', '.join(spec.name for spec in loaded.populations) or 'none'}\n")
    rows = [(claim.id, claim.evidence, allowed_text(claim), claim.text) for claim in loaded.claims]
    if rows:
        print_table("", ("claim", "evidence", "expected", "says"), rows)
    return OK


def _show_study(name: str, *, toml: bool) -> int:
    """What it is, its arms, and what it claims of them; or its file."""
    from zerodebt.scenarios import studies
    from zerodebt.scenarios.terminal import console, print_table

    if toml:
        sys.stdout.write((studies.folder() / f"{name}.toml").read_text())
        return OK
    study = studies.load(name)
    console().print(f"{study.title}\n{study.about.strip()}\n", markup=False)
    print_table("", ("arm", "parameters"), [(arm, str(p)) for arm, p in studies.arms_of(study).items()])
    rows = [(c.id, c.evidence, studies.figure_text(c), studies.allowed_text(c), c.text) for c in study.claims]
    print_table(" ", ("claim", "evidence", "figure", "expected", "says"), rows)
    return OK


def _show_venue(name: str, as_of: str | None, sets: Sequence[str], *, as_json: bool) -> int:
    """The rulebook with every default, its assets and instruments."""
    from zerodebt.scenarios.catalogue import venue_table
    from zerodebt.scenarios.quantities import CallError

    if sets:
        raise CallError(f"--set is of scenarios, and {name} is a venue")
    table = venue_table(name, as_of)
    if as_json:
        _write_json(table)
        return OK
    import tomli_w

    sys.stdout.write(tomli_w.dumps(table))
    return OK


@app.command(sort_key=3)
def run(
    scenario: str,
    /,
    *,
    seed: Annotated[int, Parameter(help="whose luck", converter=_whole)] = 0,
    accounts: Annotated[
        int | None,
        Parameter(help="customers' accounts instead of the scenario's number", converter=_whole),
    ] = None,
    sets: Sets = (),
    out: Out = Path("runs"),
    as_json: Json = False,
    strict: Annotated[bool, Parameter(negative="", help="exit 1 when a predicted claim failed")] = False,
    force: Annotated[bool, Parameter(negative="", help="repeat a run that is there already")] = False,
    single_file: Annotated[
        bool, Parameter(negative="", help="put the chart script into report.html")
    ] = False,
    seeds: Annotated[
        int | None, Parameter(help="run seeds 0 to N-1 and print the claims over all", converter=_whole)
    ] = None,
) -> int:
    """Run a scenario: a name of `zerodebt list` or the path of a .toml file; or a study, in all its arms."""
    from zerodebt.scenarios import config, rundir, runner, studies
    from zerodebt.scenarios.terminal import is_interactive

    overrides = [config.parse_override(text) for text in sets]
    if studies.is_study(scenario):
        study = studies.load(scenario, seeds, overrides)
        return _show_findings([_run_study(study, out, force=force)], as_json=as_json, strict=strict)
    if seeds is not None:
        return _run_seeds(scenario, seeds, accounts, overrides, out, as_json=as_json, force=force)
    prepared = runner.prepare(scenario, seed=seed, accounts=accounts, overrides=overrides)
    path = out / prepared.id
    if rundir.is_done(path) and not force:
        _say(f"{path} is there already; --force repeats it")
        result = runner.Result(path)
    else:
        result = runner.execute(prepared, path, is_interactive(), single_file, sys.argv[1:])
    return _show_result(result, path, as_json=as_json, strict=strict)


def _show_result(result: "Result", path: Path, *, as_json: bool, strict: bool) -> int:
    from zerodebt.scenarios import rundir

    if as_json:
        _write_json(result.summary | {"path": str(path)})
    else:
        from zerodebt.scenarios.terminal import print_result

        print_result(result.summary, f"{path}/report.html", rundir.recorded(path / rundir.META, "wall_s"))
    if strict and any(claim.counts and not claim.held for claim in result.claims):
        return BROKEN
    return result.exit_code


def _run_seeds(
    scenario: str,
    seeds: int,
    accounts: int | None,
    overrides: Sequence[tuple[str, Any]],
    out: Path,
    *,
    as_json: bool,
    force: bool,
) -> int:
    """Each seed has a run directory of its own; one that is there already is read."""
    from zerodebt.scenarios import runner
    from zerodebt.scenarios.quantities import CallError
    from zerodebt.scenarios.terminal import is_interactive, print_seeds

    if seeds < 1:
        raise CallError(f"--seeds: found {seeds}, allowed are whole numbers from 1")
    results = []
    for seed in range(seeds):
        prepared = runner.prepare(scenario, seed=seed, accounts=accounts, overrides=overrides)
        path = out / prepared.id
        if force or not (path / "DONE").exists():
            runner.execute(prepared, path, is_interactive(), argv=sys.argv[1:])
        results.append(runner.Result(path))
    if as_json:
        _write_json([result.summary for result in results])
    else:
        print_seeds([result.summary for result in results])
    return max(result.exit_code for result in results)


@app.command(sort_key=4)
def resume(
    run_directory: Path,
    /,
    *,
    as_json: Json = False,
    strict: Annotated[bool, Parameter(negative="", help="exit 1 when a predicted claim failed")] = False,
    single_file: Annotated[
        bool, Parameter(negative="", help="put the chart script into report.html")
    ] = False,
) -> int:
    """Take a run that was killed or interrupted to its end, with what it would have come to by itself."""
    from zerodebt.scenarios import runner
    from zerodebt.scenarios.terminal import is_interactive

    result = runner.resume(run_directory, is_interactive(), single_file)
    return _show_result(result, run_directory, as_json=as_json, strict=strict)


@app.command(sort_key=5)
def audit(run_directory: Path, /, *, as_json: Json = False) -> int:
    """Read a run's events again with the second witness; 0 when it agrees, whatever the verdict."""
    from zerodebt.exchange.audit import audit as second_opinion
    from zerodebt.scenarios import rundir
    from zerodebt.scenarios.witness import differences

    path = rundir.finished(run_directory)
    recorded = rundir.recorded(path / rundir.SUMMARY, "verdict")
    report = second_opinion(rundir.read_finished(path))
    settle = rundir.recorded(path / rundir.META, "settle")
    apart = list(differences(report, rundir.recorded(path / rundir.META, "statement"), settle))
    agrees = report.agrees and report.verdict == recorded and not apart
    if as_json:
        import msgspec

        said_of_it = {"agrees": agrees, "recorded": recorded, "differences": apart}
        _write_json({**msgspec.to_builtins(report, str_keys=True), **said_of_it})
        return OK if agrees else BROKEN
    from zerodebt.scenarios.terminal import console, print_table

    said = console()
    said.print(f"{report.verdict}; the run says {recorded}; the audit {'agrees' if agrees else 'DISAGREES'}")
    clauses = [
        (
            c.letter,
            "holds" if c.holds else "some" if c.letter in "hi" else "broken",
            ", ".join(f"{k} {v}" for k, v in c.figures.items()),
        )
        for c in report.clauses
    ]
    print_table("", ("clause", "", "figures (atoms)"), clauses)
    for sentence in apart:
        said.print(sentence, markup=False)
    for finding in report.findings[:20]:
        said.print(f"{finding.rule} at command {finding.seq}: {finding.text}", markup=False)
    return OK if agrees else BROKEN


@app.command(sort_key=6)
def replay(
    file: Path,
    /,
    *,
    profile: Annotated[
        str | None, Parameter(help="a venue of `zerodebt list venues` or a .toml file, instead of the file's")
    ] = None,
    sets: Sets = (),
) -> int:
    """Apply a file of commands, events out as JSON lines; or a run directory's journal, for its hash."""
    if file.is_dir():
        return _replay_run(file)
    from zerodebt.scenarios import config, orders, questions
    from zerodebt.scenarios.quantities import DataError

    text = questions.read_text(file)
    if questions.is_case(text):
        raise DataError(f"{file}: found a case, which `zerodebt ask` answers; allowed is a file of commands")
    overrides = [config.parse_override(text) for text in sets]
    session = orders.read(text.splitlines(), file.name, profile, overrides, file.parent)
    _replay_session(session)
    return OK


def _replay_session(session: "Session") -> None:
    import msgspec

    from zerodebt.exchange.venue import Venue
    from zerodebt.scenarios import orders

    settle = [asset.symbol for asset in session.assets].index(session.rules.settle_asset)
    venue = Venue(session.rules, session.assets, session.instruments)
    lines = orders.EventLines(session.assets, session.instruments, settle, session.names)
    write = sys.stdout.buffer.write
    labels: dict[str, int] = {}
    for table in lines.tables(venue.opening()):
        write(msgspec.json.encode(table) + b"\n")
    for step in session.steps:
        command = step.command
        if step.refers is not None:
            command = msgspec.structs.replace(command, order_id=labels.get(step.refers, 0))
        batch = venue.apply(command, step.at_ns)
        if step.label is not None:
            labels[step.label] = orders.order_id_of(batch) or 0
        for table in lines.tables(batch):
            write(msgspec.json.encode(table) + b"\n")
    sys.stdout.buffer.flush()
    _say(f"{venue.seq} commands, state hash {venue.state_hash()}")


def _replay_run(path: Path) -> int:
    from zerodebt.scenarios import runner
    from zerodebt.scenarios.terminal import console

    found = runner.replay_run(path)
    same = (
        ""
        if found.recorded is None
        else ", as recorded"
        if found.recorded == found.state_hash
        else f", RECORDED WAS {found.recorded}"
    )
    console().print(f"{found.commands} commands, state hash {found.state_hash}{same}")
    if found.broken_off:
        _say(f"the run did not come to its end: {found.broken_off}")
    return OK if found.recorded in (None, found.state_hash) else BROKEN


@app.command(sort_key=7)
def explain(
    run_directory: Path,
    /,
    *,
    account: Annotated[int, Parameter(help="account number, as in the tables")],
    as_json: Json = False,
) -> int:
    """Why was this account liquidated or deleveraged: the numbers, line by line."""
    from zerodebt.scenarios import rundir
    from zerodebt.scenarios.explain import explain as lines_of

    path = rundir.finished(run_directory)
    explanation = lines_of(rundir.read_finished(path), account)
    if as_json:
        import msgspec

        _write_json(msgspec.to_builtins(explanation))
        return OK
    from zerodebt.scenarios.terminal import print_explanation

    print_explanation(explanation)
    return OK


@app.command(sort_key=8)
def report(
    run_directory: Path,
    /,
    *,
    single_file: Annotated[
        bool, Parameter(negative="", help="put the chart script into report.html")
    ] = False,
) -> int:
    """Write report.html of a finished run again."""
    from zerodebt.scenarios import rundir
    from zerodebt.scenarios.report import write_report
    from zerodebt.scenarios.terminal import console

    path = rundir.finished(run_directory)
    write_report(path, single_file)
    console().print(str(path / rundir.REPORT), markup=False)
    return OK


@app.command(sort_key=9)
def compare(first: Path, second: Path, /, *, as_json: Json = False) -> int:
    """Two runs side by side: verdict, claims, who paid, liquidations, deleveraging and digest."""
    from zerodebt.scenarios.compare import compare as compared

    found = compared(first, second)
    if found.warning:
        _say(f"zerodebt: warning: {found.warning}")
    if as_json:
        import msgspec

        _write_json(msgspec.to_builtins(found))
        return OK
    from zerodebt.scenarios.terminal import print_comparison

    print_comparison(found)
    return OK


@app.command(sort_key=10)
def ask(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)] = Path("-"),
    /,
    *,
    schema: Annotated[bool, Parameter(negative="", help="print the JSON Schema of a case")] = False,
    as_json: Json = False,
) -> int:
    """Ask about one account: liquidation price, what-if, largest order and more, with the rules' sources.

    FILE is a case in JSON, a list of cases or one case a line; - is standard input, line by line.
    """
    from zerodebt.exchange.cases import UnanswerableError
    from zerodebt.exchange.cases import schema as schema_of_cases
    from zerodebt.scenarios import questions
    from zerodebt.scenarios.quantities import CallError

    if str(file).startswith("--"):
        raise CallError(f"unknown option {file}, allowed are --schema and --json")
    if schema:
        _write_json(schema_of_cases())
        return OK
    is_batch, texts = questions.texts(file)
    folder = Path() if str(file) == "-" else file.parent
    code = OK
    for n, reply in enumerate((questions.reply(text, folder) for text in texts), 1):
        if not questions.is_answered(reply):
            code = WRONG_CALL
        if as_json:
            table = questions.error_table(reply) if isinstance(reply, UnanswerableError) else reply
            _write_json(table, on_one_line=is_batch)
            sys.stdout.flush()
            continue
        place = f"case {n}: " if is_batch else ""
        if isinstance(reply, UnanswerableError):
            _say(f"zerodebt: {place}{reply}")
            continue
        from zerodebt.scenarios.terminal import print_answers

        print_answers(reply, place)
        for answered in reply["answers"]:
            if "error" in answered:
                _say(f"zerodebt: {place}{answered['message']}")
    return code


@app.command(sort_key=10)
def attack(attack_id: str | None = None, /, *, sets: Sets = (), as_json: Json = False) -> int:
    """Play the economic attacks (ATK-01, ...; all without an id) on a venue that falls to them and on ours.

    Gains are the attacker's, over all his accounts at the fair price. --set changes our venue:
    venue.mark.band_ppb=0. Exit code 1 when the gain on ours is above what the attack allows.
    """
    from zerodebt.scenarios import attacks, config

    overrides = [config.parse_override(text) for text in sets]
    verdicts = [attacks.judge(chosen, overrides) for chosen in attacks.chosen(attack_id)]
    if as_json:
        _write_json([attacks.row(verdict) for verdict in verdicts])
    else:
        from zerodebt.scenarios.terminal import print_attacks

        print_attacks(verdicts)
    return OK if all(verdict.is_bounded for verdict in verdicts) else BROKEN


@app.command(sort_key=11)
def validate(
    *rows: str,
    out: Out = Path("runs"),
    as_json: Json = False,
    force: Annotated[bool, Parameter(negative="", help="compute again what is there already")] = False,
) -> int:
    """Hold the models against the literature: V01, V20, ..., or all. Exit code 1 when a figure is off."""
    return _answer_rows("V", rows, out, as_json=as_json, force=force)


@app.command(sort_key=12)
def claims(
    *rows: str,
    out: Out = Path("runs"),
    as_json: Json = False,
    write: Annotated[Path | None, Parameter(help="write the page of all claims here")] = None,
) -> int:
    """The founding claims F01 to F105, each held against its study; goes on where it was broken off.

    A failed claim is a finding, not an error: the exit code is 0.
    """
    from zerodebt.scenarios import claims_page, rundir
    from zerodebt.scenarios.quantities import CallError

    table = claims_page.rows()
    for row in rows:
        if row in table and table[row].not_modelled:
            raise CallError(f"row {row} is not modelled: {table[row].not_modelled}")
    if write is None:
        _answer_rows("F", rows, out, as_json=as_json, force=False)
        return OK
    done = [_run_study(study, out, force=False) for study in claims_page.studies_of_rows()]
    rundir.write_bytes(write, claims_page.page(done).encode())
    return OK


def _answer_rows(letter: str, rows: Sequence[str], out: Path, *, as_json: bool, force: bool) -> int:
    from zerodebt.scenarios import studies

    done = [_run_study(study, out, force=force) for study in studies.answering(letter, rows)]
    return _show_findings(done, as_json=as_json, strict=True)


def _run_study(study: "Study", out: Path, *, force: bool) -> "Done":
    from zerodebt.scenarios import studies
    from zerodebt.scenarios.terminal import tell_cells

    return studies.run(study, out, tell=tell_cells, force=force)


def _show_findings(done: "Sequence[Done]", *, as_json: bool, strict: bool) -> int:
    if as_json:
        from zerodebt.scenarios import studies

        _write_json([studies.summary(one) for one in done])
    else:
        from zerodebt.scenarios.terminal import print_findings

        print_findings([finding for one in done for finding in one.findings])
    failed = any(not finding.held for one in done for finding in one.findings)
    return BROKEN if strict and failed else OK


def _say(text: str) -> None:
    """To people, on standard error."""
    sys.stderr.write(f"{text}\n")


def _write_json(value: Any, *, on_one_line: bool = False) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=None if on_one_line else 2) + "\n")


def call(arguments: Sequence[str] | None = None) -> int:
    """One call of the command line: its exit code. Every problem is one sentence on standard error."""
    try:
        answer = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _say(f"zerodebt: {' '.join(str(error).split())}")
        return WRONG_CALL
    except KeyboardInterrupt as stop:
        _say(f"zerodebt: {str(stop) or 'interrupted'}")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(f"zerodebt: {place}{error.strerror}")
        return BAD_DATA
    except ValueError as error:
        code = _code_of(error)
        if code is None:
            raise
        _say(f"zerodebt: {error}")
        return code
    return answer if isinstance(answer, int) else OK


def _code_of(error: ValueError) -> int | None:
    """Exit code of a problem that is the caller's or the data's; None: ours, with its traceback."""
    from zerodebt.exchange.rules import RulesError
    from zerodebt.scenarios.quantities import CallError, DataError

    if isinstance(error, CallError | RulesError):
        return WRONG_CALL
    return BAD_DATA if isinstance(error, DataError) else None


def main() -> None:
    """Entry point of the command `zerodebt`."""
    sys.exit(call())
