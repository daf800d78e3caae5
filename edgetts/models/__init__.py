"""One file per network, plain PyTorch, upstream parameter names; no word of quantization or devices."""
