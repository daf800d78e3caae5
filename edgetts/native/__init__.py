"""Optional compiled CPU kernels: a C++ library, built at installation if there is a compiler.

In: addresses, shapes and plain numbers. Out: results written to tensors of the caller. Knows no models;
`edgetts.backends` decides what to call and has a plain PyTorch form of everything here.
"""
