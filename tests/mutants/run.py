"""Mutation testing of the modules that move money: `make mutants MODULE=margin`.

mutmut changes one operator, constant or argument at a time and runs the tests of `modules.toml` that reach
the changed function. It works on a copy under `.mutants/<module>`, where its verdicts stay: a run that was
broken off goes on, a changed function is mutated anew, and after a change of the tests the survivors are
tried again. (Deleting that folder starts over.) The outcome is written to `tests/mutants/<module>.json`.

Noticed is a mutant that a test failed on (`killed`), and one that ran out of time (`timed out`), because
whoever runs the tests sees that too. Both shares count the two together: `of tried` leaves out mutants that
are untried, `of all` holds them against the tests. Equivalent ones are in neither.

mutmut leaves constants, properties and other decorated functions alone; `bugs.toml` breaks those by hand.
"""

import argparse
import ast
import copy
import difflib
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KILLED = {1}
"""pytest's exit code when a test failed."""
TIMED_OUT = {-24, 24, 36, 152, 255}
"""mutmut's codes of a mutant whose tests ran out of time: the processor's time is
limited (24, SIGXCPU, also as 152), or the clock's (36, 255)."""


def modules() -> dict[str, dict[str, Any]]:
    return tomllib.loads((HERE / "modules.toml").read_text())


def mirror(source: Path, target: Path) -> None:
    """Copy the files that differ, so that mutmut sees by their times which ones changed."""
    for path in sorted(source.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        to = target / path.relative_to(source)
        if not to.exists() or to.read_bytes() != path.read_bytes():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def prepare(module: dict[str, Any], scratch: Path) -> None:
    for folder in ("exchange", "agents", "scenarios"):
        mirror(ROOT / folder, scratch / "zerodebt" / folder)
    for kept in (scratch / "mutants" / "zerodebt").rglob("*.*"):
        if kept.suffix in (".toml", ".csv"):
            kept.unlink()  # mutmut copies data once: of a profile that changed it would keep the old text
    for name in ("__init__.py", "py.typed"):
        shutil.copy2(ROOT / "zerodebt" / name, scratch / "zerodebt" / name)
    for folder in ("tests", "docs"):
        mirror(ROOT / folder, scratch / folder)
    settings = {
        "source_paths": ["zerodebt"],
        "only_mutate": ["zerodebt/" + module["file"]],
        "also_copy": ["docs"],
        "pytest_add_cli_args": ["-p", "tests.mutants.profile", "--hypothesis-profile=mutants"],
        "pytest_add_cli_args_test_selection": [f"tests/{name}" for name in module["tests"]],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    # On a busy machine short tests take many times as long: only what never ends may run out of time.
    lines += ["timeout_multiplier = 3", "timeout_constant = 8"]
    lines += ["use_git_change_detection = false", 'on_dependency_change = "ignore"']
    text = (ROOT / "pyproject.toml").read_text() + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n"
    (scratch / "pyproject.toml").write_text(text)


def verdicts(module: dict[str, Any], scratch: Path) -> dict[str, int | None]:
    """Exit code by mutant; None: not tried yet."""
    meta = scratch / "mutants" / "zerodebt" / (module["file"] + ".meta")
    codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    return codes


def run_mutmut(scratch: Path, jobs: int, names: list[str]) -> None:
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "run", "--max-children", str(jobs), *names], cwd=scratch, check=True)


