"""`S2MelConfig` of upstream's `config.yaml`, for tests of single networks."""

from __future__ import annotations

from pathlib import Path

import yaml

from edgetts.pack.config import DiTConfig, LengthRegulatorConfig, S2MelConfig, WaveNetConfig

LATENT_PROJECTION_HIDDEN = (256, 128)  # fixed in upstream's code
FFN_MULTIPLE = 256  # upstream rounds two thirds of 4 x width up to this


def s2mel_config(path: Path) -> S2MelConfig:
    source = yaml.safe_load(path.read_text())
    table = source["s2mel"]
    regulator, dit, wavenet = table["length_regulator"], table["DiT"], table["wavenet"]
    ffn = int(2 * 4 * dit["hidden_dim"] / 3)
    return S2MelConfig(
        length_regulator=LengthRegulatorConfig(
            in_channels=regulator["in_channels"],
            channels=regulator["channels"],
            out_channels=regulator["channels"],
            n_convs=len(regulator["sampling_ratios"]),
        ),
        dit=DiTConfig(
            n_mels=dit["in_channels"],
            hidden_dim=dit["hidden_dim"],
            n_heads=dit["num_heads"],
            depth=dit["depth"],
            ffn_dim=-(-ffn // FFN_MULTIPLE) * FFN_MULTIPLE,
            content_dim=dit["content_dim"],
            style_dim=table["style_encoder"]["dim"],
            time_frequency_dim=256,
            wavenet=WaveNetConfig(
                hidden_dim=wavenet["hidden_dim"],
                n_layers=wavenet["num_layers"],
                kernel_size=wavenet["kernel_size"],
                dilation_rate=wavenet["dilation_rate"],
            ),
        ),
        latent_projection_dims=(source["gpt"]["model_dim"], *LATENT_PROJECTION_HIDDEN, regulator["in_channels"]),
        mel_frames_per_code=1.72,
    )


def tiny_dit_config(depth: int = 4) -> DiTConfig:
    """Small enough for many calls."""
    wavenet = WaveNetConfig(hidden_dim=16, n_layers=2, kernel_size=5, dilation_rate=1)
    return DiTConfig(
        n_mels=6,
        hidden_dim=16,
        n_heads=2,
        depth=depth,
        ffn_dim=32,
        content_dim=8,
        style_dim=4,
        time_frequency_dim=8,
        wavenet=wavenet,
    )
