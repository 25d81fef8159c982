"""Predicts which schedules are fast: boosted trees on MetaSchedule's features of their stores.

A schedule's score is the sum of the trees' values for each of its stores, as in [Ansor]; 1 is the
fastest known schedule of its kernel, 0.5 takes twice as long. MetaSchedule's own model of this kind
trains for hundreds of rounds in Python, so seldom that a kernel's tuning is half over before it has
seen any of it, and keeps everything. This one learns from a bounded number of examples, those of
earlier tunings on the target among them, after every round.

Sources
-------
[Ansor]  L. Zheng et al., Ansor: generating high-performance tensor programs for deep learning,
         OSDI 2020, section 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xgboost
from numpy.typing import NDArray

from harness.compiler.api import derived_object, meta_schedule, structural_hash
from harness.tuning.search.examples import Examples, Features

_LEAST_EXAMPLES = 32
"""With fewer than this the model's guess is as good as a random one."""
_TREES = 60
_LEAST_WEIGHT = 0.1
"""How much the slowest schedules count; the fastest count 1."""
_PARAMETERS = {
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 6,
    "eta": 0.2,
    "gamma": 0.001,
    "min_child_weight": 0,
    "base_score": 0.0,
}


@derived_object
class CostModel(meta_schedule.cost_model.PyCostModel):  # type: ignore[misc]
    """Learns from `examples`, adding the schedules of `update` to them."""

    def __init__(self, examples: Examples, seed: int, threads: int) -> None:
        super().__init__()
        self._examples = examples
        self._extractor = meta_schedule.feature_extractor.PerStoreFeature()
        self._random = np.random.default_rng(seed)
        self._parameters = {**_PARAMETERS, "seed": seed, "nthread": threads}
        self._trees: xgboost.Booster | None = None
        self._learn()

    def load(self, path: str) -> None:
        raise NotImplementedError("the examples are kept with the tuning database")

    def save(self, path: str) -> None:
        raise NotImplementedError("the examples are kept with the tuning database")

    def update(
        self,
        context: meta_schedule.TuneContext,
        candidates: Sequence[meta_schedule.MeasureCandidate],
        results: Sequence[meta_schedule.runner.RunnerResult],
    ) -> None:
        """Learn from measured candidates of one kernel."""
        seconds = [
            float(np.median([float(value) for value in result.run_secs]))
            if result.run_secs
            else np.inf
            for result in results
        ]
        kernel = f"{structural_hash(context.mod) & (2**64 - 1):016x}"
        self._examples.add(kernel, self._features(context, candidates), seconds)
        self._learn()

    def predict(
        self,
        context: meta_schedule.TuneContext,
        candidates: Sequence[meta_schedule.MeasureCandidate],
    ) -> NDArray[np.float64]:
        """The score of each candidate; random ones while there is too little to learn from."""
        if self._trees is None:
            return self._random.uniform(0, 1, len(candidates))
        features = self._features(context, candidates)
        rows = np.concatenate(features)
        if not len(rows):
            return np.zeros(len(candidates))
        found = self._trees.inplace_predict(rows, base_margin=np.zeros(len(rows), np.float32))
        owner = np.repeat(np.arange(len(features)), [len(each) for each in features])
        return np.bincount(owner, weights=found, minlength=len(features)).astype(np.float64)

    def _features(
        self,
        context: meta_schedule.TuneContext,
        candidates: Sequence[meta_schedule.MeasureCandidate],
    ) -> list[Features]:
        extracted = self._extractor.extract_from(context, candidates)
        return [np.asarray(each.numpy(), np.float32) for each in extracted]

    def _learn(self) -> None:
        if len(self._examples) < _LEAST_EXAMPLES:
            return
        features, scores = zip(*self._examples.scored(), strict=True)
        stores = np.array([len(rows) for rows in features])
        owner = np.repeat(np.arange(len(stores)), stores)
        goal = np.array(scores)
        weight = np.maximum(goal, _LEAST_WEIGHT)[owner]
        # Each store's share moves the sum: with as much curvature as there are stores, all of
        # them together go no further than the sum should.
        curvature = weight * stores[owner]

        def objective(
            predicted: NDArray[np.float32], _: xgboost.DMatrix
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            sums = np.bincount(owner, weights=predicted)
            return (sums - goal)[owner] * weight, curvature

        rows = xgboost.QuantileDMatrix(
            np.concatenate(features), max_bin=_PARAMETERS["max_bin"],
            nthread=self._parameters["nthread"],
        )  # fmt: skip
        self._trees = xgboost.train(self._parameters, rows, _TREES, obj=objective)
