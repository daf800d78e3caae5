"""The training loop of all stages: time budget, checkpoints, logs, curves and a progress bar.

In: a work folder, modules and their optimizers. Out: `WORK/STAGE/last.pt` (the full training state), `log.jsonl` and
`curves.png`. Does not know the networks. A new run starts from the weights in `WORK/STAGE/start.pt`, if
`recipes.tiny.stages.init_from_pack` has written them.

The budget of a stage is in minutes, not in steps: the learning rate is a cosine of the time spent, so a run ends on
time on any machine. The checkpoint has the time spent, and a stopped run continues. On a busy machine, `computing_time`
counts CPU time instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

WARMUP_STEPS = 200
FINAL_LR_RATIO = 0.02  # of the peak, at the end of the cosine
CHECKPOINT_EVERY_S = 120.0
LOG_EVERY_S = 10.0


class Run:
    """One stage's training loop: `for step in run: ...; run.log(loss=...)`."""

    def __init__(
        self,
        work: Path,
        stage: str,
        minutes: float,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        *,
        warmup_steps: int = WARMUP_STEPS,
        clock: Callable[[], float] = time.monotonic,
        curves: bool = True,
    ) -> None:
        """curves: whether to draw them, which needs matplotlib."""
        self.curves = curves
        self.clock = clock
        self.folder = work / stage
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stage = stage
        self.budget_s = minutes * 60
        self.modules = dict(modules)
        self.optimizers = dict(optimizers)
        self.warmup_steps = warmup_steps
        self.peaks = {k: [g["lr"] for g in o.param_groups] for k, o in self.optimizers.items()}
        self.step = 0
        self.spent_s = 0.0
        self.means: dict[str, float] = {}
        self._change_budget()
        self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            self._start()
            return
        state = torch.load(self.checkpoint, weights_only=True)
        for kind, parts in (("modules", self.modules), ("optimizers", self.optimizers)):
            for name, part in parts.items():
                if name in state[kind]:  # parts added since then start fresh
                    part.load_state_dict(state[kind][name])
        self.step, self.spent_s = state["step"], state["spent_s"]

    def _start(self) -> None:
        """Start from the weights of an earlier model; missing and misshapen tensors are initialized."""
        start = self.folder / "start.pt"
        if not start.exists():
            return
        found = torch.load(start, weights_only=True)
        for name, module in self.modules.items():
            if name in found:
                fresh = module.state_dict()
                known = {k: v for k, v in found[name].items() if k in fresh and v.shape == fresh[k].shape}
                if anew := sorted(fresh.keys() - known.keys()):
                    print(f"{self.stage}: freshly initialized: {', '.join(anew)}")
                module.load_state_dict(fresh | known)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "modules": {k: m.state_dict() for k, m in self.modules.items()},
            "optimizers": {k: o.state_dict() for k, o in self.optimizers.items()},
            "step": self.step,
            "spent_s": self.spent_s,
        }
        new = self.checkpoint.with_suffix(".new")
        torch.save(state, new)
        new.replace(self.checkpoint)

    def _change_budget(self) -> None:
        """Read a changed budget of a running stage from `WORK/STAGE/minutes.txt`, if it exists."""
        changed = self.folder / "minutes.txt"
        if changed.exists():
            self.budget_s = 60 * float(changed.read_text())

    @property
    def progress(self) -> float:
        """Fraction of the budget spent, 0 to 1."""
        return min(1.0, self.spent_s / self.budget_s)

    def _set_learning_rates(self) -> None:
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        scale = FINAL_LR_RATIO + (1 - FINAL_LR_RATIO) * cosine
        scale *= min(1.0, (self.step + 1) / self.warmup_steps)
        for name, optimizer in self.optimizers.items():
            for group, peak in zip(optimizer.param_groups, self.peaks[name], strict=True):
                group["lr"] = peak * scale

    def __iter__(self) -> Iterator[int]:
        last = self.clock()
        saved = logged = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task(self.stage, total=self.budget_s)
            bar.update(task, completed=self.spent_s)
            while self.spent_s < self.budget_s:
                self._set_learning_rates()
                yield self.step
                spent = self.clock()
                self.spent_s += spent - last
                last = spent
                now = time.monotonic()
                self.step += 1
                shown = " ".join(f"{k} {v:.3f}" for k, v in self.means.items())
                bar.update(task, completed=self.spent_s, description=f"{self.stage} {self.step} {shown}")
                if now - logged > LOG_EVERY_S:
                    self.write_log({"train": {k: round(v, 4) for k, v in self.means.items()}})
                    logged = now
                if now - saved > CHECKPOINT_EVERY_S:
                    self.save()
                    self.draw()
                    self._change_budget()
                    saved = time.monotonic()
                    last = self.clock()
        self.save()
        self.draw()

    def log(self, **values: float | Tensor) -> None:
        """Exponential moving averages of training figures, over about 50 steps."""
        for key, value in values.items():
            number = float(value)
            self.means[key] = number if key not in self.means else 0.98 * self.means[key] + 0.02 * number

    def write_log(self, values: Mapping[str, Any]) -> None:
        """Append a line to log.jsonl; evaluation figures: {"eval": {...}}."""
        line = {"step": self.step, "minutes": round(self.spent_s / 60, 2), **values}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def draw(self) -> None:
        """Curves of every logged figure, as WORK/STAGE/curves.png."""
        if self.curves:
            draw_curves(self.folder / "log.jsonl", self.folder / "curves.png", self.stage)


