"""The check of what a worker is kept from, and of what its libraries need."""

import contextlib
import ctypes
import errno
import glob
import os
import platform
import socket
from pathlib import Path

from checks import ensure, on_gpu
from serving import Daemon, Ended

# A model that does not load in this time is given up.
LOAD_SECONDS = 20
# What a worker that is kept from files may read whatever the device is, of `runtimes/api/src/sandbox.rs`.
READABLE = ("/usr/", "/lib", "/opt/", "/etc/ld.so", "/etc/localtime", "/sys/", "/run/udev/", "/proc/", "/dev/null", "/dev/zero")
# What NVIDIA's libraries are known to look for.
LOOKED_FOR = ["/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri", "/dev/shm", "/usr/local/nvidia", "/proc/driver/nvidia",
              "/run/nvidia*", "/var/run/nvidia*", "/tmp/nvidia*", "/tmp/cuda*", "~/.nv", "/etc/nvidia*", "/etc/OpenCL"]  # fmt: skip


SYS_OPEN, SYS_SOCKET, SYS_CONNECT = 2, 41, 42
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
# What is tried in the worker's place.
CALLS = {
    **{name: (SYS_SOCKET, family, socket.SOCK_STREAM, 0) for name, family in FAMILIES.items()},
    "unix datagram": (SYS_SOCKET, socket.AF_UNIX, socket.SOCK_DGRAM, 0),
    # Of no file at all: who may connect hears of that.
    "connect": (SYS_CONNECT, -1, 0, 0),
    "/etc/passwd": (SYS_OPEN, "/etc/passwd", os.O_RDONLY, 0),
}


# === a system call in another process ===

WALL = 0x40000000
SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 9, 12, 13, 16, 17
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es "
             "fs gs").split()  # fmt: skip


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in REGISTERS]


def ptrace(what, pid, data=None):
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if call(what, pid, None, data) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {what}")


def called_inside(pid, number, *arguments):
    """Has the process, which waits in a system call, make this one instead; returns 0 or why not, as errno's name. Then it goes
    on as if nothing had been. None where it cannot be tried. A text among the arguments is put below its stack."""
    if platform.machine() != "x86_64":
        return None
    try:
        ptrace(ATTACH, pid)
    except OSError:
        return None
    try:
        os.waitpid(pid, WALL)
        before, now = Registers(), Registers()
        ptrace(GETREGS, pid, ctypes.byref(before))
        ctypes.pointer(now)[0] = before
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(before.rip - 2)
            if memory.read(2) != b"\x0f\x05":
                return None
            for register, argument in zip(("rdi", "rsi", "rdx"), arguments):
                if isinstance(argument, str):
                    memory.seek(before.rsp - 4096)
                    memory.write(argument.encode() + b"\0")
                    argument = before.rsp - 4096
                setattr(now, register, argument)
        now.rip, now.rax, now.orig_rax = before.rip - 2, number, ctypes.c_ulong(-1).value
        ptrace(SETREGS, pid, ctypes.byref(now))
        ptrace(SINGLESTEP, pid)
        os.waitpid(pid, WALL)
        ptrace(GETREGS, pid, ctypes.byref(now))
        ptrace(SETREGS, pid, ctypes.byref(before))
        came = ctypes.c_long(now.rax).value
        return 0 if came >= 0 else errno.errorcode.get(-came, str(came))
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            ptrace(DETACH, pid)


# === what a worker has, from outside ===


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {key: fields[key].strip() for key in ("Seccomp", "Seccomp_filters", "NoNewPrivs") if key in fields}


def in_use(pid, binaries):
    """Files that the process has open or mapped, but for those that any worker may read, its own program among them."""
    paths = set()
    for link in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            paths.add(os.readlink(link))
        except OSError:
            pass
    with open(f"/proc/{pid}/maps") as maps:
        paths.update(line.split(maxsplit=5)[5].strip() for line in maps if len(line.split(maxsplit=5)) == 6)
    libraries = tuple(filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))
    other = ("/memfd:", f"{binaries}/", *libraries, *READABLE)
    return sorted(path for path in paths if path.startswith("/") and not path.startswith(other) and "site-packages" not in path)


