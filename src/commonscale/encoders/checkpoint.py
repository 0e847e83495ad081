"""A checkpoint of transformers, on disk or on the hub, and the safe ways to load its parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require

DTYPES = ("float32", "float16", "bfloat16")
# Learned temperatures: they scale scores in training and take no part in a vector.
_UNUSED_WEIGHTS = frozenset({"logit_scale", "logit_bias"})


@dataclass(frozen=True)
class Checkpoint:
    """Where a model lies and how it is to be computed.

    Attributes:
        name: a folder or a hub id.
        config: the parsed ``config.json``.
        device: for example ``"cpu"`` or ``"cuda:0"``.
        dtype: one of ``DTYPES``.
        max_tokens: a limit below the model's own, or None.
        hub: ``revision`` and ``local_files_only``, as transformers names them.
    """

    name: str
    config: Any
    device: str = "cpu"
    dtype: str = "float32"
    max_tokens: int | None = None
    hub: Mapping[str, Any] = field(default_factory=dict)

    def load_model(self, class_name: str, state: Mapping[str, Any] | None = None) -> Any:
        """Load a model class of transformers with all of its weights, ready for inference.

        Safetensors are preferred; a pickled checkpoint is read with ``weights_only``, which runs no code.

        Args:
            class_name: the class.
            state: weights by name, in place of the checkpoint's own files.

        Raises:
            EncoderError: if it cannot be loaded, or if weights are missing or of another shape:
                transformers would fill them with random numbers.
        """
        torch = require("torch", "encoders")
        model_class = getattr(require("transformers", "encoders"), class_name)
        with self._explained("the weights"), quiet_loading():
            model, report = model_class.from_pretrained(
                self.name if state is None else None,
                config=self.config,
                state_dict=state,
                dtype=getattr(torch, self.dtype),
                weights_only=True,
                output_loading_info=True,
                **self.hub,
            )
        random = sorted(set(report["missing_keys"]) - _UNUSED_WEIGHTS)
        random += sorted(str(key[0]) for key in report.get("mismatched_keys", ()))
        if random:
            raise EncoderError(
                f"{self.name!r} lacks {len(random)} weights that {class_name} needs (the first is {random[0]!r}), "
                "so its vectors would be random. Use a checkpoint that was saved from this class."
            )
        return model.eval().requires_grad_(False).to(self.device)

    def load_tokenizer(self) -> Any:
        """Load the tokenizer that was saved with the model."""
        auto = require("transformers", "encoders").AutoTokenizer
        with self._explained("the tokenizer"):
            return auto.from_pretrained(self.name, trust_remote_code=False, **self.hub)

    def load_image_processor(self) -> Any:
        """Load the image processor that was saved with the model, in its Pillow implementation.

        The torchvision implementation resizes a little differently, so vectors would depend on whether
        torchvision happens to be installed.
        """
        transformers = require("transformers", "encoders")
        pillow = {"use_fast": False} if transformers.__version__.startswith("4.") else {"backend": "pil"}
        with self._explained("the image processor"):
            return transformers.AutoImageProcessor.from_pretrained(
                self.name, trust_remote_code=False, **pillow, **self.hub
            )

    @contextmanager
    def _explained(self, part: str) -> Iterator[None]:
        with explained(self.name, part):
            yield


def open_checkpoint(
    name: str, *, device: Any = None, dtype: Any = None, max_tokens: int | None = None, hub: Mapping[str, Any]
) -> Checkpoint:
    """Read the config of a checkpoint; see :func:`commonscale.load_encoder` for the arguments."""
    chosen_device, chosen_dtype = choose_device(device), choose_dtype(dtype)
    auto = require("transformers", "encoders").AutoConfig
    with explained(name, "config.json"):
        _check_config(Path(name))
        config = auto.from_pretrained(name, trust_remote_code=False, **hub)
    return Checkpoint(name, config, chosen_device, chosen_dtype, max_tokens, hub)


def _check_config(folder: Path) -> None:
    """Look at the config of a folder, where transformers speaks of other troubles than the one there is."""
    if not folder.is_dir():
        return
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError("there is no config.json in the folder")
    held = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(held, dict):
        raise ValueError(f"it must hold a JSON object, got {str(held)[:60]}")


def choose_device(device: Any = None) -> str:
    """Return the device as torch names it; None means CUDA where there is one, then Apple's MPS, then the CPU.

    Raises:
        InvalidInputError: if the name means nothing to torch or the device is not in this machine.
    """
    torch = require("torch", "encoders")
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if device is None:
        return next(kind for kind, available in present.items() if available())
    usable = ", ".join(kind for kind, available in present.items() if available())
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInputError(
            f"device must be one that torch knows, got {device!r}; usable here: {usable}"
        ) from error
    if not present.get(chosen.type, lambda: True)():
        raise InvalidInputError(f"device {device!r} is not available on this machine; usable here: {usable}")
    return str(chosen)


def choose_dtype(dtype: Any = None) -> str:
    """Return one of ``DTYPES`` from its name or from a ``torch.dtype``; None means float32."""
    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InvalidInputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return name


@contextmanager
def explained(name: str, part: str) -> Iterator[None]:
    """Turn the many errors of a failed download or a damaged file into one EncoderError."""
    damaged = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
    named = (
        require("safetensors", "encoders").SafetensorError,
        require("huggingface_hub.errors", "encoders").StrictDataclassError,  # values of a config, transformers 5
    )
    try:
        yield
    except EncoderError:
        raise
    except UnpicklingError as error:
        raise EncoderError(
            f"Cannot load {part} of {name!r}: the file is a pickle that holds more than weights, so it could run "
            "code and is refused. Use a checkpoint in safetensors format."
        ) from error
    except (*damaged, *named) as error:
        raise EncoderError(
            f"Cannot load {part} of {name!r}: {error}\nA hub id needs a connection or a copy in the cache "
            "(local_files_only=True or HF_HUB_OFFLINE=1 does not wait for a connection); a folder must hold what "
            "save_pretrained() of the model and of its processor wrote."
        ) from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the bar that transformers draws while it reads weights, and leave its setting as it was."""
    logging = require("transformers", "encoders").utils.logging
    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
