"""How networks run on this machine: devices, number formats, kernels for quantized weights, fast forms of networks."""
