"""Hardware descriptions: reading and checking them, and the ability of this machine to run them."""

from harness.hardware.capability import missing_features
from harness.hardware.description import (
    as_yaml,
    check_target_file,
    known_targets,
    load_target,
    require_known_processor,
    target_fingerprint,
)
from harness.hardware.detection import HOST, detect_host
from harness.hardware.processor import Processor, this_processor

__all__ = [
    "HOST",
    "Processor",
    "as_yaml",
    "check_target_file",
    "detect_host",
    "known_targets",
    "load_target",
    "missing_features",
    "require_known_processor",
    "target_fingerprint",
    "this_processor",
]
