"""A training step that a GPU replays: losses, gradients, optimizers and the moving average as one CUDA graph per batch
shape.

A small network's training step is a thousand kernels of a few microseconds each, which take the host several times as
long to launch as they take the GPU. In: a function from a tensor of numbers to losses, whose shapes depend on a key
only, and the optimizers. Out: the step has run, or is queued; on the CPU it simply runs. It does not know the network.

The optimizers keep their first learning rate, since a captured one cannot change: the step goes a fraction of the way
to what they made of the parameters, which equals a learning rate of that fraction for optimizers whose update is
proportional to it (AdamW and Muon, with decoupled decay).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_WARM_UPS = 3
Losses = Callable[[Tensor, Any], dict[str, Tensor]]
"""Numbers on the device and the key of a shape -> losses by name, of which the sum is minimized."""


class ReplayedStep:
    """Call it with numbers and the key of their shape."""

    def __init__(
        self,
        losses: Losses,
        parameters: Sequence[nn.Parameter],
        optimizers: Sequence[torch.optim.Optimizer],
        average: tuple[nn.Module, nn.Module],
        device: torch.device,
        *,
        clipped_to: float = 1.0,
    ) -> None:
        """average: a network and its moving average; only their parameters. clipped_to: the norm of all gradients."""
        self._losses, self._optimizers = losses, list(optimizers)
        self._parameters: list[Tensor] = list(parameters)
        self._network, self._average = (list[Tensor](module.parameters()) for module in average)
        self._device, self._clipped_to = device, clipped_to
        self._before = [parameter.detach().clone() for parameter in parameters]
        self._rate = torch.zeros((), device=device)
        self._decay = torch.ones((), device=device)
        self._graphs: dict[Hashable, tuple[Any, Tensor, dict[str, Tensor]]] = {}
        self._pool: Any = None
        self.problem = ""  # why no more steps are captured, for the log
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                if "capturable" in group:
                    group["capturable"] = device.type == "cuda"

    def __call__(self, numbers: Tensor, key: Hashable, *, rate: float, decay: float) -> Mapping[str, Tensor]:
        """One step. numbers: on the host, of a shape that depends on the key. rate: fraction of the learning rate.

        decay: of the moving average. The losses are on the device and overwritten by the next step of the same key.
        """
        if self._device.type == "cuda" and not self.problem and key not in self._graphs:
            try:
                self._graphs[key] = self._capture(numbers, key)
            except RuntimeError as error:
                self.problem = f"Steps are launched one kernel at a time, since a capture failed: {error}"
        if key not in self._graphs:
            self._set(rate, decay)
            return self._step(numbers.to(self._device), key)
        graph, given, losses = self._graphs[key]
        self._set(rate, decay)
        given.copy_(numbers)
        graph.replay()
        return losses

    def _set(self, rate: float, decay: float) -> None:
        self._rate.fill_(rate)
        self._decay.fill_(decay)

    def _step(self, numbers: Tensor, key: Hashable) -> dict[str, Tensor]:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        parts = self._losses(numbers, key)
        torch.autograd.backward(torch.stack([part.float() for part in parts.values()]).sum())
        with torch.no_grad():
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clipped_to)
            torch._foreach_copy_(self._before, self._parameters)
            for optimizer in self._optimizers:
                optimizer.step()
            _move(self._before, self._parameters, self._rate)
            torch._foreach_copy_(self._parameters, self._before)
            _move(self._average, self._network, 1 - self._decay)
        return {name: part.detach() for name, part in parts.items()}

    def _capture(self, numbers: Tensor, key: Hashable) -> tuple[Any, Tensor, dict[str, Tensor]]:
        """The warm-up steps change the state of the optimizers, and no parameter."""
        given = numbers.to(self._device)
        self._set(0.0, 1.0)
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._step(given, key)
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            losses = self._step(given, key)
        self._pool = self._pool or graph.pool()
        return graph, given, losses


def _move(tensors: list[Tensor], toward: list[Tensor], share: Tensor) -> None:
    """In place, by a share of the distance."""
    distances = torch._foreach_sub(toward, tensors)
    torch._foreach_mul_(distances, share)
    torch._foreach_add_(tensors, distances)