def mutate(module: dict[str, Any], scratch: Path, jobs: int) -> None:
    """Try every mutant that has no verdict, and those that survived other tests than today's."""
    prepare(module, scratch)
    tests = b"".join((ROOT / "tests" / name).read_bytes() for name in module["tests"])
    digest = hashlib.sha256(tests).hexdigest()
    seen = scratch / "tests.sha256"
    if not seen.exists():
        seen.write_text(digest)
    changed = seen.read_text() != digest
    run_mutmut(scratch, jobs, [])
    left = [name for name, code in verdicts(module, scratch).items() if code not in KILLED | TIMED_OUT]
    if changed and left:
        run_mutmut(scratch, jobs, left)
    seen.write_text(digest)


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """Every function of a mutated file by its mangled name."""
    tree = ast.parse(path.read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def without_messages(function: ast.FunctionDef) -> str:
    """A function as text, without its name and what its assertions say when they fail."""
    function = copy.deepcopy(function)
    function.name, function.decorator_list = "_", []
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            node.msg = None
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = []
    return ast.unparse(function)


def change(original: ast.FunctionDef, mutant: ast.FunctionDef) -> tuple[str, str]:
    """The lines that differ, stripped: before and after."""
    before, after = [], []
    was, now = (ast.unparse(ast.Module(f.body, [])).splitlines() for f in (original, mutant))
    if ast.dump(original.args) != ast.dump(mutant.args):
        before, after = [ast.unparse(original.args)], [ast.unparse(mutant.args)]
    for line in difflib.ndiff(was, now):
        if line.startswith("- "):
            before.append(line[2:].strip())
        elif line.startswith("+ "):
            after.append(line[2:].strip())
    return "\n".join(before), "\n".join(after)


def equivalents(module: str) -> dict[tuple[str, str, str], str]:
    """(function, before, after) -> why no test can tell the mutant from the original."""
    table = tomllib.loads((HERE / "equivalent.toml").read_text())
    return {
        (entry["function"], before, after): entry["why"]
        for entry in table.get(module, [])
        for before, after in entry["changes"]
    }


def outcome(name: str, module: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """The module's figures, its survivors, and the equivalent mutants with their reasons."""
    known = equivalents(name)
    code = functions(scratch / "mutants" / "zerodebt" / module["file"])
    counts: Counter[str] = Counter()
    survived, same = [], []
    for key, exit_code in sorted(verdicts(module, scratch).items()):
        if exit_code is None:
            counts["untried"] += 1
            continue
        if exit_code in KILLED | TIMED_OUT:
            counts["killed" if exit_code in KILLED else "timed_out"] += 1
            continue
        mangled = key.rpartition(".")[2]
        stem = mangled.rpartition("__mutmut_")[0]
        original, mutant = code[stem + "__mutmut_orig"], code[mangled]
        function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        before, after = change(original, mutant)
        why = known.get((function, before, after))
        if why is None and without_messages(original) == without_messages(mutant):
            why = "what an assertion says when it fails is read by nobody"
        found = {"function": function, "before": before, "after": after}
        if why is None:
            survived.append(found)
        else:
            same.append({**found, "why": why})
    return {
        "module": module["file"],
        "mutants": sum(counts.values()) + len(survived) + len(same),
        "killed": counts["killed"],
        "timed_out": counts["timed_out"],
        "survived": len(survived),
        "equivalent": len(same),
        "untried": counts["untried"],
        "survivors": survived,
        "equivalents": same,
    }


COLUMNS = ("mutants", "killed", "timed_out", "survived", "equivalent", "untried")


def shares(result: dict[str, Any]) -> tuple[float, float]:
    """Noticed mutants in a hundred of those tried, and of all, without the equivalent ones."""
    noticed = result["killed"] + result["timed_out"]
    tried = noticed + result["survived"]
    everything = tried + result["untried"]
    return 100 * noticed / max(1, tried), 100 * noticed / max(1, everything)


def line(name: str, result: dict[str, Any]) -> str:
    of_tried, of_all = shares(result)
    figures = "".join(f"{result[column]:>11}" for column in COLUMNS)
    return f"{name:13}{figures}{of_tried:>10.1f}%{of_all:>10.1f}%"


def print_table(results: dict[str, dict[str, Any]]) -> None:
    heads = [column.replace("_", " ") for column in COLUMNS] + ["of tried", "of all"]
    print(f"{'module':13}" + "".join(f"{head:>11}" for head in heads))
    for name, result in results.items():
        print(line(name, result))
    total = {column: sum(result[column] for result in results.values()) for column in COLUMNS}
    print(line("all", total))
    print(
        "noticed: killed by a failed test, or timed out; of tried: without those untried; of all: with them"
    )


def main() -> None:
    table = modules()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("module", nargs="*", choices=[*table, []], help="none: print what is on record")
    parser.add_argument("--all", action="store_true", help="every module, one after the other")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--scratch", type=Path, default=ROOT / ".mutants", help="where the copies stand")
    parser.add_argument("--tally", action="store_true", help="only read the verdicts that there are")
    asked = parser.parse_args()
    for name in table if asked.all else asked.module:
        scratch = asked.scratch / name
        if not asked.tally:
            mutate(table[name], scratch, asked.jobs)
        result = outcome(name, table[name], scratch)
        (HERE / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        for found in result["survivors"]:
            print(f"{found['function']}:\n    - {found['before']}\n    + {found['after']}")
    on_record = {name: HERE / f"{name}.json" for name in table}
    print_table({name: json.loads(path.read_text()) for name, path in on_record.items() if path.exists()})


if __name__ == "__main__":
    main()
