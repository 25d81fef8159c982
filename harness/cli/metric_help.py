"""The metrics in the help of the commands whose input names one."""

from __future__ import annotations

import click


class NamesMetrics(click.Command):
    """A command with the list of metrics at the end of its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from harness.models.accuracy.metrics import METRICS

        super().format_epilog(ctx, formatter)
        with formatter.section("Metrics of a model's 'data', larger is better"):
            rows = [
                (found.name, f"{found.summary}. Labels: {found.labels.text}.")
                for found in METRICS.values()
            ]
            own = (
                "a function(outputs, labels) of yours, in a module that is installed or on "
                "PYTHONPATH. outputs: an array [N, ...] for each output of the model; labels: as "
                "in the data. It gives a score for each of the N samples, or one number."
            )
            formatter.write_dl([*rows, ("module:function", own)])
