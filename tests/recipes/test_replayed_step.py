"""The replayed training step: what its optimizers and its moving average do without replaying."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from recipes.tiny.common import average_into
from recipes.tiny.stages.replayed_step import ReplayedStep

CPU = torch.device("cpu")
RATES = (0.1, 0.7, 1.0, 0.3)
CLIPPED_TO = 0.5


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 4))


def optimizers_of(model: nn.Module) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    return [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1),
    ]


def losses_of(model: nn.Module, numbers: Tensor) -> dict[str, Tensor]:
    y = model(numbers)
    return {"square": y.square().mean(), "size": 3 * y.abs().mean()}


def step_of(model: nn.Module, average: nn.Module, device: torch.device = CPU, **options: float) -> ReplayedStep:
    return ReplayedStep(
        lambda numbers, _: losses_of(model, numbers),
        list(model.parameters()),
        optimizers_of(model),
        (model, average),
        device,
        **options,
    )


def drawn() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(5, 6, generator=generator) for _ in RATES]


def test_it_is_the_usual_step_at_that_learning_rate() -> None:
    """A fraction of the way to the result of the full learning rate is the step of that fraction of it."""
    usual, replayed = network(), network()
    averages = copy.deepcopy(usual), copy.deepcopy(replayed)
    optimizers = optimizers_of(usual)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    step = step_of(replayed, averages[1], clipped_to=CLIPPED_TO)
    for k, (rate, numbers) in enumerate(zip(RATES, drawn(), strict=True)):
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = rate * peak
            optimizer.zero_grad()
        parts = losses_of(usual, numbers)
        sum(parts.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(usual.parameters(), CLIPPED_TO)
        assert float(norm) > CLIPPED_TO
        for optimizer in optimizers:
            optimizer.step()
        average_into(averages[0], usual, 0.5 + 0.1 * k)
        found = step(numbers, "any", rate=rate, decay=0.5 + 0.1 * k)
        for name, part in parts.items():
            assert torch.allclose(found[name], part, atol=1e-6)
    for expected, own in ((usual, replayed), averages):
        for a, b in zip(expected.parameters(), own.parameters(), strict=True):
            assert torch.allclose(a, b, atol=2e-6)
    start = network()
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(start.parameters(), usual.parameters(), strict=True))


def test_at_a_rate_of_zero_nothing_moves() -> None:
    """Warm-up steps before a capture."""
    model, average = network(), network()
    step = step_of(model, average)
    step(drawn()[0], "any", rate=0.0, decay=1.0)
    for a, b, c in zip(network().parameters(), model.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_where_a_capture_fails_it_trains_all_the_same_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    model, average = network(), network()
    step = step_of(model, average)
    monkeypatch.setattr(step, "_capture", refused)
    monkeypatch.setattr(step, "_device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _: tensor)
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):
        step(drawn()[0], "any", rate=1.0, decay=0.5)
    assert "stream is capturing" in step.problem
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_replayed_graph_is_the_same_step() -> None:
    device = torch.device("cuda")
    ends = []
    for where in (CPU, device):
        model = network().to(where)
        average = copy.deepcopy(model)
        step = step_of(model, average, where)
        if where == CPU:  # the captured step warms up its optimizers with the first numbers
            for _ in range(3):
                step(drawn()[0], "any", rate=0.0, decay=1.0)
        for rate, numbers in zip(RATES, drawn(), strict=True):
            step(numbers, "any", rate=rate, decay=0.9)
        ends.append([p.detach().cpu() for p in (*model.parameters(), *average.parameters())])
    for a, b in zip(*ends, strict=True):
        assert torch.allclose(a, b, atol=2e-3)
