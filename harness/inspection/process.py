"""Inspects a model in a child process with limits (`python -m harness.inspection.process`): what
parses a file of unknown origin may crash, hang or eat memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import CellFailure, HarnessError, in_words, kind_of, of_kind
from harness.processes.child import Child, ChildLost, Message, channel
from harness.specs.documents import Frozen
from harness.specs.sweep import FusionLevel, Limits
from harness.specs.target import TargetSpec

if TYPE_CHECKING:
    from harness.inspection.edges import EdgeInspection
    from harness.inspection.kernels import Inspection
    from harness.inspection.survey import Surveyed

Inspected = TypeVar("Inspected", bound=Frozen)


def inspected(
    model: str, level: FusionLevel, target: TargetSpec, shapes: Mapping[str, tuple[int, ...]]
) -> Inspection:
    """As `harness.inspection.kernels.inspect`; a crash is a CellFailure too."""
    from harness.inspection.kernels import Inspection

    return _asked(Inspection, model, target, shapes, {"do": "kernels", "level": level})


def inspected_edges(
    model: str, target: TargetSpec, shapes: Mapping[str, tuple[int, ...]], tuned: Path
) -> EdgeInspection:
    """As `harness.inspection.edges.inspect_edges`; a crash is a CellFailure too."""
    from harness.inspection.edges import EdgeInspection

    return _asked(EdgeInspection, model, target, shapes, {"do": "edges", "tuned": str(tuned)})


def surveyed(paths: Sequence[Path], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Surveyed]:
    """As `harness.inspection.survey.survey` of each file. One that crashes its process twice, the
    second time with the last of the shapes that are assumed, or takes too long or too much memory,
    is refused for that: ONNX Runtime ends its process at some shapes that do not fit."""
    from harness.inspection.survey import ASSUMED, Refusal, Surveyed

    limits = Limits()
    left = [(path, 0) for path in paths]
    while left:
        with Child(__name__, memory_mb=limits.memory_mb) as child:
            while left:
                path, first = left.pop(0)
                about = {"model": str(path), "shapes": dict(shapes), "first": first}
                try:
                    answer = child.call({"do": "survey", **about}, 60 * limits.cell_minutes)
                except ChildLost as error:
                    if error.exceeded is None and not first:
                        left.insert(0, (path, len(ASSUMED) - 1))
                    else:
                        yield Surveyed(path=path, refusal=Refusal(sentence=f"importing it {error}"))
                    break
                if "error" in answer:
                    yield Surveyed(path=path, refusal=Refusal(sentence=answer["error"]))
                else:
                    yield Surveyed.model_validate(answer["answer"])


def _asked(
    kind: type[Inspected],
    model: str,
    target: TargetSpec,
    shapes: Mapping[str, tuple[int, ...]],
    message: Message,
) -> Inspected:
    about = {"model": model, "target": target.model_dump(mode="json", by_alias=True)}
    limits = Limits()
    with Child(__name__, memory_mb=limits.memory_mb) as child:
        try:
            answer = child.call(
                {**message, **about, "shapes": dict(shapes)}, 60 * limits.cell_minutes
            )
        except ChildLost as error:
            raise CellFailure(f"{model}: inspecting it {error}") from None
    if "error" in answer:
        raise of_kind(answer["kind"], answer["error"])
    return kind.model_validate(answer["answer"])


def _answer(message: Message) -> Any:
    shapes = {name: tuple(shape) for name, shape in message["shapes"].items()}
    if message["do"] == "survey":
        from harness.inspection.survey import survey

        return survey(Path(message["model"]), shapes, message["first"])
    target = TargetSpec.model_validate(message["target"])
    if message["do"] == "edges":
        from harness.inspection.edges import inspect_edges

        return inspect_edges(message["model"], target, shapes, Path(message["tuned"]))
    from harness.inspection.kernels import inspect

    return inspect(message["model"], message["level"], target, shapes)


def main() -> None:
    parent = channel()
    for message in parent:
        try:
            parent.send({"answer": _answer(message).model_dump(mode="json")})
        except Exception as error:
            # Whatever TVM raises at a network that it cannot handle.
            if not isinstance(error, HarnessError):
                error = CellFailure(f"{message['model']}: {in_words(error)}")
            parent.send({"error": str(error), "kind": kind_of(error)})


if __name__ == "__main__":
    main()
