"""Muon: its steps have no preferred direction, and it trains next to SGD."""

import pytest
import torch
from torch import nn
from training_help import QUICK, tiny_data, tiny_network

from resnet_tutorial.train import fit, get_recipe
from resnet_tutorial.train.muon import Muon, orthogonalise
from resnet_tutorial.train.prepare import make_optimizers
from resnet_tutorial.zoo import build_model


@pytest.mark.parametrize("rows, columns", [(16, 144), (64, 64), (144, 16)])
def test_all_singular_values_come_near_one_and_the_directions_stay(rows, columns):
    torch.manual_seed(0)
    matrices = torch.randn(3, rows, columns, dtype=torch.float64)
    result = orthogonalise(matrices, iterations=12)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inner = left.mT @ result @ right.mT  # diagonal exactly when the directions are the same
    values = inner.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.6 and values.max() < 1.3
    assert (inner - torch.diag_embed(values)).abs().max() < 1e-6


def test_a_step_has_the_length_of_the_learning_rate_and_goes_downhill():
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, 3, bias=False)
    goal = torch.randn_like(layer.weight)
    optimizer = Muon([layer.weight], lr=0.1, momentum=0.6)
    losses = []
    for _ in range(30):
        loss = (layer.weight / layer.weight.norm() - goal / goal.norm()).pow(2).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    before = layer.weight.detach().clone()
    optimizer.step()
    step = layer.weight.detach() - before * 4 / before.norm()  # the length is put back to sqrt(16)
    assert 0.07 < step.norm() / 4 < 0.12


def test_kernels_of_one_shape_do_not_mix():
    torch.manual_seed(0)
    kernels = [nn.Parameter(torch.randn(8, 4, 3, 3)) for _ in range(2)]
    alone = [nn.Parameter(kernel.detach().clone()) for kernel in kernels]
    for kernel, copy in zip(kernels, alone, strict=True):
        kernel.grad = torch.randn_like(kernel)
        copy.grad = kernel.grad.clone()
    Muon(kernels, lr=0.1, momentum=0.6).step()
    for kernel, copy in zip(kernels, alone, strict=True):
        Muon([copy], lr=0.1, momentum=0.6).step()
        assert torch.allclose(kernel, copy, atol=1e-6)


def test_every_parameter_belongs_to_one_optimizer_and_only_kernels_to_muon():
    network = tiny_network()
    optimizers = make_optimizers(network, QUICK.but(optimizer="muon"))
    sgd, muon = ([p for group in o.param_groups for p in group["params"]] for o in optimizers)
    assert {id(p) for p in sgd + muon} == {id(p) for p in network.parameters()}
    assert len(sgd) + len(muon) == len(list(network.parameters()))
    assert [p.ndim for p in muon] == [4]


def test_it_trains_the_tiny_network():
    network = tiny_network()
    history = fit(network, tiny_data(), QUICK.but(optimizer="muon", epochs=30), progress="none")
    assert history.train_loss[-1] < 0.9 * history.train_loss[0]


@pytest.mark.parametrize("name", ["cifar_preact_resnet8", "cifar_resnext29_1x8d", "cifar_resnext29_4x2d"])
def test_a_step_turns_every_kernel_of_pre_activated_bottleneck_and_grouped_blocks(name):
    torch.manual_seed(0)
    network = build_model(name, num_classes=10)
    kernels = {key: p for key, p in network.named_parameters() if p.ndim == 4}
    before = {key: p.detach().clone() for key, p in kernels.items()}
    recipe = get_recipe("muon").but(batch_size=24, epochs=0, iterations=1, holdout=0.0)
    fit(network, tiny_data(24, 12), recipe, device="cpu", curve_on="none", precision="float32", progress="none")
    for key, kernel in kernels.items():
        rows, columns = len(kernel), kernel[0].numel()
        turn = (kernel / kernel.norm() - before[key] / before[key].norm()).norm()
        # A matrix of more rows than columns has fewer singular values than rows, so its step is shorter.
        angle = recipe.muon_lr * min(1, columns / rows) ** 0.5
        assert 0.6 * angle < turn < 1.2 * angle, key
        assert kernel.norm().item() == pytest.approx(rows**0.5, rel=0.02), key


def test_products_in_sixteen_bits_give_nearly_the_same_step():
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 16, 8, 3, 3)
    moves = []
    for products in (torch.float32, torch.bfloat16):
        kernel = nn.Parameter(start.clone())
        kernel.grad = gradient.clone()
        Muon([kernel], lr=0.1, momentum=0.6, products=products).step()
        moves.append(kernel.detach() - start * 4 / start.norm())
    assert not torch.equal(*moves)  # the format was used
    assert (moves[0] - moves[1]).norm() < 0.03 * moves[0].norm()


def test_a_first_step_that_overflows_leaves_the_momentum_at_zero():
    network = tiny_network()
    (sgd,) = make_optimizers(network, QUICK)
    scaler = torch.amp.GradScaler("cpu")
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    scaler.scale(torch.ones(()))  # what `fit` scales is the loss
    scaler.step(sgd)
    scaler.update()
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
    assert all((sgd.state[p]["momentum_buffer"] == 0).all() for p in network.parameters())
