#!/usr/bin/env python3
"""Measures the gateway beside a bare server and prints one table: what `make bench` runs.

Builds the release gateway and the load tools when they are missing, gives the gateway a temporary
home, and measures both in one sitting on the loopback of this machine. Compare the ratios: the rates
themselves belong to the machine. Every figure is also written to results/ as a JSON line.
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "load")]

import cluster_measures as clusters  # noqa: E402
import event_measures as events  # noqa: E402
import measures as single  # noqa: E402
import report  # noqa: E402
from gateway import Bench, build  # noqa: E402
from tools import Failed  # noqa: E402

Plan = single.Plan
MEASURES = {
    "start": single.start, "rest": single.rest, "idle": single.idle, "ws": single.ws, "pass": single.passthrough,
    "stream": single.stream, "turns": single.turns, "memory": single.memory, "replace": single.replace,
    "fanout": events.fanout, "resume": events.resume, "postgres": clusters.postgres, "cluster": clusters.cluster,
    "takeover": clusters.takeover, "soak": events.soak,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes, one round each")
    parser.add_argument("--long", action="store_true", help="100,000 turns for the memory row")
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME",
                        help=f"one measure, repeatable: {', '.join(MEASURES)}")
    parser.add_argument("--binary", type=Path, help="measure this program instead of building one")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed, too")
    parser.add_argument("--out", type=Path, help="file for the JSON lines")
    return parser.parse_args()


def main():
    args = arguments()
    plan = Plan.quick() if args.quick else Plan()
    if args.long:
        plan.memory_turns = 100_000
    out = args.out or HERE / "results" / time.strftime("%Y%m%d-%H%M%S.jsonl")
    try:
        binary, tools = build(args.binary)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    about = report.machine()
    rows = []
    with Bench(binary, tools) as bench:
        for name in args.only or MEASURES:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            try:
                rows += MEASURES[name](bench, plan)
            except Failed as error:
                rows.append(report.failed(name, error))
    report.write(out, about, rows)
    print(report.table(rows))
    verdicts = [row.verdict for row in rows]
    print(f"\n{verdicts.count('met')} met, {verdicts.count('MISSED')} missed, {verdicts.count('FAILED')} could not be measured; "
          f"load average {about['load_average'][0]:.2f}; details in {out}")
    return 1 if "FAILED" in verdicts or (args.strict and "MISSED" in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
