"""Compiled CPU kernels, optional: a C++ library built at installation where there is a compiler.

In: addresses, shapes and plain numbers. Out: results written to tensors the caller made. It knows nothing of
models; `edgetts.backends` decides what to call and has a plain PyTorch form of everything here.
"""