# === the check ===


def tried(setup, keys):
    """A daemon with these keys of its device: does it serve, how fast, and what does its worker have?"""
    seen = {"keys": keys}
    # A crash is looked at once: the next would be the same.
    supervision = {"load_timeout_s": LOAD_SECONDS, "crash_limit": 1}
    try:
        with Daemon(setup, {"m": "resnet18"}, supervision, **keys) as daemon:
            try:
                daemon.ask("load", "m")
                load = daemon.drive_closed("m", 1, "--seconds", 2)
                ensure(load["failed"] == 0, load["errors"])
                seen |= {"serves": True, "latency_ms": load["latency_ms"]}
                (worker,) = daemon.workers().values()
                seen |= {"status": status(worker["pid"]), "in_use": in_use(worker["pid"], setup.binaries)}
                seen["calls"] = {name: called_inside(worker["pid"], *call) for name, call in CALLS.items()}
                after = daemon.drive_closed("m", 1, "--requests", 5)
                ensure(after["failed"] == 0, f"after it was looked at: {after['errors']}")
            except AssertionError as error:
                seen |= {"serves": False, "why": str(error)}
            seen["log"] = [line for line in daemon.said().splitlines() if " INFO " not in line]
    except Ended as ended:
        seen |= {"serves": False, "why": f"the daemon ended: {ended}", "log": []}
    return seen


def told(name, seen):
    if not seen["serves"]:
        return f"{name} does not serve: {seen['why'][-200:]}; log: {' / '.join(seen['log'][-4:])[-300:]}"
    calls = ", ".join(f"{what} {'opens' if code == 0 else code or 'not tried'}" for what, code in seen["calls"].items())
    kept = ", ".join(f"{key} {value}" for key, value in seen["status"].items())
    old = "; the kernel knows no Landlock" if "knows no Landlock" in " ".join(seen["log"]) else ""
    return f"{name}: p50 {seen['latency_ms']['p50']:.2f} ms, {kept}; {calls}{old}"


def sandbox(setup):
    """a worker serves in the sandbox that is the default, without a network; which others it serves in"""
    ways = {"default": {}, "none": {"sandbox": "none"}, "network": {"sandbox": "network"}, "files": {"sandbox": "files"}}
    # One of them is the default.
    del ways["network" if on_gpu(setup) else "files"]
    seen = {name: tried(setup, keys) for name, keys in ways.items()}
    if not seen.get("files", {"serves": True})["serves"]:
        # Is it a file to read, or a node, a socket?
        seen["files, all to read"] = tried(setup, {"sandbox": "files", "sandbox_read": ["/"]})
    exist = sorted(path for pattern in LOOKED_FOR for path in glob.glob(os.path.expanduser(pattern)))
    setup.figures["sandbox"] = {"ways": seen, "exist": exist}
    rows = "; ".join(told(name, one) for name, one in seen.items())
    default = seen["default"]
    ensure(default["serves"], rows)
    ensure(default["status"].get("Seccomp") == "2", rows)
    for call in ("inet", "inet6", "unix datagram", "connect"):
        ensure(default["calls"][call] in (None, "EPERM", "EACCES"), rows)
    # Where nothing is kept from it, the very same call opens one.
    ensure(not seen["none"]["serves"] or seen["none"]["calls"]["inet"] in (None, 0), rows)
    ensure(not seen["none"]["serves"] or seen["none"]["calls"]["connect"] in (None, "EBADF"), rows)
    strict = seen.get("files", default)
    ensure(strict["serves"] or strict["why"], "it neither serves nor says why")
    return f"{rows}; in use by the default's: {' '.join(default['in_use']) or 'nothing'}; there are {' '.join(exist)}"


CHECKS = [sandbox]
