"""Recipes: the paper's to the letter, and what a recipe refuses."""

import dataclasses
import math

import pytest
import torch
from training_help import QUICK, tiny_data, tiny_network

from resnet_tutorial.train import RECIPES, fit, get_recipe
from resnet_tutorial.train.average import WeightAverage
from resnet_tutorial.train.prepare import make_optimizers

# Section 4.2 of the paper, and what it leaves out: nothing of this kind is used there.
PAPER = {
    "batch_size": 128, "iterations": 64_000, "epochs": 0, "peak_lr": 0.1, "schedule": "steps", "warmup_lr": 0.0,
    "optimizer": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4, "decay_all": True,
    "label_smoothing": 0.0, "average": 0.0, "early_share": 0.0, "pad": 4, "padding": "zero", "flip": True,
    "mean": "pixel", "divide_by_std": False, "holdout": 0.1,
}  # fmt: skip
# These have no meaning with SGD, with this schedule, or with windows that are never small.
NO_MEANING = {"name", "muon_lr", "muon_momentum", "rise", "early_side"}


def test_the_paper_to_the_letter():
    paper = get_recipe("paper")
    choices = dataclasses.asdict(paper)
    assert choices.keys() == PAPER.keys() | NO_MEANING  # a new choice must be decided for the paper as well
    assert {name: value for name, value in choices.items() if name not in NO_MEANING} == PAPER
    assert round(paper.holdout * 50_000) == 5_000
    assert {paper.crop_side(epoch, 183, 32) for epoch in range(183)} == {32}
    rates = [paper.learning_rate(step, 64_000) for step in (0, 31_999, 32_000, 47_999, 48_000)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
    assert get_recipe("paper-110") == paper.but(name="paper-110", warmup_lr=0.01)


@pytest.mark.parametrize("name", ["fast", "muon"])
def test_the_rate_rises_then_falls_to_zero(name):
    recipe = get_recipe(name).but(peak_lr=0.4, rise=0.25)
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    assert max(rates) == rates[25] == pytest.approx(0.4)
    assert rates[:25] == sorted(rates[:25]) and rates[25:] == sorted(rates[25:], reverse=True)
    assert 0 < rates[0] < 0.02 and 0 <= rates[-1] < 0.006


@pytest.mark.parametrize("name, share", [("fast", (1 + 0.5**0.5) / 2), ("muon", 0.75)])
def test_the_rate_falls_along_half_a_cosine_or_in_a_line(name, share):
    recipe = get_recipe(name).but(peak_lr=0.4, rise=0.2)
    # Steps 20 to 100 fall: step 40 is at a quarter of the way down, and step 60 at half of it.
    rates = [recipe.learning_rate(step, 100) for step in (20, 40, 60)]
    assert rates == pytest.approx([0.4, 0.4 * share, 0.2])


@pytest.mark.parametrize("name", ["fast", "muon"])
@pytest.mark.parametrize("rise", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_any_rise_gives_a_rate_for_every_step(name, rise, steps):
    recipe = get_recipe(name).but(rise=rise)
    for step in range(steps):
        assert 0 <= recipe.learning_rate(step, steps) <= recipe.peak_lr


def test_batch_norm_and_biases_are_decayed_as_the_recipe_says():
    (only,) = make_optimizers(tiny_network(), get_recipe("fast"))
    spared = only.param_groups
    assert [g["weight_decay"] for g in spared] == [get_recipe("fast").weight_decay, 0.0]
    assert {p.ndim for p in spared[0]["params"]} == {2, 4}
    assert {p.ndim for p in spared[1]["params"]} == {1}
    (optimizer,) = make_optimizers(tiny_network(), get_recipe("paper"))
    (only,) = optimizer.param_groups
    assert only["weight_decay"] == 1e-4 and len(only["params"]) == 5


# Ten steps an epoch, so that the warm-up's window of 100 steps is ten epochs.
WARM_UP = QUICK.but(epochs=80, warmup_lr=0.03, average=0.0, schedule="steps", peak_lr=0.1, holdout=0.0)


def test_the_warm_up_ends_when_the_training_error_of_a_window_is_below_80_percent():
    history = fit(tiny_network(), tiny_data(), WARM_UP, curve_on="none", progress="none")
    windows = [sum(history.train_error[i : i + 10]) / 10 for i in range(0, 80, 10)]
    assert windows[0] >= 80 > windows[-1], windows  # else this test would show nothing
    warm = 10 * (1 + next(i for i, error in enumerate(windows) if error < 80))
    assert history.lr[:warm] == [0.03] * warm and history.lr[warm] == 0.1


def test_the_warm_up_does_not_end_while_nothing_is_learned():
    class Silent(torch.nn.Module):
        """Gives every class the same score, so that nine answers of ten are wrong."""

        def __init__(self):
            super().__init__()
            self.inner = tiny_network()

        def forward(self, x):
            return self.inner(x) * 0

    for holdout in (0.0, 0.1):  # windows that end with an epoch, and windows that do not
        recipe = WARM_UP.but(holdout=holdout)
        history = fit(Silent(), tiny_data(), recipe, curve_on="none", progress="none")
        assert set(history.lr) == {0.03}


def test_the_average_moves_by_the_share_it_should():
    network = tiny_network()
    average = WeightAverage(network, decay=0.75)
    before = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight += 1
    average.update(network)
    assert torch.allclose(average.values["0.weight"], before + 0.25, atol=1e-6)
    with average.applied(network):
        assert torch.allclose(network[0].weight, before + 0.25, atol=1e-6)
    assert torch.allclose(network[0].weight, before + 1)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_a_few_steps(name):
    recipe = get_recipe(name).but(batch_size=24, iterations=12, epochs=0)
    network, before = tiny_network(), tiny_network()
    history = fit(network, tiny_data(), recipe, device="cpu", progress="none")
    assert len(history.val_error) == len(history.epoch) == 2
    losses = [*history.train_loss, *history.val_loss, history.final["test_loss"]]
    assert all(math.isfinite(loss) for loss in losses), losses
    # The last step of each epoch; 12 steps are too few to end a warm-up.
    assert history.lr == pytest.approx([recipe.warmup_lr or recipe.learning_rate(step, 12) for step in (8, 11)])
    changed = zip(network.parameters(), before.parameters(), strict=True)
    assert all(not torch.equal(*pair) for pair in changed)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"learning_rate": 1}, "has no learning_rate"),
        ({"peak_lr": 0}, "peak_lr must be above 0"),
        ({"schedule": "cosine"}, "one of steps, one-cycle"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"momentum": 0.0}, "nesterov needs"),
        ({"epochs": 0}, "epochs or iterations"),
        ({"holdout": 5000}, "holdout must be from 0 to below 1"),
        ({"flip": "false"}, "flip is True or False, not 'false'"),
        ({"peak_lr": (0, 1)}, r"peak_lr is a number, not \(0, 1\)"),
        ({"peak_lr": True}, "peak_lr is a number, not True"),
        ({"epochs": 1.5}, "epochs is a whole number, not 1.5"),
    ],
)
def test_impossible_choices_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        get_recipe("fast").but(**changes)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="choose one of fast, muon, paper"):
        get_recipe("slow")
