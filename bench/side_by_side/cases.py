"""What is measured: the two models, the cases, and the goals that the project promises for them."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Model:
    """An identity model: FP32 tensor INPUT0 in, the same bytes out as OUTPUT0."""

    name: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return 4 * prod(self.shape)


@dataclass(frozen=True)
class Goal:
    """A bound on edgemux / Triton (`ratio`), or on edgemux's own figure when `ratio` is false."""

    bound: float
    at_least: bool = False
    ratio: bool = True

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    model: Model
    concurrency: int
    options: tuple[str, ...] = ()
    """Further options of perf_analyzer."""
    goals: tuple[tuple[str, Goal], ...] = ()
    """Figure (a field of `measure.Run`) to goal."""


SMALL = Model("identity_4k", (1024,))
LARGE = Model("identity_602k", (3, 224, 224))
MODELS = (SMALL, LARGE)

SHARED = ("--shared-memory", "system")

CASES = (
    Case("4k-1", "4 KB, concurrency 1", SMALL, 1,
         goals=(("cpu_us", Goal(0.6)), ("p50_us", Goal(0.95)))),
    Case("4k-16", "4 KB, concurrency 16", SMALL, 16,
         goals=(("cpu_us", Goal(0.8)), ("requests_per_s", Goal(1.1, at_least=True)), ("p99_us", Goal(0.8)))),
    Case("602k-1", "602 KB inline, concurrency 1", LARGE, 1,
         goals=(("cpu_us", Goal(0.6)), ("p50_us", Goal(0.8)))),
    Case("602k-shared-1", "602 KB in system shared memory, concurrency 1", LARGE, 1, SHARED,
         goals=(("cpu_us", Goal(0.6)),)),
    Case("602k-shared-4", "602 KB in system shared memory, concurrency 4", LARGE, 4, SHARED,
         goals=(("cpu_us", Goal(0.6)),)),
    Case("4k-stream-1", "4 KB over ModelStreamInfer, concurrency 1", SMALL, 1, ("--streaming",)),
)

IDLE_GOALS = {
    "ready_ms": Goal(300, ratio=False),
    "daemon_rss_mb": Goal(32, ratio=False),
    "daemon_threads": Goal(12, ratio=False),
}
