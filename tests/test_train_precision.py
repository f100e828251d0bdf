"""Formats and compilation that are chosen for a card, with a card that is only pretended."""

import sys
from types import SimpleNamespace

import pytest
import torch

from resnet_tutorial.train.precision import choose_compile, choose_precision

CARD, CPU = torch.device("cuda", 0), torch.device("cpu")
T4, A100, H100 = (7, 5), (8, 0), (9, 0)  # cards by their compute capability


@pytest.fixture
def card(monkeypatch):
    """Return a function that puts a card of a given compute capability into this machine."""

    def put_in(capability):
        major, minor = capability
        properties = SimpleNamespace(major=major, minor=minor)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.version, "cuda", "12.4")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        # What a T4 can only emulate: asking for that would find bfloat16 on it.
        monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True, raising=False)

    monkeypatch.setattr(sys, "platform", "linux")
    return put_in


@pytest.mark.parametrize(
    "capability, chosen", [(T4, torch.float16), (A100, torch.bfloat16), (H100, torch.bfloat16)]
)
def test_bfloat16_is_chosen_where_the_card_multiplies_it_itself_and_float16_elsewhere(card, capability, chosen):
    card(capability)
    assert choose_precision(CARD) == chosen


@pytest.mark.parametrize("capability", [T4, A100])
@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "float16"])
def test_a_format_that_was_asked_for_is_taken_on_any_card(card, capability, wanted):
    card(capability)
    assert choose_precision(CARD, wanted) == getattr(torch, wanted)


@pytest.mark.parametrize("native, chosen", [(True, torch.bfloat16), (False, torch.float32)])
def test_a_processor_gets_bfloat16_only_where_it_has_instructions_for_it(monkeypatch, native, chosen):
    for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, ask, lambda: native, raising=False)
    assert choose_precision(CPU) == chosen


@pytest.mark.parametrize(
    "capability, steps, chosen", [(T4, 64_000, False), (A100, 3999, False), (A100, 4000, True), (H100, 4000, True)]
)
def test_long_runs_on_newer_cards_are_compiled(card, capability, steps, chosen):
    card(capability)
    assert choose_compile(CARD, "auto", steps) is chosen


def test_nothing_is_compiled_by_itself_on_a_processor_or_under_windows(card, monkeypatch):
    card(A100)
    assert choose_compile(CPU, "auto", 64_000) is False
    monkeypatch.setattr(sys, "platform", "win32")
    assert choose_compile(CARD, "auto", 64_000) is False


@pytest.mark.parametrize("wanted", [True, False])
def test_compilation_that_was_asked_for_or_refused_is_not_chosen_again(card, wanted):
    card(T4 if wanted else A100)
    assert choose_compile(CARD, wanted, 10 if wanted else 64_000) is wanted
