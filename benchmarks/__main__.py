"""`make bench`: how fast the project is, as ratios inside one run on this machine.

    python -m benchmarks [networks] [training] [choices] [peak] [tracing] [checks] [grading] [--repeats N] [--json FILE]

networks: forward and backward beside torchvision's; training: images a second beside the usual
loop; choices: what each choice of the training engine gains; peak: which share of the fastest
arithmetic the training reaches; tracing: `trace` beside torchinfo; checks: seconds of
the exercises' checks; grading: submissions of a class marked a minute.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import shlex
import sys
from pathlib import Path

import torch

from resnet_tutorial.train.precision import describe_device
from resnet_tutorial.train.provenance import commit, machine, versions

# Each part's file, loaded when it is asked for, since some want libraries that training does without.
PARTS = {"networks": "networks", "training": "plain_loop", "choices": "choices", "peak": "peak", "tracing": "tracing",
         "checks": "checks", "grading": "grading"}  # fmt: skip


def main() -> None:
    """Measure the parts asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", metavar="FILE", help="also write the ratios there")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report: dict = {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": commit("benchmarks"),
        "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": machine(describe_device(device)),
        "versions": versions(),
    }
    print(f"{report['machine']['device']}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for part in options.parts or PARTS:
        print(f"{part}:", flush=True)
        measure = importlib.import_module(f"benchmarks.{PARTS[part]}").measure
        report[part] = {name: round(ratio, 3) for name, ratio in measure(options.repeats).items()}
        if options.json:  # after every part: a later one may be cut off
            Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
