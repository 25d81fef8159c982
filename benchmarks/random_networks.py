"""Do random networks of supported operators compute what ONNX Runtime computes?

    python benchmarks/random_networks.py [--count N] [--first SEED] [--fusion none]

Each network is drawn from a seed: 4 to 12 operators of a hundred, data of any type, a batch of 1 to
4. It is imported, compiled with default schedules at each fusion level and compared with ONNX
Runtime without optimisations. Prints counts, and the seeds that differ, are refused or crash; exit
code 1 where one differs or crashes.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import click
from case_children import run_all, work_through
from drawn_networks import difference, drawn
from onnx_node_tests import LEVELS, run

from harness.errors import HarnessError

_BATCH = 25


def result_of(seed: int, level: str, work: Path) -> str:
    """`ok`, or why the network of a seed is not."""
    network = drawn(seed)
    try:
        found = run(network.model, network.feeds, level, work)
    except HarnessError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"error: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
    apart = difference(network.expected, found)
    return f"wrong: {apart} ({', '.join(network.operators)})" if apart else "ok"


@click.command()
@click.option("--count", default=500, show_default=True, help="Networks.")
@click.option("--first", default=0, show_default=True, help="The seed of the first.")
@click.option("--fusion", type=click.Choice(LEVELS), help="One level instead of both.")
@click.option("--child", hidden=True)
def main(count: int, first: int, fusion: str | None, child: str | None) -> None:
    """Compare random networks with ONNX Runtime."""
    if child is not None:
        with tempfile.TemporaryDirectory() as folder:
            work_through(child, lambda name, level: result_of(int(name), level, Path(folder)))
        return
    levels = [fusion] if fusion else list(LEVELS)
    results = run_all(__file__, [str(first + at) for at in range(count)], levels, _BATCH)
    for level in levels:
        kinds = Counter(r.partition(":")[0] for (_, of), r in results.items() if of == level)
        print(f"fusion {level}: {kinds['ok']} of {count} are the same; {dict(kinds)}")
    for (seed, level), result in sorted(results.items()):
        if result != "ok":
            print(f"seed {seed}, fusion {level}: {result}")
    if any(not result.startswith(("ok", "refused")) for result in results.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
