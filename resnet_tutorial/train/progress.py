"""Telling the reader how training goes: a tqdm bar, or one line per epoch in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm

from resnet_tutorial.train.history import History

STYLES = ("auto", "bar", "lines", "none")


class Progress:
    """Shows steps as they pass and epochs as they finish.

    Args:
        style: ``"bar"``, ``"lines"``, ``"none"``, or ``"auto"``: a bar in a terminal or notebook,
            lines in a log file.
        epochs, steps, done: of the whole run, and the steps that a resumed run has behind it.
        batch_size: turns steps per second into images per second.

    Raises:
        ValueError: `style` is none of these words.
    """

    def __init__(self, style: str, epochs: int, steps: int, done: int, batch_size: int) -> None:
        if style not in STYLES:
            raise ValueError(f"progress is one of {', '.join(STYLES)}, not {style!r}.")
        if style == "auto":
            watched = sys.stderr.isatty() or "ipykernel" in sys.modules
            style = "bar" if watched else "lines"
        self.lines = style == "lines"
        self.epochs = epochs
        # Counting in images makes tqdm's own rate images per second.
        self.batch_size = batch_size
        self.bar = tqdm(total=steps * batch_size, initial=done * batch_size, unit=" images",
                        unit_scale=True, disable=style != "bar", dynamic_ncols=True,
                        mininterval=0.5)

    def begin(self) -> None:
        """Note that the first step comes now: what went before does not count for the rate."""
        self.bar.unpause()

    def step(self) -> None:
        """Note that one more step is done."""
        self.bar.update(self.batch_size)

    def look(self, epoch: int, loss: float, error: float) -> None:
        """Show the running loss, and the accuracy in percent, of the epoch."""
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{100 - error:.1f}%", refresh=False)

    def epoch(self, history: History) -> None:
        """Show one finished epoch in a line."""
        if not self.lines:
            return
        parts = [f"epoch {history.epoch[-1]}/{self.epochs}", f"lr {history.lr[-1]:.4f}",
                 f"loss {history.train_loss[-1]:.3f}",
                 f"training error {history.train_error[-1]:.2f} %"]
        parts += [f"{part} error {errors[-1]:.2f} %"
                  for part, errors in (("validation", history.val_error),
                                       ("test", history.test_error)) if errors]
        print(", ".join(parts + [f"{history.seconds[-1]:.1f} s"]), flush=True)

    def close(self) -> None:
        """Take the bar off, so that it leaves its last state behind."""
        self.bar.close()
