"""A worker under the hand of `drive-worker`, and what the checks ask of it."""

import json
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import torch

# What the Open Inference Protocol calls numpy's types.
DATATYPES = {"Fp32": np.float32, "Int64": np.int64, "Int32": np.int32}
ANSWER_SECONDS = 100


class Failed(Exception):
    """An answer that is an error."""

    def __init__(self, answer):
        super().__init__(answer["error"])
        self.answer = answer


def environment(**extra):
    """The environment in which a binary finds the libtorch of the Python that runs this."""
    packages = Path(torch.__file__).parents[1]
    libraries = [packages / "torch/lib", *sorted(packages.glob("nvidia/*/lib")), os.environ.get("LD_LIBRARY_PATH", "")]
    libraries = map(str, libraries)
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, libraries)), **extra}


class Worker:
    """One worker process. The context ends it."""

    def __init__(self, setup, lanes=1, options=None, **extra):
        self.setup = setup
        self._folder = setup.folder / "io"
        self._folder.mkdir(exist_ok=True)
        self._log = open(setup.folder / "worker.log", "ab+")
        self._log_begins = self._log.seek(0, os.SEEK_END)
        self._process = subprocess.Popen(
            [setup.binaries / "drive-worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment(**extra),
        )  # fmt: skip
        self._sessions = 0
        device = {"name": "0", "kind": setup.device, "threads": setup.threads, "options": json.dumps(options or {})}
        program = str(setup.binaries / "edgemux-runtime-torch")
        self.greeting = self.ask(do="start", program=program, device=device, lanes=lanes)
        self.pid = self.greeting["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, **command):
        """The answer to a command. A driver that does not answer in time is killed, which reads as no answer."""
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        timer = threading.Timer(ANSWER_SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise Failed({"error": f"no answer to {command['do']}; it wrote {self.log()[-300:]!r}"})
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer)
        return answer

    def log(self):
        """What the worker wrote to standard error."""
        self._log.seek(self._log_begins)
        return self._log.read().decode(errors="replace")

    def load(self, file):
        """Loads a model; returns its session and the answer."""
        self._sessions += 1
        return self._sessions, self.ask(do="load", session=self._sessions, file=str(file))

    def unload(self, session):
        self.ask(do="unload", session=session)

    def _inputs(self, arrays):
        files = []
        for index, array in enumerate(arrays):
            file = self._folder / f"input{index}"
            np.ascontiguousarray(array).tofile(file)
            files.append({"shape": list(array.shape), "file": str(file)})
        return files

    def run(self, session, arrays, loaded=None, lane=0):
        """Runs one request; returns how long it took and, if `loaded` tells their types, its outputs."""
        outputs = str(self._folder / "outputs") if loaded else None
        answer = self.ask(do="run", lane=lane, session=session, inputs=self._inputs(arrays), outputs=outputs)
        specs = loaded["signature"]["outputs"] if loaded else []
        tensors = {
            spec["name"]: np.fromfile(output["file"], DATATYPES[spec["datatype"]]).reshape(output["shape"])
            for spec, output in zip(specs, answer["outputs"])
        }
        return answer["seen"], tensors

    def saturate(self, sessions, arrays, seconds):
        """Keeps one lane per session busy; returns requests in a second, and for each request what was seen of it."""
        answer = self.ask(do="saturate", sessions=sessions, seconds=seconds, inputs=self._inputs(arrays))
        seen = [one for lane in answer["lanes"] for one in lane]
        return len(seen) / answer["seconds"], seen
