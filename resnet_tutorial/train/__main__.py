"""``python -m resnet_tutorial.train``: train one network from the command line and record it."""

from __future__ import annotations

import argparse
import ast
import shlex
import sys

import torch

from resnet_tutorial.data import NAMES, DataError, load
from resnet_tutorial.train.errors import TrainingError
from resnet_tutorial.train.loop import fit
from resnet_tutorial.train.precision import PRECISIONS
from resnet_tutorial.train.prepare import CURVES
from resnet_tutorial.train.progress import STYLES
from resnet_tutorial.train.recipes import RECIPES, get_recipe
from resnet_tutorial.train.record import check_weights, save_run
from resnet_tutorial.train.team import Team, joined

STOPPED = 130  # what a shell reports for a program that Ctrl-C ended


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's description."""
    parser = argparse.ArgumentParser(
        prog="python -m resnet_tutorial.train", description="Train one network and record the run.")
    add = parser.add_argument
    add("--model", required=True, help="for example cifar_resnet20, cifar_plain56 or resnet18")
    add("--model-args", nargs="*", default=[], metavar="NAME=VALUE",
        help="options of the network, for example shortcut=B or stem=cifar")
    add("--data", default="cifar10", choices=NAMES)
    add("--recipe", default="fast", choices=RECIPES)
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", dest="changes",
        help="change single choices of the recipe, for example peak_lr=0.1 flip=False")
    add("--epochs", type=int, help="default: what the recipe says")
    add("--seed", type=int, default=0)
    add("--out", help="folder for checkpoints and the record, for example results/NAME")
    add("--resume", action="store_true", help="continue from the checkpoint in --out, if any")
    add("--curve-on", default="val", choices=CURVES,
        help="what to measure after every epoch; test is for showing, never for choosing")
    add("--holdout", type=float, metavar="SHARE", help="training images to hold out; default: what the recipe says")
    add("--mirror", action="store_true",
        help="measure the test images once more, each with its mirror image; reported apart")
    add("--weights", action="store_true", help="record the weights too (small networks)")
    add("--device", help="default: a GPU where there is one")
    add("--threads", type=int, help="processor threads")
    add("--precision", default="auto", choices=PRECISIONS)
    add("--compile", default="auto", choices=("auto", "yes", "no"))
    add("--save-every", type=float, default=60.0, metavar="SECONDS", help="between checkpoints")
    add("--progress", default="auto", choices=STYLES)
    return parser


def pairs(words: list[str]) -> dict:
    """Turn ``["shortcut=B", "groups=4"]`` into ``{"shortcut": "B", "groups": 4}``.

    Raises:
        ValueError: a word has no equals sign.
    """
    result = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not (name and sign):
            raise ValueError(f"{word!r} is not of the form NAME=VALUE.")
        try:
            result[name] = ast.literal_eval(text.capitalize() if text.lower() in ("true", "false") else text)
        except (ValueError, SyntaxError):
            result[name] = text  # a plain word needs no quotation marks
    return result


def train(options: argparse.Namespace, words: list[str], team: Team) -> int:
    """Run what the command line asks for; return the exit status."""
    from resnet_tutorial.zoo import build_model

    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = get_recipe(options.recipe).but(**pairs(options.changes))
    if not team.first:
        team.wait()  # one process fetches and decodes the images, the others then find them
    data = load(options.data)
    if team.first:
        team.wait()
    model_args = {"num_classes": len(data.classes), **pairs(options.model_args)}
    torch.manual_seed(options.seed)  # the initial weights
    model = build_model(options.model, **model_args)
    if options.weights:
        check_weights(model)  # now, and not after hours of training
    history = fit(
        model, data, recipe, epochs=options.epochs, seed=options.seed, device=options.device,
        out=options.out, resume=options.resume, curve_on=options.curve_on, holdout=options.holdout,
        precision=options.precision, save_every=options.save_every, progress=options.progress, mirror=options.mirror,
        compile={"yes": True, "no": False}.get(options.compile, "auto"))
    if not team.first:
        return STOPPED if history.stopped else 0
    print(history)
    if history.stopped:
        print("Run the same command with --resume to go on." if options.out else "")
        return STOPPED
    if options.out:
        command = shlex.join([*_start(team), "-m", "resnet_tutorial.train",
                              *(word for word in words if word != "--resume")])
        try:
            path = save_run(options.out, model, history, model_name=options.model,
                            model_args=model_args, command=command, weights=options.weights)
        except TrainingError as problem:
            raise TrainingError(f"{problem} What was trained up to the last checkpoint is not lost: mend this, and "
                                "run the same command with --resume.") from None
        print(f"Recorded in {path}.")
    return 0


def _start(team: Team) -> list[str]:
    """Return the program with which this run was started."""
    return ["python"] if team.size == 1 else ["torchrun", f"--nproc-per-node={team.size}"]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, and turn every expected error into a sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(arguments)
    try:
        with joined(options.device) as team:
            return train(options, arguments, team)
    except (TrainingError, DataError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
