"""Imports point one way, scenarios -> agents -> exchange, and inside the venue from the ground up."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("exchange", "agents", "scenarios")

# From the ground up: a file imports only from those before its own.
ORDER = (
    "units",
    "decimals",
    "assets",
    "fields",
    "instruments",
    "rules",
    "specs",
    "cases",
    "rulebook",
    "reject",
    "commands",
    "events",
    "book",
    "matching",
    "triggers",
    "accounts",
    "ledger",
    "position",
    "marks",
    "funding",
    "collateral",
    "portfolio",
    "lending",
    "state",
    "sessions",
    "margin",
    "custody",
    "liquidation",
    "waterfall",
    "clearing",
    "variation",
    "judge",
    "conversion",
    "forced",
    "rounds",
    "gates",
    "instants",
    "views",
    "venue",
    "journal",
    "audit",
    "oracle",
    "ask",
)
# The second opinion reads data types and shares no rule with the venue.
AUDIT_MAY_IMPORT = frozenset({"events", "commands", "rules", "instruments", "assets", "reject"})
AGENTS_MAY_IMPORT = frozenset({"commands", "events", "views", "units", "instruments"})

# What would bring a clock, chance, files, logging or processes into the venue.
IMPURE = frozenset(
    [
        "asyncio",
        "datetime",
        "glob",
        "importlib",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "shutil",
        "simpy",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "tomllib",
        "uuid",
    ]
)
# The loader of the profiles is the one place that reads.
RULES_MAY_READ = frozenset({"importlib.resources", "tomllib"})
IMPURE_CALLS = frozenset({"open", "print", "input", "__import__"})


class Import(NamedTuple):
    line: int
    text: str
    target: str  # dotted name of the module, or of the name taken out of it


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import of a file, wherever it stands; `from a import b` counts as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, f"import {alias.name}", alias.name)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(node.lineno, f"from {source} import {alias.name}", f"{source}.{alias.name}")


def is_within(target: str, names: frozenset[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in names)


def violations(path: str, code: str) -> list[str]:
    """What a file breaks: one sentence each with file, line, what was found and what is allowed.

    path  from the root of the project, with forward slashes
    """
    tree = ast.parse(code, path)
    found = []
    for imported in imports_of(tree):
        allowed = allowed_instead_of(path, imported)
        if allowed:
            found.append(f"{path}:{imported.line}: found `{imported.text}`; allowed: {allowed}")
    if is_venue(path):
        found += [
            f"{path}:{line}: found {what}; allowed: commands in, events out, and nothing else"
            for line, what in impure_uses(tree)
        ]
    return found


def impure_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls and attributes that need no import to bring in files or chance."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield node.lineno, f"a call of `{name}`"
            case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"):
                yield node.lineno, f"`{ast.unparse(node)}`"
            case _:
                pass


def is_venue(path: str) -> bool:
    """The venue proper; exchange/testing/ holds tools for tests and may import what it likes."""
    return path.startswith("exchange/") and not path.startswith("exchange/testing/")


def allowed_instead_of(path: str, imported: Import) -> str | None:
    """None when the import may stand, otherwise what may stand there."""
    target = imported.target
    if target.startswith("."):
        return "`from zerodebt.<folder>.<module> import <name>`, never a relative import"
    if target.split(".")[0] in ROOMS or imported.text.startswith("import zerodebt."):
        return "`from zerodebt.<folder>.<module> import <name>`"
    if is_venue(path):
        return allowed_in_exchange(path, target)
    if path.startswith("agents/"):
        return allowed_in_agents(target)
    return None


def allowed_in_exchange(path: str, target: str) -> str | None:
    module = path.removeprefix("exchange/").removesuffix(".py").split("/")[0]
    if is_within(target, IMPURE) or is_within(target, frozenset({"numpy.random"})):
        if path == "exchange/rules.py" and is_within(target, RULES_MAY_READ):
            return None
        return "no clock, chance, files, logging or processes in the venue; only rules.py reads its profiles"
    if not is_within(target, frozenset({"zerodebt"})):
        return None
    if module not in ORDER:
        return f"nothing of the project, as `{module}` has no place in ORDER of tests/test_imports.py"
    below = AUDIT_MAY_IMPORT if module == "audit" else frozenset(ORDER[: ORDER.index(module)])
    if path.startswith(f"exchange/{module}/"):
        below |= {module}
    if is_within(target, frozenset(f"zerodebt.exchange.{name}" for name in below)):
        return None
    return "from zerodebt.exchange only " + (", ".join(n for n in ORDER if n in below) or "nothing")


def allowed_in_agents(target: str) -> str | None:
    if not is_within(target, frozenset({"zerodebt"})):
        return None
    allowed = frozenset(f"zerodebt.exchange.{name}" for name in AGENTS_MAY_IMPORT) | {"zerodebt.agents"}
    if is_within(target, allowed):
        return None
    return "zerodebt.agents, and from zerodebt.exchange only " + ", ".join(sorted(AGENTS_MAY_IMPORT))


def cycle(files: dict[str, str]) -> list[str]:
    """The modules of a circle of imports among the files (path -> code), or nothing.

    A package's `__init__` counts for a name that is no module of its own.
    """
    name_of = {
        path: "zerodebt." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in files
    }
    modules = set(name_of.values())
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for path, code in files.items():
        for imported in imports_of(ast.parse(code, path)):
            target = imported.target
            nearest = target if target in modules else target.rpartition(".")[0]
            if nearest in modules:
                graph[name_of[path]].add(nearest)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def files_under(*folders: str) -> list[str]:
    return sorted(p.relative_to(ROOT).as_posix() for folder in folders for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files_under(*ROOMS, "tests"))
def test_file_imports_only_from_the_rooms_below_it(path: str) -> None:
    broken = violations(path, (ROOT / path).read_text(encoding="utf-8"))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("folder", ["exchange", "agents"])
def test_modules_import_each_other_without_a_circle(folder: str) -> None:
    circle = cycle({path: (ROOT / path).read_text(encoding="utf-8") for path in files_under(folder)})
    assert not circle, f"found {' -> '.join(circle)}; allowed: imports in one direction"


@pytest.mark.parametrize("room", ROOMS)
def test_installed_name_links_to_the_folder(room: str) -> None:
    link = ROOT / "zerodebt" / room
    assert link.is_symlink(), f"zerodebt/{room} is not a link; allowed: a link to ../{room}"
    assert link.readlink() == Path("..", room)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("exchange/book.py", "from zerodebt.exchange.units import Lots"),
        ("exchange/book.py", "from zerodebt.exchange import units, commands"),
        ("exchange/rules.py", "import tomllib\nfrom importlib import resources\nimport importlib.resources"),
        ("exchange/waterfall/adl.py", "from zerodebt.exchange.waterfall.stage import Stage"),
        ("exchange/clearing.py", "from zerodebt.exchange.waterfall.adl import plan_adl"),
        ("exchange/audit/fills.py", "from zerodebt.exchange.events import Filled"),
        ("exchange/audit/fills.py", "from zerodebt.exchange.audit.ledger import Ledger"),
        ("exchange/oracle.py", "import numpy as np\nfrom zerodebt.exchange.margin import Risk"),
        ("exchange/testing/plugin.py", "import os\nfrom zerodebt.scenarios.run import run\nprint(open('a'))"),
        ("agents/maker.py", "import simpy\nfrom zerodebt.exchange.views import Depth"),
        ("agents/maker.py", "from zerodebt.agents.latency import Latency"),
        ("scenarios/run.py", "import time\nfrom zerodebt.exchange.venue import Venue\nimport zerodebt"),
    ],
)
def test_what_the_plan_allows_passes(path: str, code: str) -> None:
    assert violations(path, code) == []


@pytest.mark.parametrize(
    ("path", "code", "found"),
    [
        ("exchange/book.py", "import time", "`import time`"),
        ("exchange/book.py", "def f():\n    from datetime import date", "`from datetime import date`"),
        ("exchange/book.py", "import os.path", "`import os.path`"),
        ("exchange/book.py", "import tomllib", "`import tomllib`"),
        ("exchange/book.py", "from importlib import resources", "`from importlib import resources`"),
        ("exchange/rules.py", "from importlib import import_module", "`from importlib import import_module`"),
        ("exchange/rules.py", "import pathlib", "`import pathlib`"),
        ("exchange/book.py", "import numpy as np\nx = np.random.default_rng()", "`np.random`"),
        ("exchange/book.py", "from numpy.random import normal", "`from numpy.random import normal`"),
        ("exchange/book.py", "x = open('a')", "a call of `open`"),
        ("exchange/waterfall/adl.py", "print(1)", "a call of `print`"),
        ("exchange/book.py", "from zerodebt.exchange.ledger import post", "ledger"),
        ("exchange/book.py", "from zerodebt.exchange import ledger", "ledger"),
        ("exchange/book.py", "from zerodebt.agents.maker import Maker", "agents"),
        ("exchange/book.py", "from zerodebt.scenarios.run import run", "scenarios"),
        ("exchange/book.py", "from zerodebt import run", "`from zerodebt import run`"),
        ("exchange/margin.py", "from zerodebt.exchange.waterfall.adl import plan_adl", "adl"),
        ("exchange/units.py", "from zerodebt.exchange.testing.plugin import x", "testing"),
        ("exchange/audit/holdings.py", "from zerodebt.exchange.margin import Risk", "margin"),
        ("exchange/audit/arithmetic.py", "from zerodebt.exchange.units import div_floor", "units"),
        ("exchange/unplanned.py", "from zerodebt.exchange.units import div_floor", "units"),
        ("exchange/__init__.py", "from zerodebt.exchange.venue import Venue", "venue"),
        ("exchange/book.py", "from . import units", "`from . import units`"),
        ("exchange/book.py", "from exchange.units import Lots", "`from exchange.units import Lots`"),
        ("scenarios/run.py", "import zerodebt.exchange.book", "`import zerodebt.exchange.book`"),
        ("tests/exchange/test_book.py", "from exchange.book import Book", "`from exchange.book import Book`"),
        ("agents/maker.py", "from zerodebt.exchange.venue import Venue", "venue"),
        ("agents/maker.py", "from zerodebt.exchange import ledger", "ledger"),
        ("agents/maker.py", "from zerodebt.scenarios.run import run", "scenarios"),
        ("agents/maker.py", "from zerodebt import run", "`from zerodebt import run`"),
    ],
)
def test_violation_says_file_line_what_was_found_and_what_is_allowed(
    path: str, code: str, found: str
) -> None:
    (sentence,) = violations(path, code)
    place, _, rest = sentence.partition(": ")
    line = 1 + code.count("\n")
    assert place == f"{path}:{line}"
    assert rest.startswith("found ")
    assert found in rest
    assert "; allowed: " in rest


def test_circle_inside_a_package_is_found() -> None:
    circle = cycle(
        {
            "exchange/waterfall/adl.py": "from zerodebt.exchange.waterfall.fund import pay",
            "exchange/waterfall/fund.py": "from zerodebt.exchange.waterfall import adl",
        }
    )
    assert set(circle) == {"zerodebt.exchange.waterfall.adl", "zerodebt.exchange.waterfall.fund"}