def computing_time() -> float:
    """CPU seconds of this process per compute thread."""
    return time.process_time() / torch.get_num_threads()


def stage_file(work: Path, stage: str) -> Path:
    """The checkpoint of a stage, or the weights that it starts from."""
    trained = work / stage / "last.pt"
    return trained if trained.exists() else work / stage / "start.pt"


def stage_weights(work: Path, stage: str) -> dict[str, dict[str, Tensor]]:
    """Weights of every module of a stage: trained, or else those it starts from."""
    path = stage_file(work, stage)
    state = torch.load(path, weights_only=True)
    weights: dict[str, dict[str, Tensor]] = state["modules"] if path.name == "last.pt" else state
    return weights


def draw_curves(log: Path, picture: Path, title: str) -> None:
    if not log.exists():
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series: dict[str, tuple[list[float], list[float]]] = {}
    for text in log.read_text().splitlines():
        line = json.loads(text)
        for kind in ("train", "eval"):
            for key, value in line.get(kind, {}).items():
                xs, ys = series.setdefault(f"{kind} {key}", ([], []))
                xs.append(line["minutes"])
                ys.append(value)
    names = sorted({name.split(" ", 1)[1] for name in series})
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.6 * rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for kind in ("train", "eval"):
            if f"{kind} {name}" in series:
                axis.plot(*series[f"{kind} {name}"], label=kind, marker="." if kind == "eval" else None)
        axis.set_title(name)
        axis.set_xlabel("minutes")
        axis.legend(fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(picture, dpi=80)
    plt.close(figure)


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    """Attention (B, H, T, D) as two products, in bfloat16 where the processor has it; attn_mask: bool (True: attend) or
    an additive mask.

    For training on some hundred frames on a CPU it takes 0.6 of the time of the fused kernel (in bfloat16).
    """
    if has_bf16_products():
        query, key, value = (x.bfloat16() for x in (query, key, value))
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask.to(scores.dtype)
    attended: Tensor = scores.softmax(-1) @ value
    return attended


@contextlib.contextmanager
def fast_attention() -> Iterator[None]:
    """The networks with `plain_attention`, inside the block."""
    before = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = plain_attention  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = before


def zeroth_power(gradient: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Muon's approximate orthogonal factor of a matrix, as `torch.optim.Muon` computes it, but in float32."""
    linear, cubic, quintic = coefficients
    is_tall = gradient.shape[0] > gradient.shape[1]
    x: Tensor = gradient.float().T if is_tall else gradient.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = linear * x + (cubic * gram + quintic * gram @ gram) @ x
    return x.T if is_tall else x


@contextlib.contextmanager
def fast_muon() -> Iterator[None]:
    """`torch.optim.Muon` without bfloat16 products inside the block, where the processor does not have them."""
    from torch.optim import _muon

    before = _muon._zeropower_via_newtonschulz
    if not has_bf16_products():
        _muon._zeropower_via_newtonschulz = zeroth_power  # type: ignore[assignment]
    try:
        yield
    finally:
        _muon._zeropower_via_newtonschulz = before


def adamw(
    modules: list[nn.Module], lr: float, *, betas: tuple[float, float] = (0.9, 0.98), decay: float = 0.01
) -> torch.optim.AdamW:
    """AdamW with decay on matrices only."""
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def average_into(average: nn.Module, source: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    with torch.no_grad():
        for a, s in zip(average.parameters(), source.parameters(), strict=True):
            a.lerp_(s.to(a.dtype), 1 - decay)
        for kept, now in zip(average.buffers(), source.buffers(), strict=True):
            kept.copy_(now)


def parameters_of(*modules: nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters())


def stage_parser(doc: str | None, *, minutes: float) -> argparse.ArgumentParser:
    """The command-line arguments of every stage; a stage may add its own."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--work", type=Path, required=True, help="folder of all stages")
    parser.add_argument("--corpus", type=Path, action="append", required=True, help="cached corpus; may be given again")
    parser.add_argument("--minutes", type=float, default=minutes, help="budget of this stage")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def stage_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the arguments and set the number of threads."""
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


def has_bf16_products() -> bool:
    """Whether the processor has them; elsewhere they would take ten times as long as float32."""
    return torch.cpu._is_avx512_bf16_supported()


def autocast(device_type: str) -> torch.autocast:
    """bfloat16 products where the machine has them."""
    return torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda" or has_bf16_products())
