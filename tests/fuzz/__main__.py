"""Coverage-guided fuzzing of the decoders with atheris: `python -m tests.fuzz [TARGET...] --seconds N`.

Each target runs in a process of its own, with a corpus that is kept in .fuzz/TARGET/ and goes on where it
stopped. What crashes it, hangs or takes too much memory is left there as crash-*, timeout-* or oom-*; after
the fix it moves to tests/fuzz/crashers/TARGET/, which the suite reads. atheris is the optional extra `fuzz`.
"""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

TARGETS = ("journal", "events", "snapshot", "command_file", "scenario", "rulebook", "case")
HOME = Path(".fuzz")
_LONGEST_BYTES = 1 << 16
_SLOW_S = 20
_FOUND = ("crash-", "timeout-", "oom-")
_UNTRACED = {"snapshot": ["zerodebt.exchange.state"]}
"""Where the fuzzer must not look: it sees a digest compared, and forges it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=int, default=600, help="over all targets")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [target for target in asked.targets if target not in TARGETS]
    if unknown:
        parser.error(f"found {unknown[0]}, allowed are {', '.join(TARGETS)}")
    targets = asked.targets or TARGETS
    if asked.child:
        _fuzz(targets[0], asked.seconds)
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install 'zerodebt[fuzz]'")
    return max(_run(target, max(1, asked.seconds // len(targets))) for target in targets)


def _run(target: str, seconds: int) -> int:
    """One target in its own process; prints what it did in a line."""
    home = HOME / target
    home.mkdir(parents=True, exist_ok=True)
    before = _findings(home)
    call = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds), "--child"]
    log = home / "log.txt"
    with log.open("w") as out:
        code = subprocess.run(call, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    executions = re.findall(r"(?:Done |number_of_executed_units: |^#)(\d+)", text, re.MULTILINE)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", text)
    cover, features = reached[-1] if reached else ("0", "0")
    found = sorted(path.name for path in _findings(home) - before)
    print(
        f"{target}: {max(map(int, executions), default=0)} executions in {seconds} s, "
        f"{cover} edges, {features} features, {'; '.join(found) or 'nothing found'}",
        flush=True,
    )
    return 1 if code or found else 0


def _findings(home: Path) -> set[Path]:
    """What crashed, hung or ran out of memory, now and in earlier runs."""
    return {path for path in home.iterdir() if path.name.startswith(_FOUND)}


def _fuzz(target: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["zerodebt", "tests.fuzz"], exclude=_UNTRACED.get(target, [])):
        module = importlib.import_module(f"tests.fuzz.targets.{target}")
    corpus = HOME / target / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(module.seeds()):
        (corpus / f"seed-{n:04}").write_bytes(seed)

    def once(data: bytes) -> None:
        module.fuzz(data)

    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST_BYTES}",
            f"-timeout={_SLOW_S}",
            f"-artifact_prefix={HOME / target}/",
            "-rss_limit_mb=3000",
            "-print_final_stats=1",
        ],
        once,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
