"""The process of `harness.inspection.process`, which crashes at a file called `crash.onnx`."""

import ctypes

from harness.inspection import process, survey

_survey = survey.survey


def crashing(path, shapes):  # type: ignore[no-untyped-def]
    if path.name == "crash.onnx":
        ctypes.string_at(0)
    return _survey(path, shapes)


if __name__ == "__main__":
    survey.survey = crashing
    process.main()
