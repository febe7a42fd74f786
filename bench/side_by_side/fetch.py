"""Fetches Triton and perf_analyzer into a cache folder, and builds the identity backend there. All of it idempotent."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError, say

HERE = Path(__file__).resolve().parent.parent
REQUIREMENTS = HERE / "requirements.txt"
BACKEND_SOURCE = HERE / "identity.c"
# The platforms and the Python that the two wheels are tagged with; neither wheel's Python code is run.
WHEEL_TAGS = ("--python-version", "3.10", "--platform", "manylinux_2_35_x86_64", "--platform", "manylinux1_x86_64")
# Names under which perf_analyzer asks for libraries that the Triton wheel carries under hashed names.
ALIASES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


@dataclass(frozen=True)
class Tools:
    tritonserver: Path
    perf_analyzer: Path
    backends: Path
    """Triton's --backend-directory."""
    libraries: tuple[Path, ...]
    """Goes on LD_LIBRARY_PATH of both programs."""

    def environment(self) -> dict[str, str]:
        inherited = os.environ.get("LD_LIBRARY_PATH")
        paths = [str(p) for p in self.libraries] + ([inherited] if inherited else [])
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(paths)}


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgemux" / "bench"


def fetch(cache: Path) -> Tools:
    """Everything both sides need except edgemuxd itself."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BenchError("the pinned Triton and perf_analyzer are built for x86-64 Linux; "
                         f"this is {platform.machine()} {platform.system()}. Run the comparison on an x86-64 machine.")
    cache.mkdir(parents=True, exist_ok=True)
    pins = _pins()
    wheels = _download(cache / "wheels", pins)
    triton = _unpack(cache, wheels["nvidia-pytriton"], pins["nvidia-pytriton"],
                     ("nvidia_pytriton.libs/", "pytriton/tritonserver/bin/"))
    client = _unpack(cache, wheels["tritonclient"], pins["tritonclient"], ("bin/perf_analyzer",))
    carried = triton / "nvidia_pytriton.libs"
    tools = Tools(
        tritonserver=_program(triton, "tritonserver"),
        perf_analyzer=_program(client, "perf_analyzer"),
        backends=_build_backend(cache),
        libraries=(_aliases(cache, carried), carried),
    )
    for program in (tools.tritonserver, tools.perf_analyzer):
        _check_starts(program, tools.environment())
    return tools


def _pins() -> dict[str, str]:
    """Package name to the sha256 that requirements.txt pins."""
    return dict(re.findall(r"^([\w-]+)==\S+ --hash=sha256:([0-9a-f]{64})$", REQUIREMENTS.read_text(), re.MULTILINE))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(folder: Path, pins: dict[str, str]) -> dict[str, Path]:
    def held() -> dict[str, Path]:
        by_hash = {_sha256(wheel): wheel for wheel in folder.glob("*.whl")}
        return {name: by_hash[pin] for name, pin in pins.items() if pin in by_hash}

    folder.mkdir(parents=True, exist_ok=True)
    wheels = held()
    if len(wheels) < len(pins):
        say(f"fetching {', '.join(sorted(set(pins) - set(wheels)))} with pip into {folder} (about 70 MB, once)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", *WHEEL_TAGS, "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wheels = held()
        if done.returncode or len(wheels) < len(pins):
            raise BenchError("pip could not fetch the pinned wheels. It needs network access to the package index, and "
                             f"pip for {sys.executable}. It said:\n{done.stdout.strip()}\n"
                             f"The command:\n{' '.join(command)}")
    return wheels


def _unpack(cache: Path, wheel: Path, pin: str, wanted: tuple[str, ...]) -> Path:
    """The parts of `wheel` whose path contains one of `wanted`, in a folder named by its hash."""
    target = cache / f"{wheel.name.split('-')[0]}-{pin[:12]}"
    if target.is_dir():
        return target
    say(f"unpacking {wheel.name}")
    partial = Path(tempfile.mkdtemp(dir=cache, prefix="unpack-"))
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if any(part in name for part in wanted):
                archive.extract(name, partial)
    try:
        partial.rename(target)
    except OSError:  # another run was first
        shutil.rmtree(partial)
    return target


def _program(folder: Path, name: str) -> Path:
    program = next((p for p in folder.rglob(name) if p.is_file()), None)
    if program is None:
        raise BenchError(f"{folder} holds no {name}; remove that folder and run again")
    program.chmod(0o755)
    return program


def _aliases(cache: Path, carried: Path) -> Path:
    folder = cache / "lib"
    folder.mkdir(exist_ok=True)
    for alias, pattern in ALIASES.items():
        library = next(carried.glob(pattern), None)
        if library is None:
            raise BenchError(f"{carried} holds no {pattern}; remove that folder and run again")
        link = folder / alias
        if not link.is_symlink() or link.resolve() != library.resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(library)
    return folder


def _build_backend(cache: Path) -> Path:
    """Compiles identity.c into BACKENDS/identity/libtriton_identity.so, BACKENDS being named by the source's hash."""
    backends = cache / f"backends-{_sha256(BACKEND_SOURCE)[:12]}"
    library = backends / "identity" / "libtriton_identity.so"
    if not library.exists():
        compiler = os.environ.get("CC", "cc")
        if not shutil.which(compiler):
            raise BenchError(f"no C compiler ({compiler}) to build {BACKEND_SOURCE.name} with: install gcc or set CC")
        say(f"building {BACKEND_SOURCE.name}")
        library.parent.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{os.getpid()}")
        done = subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(partial),
                               str(BACKEND_SOURCE)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise BenchError(f"{compiler} could not build {BACKEND_SOURCE}:\n{done.stdout}")
        partial.rename(library)
    return backends


def _check_starts(program: Path, environment: dict[str, str]) -> None:
    """A missing system library is best told before anything is measured."""
    done = subprocess.run(["ldd", str(program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
    if missing:
        raise BenchError(f"{program.name} cannot start here, the system lacks:\n  " + "\n  ".join(missing)
                         + "\nIt needs glibc 2.35, libstdc++, OpenSSL 3 and zlib (Debian 12, Ubuntu 22.04 or newer).")
