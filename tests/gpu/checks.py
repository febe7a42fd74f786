"""The checks, in order. Each takes the setup and returns what it saw; it raises where a promise is broken. Its doc string is
its row's name in the table. Figures worth keeping go into `setup.figures`."""

import os
import re
import statistics
import subprocess
import time

import numpy as np
import torch
from driver import Failed, Worker, environment
from make_torchscript import NETWORKS, network, save_network

MB = 1e6
# As numbers differ between two orders of the same additions, relative to the largest.
TOLERANCE = 1e-3


def ensure(holds, message):
    if not holds:
        raise AssertionError(message)


def median(values):
    return statistics.median(values)


def on_gpu(setup):
    return setup.device == "gpu"


def network_file(setup, name):
    """The network as a file, and in PyTorch; made once."""
    made = setup.__dict__.setdefault("networks", {})
    if name not in made:
        module, shape, outputs = network(name, device=setup.torch_device)
        file = setup.folder / f"{name}.pt"
        save_network(module, shape, outputs, file)
        made[name] = (file, module.to(setup.torch_device), shape)
    return made[name]


def picture(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def device_free_bytes(setup):
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(0)[0]


# === one worker ===


def probe(setup):
    """the probe names the device"""
    begun = time.monotonic()
    said = subprocess.run(
        [setup.binaries / "edgemux-runtime-torch", "--probe"], env=environment(), capture_output=True, text=True
    )
    seconds = time.monotonic() - begun
    ensure(said.returncode == 0, f"it ended with {said.returncode}: {said.stderr}")
    ensure(f'"{setup.device}"' in said.stdout, said.stdout)
    return f"{said.stdout.strip()} in {seconds:.1f} s"


def correctness(setup):
    """outputs are PyTorch's"""
    rows = []
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    with Worker(setup, NVIDIA_TF32_OVERRIDE="0") as worker:
        for name in NETWORKS:
            file, module, shape = network_file(setup, name)
            session, loaded = worker.load(file)
            worst = 0.0
            for batch in (1, 3):
                image = picture((batch, *shape[1:]), seed=batch)
                with torch.no_grad():
                    want = module(torch.from_numpy(image).to(setup.torch_device))
                want = want if isinstance(want, dict) else {"logits": want}
                _, got = worker.run(session, [image], loaded)
                ensure(set(got) == set(want), f"{name}: outputs {sorted(got)}")
                for output in ("logits", "scores"):
                    if output in want:
                        reference = want[output].cpu().numpy()
                        error = np.abs(got[output] - reference).max() / np.abs(reference).max()
                        worst = max(worst, float(error))
                if "labels" in want:
                    same = (got["labels"] == want["labels"].cpu().numpy()).mean()
                    ensure(same > 0.9, f"{name}: {same:.0%} of the labels are PyTorch's")
            ensure(worst < TOLERANCE, f"{name}: {worst:.1e} off, relative to the largest")
            rows.append(f"{name} {worst:.1e}")
    torch.backends.cudnn.allow_tf32 = True
    return "largest error relative to the largest output: " + ", ".join(rows)


def python_ms(setup, call):
    """What a call takes from one process of Python, inputs from the host and outputs to it."""
    times = []
    with torch.no_grad():
        for _ in range(5 + (30 if on_gpu(setup) else 10)):
            begun = time.perf_counter()
            call()
            times.append((time.perf_counter() - begun) * 1e3)
    return median(times[5:])


def timing(setup):
    """device time fits into the time on the clock"""
    rows = []
    with Worker(setup) as worker:
        for name in NETWORKS:
            file, module, shape = network_file(setup, name)
            image = picture(shape)
            session, loaded = worker.load(file)
            worker.saturate([session], [image], 0.5)
            _, seen = worker.saturate([session], [image], 1.0)
            for one in seen:
                told = sum(one["timing"][part] for part in ("input_ns", "infer_ns", "output_ns"))
                ensure(told <= one["wall_ns"], f"{name}: {told} ns of {one['wall_ns']}")
            wall = median([one["wall_ns"] for one in seen]) / MB
            part = {key: median([one["timing"][f"{key}_ns"] for one in seen]) / MB for key in ("input", "infer", "output")}
            ensure(part["infer"] > 0, f"{name}: no time on the device")
            scripted = torch.jit.load(file, map_location=setup.torch_device)
            scripted = torch.jit.optimize_for_inference(torch.jit.freeze(scripted.eval()))
            host = torch.from_numpy(image)
            move = (lambda output: {key: value.cpu() for key, value in output.items()} if isinstance(output, dict) else output.cpu())
            direct = python_ms(setup, lambda: move(scripted(host.to(setup.torch_device))))
            eager = python_ms(setup, lambda: move(module(host.to(setup.torch_device))))
            figures = {"wall_ms": wall, **{f"{key}_ms": value for key, value in part.items()}, "requests": len(seen),
                       "python_scripted_ms": direct, "python_eager_ms": eager, "load_ms": loaded["ms"],
                       "at_rest_mb": loaded["memory"]["at_rest_bytes"] / MB, "peak_mb": loaded["memory"]["peak_bytes"] / MB}  # fmt: skip
            setup.figures.setdefault("networks", {})[name] = figures
            rows.append(
                f"{name} {wall:.2f} ms ({part['input']:.2f} in, {part['infer']:.2f} run, {part['output']:.2f} out; "
                f"Python {direct:.2f} scripted, {eager:.2f} eager)"
            )
    return "; ".join(rows)


def clock(setup):
    """device time is what PyTorch's events measure"""
    if not on_gpu(setup):
        return "only with events"
    file, _, shape = network_file(setup, "resnet50")
    image = picture((8, *shape[1:]))
    scripted = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.load(file, map_location="cuda").eval()))
    on_device = torch.from_numpy(image).cuda()
    times = []
    with torch.no_grad():
        for _ in range(40):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            scripted(on_device)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    reference = median(times[10:])
    with Worker(setup) as worker:
        session, _ = worker.load(file)
        worker.saturate([session], [image], 0.5)
        _, seen = worker.saturate([session], [image], 1.0)
    told = median([one["timing"]["infer_ns"] for one in seen]) / MB
    setup.figures["clock"] = {"worker_ms": told, "pytorch_ms": reference}
    ensure(0.7 < told / reference < 1.4, f"{told:.3f} ms, PyTorch {reference:.3f} ms")
    return f"ResNet-50, batch 8: {told:.3f} ms, PyTorch's events {reference:.3f} ms"


