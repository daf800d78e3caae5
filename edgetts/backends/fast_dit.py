"""The DiT optimized for inference: the same network with less memory traffic, in any dtype.

In: a loaded `DiT`. Out: a module with the same call, whose `prepare` computes once per ODE solution what does not
change between steps: the adaLN conditions of all flow times, and the input layer except its noisy-mel part. Activations
stay in (B, T, C), the layout of linears and convolutions. Both branches of guidance have the same state, so what
depends on the state alone is computed once. `dit_blocks` has the transformer layers.

The velocity is only needed behind the prompt: from the last layer's queries on, earlier frames are dropped, except for
those in reach of the WaveNet head's convolutions.

It does not know solvers. Inputs and the velocity are fp32. Shapes: B, T, C, M as in the DiT, R rows (B, or 2 B with
guidance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.backends.dit_blocks import DiTBlocks, dense_weight
from edgetts.backends.dit_replay import LENGTH_BUCKET, EstimateKey, EstimateUnit, estimate_key
from edgetts.backends.frame_ops import FrameOps, Rope, frame_ops
from edgetts.backends.prepacked_conv import CompiledConv1d, PrepackedConv1d, prepacked
from edgetts.backends.replay import Replays, UnitRunner
from edgetts.models import dit
from edgetts.models.dit import FINAL_NORM_EPS, AdaLNModulation, DiT, rope_table
from edgetts.models.wavenet import ReflectConv1d, WaveNet

Velocity = Callable[[Tensor, int, int], Tensor]
"""`(x (B, M, T) fp32, index of the flow time, rows R) -> velocity (R, M, T) fp32`."""

_Linear = tuple[Tensor, Tensor | None]
"""Weight (O, I), bias (O,)."""


class FastDiT(nn.Module):
    """`prepare` starts an ODE solution; `forward` is the DiT's. `n_packed`: prepacked convolutions."""

    def __init__(
        self,
        plain: DiT,
        dtype: torch.dtype,
        device: torch.device,
        runner: UnitRunner | None = None,
        linear: Callable[[Tensor], Tensor] | None = None,
        taken: Callable[[nn.Module], None] | None = None,
    ) -> None:
        """runner: replays whole evaluations whose length is a multiple of `LENGTH_BUCKET`; None: nothing is replayed.

        linear: makes the weights of the layers' products, as `kernels.ao.int8_weight`; None: they stay as they are.
        taken: called with each part of `plain` whose weights are not needed any more.
        """
        super().__init__()
        self.dtype = dtype
        self._replays: Replays[EstimateKey, EstimateUnit] | None = None if runner is None else Replays(runner)
        self.time = _TimeNetworks(plain, dtype)
        merge = dense_weight(plain.cond_x_merge_linear, dtype)  # (C, M + M + C + C_style)
        n_mels, dim = plain.skip_linear.in_features - merge.shape[0], merge.shape[0]
        self._n_mels = n_mels
        of_x, of_prompt, of_condition, of_style = torch.split(
            merge, [n_mels, n_mels, dim, merge.shape[1] - 2 * n_mels - dim], dim=1
        )
        hidden_skip, x_skip = torch.split(dense_weight(plain.skip_linear, dtype), [dim, n_mels], dim=1)
        self._of_x = torch.cat(
            [of_x, x_skip]
        ).contiguous()  # (2 C, M): one product for the input layer and the final skip
        self._of_prompt, self._of_condition, self._of_style = (
            w.contiguous() for w in (of_prompt, of_condition, of_style)
        )
        self._merge_bias = _bias(plain.cond_x_merge_linear, dtype)
        self._condition = _linear(plain.cond_projection, dtype)
        self._hidden_skip = hidden_skip.contiguous()
        self._skip_bias = _bias(plain.skip_linear, dtype)
        self._ops = frame_ops(device, dtype)
        self._blocks = DiTBlocks(_layers(plain), plain.rope_dim, dtype, device, self._ops, linear=linear, taken=taken)
        self._n_emitting = plain.transformer.n_emitting
        self._conv1 = _linear(plain.conv1, dtype)
        self._wavenet = _FastWaveNet(plain.wavenet, dtype, self._ops)
        self.n_packed = self._wavenet.n_packed
        self._residual = _linear(plain.res_projection, dtype)
        self._final = _linear(plain.final_layer.linear, dtype)
        self._out: _Linear = (plain.conv2.weight.detach().squeeze(-1).to(dtype), _cast(plain.conv2.bias, dtype))
        self._rope_dim = plain.rope_dim

    def prepare(
        self,
        prompt: Tensor,
        style: Tensor,
        condition: Tensor,
        times: Sequence[float],
        start: int = 0,
        offsets: AdaLNModulation | None = None,
    ) -> Velocity:
        """The velocity as a function of the state and the index in `times`.

        prompt (R, M, T), style (R, C_style), condition (R, T, C_content), offsets as for the DiT. The velocity can be
        evaluated for the first rows alone; a state with fewer rows is repeated. Before frame `start` it is zero.
        """
        on = prompt.device
        conditions = self._conditions(torch.tensor(list(times), dtype=torch.float32, device=on), offsets)
        static = self._static(prompt, style, condition)
        rope = self._rope(prompt.shape[-1], on)
        if self._blocks.settle() and self._replays is not None:
            self._replays.forget()
        units = self._units(static, _at(conditions, 0), rope, start)
        solution = object()

        def velocity(x: Tensor, index: int, n_rows: int) -> Tensor:
            at_time, rows = _at(conditions, index), static[:n_rows]
            unit = units.get(n_rows) if len(x) == 1 else None
            if unit is not None and self._replays is not None:
                unit.fill(x, rows, at_time, solution)
                if self._replays.run(unit):
                    return F.pad(unit.from_frame(start), (start, 0))
            return self._estimate(x, rows, at_time, rope, start)

        return velocity

    def _units(self, static: Tensor, times: AdaLNModulation, rope: Rope, start: int) -> dict[int, EstimateUnit]:
        """Replayable units by number of rows. The first solution of a length has none."""
        found: dict[int, EstimateUnit] = {}
        if self._replays is None:
            return found
        for n_rows in {len(static), 1}:
            key = estimate_key(static.shape[1], self._reached(start), n_rows)
            if key is None:
                continue
            earlier = key._replace(begin=key.begin - LENGTH_BUCKET)  # computes more and serves as well
            chosen = earlier if self._replays.has(earlier) and not self._replays.has(key) else key
            unit = self._replays.get(chosen, lambda k: self._unit(k, static, times, rope))
            if unit is not None:
                found[n_rows] = unit
        return found

    def _unit(self, key: EstimateKey, static: Tensor, times: AdaLNModulation, rope: Rope) -> EstimateUnit:
        return EstimateUnit(self._behind, key, static, times, rope)

    @property
    def length_bucket(self) -> int:
        """The DiT is fastest where prompt and speech together are a multiple of this many frames."""
        return 1 if self._replays is None else LENGTH_BUCKET

    def wait_for_compiler(self) -> None:
        """Wait until no background compilation is running, for warm-ups."""
        self._blocks.wait()

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about slower ways of computing on this machine."""
        problem = self._blocks.problem
        return (f"The DiT runs without torch.compile, which is slower: {problem.rstrip('.')}.",) if problem else ()

    def forward(
        self,
        x: Tensor,
        prompt: Tensor,
        t: Tensor,
        style: Tensor,
        condition: Tensor,
        offsets: AdaLNModulation | None = None,
    ) -> Tensor:
        """As `DiT.forward` without a mask: (R, M, T) -> (R, M, T) fp32."""
        static = self._static(prompt, style, condition)
        return self._estimate(x, static, self._conditions(t, offsets), self._rope(x.shape[-1], x.device))

    def _conditions(self, t: Tensor, offsets: AdaLNModulation | None) -> AdaLNModulation:
        """Flow times (n,) -> conditions of n rows."""
        conditions: AdaLNModulation = self.time(t)
        if offsets is None:
            return conditions
        return conditions.plus(offsets._replace(wavenet=offsets.wavenet.transpose(1, 2)))

    def _static(self, prompt: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        """The input layer without its noisy-mel part, (R, T, C)."""
        prompt, style, condition = (y.to(self.dtype) for y in (prompt, style, condition))
        static = F.linear(prompt.transpose(1, 2), self._of_prompt, self._merge_bias)
        static += F.linear(F.linear(condition, *self._condition), self._of_condition)
        static += F.linear(style, self._of_style).unsqueeze(1)
        return static

    def _rope(self, length: int, device: torch.device) -> Rope:
        return self._ops.rope(rope_table(length, self._rope_dim, device))

    def _estimate(self, x: Tensor, static: Tensor, times: AdaLNModulation, rope: Rope, start: int = 0) -> Tensor:
        velocity = self._behind(x, static, times, rope, self._reached(start), start)
        return F.pad(velocity, (start, 0))

    def _reached(self, start: int) -> int:
        """The first frame of the last layer's output that affects the velocity from frame `start` on."""
        return max(0, start - self._wavenet.reach)

    def _behind(self, x: Tensor, static: Tensor, times: AdaLNModulation, rope: Rope, begin: int, first: int) -> Tensor:
        """The velocity (R, M, T - first) fp32 from frame `first` on; the last layer is computed from `begin` on."""
        n_rows = static.shape[0]
        seen = F.linear(x.transpose(1, 2).to(self.dtype), self._of_x)  # (B, T, 2 C)
        if seen.shape[0] != n_rows:
            seen = seen.repeat(n_rows // seen.shape[0], 1, 1)
        of_x, x_skip = seen.chunk(2, dim=-1)
        hidden = static + of_x
        conditions = times.norms.unbind(0)
        hidden = self._blocks(hidden, conditions, rope, self._n_emitting, begin)
        hidden = self._ops.norm(hidden, conditions[-1])
        hidden = F.linear(hidden, self._hidden_skip, self._skip_bias) + x_skip[:, begin:]
        y = self._wavenet(F.linear(hidden, *self._conv1), times.wavenet) + F.linear(hidden, *self._residual)
        shift, scale = times.final.chunk(2, dim=-1)
        y = torch.addcmul(shift, F.layer_norm(y, y.shape[-1:], eps=FINAL_NORM_EPS), 1 + scale)
        y = F.linear(F.linear(y[:, first - begin :], *self._final), *self._out)  # (R, T - first, M)
        return y.transpose(1, 2).float()


class _TimeNetworks(nn.Module):
    """Flow time to adaLN conditions; small, and used once per solution."""

    def __init__(self, plain: DiT, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._embedders = (plain.t_embedder, plain.t_embedder2)  # kept in fp32: small
        norms = [n for layer in _layers(plain) for n in (layer.attention_norm, layer.ffn_norm)]
        self._norms = [
            (_linear(norm.project_layer, dtype), norm.norm.weight.detach().to(dtype))
            for norm in [*norms, plain.transformer.norm]
        ]
        convolution = plain.wavenet.cond_layer.conv.conv
        self._wavenet: _Linear = (convolution.weight.detach().squeeze(-1).to(dtype), _cast(convolution.bias, dtype))
        self._final = _linear(plain.final_layer.adaLN_modulation[1], dtype)

    def forward(self, t: Tensor) -> AdaLNModulation:
        """Flow times (n,) -> conditions of n rows."""
        first, second = (embedder(t).to(self._dtype) for embedder in self._embedders)  # (n, C)
        made = []
        for linear, weight in self._norms:
            gain, bias = F.linear(first, *linear).unsqueeze(1).chunk(2, dim=-1)
            made.append(torch.cat([gain * weight, bias], dim=-1))  # (n, 1, 2 C)
        return AdaLNModulation(
            norms=torch.stack(made),
            wavenet=F.linear(second, *self._wavenet).unsqueeze(1),  # (n, 1, 2 C n_layers)
            final=F.linear(F.silu(first), *self._final).unsqueeze(1),  # (n, 1, 2 C)
        )


class _FastWaveNet:
    """The WaveNet head in (R, T, C)."""

    def __init__(self, plain: WaveNet, dtype: torch.dtype, ops: FrameOps) -> None:
        self.ops = ops
        self.channels = plain.channels
        self.convolutions: list[CompiledConv1d | PrepackedConv1d | nn.Conv1d] = []
        self.paddings: list[int] = []
        for layer in plain.in_layers:
            assert isinstance(layer, ReflectConv1d)
            given = layer.conv.conv
            convolution = nn.Conv1d(
                *(given.in_channels, given.out_channels, given.kernel_size[0]),
                dilation=given.dilation[0],
                device="meta",
            )
            convolution.weight = nn.Parameter(given.weight.detach().to(dtype), requires_grad=False)
            assert given.bias is not None
            convolution.bias = nn.Parameter(given.bias.detach().to(dtype), requires_grad=False)
            self.convolutions.append(prepacked(convolution) or convolution)
            assert isinstance(given.padding, tuple)
            self.paddings.append(given.padding[0])
        self.n_packed = sum(not isinstance(convolution, nn.Conv1d) for convolution in self.convolutions)
        self.reach = sum(self.paddings)
        """Frames on either side that a frame depends on."""
        self.outputs: list[_Linear] = []
        for layer in plain.res_skip_layers:
            assert isinstance(layer, ReflectConv1d)
            given = layer.conv.conv
            self.outputs.append((given.weight.detach().squeeze(-1).to(dtype), _cast(given.bias, dtype)))

    def __call__(self, x: Tensor, time_bias: Tensor) -> Tensor:
        biases = time_bias.chunk(len(self.convolutions), dim=-1)
        skips: Tensor | None = None
        for convolution, padding, output, bias in zip(
            self.convolutions, self.paddings, self.outputs, biases, strict=True
        ):
            y = F.linear(self.ops.gate(_convolve(convolution, _reflect(x, padding)), bias), *output)
            if y.shape[-1] == 2 * self.channels:
                residual, y = y.chunk(2, dim=-1)
                x = x + residual
            skips = y if skips is None else skips + y
        assert skips is not None
        return skips


def _at(conditions: AdaLNModulation, index: int) -> AdaLNModulation:
    """The conditions of one flow time."""
    norms, wavenet, final = conditions
    return AdaLNModulation(norms[:, index : index + 1], wavenet[index : index + 1], final[index : index + 1])


def _convolve(convolution: CompiledConv1d | PrepackedConv1d | nn.Conv1d, x: Tensor) -> Tensor:
    """(R, T, C) -> (R, T', C')."""
    if not isinstance(convolution, nn.Conv1d):
        return convolution.channels_last(x)
    y: Tensor = convolution(x.transpose(1, 2)).transpose(1, 2)
    return y


def _reflect(x: Tensor, padding: int) -> Tensor:
    """(R, T, C) with reflection padding of `padding` frames on both sides."""
    return torch.cat([x[:, 1 : padding + 1].flip(1), x, x[:, -padding - 1 : -1].flip(1)], dim=1)


def _layers(plain: DiT) -> list[dit.Block]:
    return [layer for layer in plain.transformer.layers if isinstance(layer, dit.Block)]


def _cast(bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if bias is None else bias.detach().to(dtype)


def _bias(layer: nn.Module, dtype: torch.dtype) -> Tensor | None:
    bias = layer.bias
    assert bias is None or isinstance(bias, Tensor)
    return _cast(bias, dtype)


def _linear(layer: nn.Module, dtype: torch.dtype) -> _Linear:
    return dense_weight(layer, dtype), _bias(layer, dtype)
