"""The networks of synthesis, loaded from a pack in the form and dtypes of a compute mode.

In: an open pack, a device, a `compute.Compute`. Out: GPT, S2Mel, vocoder, codebook and emotion matrices, ready to run.
A network whose 16-bit results are not finite is reloaded in float32 for the rest of the process, with a notice. It does
not know what the networks are used for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from edgetts.backends.device import memory_in_words
from edgetts.backends.device_decoder import device_decoders
from edgetts.backends.fast_dit import FastDiT
from edgetts.backends.fast_vocoder import FastVocoder
from edgetts.backends.fused_step import fused_step
from edgetts.backends.kernels import AUTO, KernelChoice, wanted_kernel
from edgetts.backends.linear import replacer
from edgetts.backends.numbers import dtype_name, forbid_tf32, numbers_of
from edgetts.backends.prepare import Prepared, prepare_s2mel, prepare_vocoder
from edgetts.backends.replay import UnitRunner
from edgetts.backends.runners import RunnerName, sound_runner
from edgetts.compute import Compute
from edgetts.errors import NonFiniteError
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.models.gpt import GPT
from edgetts.models.s2mel import S2Mel
from edgetts.pack.load import Pack
from edgetts.pack.page_release import give_back_freed

Stage = Literal["gpt", "s2mel", "vocoder"]
_WIDE: Compute = "exact"
_OF_ALL = ("gpt", "s2mel", "quantizer", "vocoder", "emotion")  # run-phase components that every family has


class Networks:
    """The resident networks. `prepared`: how S2Mel and vocoder were optimized."""

    def __init__(
        self, pack: Pack, device: torch.device, kernel: str, compute: Compute, runner: RunnerName = "auto"
    ) -> None:
        self.pack = pack
        self.config = pack.config
        self.device = device
        self._kernel = kernel
        self._runner = runner
        self._notices: list[str] = []
        forbid_tf32(device, numbers_of(device, compute))
        with memory_in_words(device, "loading the model"):
            # One after the other: while a network is optimized, its loaded and its optimized form both take memory.
            self._take_gpt(compute)
            give_back_freed()
            self._sound = sound_runner(device, compute, runner)
            self.s2mel, s2mel_done = _load_s2mel(pack, device, compute, self._sound, kernel)
            give_back_freed()
            self.vocoder, vocoder_done = _load_vocoder(pack, device, compute, self._sound)
            self.quantizer = registry.QUANTIZER.load(pack, device)
            self.others = {name: registry.component(name).load(pack, device) for name in _others(pack)}
            self.emotion_matrices = pack.state_dict("emotion", device)
        give_back_freed()
        self.prepared = {"s2mel": s2mel_done, "vocoder": vocoder_done}

    def modules(self) -> dict[str, nn.Module]:
        """By component name."""
        shared = {"gpt": self.gpt, "s2mel": self.s2mel, "quantizer": self.quantizer, "vocoder": self.vocoder}
        return {**shared, **self.others}

    def wait_for_compilers(self) -> None:
        """Wait until no background compilation is running, for warm-ups."""
        estimator = self.s2mel.get_submodule("cfm.estimator")
        if isinstance(estimator, FastDiT):
            estimator.wait_for_compiler()

    def take_notices(self) -> list[str]:
        """Notices of stages that were reloaded, since the last call."""
        taken, self._notices = self._notices, []
        return taken

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about slower ways of computing on this machine."""
        decoding = () if self.decoders is None else self.decoders.notices
        estimator = self.s2mel.get_submodule("cfm.estimator")
        flow = estimator.notices if isinstance(estimator, FastDiT) else ()
        return (*decoding, *flow, *(() if self._sound is None else self._sound.notices))

    @property
    def flow_bucket(self) -> int:
        """The DiT is fastest where prompt and speech together are a multiple of this many frames."""
        estimator = self.s2mel.get_submodule("cfm.estimator")
        return estimator.length_bucket if isinstance(estimator, FastDiT) else 1

    @property
    def window_bucket(self) -> int:
        """The vocoder is fastest where a window is a multiple of this many frames."""
        return self.vocoder.length_bucket if isinstance(self.vocoder, FastVocoder) else 1

    def dtype(self, stage: Stage) -> torch.dtype:
        """The dtype of most of a network's arithmetic."""
        return self.gpt.dtype if stage == "gpt" else self.prepared[stage].dtype

    @contextlib.contextmanager
    def widening(self, stage: Stage, can_repeat: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Reloads the network in float32 where the work within raises NonFiniteError in 16 bits. It is then done again:

            while True:
                with networks.widening("vocoder"):
                    return ...

        can_repeat: whether the work may be done again; codes that were output cannot be taken back. In float32
        NonFiniteError is raised. Raises GenerationError if the device's memory is full.
        """
        with memory_in_words(self.device, f"the stage {stage}"):
            try:
                yield
            except NonFiniteError:
                if self.dtype(stage) == torch.float32 or not can_repeat():
                    raise
                self._widen(stage)

    def check_finite(self, stage: Stage, found: Tensor) -> Tensor:
        """Return `found`. Raises NonFiniteError if it is not finite and the stage computes in 16 bits."""
        if self.dtype(stage) != torch.float32 and not bool(found.isfinite().all()):
            raise NonFiniteError(f"The stage {stage} overflowed in {dtype_name(self.dtype(stage))}: use compute=exact.")
        return found

    def _take_gpt(self, compute: Compute) -> None:
        """Load the GPT, `decoders` and `stepper`. Decoding uses the first of decoders, stepper and GPT that exists."""
        self.gpt = load_gpt(self.pack, self.device, self._kernel, compute)
        self.decoders = device_decoders(self.gpt, self.device, self._runner)
        self.stepper = fused_step(self.gpt)

    def _widen(self, stage: Stage) -> None:
        """Reload a stage in float32."""
        narrow = dtype_name(self.dtype(stage))
        if stage == "gpt":
            self._take_gpt(_WIDE)
        elif stage == "s2mel":
            self.s2mel, self.prepared[stage] = _load_s2mel(self.pack, self.device, _WIDE)
        else:
            self.vocoder, self.prepared[stage] = _load_vocoder(self.pack, self.device, _WIDE)
        give_back_freed()
        self._notices.append(f"The stage {stage} overflowed in {narrow} and computes in float32 from now on.")


def load_gpt(pack: Pack, device: torch.device, kernel: str, compute: Compute) -> GPT:
    """The GPT in the dtype of the compute mode, with a kernel for its quantized weights: a name or `kernels.AUTO`."""
    dtype = numbers_of(device, compute).gpt
    replace = replacer(KernelChoice(device, wanted_kernel(kernel, compute), compute), dtype)
    return registry.GPT.load(pack, device, dtype=dtype, replace=replace)


def _others(pack: Pack) -> list[str]:
    """Run-phase components that only the pack's family has."""
    return [name for name in family_of(pack.config).run_components if name not in _OF_ALL]


def _load_s2mel(
    pack: Pack, device: torch.device, compute: Compute, runner: UnitRunner | None = None, kernel: str = AUTO
) -> tuple[S2Mel, Prepared]:
    s2mel = registry.S2MEL.load(pack, device)
    return s2mel, prepare_s2mel(s2mel, compute, device, runner, kernel)


def _load_vocoder(
    pack: Pack, device: torch.device, compute: Compute, runner: UnitRunner | None = None
) -> tuple[nn.Module, Prepared]:
    return prepare_vocoder(registry.VOCODER.load(pack, device), compute, device, runner)
