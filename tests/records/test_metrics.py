"""One row adds a metric: to the exports, to `select` and to the options of both."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from harness.cli.select import command
from harness.errors import InputError
from harness.records.metrics import CHOOSABLE, METRICS, choosable, objective_of


def test_columns_have_names_of_their_own() -> None:
    names = [metric.column for metric in METRICS]
    assert len(set(names)) == len(names)


def test_every_kind_is_ranked_by_one_metric() -> None:
    assert {kind: objective_of(kind) for kind in ("measured", "emulated-count", "static")} == {
        "measured": "latency",
        "emulated-count": "instructions",
        "static": "static-estimate",
    }


def test_every_metric_to_choose_by_has_an_option_with_its_unit() -> None:
    said = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "200"}).output
    for metric in CHOOSABLE.values():
        assert f"{metric.limit_option} " in said
    assert "--max-latency-ms" in said and "--min-accuracy" in said and "--max-energy-mj" in said


def test_an_unknown_metric_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match="no metric 'latncy'; did you mean 'latency'"):
        choosable("latncy")
