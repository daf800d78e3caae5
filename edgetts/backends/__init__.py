"""How networks run on this machine: devices, dtypes, kernels for quantized weights, optimized forms of networks."""
