"""One file per network: plain PyTorch with upstream's parameter names. No quantization, no devices."""
