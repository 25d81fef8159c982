"""The tables of a report, as the page and the Markdown file both show them."""

from harness.report.tables.budgets import budget_table
from harness.report.tables.details import (
    accuracy_table,
    fusion_table,
    kernel_table,
    unfinished_table,
    verification_table,
)
from harness.report.tables.discarded import discarded_table
from harness.report.tables.environment import environment_table
from harness.report.tables.inferences import inferences_table
from harness.report.tables.launches import launch_table
from harness.report.tables.layers import layer_table
from harness.report.tables.loops import loop_table
from harness.report.tables.losses import loss_table
from harness.report.tables.model import PLACES, Entry, Table
from harness.report.tables.quantized_layers import quantized_layer_table
from harness.report.tables.results import result_tables
from harness.report.tables.scores import score_table
from harness.report.tables.startup import startup_table
from harness.report.tables.targets import target_tables
from harness.report.tables.throughput import throughput_table

__all__ = [
    "PLACES",
    "Entry",
    "Table",
    "accuracy_table",
    "budget_table",
    "discarded_table",
    "environment_table",
    "fusion_table",
    "inferences_table",
    "kernel_table",
    "launch_table",
    "layer_table",
    "loop_table",
    "loss_table",
    "quantized_layer_table",
    "result_tables",
    "score_table",
    "startup_table",
    "target_tables",
    "throughput_table",
    "unfinished_table",
    "verification_table",
]
