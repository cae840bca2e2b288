"""Compiles every .proto under src/timonel when the package is built or installed for development.

The generated modules are not kept in the repository (house style: no generated source in the tree).
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "src"


def compile_protocols() -> None:
    from grpc_tools import protoc

    for proto in sorted(SOURCE.rglob("*.proto")):
        arguments = ["protoc", f"-I{SOURCE}", f"--python_out={SOURCE}", f"--pyi_out={SOURCE}", str(proto)]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"protoc failed on {proto}")


class BuildWithProtocols(build_py):
    def run(self) -> None:
        compile_protocols()
        super().run()


setup(cmdclass={"build_py": BuildWithProtocols})
