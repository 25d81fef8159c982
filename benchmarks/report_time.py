"""How much processor time does a report take, imports included?

    python benchmarks/report_time.py --records 100

The results are the example of the tests. Ends with 1 where it takes more than five seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

MOST_SECONDS = 5.0
_SCRIPT = (
    "import resource, sys; from pathlib import Path; from harness.report import write_report; "
    "write_report(Path(sys.argv[1])); used = resource.getrusage(resource.RUSAGE_SELF); "
    "print(used.ru_utime + used.ru_stime)"
)


@click.command()
@click.option("--records", type=click.IntRange(min=1), default=100, show_default=True)
def main(records: int) -> None:
    """Write a report of so many records in a fresh process."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from example_results import example_results

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        example_results(Path(folder), records=records)
        command = [sys.executable, "-c", _SCRIPT, folder]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    seconds = float(done.stdout)
    click.echo(f"a report of {records} records takes {seconds:.2f} s of processor time")
    sys.exit(0 if seconds <= MOST_SECONDS else 1)


if __name__ == "__main__":
    main()
