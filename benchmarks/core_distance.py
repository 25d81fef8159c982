"""Does a network's latency depend on where its two cores are?

    python benchmarks/core_distance.py [RESULTS]

The host of a virtual machine moves its cores: sometimes they share a cache, sometimes not. This
script runs the compiled networks of a results folder (default: results/quickstart) interleaved.
Before and after each run it times how a cache line moves between the two cores, and groups the runs
by that time.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from fork_join import Turns, networks
from rich.console import Console
from rich.progress import track
from rich.table import Table

_SOURCE = r"""
#include <atomic>
#include <chrono>
#include <sched.h>
#include <thread>

static void stay_on(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  sched_setaffinity(0, sizeof cores, &cores);
}

// Seconds that a cache line takes from one core to the other and back.
extern "C" double round_trip(int one, int other, int times) {
  alignas(128) std::atomic<int> ball{0};
  double seconds = 0;
  std::thread first([&] {
    stay_on(one);
    auto begin = std::chrono::steady_clock::now();
    for (int at = 0; at < times; ++at) {
      ball.store(2 * at + 1, std::memory_order_release);
      while (ball.load(std::memory_order_acquire) != 2 * at + 2) {}
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  });
  std::thread second([&] {
    stay_on(other);
    for (int at = 0; at < times; ++at) {
      while (ball.load(std::memory_order_acquire) != 2 * at + 1) {}
      ball.store(2 * at + 2, std::memory_order_release);
    }
  });
  first.join();
  second.join();
  return seconds / times;
}
"""
_TIMES = 5000
_APART = 1.5
"""How many times as long as the quick round trips the slow ones take, if there are two kinds."""


def compiled(folder: Path) -> ctypes.CDLL:
    source, library = folder / "round_trip.cc", folder / "round_trip.so"
    source.write_text(_SOURCE, encoding="utf-8")
    command = ["g++", "-O2", "-shared", "-fPIC", "-pthread", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    found = ctypes.CDLL(str(library))
    found.round_trip.restype = ctypes.c_double
    return found


def far_from(trips: np.ndarray) -> float:
    """The round trip, in seconds, above which cores are far apart; infinite where they never are,
    or always."""
    quick, slow = np.percentile(trips, [5, 95])
    return float(np.sqrt(quick * slow)) if slow > _APART * quick else np.inf


@click.command(help=__doc__.split("\n")[0])
@click.argument("results", type=click.Path(path_type=Path), default="results/quickstart")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=3, show_default=True)
def main(results: Path, minutes: float) -> None:
    console = Console()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("two cores are needed, found one")
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))

        def round_trip() -> float:
            return float(library.round_trip(cores[0], cores[1], _TIMES))

        servers: dict[str, Turns] = {}
        trips: list[float] = []
        turns: dict[str, list[tuple[float, float, float]]] = {}
        try:
            for name, what in networks(results):
                servers[name], turns[name] = Turns("ours", what), []
            for _ in track(range(round(60 * minutes)), "seconds", console=console):
                end = time.perf_counter() + 1
                while time.perf_counter() < end:
                    for name, server in servers.items():
                        before, seconds, after = round_trip(), server.take(), round_trip()
                        trips += [before, after]
                        turns[name].append((before, seconds, after))
        finally:
            for server in servers.values():
                server.end()
    limit = far_from(np.array(trips))
    near = [trip for trip in trips if trip <= limit]
    far = [trip for trip in trips if trip > limit]
    if not far:
        console.print(f"The cores stayed where they were: {1e9 * np.median(near):.0f} ns.")
        return
    console.print(
        f"A cache line goes to and fro in {1e9 * np.median(near):.0f} ns or, {len(far)} of "
        f"{len(trips)} times, in {1e9 * np.median(far):.0f} ns."
    )
    table = Table("network", "near", "turns", "far", "turns", "far ÷ near")
    for name, found in turns.items():
        before, seconds, after = np.array(found).T
        # Between two round trips of one kind the cores are taken to have stayed.
        sides = [(before <= limit) & (after <= limit), (before > limit) & (after > limit)]
        medians = [float(np.median(seconds[side])) if side.any() else np.nan for side in sides]
        table.add_row(
            name,
            f"{1e6 * medians[0]:.4g} µs",
            f"{sides[0].sum()}",
            f"{1e6 * medians[1]:.4g} µs",
            f"{sides[1].sum()}",
            f"{medians[1] / medians[0]:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
