"""The optional compiled kernels; everything else stands in pyproject.toml.

Plain C interface, loaded with ctypes: no header of Python or torch is needed and one library serves every
Python version. Where it cannot be compiled the installation goes on, and the plain PyTorch paths are used.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("edgetts/native/src")


class BuildKernels(build_ext):
    """Names the library without Python's version and exports no module function: it is not a Python module."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, _ext: Extension) -> list[str]:
        return []


kernels = Extension(
    "edgetts.native._kernels",
    sources=sorted(str(path) for path in SOURCES.glob("*.cpp")),
    depends=sorted(str(path) for pattern in ("*.h", "*.inc") for path in SOURCES.glob(pattern)),
    language="c++",
    # No -march: each instruction set is chosen per function and at run time.
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-g0",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
        "-fvisibility=hidden",
        "-pthread",
        "-Wno-psabi",  # functions on vectors are all static: no other compiler calls them
    ],
    extra_link_args=["-pthread"],
    optional=True,
)

setup(ext_modules=[kernels], cmdclass={"build_ext": BuildKernels})
