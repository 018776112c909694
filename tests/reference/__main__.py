"""`python -m tests.reference --commands 1000000 --seed 0`: the venue beside the plain model, at length."""

import argparse
import sys

from tests.reference.campaign import FailureError, Report, reports
from tests.reference.streams import names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reference", description=__doc__)
    parser.add_argument("--commands", type=int, default=1_000_000, help="commands in all")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--rulebook", choices=names(), help="only this one; otherwise all in turn")
    given = parser.parse_args()
    report = Report()
    try:
        for done, report in enumerate(reports(given.commands, given.seed, given.rulebook)):
            if done % 20 == 0:
                sys.stderr.write(f"{report.commands} commands, no difference\n")
    except FailureError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
