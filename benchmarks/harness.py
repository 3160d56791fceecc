"""How the benchmarks time: best of several runs, ours and the rival in turn, threads stated."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Set before numpy and jax are imported, and inherited by the processes that are timed."""


class Row(TypedDict):
    """One line of the table.

    `ratio` is `rival_s / ours_s`, so that more is better; `bar` is the ratio to reach, None where
    the job has no bar.
    """

    job: str
    ours_s: float
    rival: str
    rival_s: float
    ratio: float
    bar: float | None
    threads: int
    note: NotRequired[str]


def row(
    job: str,
    ours_s: float,
    rival: str,
    rival_s: float,
    *,
    bar: float | None = None,
    threads: int = 1,
    note: str = "",
) -> Row:
    """A row with its ratio."""
    return {
        "job": job,
        "ours_s": ours_s,
        "rival": rival,
        "rival_s": rival_s,
        "ratio": rival_s / ours_s,
        "bar": bar,
        "threads": threads,
        "note": note,
    }


def seconds(job: Callable[[], object]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def best_of(*jobs: Callable[[], object], repeats: int = 5, warm: bool = True) -> tuple[float, ...]:
    """Shortest wall time of each job in seconds.

    The jobs take turns, so that a slow spell of the machine meets all of them.

    Args:
        jobs: what to time.
        repeats: timed runs of each.
        warm: whether each job first runs once untimed (caches, compilation).
    """
    if warm:
        for job in jobs:
            job()
    rounds = [[seconds(job) for job in jobs] for _ in range(repeats)]
    return tuple(min(times) for times in zip(*rounds, strict=True))


def process(command: Sequence[str | os.PathLike[str]]) -> Callable[[], object]:
    """A job that runs `command` and raises where it fails."""
    return lambda: subprocess.run(command, check=True, capture_output=True)


def peak_mib(code: str) -> float:
    """Peak resident memory of a fresh Python that runs `code`, in MiB, the interpreter included.

    Linux only: the kernel's high-water mark of the new process, which `getrusage` would mix with
    that of its parent.
    """
    report = "\nprint(next(x.split()[1] for x in open('/proc/self/status') if 'VmHWM' in x))"
    run = subprocess.run(
        [sys.executable, "-c", code + report], check=True, capture_output=True, text=True
    )
    return int(run.stdout.split()[-1]) / 1024
