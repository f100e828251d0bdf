#!/usr/bin/env python3
"""Make recorded runs again, or those that still wait for a machine with a GPU.

    python tools/record_runs.py                       # list all of them
    python tools/record_runs.py paper speed           # on a GPU: two groups of planned runs
    python tools/record_runs.py resnet20 --again      # one that is recorded, by its own command

A run that is recorded is not made again without `--again`, which replaces its record.  One that was
cut off goes on from its checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package, whether or not one is installed

from resnet_tutorial.train import TrainingError, list_runs, load_run  # noqa: E402
from resnet_tutorial.train.__main__ import STOPPED  # noqa: E402

RESULTS = ROOT / "results"  # where the commands write, not where an installed package keeps its copy
SEEDS = range(3)
RECIPE = "--recipe paper"  # the ResNet paper's: 64,000 steps
# 110 layers start at a lower rate.  ResNeXt's own recipe has 300 epochs of all images and more decay.
PAPER = {
    **{f"resnet{depth}": f"--model cifar_resnet{depth} {RECIPE}" for depth in (20, 32, 44, 56)},
    "resnet110": "--model cifar_resnet110 --recipe paper-110",
    "resnext29-8x64d": "--model cifar_resnext29_8x64d --recipe paper --set iterations=0 epochs=300 weight_decay=5e-4 "
                       "--holdout 0 --curve-on none",
}  # fmt: skip
# Against the clock: the shorter length is meant for 94 % right, which it gave on a processor (results/resnet18-muon-*),
# the longer, a guess, for 96 %.
FAST = "--model resnet18 --model-args stem=cifar --recipe muon --holdout 0 --curve-on none --compile yes"
SPEED = {f"speed-resnet18-{epochs}-epochs": f"{FAST} --epochs {epochs}" for epochs in (15, 50)}


def planned() -> dict[str, dict[str, str]]:
    """Return the runs that want a GPU: group, name, and the arguments of their command."""
    groups = {"paper": {f"paper-{name}": arguments for name, arguments in PAPER.items()}, "speed": SPEED}
    return {group: {f"{name}-seed{seed}": f"{arguments} --data cifar10 --seed {seed} --out results/{name}-seed{seed}"
                    for name, arguments in runs.items() for seed in SEEDS}
            for group, runs in groups.items()}  # fmt: skip


def commands(names: list[str]) -> dict[str, list[str]]:
    """Return the arguments of the runs and groups of those names.

    Raises:
        TrainingError: a name is neither a group nor a run.
    """
    groups = planned()
    single = {name: arguments for runs in groups.values() for name, arguments in runs.items()}
    chosen: dict[str, list[str]] = {}
    for name in names:
        if name in groups:
            chosen |= {run: shlex.split(arguments) for run, arguments in groups[name].items()}
        elif name in single:
            chosen[name] = shlex.split(single[name])
        else:  # a recorded one, or nothing at all: then this says what there is
            words = shlex.split(load_run(name, RESULTS).record["command"])
            chosen[name] = words[words.index("resnet_tutorial.train") + 1 :]
    return chosen


def forget_finished(folder: Path) -> None:
    """Take away the checkpoints of a finished run, so that it starts anew; those of a run cut off stay."""
    record = folder / "run.json"
    for path in folder.glob("checkpoint*.pt"):
        if record.exists() and path.stat().st_mtime <= record.stat().st_mtime:
            path.unlink()


def run_to_its_end(command: list[str]) -> int:
    """Run a command and return its exit status.

    Ctrl-C reaches the command as well, which then finishes its step and saves; so it is waited for.
    """
    with subprocess.Popen(command, cwd=ROOT) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def show() -> None:
    """Print every run with the command that makes it."""
    done = list_runs(RESULTS)
    for group, runs in planned().items():
        print(f"{group}, wants a GPU:")
        for name, arguments in runs.items():
            print(f"  {name} ({'recorded' if name in done else 'not yet'}): {arguments}")
    print("recorded:")
    for name in done:
        print(f"  {name}: {load_run(name, RESULTS).label}")


def main(words: list[str] | None = None) -> int:
    """Make the runs that were asked for, one after the other; the exit status is 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of runs, or of groups")
    parser.add_argument("--again", action="store_true", help="also those that are recorded")
    parser.add_argument("--dry", action="store_true", help="print the commands and run nothing")
    options = parser.parse_args(words)
    if not options.names:
        show()
        return 0
    try:
        chosen = commands(options.names)
    except TrainingError as problem:
        print(f"error: {problem} Groups: {', '.join(planned())}.", file=sys.stderr)
        return 1
    status, failed = 0, []
    for name, arguments in chosen.items():
        if not options.again and (RESULTS / name / "run.json").exists():
            print(f"{name} is recorded already; --again makes it again.", flush=True)
            continue
        if not options.dry:
            forget_finished(RESULTS / name)
        command = [sys.executable, "-m", "resnet_tutorial.train", *arguments, "--resume"]
        print(shlex.join(["python", *command[1:]]), flush=True)
        status = 0 if options.dry else run_to_its_end(command)
        if status:
            failed.append(name)
        if status == STOPPED:
            break
    if failed:
        print(f"Not finished: {', '.join(failed)}. The same command goes on with them.", file=sys.stderr)
    return STOPPED if status == STOPPED else int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
