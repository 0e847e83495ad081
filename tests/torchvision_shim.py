"""A torchvision whose compiled part does not load, made importable: its transforms of Pillow images need none of it.

Beside a torch without CUDA, pip finds a torchvision that was built for CUDA. Importing it fails, because it registers
Python parts of operators that its compiled part would have declared. Declared without an implementation, they let the
import pass, and raise if they are ever called. Where the compiled part loads, nothing is done.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[Any] = []  # torch drops the operators of a library that nobody holds


def make_torchvision_importable() -> bool:
    """Declare the operators that are missing, and say whether any were."""
    import torch
    from torch import library as operators

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or _declared:
        return bool(_declared)
    folder = Path(spec.origin).parent
    try:
        for compiled in [*folder.glob("_C.so"), *folder.glob("_C.pyd")]:
            torch.ops.load_library(str(compiled))
            return False
    except OSError:
        source = (folder / "_meta_registrations.py").read_text(encoding="utf-8")
        library = operators.Library("torchvision", "DEF")
        for operator in re.findall(r'register_fake\("torchvision::(\w+)"\)', source):
            library.define(operator + _SIGNATURE)
        _declared.append(library)
    return bool(_declared)