def memory(setup):
    """memory told is memory taken, and unloading returns it"""
    file, _, shape = network_file(setup, "resnet50")
    image = picture(shape)

    def used(worker):
        if on_gpu(setup):
            return -device_free_bytes(setup)
        with open(f"/proc/{worker.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with Worker(setup) as worker:
        # What the libraries take for themselves at the first model stays.
        session, loaded = worker.load(file)
        worker.run(session, [image])
        worker.unload(session)
        before = used(worker)
        sessions = [worker.load(file)[0] for _ in range(4)]
        idle = used(worker) - before
        for session in sessions:
            worker.run(session, [image])
        ran = used(worker) - before
        for session in sessions:
            worker.unload(session)
        left = used(worker) - before
    told = loaded["memory"]
    weights = 4 * told["at_rest_bytes"]
    setup.figures["memory"] = {"told": told, "four_loaded": idle, "four_run": ran, "four_unloaded": left}
    seen = (f"told {told['at_rest_bytes'] / MB:.0f} MB at rest, {told['peak_bytes'] / MB:.0f} MB on top; "
            f"four take {idle / MB:.0f} MB, {ran / MB:.0f} MB once run, {left / MB:.0f} MB when unloaded")  # fmt: skip
    ensure(0.7 * weights < idle < 2 * weights + 64 * MB, seen)
    ensure(left < 64 * MB, seen)
    return seen


def concurrency(setup):
    """1 to 6 requests at once, each on a stream of its own"""
    rows = []
    for name in ("mobilenet_v2", "resnet50"):
        file, _, shape = network_file(setup, name)
        image = picture(shape)
        with Worker(setup, lanes=6) as worker:
            sessions = [worker.load(file)[0] for _ in range(6)]
            worker.saturate(sessions, [image], 1.0)
            rates, infer = [], []
            for width in range(1, 7):
                rate, seen = worker.saturate(sessions[:width], [image], 0.7)
                rates.append(rate)
                infer.append(median([one["timing"]["infer_ns"] for one in seen]) / MB)
            streams = re.findall(r"works on stream (\d+)", worker.log())
        setup.figures.setdefault("concurrency", {})[name] = {"rate_hz": rates, "infer_ms": infer, "streams": streams}
        if on_gpu(setup):
            # Six lanes and the thread that loads.
            ensure(len(streams) == 7 and len(set(streams)) == 7, f"streams {streams}")
        rows.append(f"{name} {' '.join(f'{rate:.0f}' for rate in rates)} /s, run "
                    f"{' '.join(f'{ms:.2f}' for ms in infer)} ms, streams {','.join(streams) or 'none'}")  # fmt: skip
    return "; ".join(rows)


# === faults ===


def exception(setup):
    """a model that throws fails its request alone"""
    with Worker(setup) as worker:
        session, _ = worker.load(setup.models / "throws.pt")
        try:
            worker.run(session, [np.float32([-1])])
        except Failed as failed:
            ensure(not failed.answer.get("device_lost"), failed)
            ensure("numbers below zero" in str(failed), failed)
        else:
            raise AssertionError("it was not heard of")
        worker.run(session, [np.float32([1])])
    return "the next request of the same worker is answered"


def out_of_memory(setup):
    """a model that allocates without end fails its request and gives back what it took"""
    options = {} if on_gpu(setup) else {"memory-limit-mb": 1000}
    with Worker(setup, options=options) as worker:
        hoards, _ = worker.load(setup.models / "hoards.pt")
        echo, _ = worker.load(setup.models / "echo.pt")
        worker.run(hoards, [np.float32([0])])
        before = device_free_bytes(setup) if on_gpu(setup) else 0
        begun = time.monotonic()
        try:
            worker.run(hoards, [np.float32([1])])
        except Failed as failed:
            ensure("memory" in str(failed) and not failed.answer.get("device_lost"), failed)
            said = str(failed).splitlines()[-1]
        else:
            raise AssertionError("it was not heard of")
        seconds = time.monotonic() - begun
        worker.run(echo, [np.float32([1])])
        kept = before - device_free_bytes(setup) if on_gpu(setup) else 0
        ensure(kept < 64 * MB, f"{kept / MB:.0f} MB are not given back")
    return f"after {seconds:.1f} s: {said[:160]}"


def sticky(setup):
    """an error that breaks the context is known for what it is, and another worker takes over"""
    with Worker(setup) as worker:
        session, loaded = worker.load(setup.models / "lookup.pt")
        _, outputs = worker.run(session, [np.int64([3])], loaded)
        ensure(outputs["rows"].tolist() == [[12, 13, 14, 15]], outputs)
        try:
            worker.run(session, [np.int64([99])])
        except Failed as failed:
            lost = failed.answer.get("device_lost", False)
            said = str(failed).splitlines()[0]
        else:
            raise AssertionError("it was not heard of")
        if not on_gpu(setup):
            ensure(not lost, "on the processor it is an exception")
            worker.run(session, [np.int64([3])])
            return f"on the processor an exception: {said[:160]}"
        ensure(lost, f"not known as lost: {said}")
        try:
            worker.run(session, [np.int64([3])])
        except Failed as failed:
            ensure(failed.answer.get("device_lost"), f"the request after it: {failed}")
        else:
            raise AssertionError("the context is not broken after all")
        worker.ask(do="kill")
        death = worker.ask(do="dead")["death"]
    begun = time.monotonic()
    with Worker(setup) as worker:
        session, _ = worker.load(setup.models / "lookup.pt")
        worker.run(session, [np.int64([3])])
    return f"{said[:160]}; replaced ({death}) and serving after {time.monotonic() - begun:.1f} s"


def crash(setup):
    """a crash is told by its signal, and another worker takes over"""
    with Worker(setup) as worker:
        session, _ = worker.load(setup.models / "segfaults.pt")
        try:
            worker.run(session, [np.float32([1])])
        except Failed as failed:
            death = failed.answer.get("death", "")
            ensure("signal" in death, failed)
        else:
            raise AssertionError("it did not crash")
    with Worker(setup) as worker:
        session, _ = worker.load(setup.models / "segfaults.pt")
        worker.run(session, [np.float32([0])])
        return f"{death}; another greets after {worker.greeting['ms']:.0f} ms"


def conformance(setup):
    """the suite that every runtime passes"""
    said = subprocess.run(
        [setup.binaries / "torch-suite", "conformance::the_torch_runtime_conforms_as_a_worker", "--nocapture"],
        env=environment(
            EDGEMUX_TORCH_WORKER=str(setup.binaries / "edgemux-runtime-torch"),
            EDGEMUX_TORCH_MODELS=str(setup.models),
            EDGEMUX_TORCH_DEVICE=setup.device,
            RUST_BACKTRACE="0",
        ),
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    lines = said.stdout.splitlines()
    count = {word: sum(line.startswith(word) for line in lines) for word in ("pass", "except", "FAIL")}
    failed = [line for line in lines if line.startswith("FAIL")]
    ensure(said.returncode == 0 and not failed and count["pass"], f"{count} {failed} {said.stderr[-300:]}")
    return f"{count['pass']} cases pass, {count['except']} exceptions"


CHECKS = [probe, correctness, timing, clock, memory, concurrency, exception, out_of_memory, sticky, crash, conformance]
