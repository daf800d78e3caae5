"""The optional compiled kernels, and where packages lie; everything else stands in pyproject.toml.

Plain C interface, loaded with ctypes: no header of Python or torch is needed and one library serves every
Python version. Where it cannot be compiled the installation goes on, and the plain PyTorch paths are used.
With EDGETTS_KERNELS=required the build fails instead: nobody wants to publish a wheel without them.

`quant/` and `recipes/` are installed below `edgetts`, as `edgetts.quant` and `edgetts.recipes`. The links
`edgetts/quant` and `edgetts/recipes` say the same to tools that read a checkout, such as mypy and pytest.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCES = Path("edgetts/native/src")
ELSEWHERE = {"edgetts.quant": "quant", "edgetts.recipes": "recipes"}  # package -> folder
NOT_INSTALLED = [*(f"{name}*" for name in ELSEWHERE), "edgetts.native.src"]


class BuildKernels(build_ext):
    """Names the library without Python's version and exports no module function: it is not a Python module."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, _ext: Extension) -> list[str]:
        return []


class BuildModules(build_py):
    """Leaves out what an earlier build in this checkout left in the build folder, and scripts of the recipes."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return found if package != "edgetts.recipes" else []

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        wanted = {Path(name).resolve() for name in self.get_outputs(include_bytecode=False)}
        for path in Path(self.build_lib).rglob("*"):
            if path.is_file() and path.suffix != ".so" and path.resolve() not in wanted:
                path.unlink()


class OneWheel(bdist_wheel):
    """Tags the wheel for every Python 3: the kernels ask nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


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
    optional=os.environ.get("EDGETTS_KERNELS") != "required",
)

setup(
    ext_modules=[kernels],
    packages=[
        *find_namespace_packages(include=["edgetts*"], exclude=NOT_INSTALLED),
        *ELSEWHERE,
    ],
    package_dir=ELSEWHERE,
    cmdclass={"build_ext": BuildKernels, "build_py": BuildModules, "bdist_wheel": OneWheel},
)
