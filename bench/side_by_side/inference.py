"""The few calls of the Open Inference Protocol that are made besides perf_analyzer's, the same for both servers."""

import os
from dataclasses import dataclass

from .cases import Model
from .errors import BenchError
from .http2 import CallFailed, Connection
from .protobuf import field, fields, last, number, text


@dataclass(frozen=True)
class Served:
    succeeded: int
    failed: int


def ready(port: int, models: tuple[Model, ...]) -> bool:
    """Whether ServerReady and every ModelReady say so; a server that does not answer is not ready."""
    try:
        with Connection(port, timeout_s=2.0) as connection:
            return (last(connection.call("ServerReady", b""), 1, 0) == 1
                    and all(last(connection.call("ModelReady", text(1, m.name)), 1, 0) == 1 for m in models))
    except (CallFailed, OSError):
        return False


def version(port: int) -> str:
    """Name and version, as ServerMetadata tells them."""
    with Connection(port) as connection:
        metadata = connection.call("ServerMetadata", b"")
    return f"{last(metadata, 1, b'').decode()} {last(metadata, 2, b'').decode()}"


def served(port: int, model: Model) -> Served:
    """How many requests the server itself counts for `model` since it started (ModelStatistics)."""
    with Connection(port) as connection:
        answer = connection.call("ModelStatistics", text(1, model.name))
    succeeded = failed = 0
    for key, statistics in fields(answer):
        if key == 1:
            inference = last(statistics, 6, b"")
            succeeded += last(last(inference, 1, b""), 1, 0)
            failed += last(last(inference, 2, b""), 1, 0)
    return Served(succeeded, failed)


def check_echo(port: int, model: Model) -> None:
    """One request of random bytes must come back byte for byte: a server that skips the copy would win unfairly."""
    sent = os.urandom(model.size_bytes)
    shape = b"".join(number(3, size) for size in model.shape)
    request = (text(1, model.name) + field(5, text(1, "INPUT0") + text(2, "FP32") + shape)
               + field(6, text(1, "OUTPUT0")) + field(7, sent))
    with Connection(port) as connection:
        answer = connection.call("ModelInfer", request)
    got = last(answer, 6, b"")
    if got != sent:
        differ = " but differ" if len(got) == len(sent) else ""
        raise BenchError(f"{model.name} did not echo its input: {len(sent)} bytes sent, {len(got)} came back{differ}. "
                         "Nothing is measured against a wrong answer.")
