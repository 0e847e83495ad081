"""Execute the notebooks, offline and from top to bottom, and write their outputs back: ``make notebooks``.

    python notebooks/execute.py                     all of them
    python notebooks/execute.py 03-*.ipynb          some

Each one runs in an empty folder, in a new kernel of this Python. What is written is the same on every machine but for
the numbers and pictures themselves: no paths, no times, no versions.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PNG = "image/png"
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {
    # tqdm wants a widget for its bars and says so once; the bars of a notebook without widgets are words.
    "PYTHONWARNINGS": "ignore:IProgress not found",
    "HF_HUB_OFFLINE": "1",
    # One thread sums in one order, so that digits do not depend on the number of cores.
    "OMP_NUM_THREADS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    # Whoever asks another machine than this one fails at once.
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1"),
}


COLORS = 96  # of a picture that is kept: figures look the same, and take a third


class ThisPython(AsyncKernelManager):
    """Starts kernels of the Python that runs this script, whatever kernels the user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How a kernel is started: quietly, and with modules that the debugger can look into."""
        start = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "--log-level=ERROR"]
        start += ["-f", "{connection_file}"]
        return KernelSpec(argv=start, display_name="Python 3", language="python")


def notebooks() -> list[Path]:
    """Give all notebooks, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(notebook: NotebookNode, folder: Path, *, timeout: int = 300) -> NotebookNode:
    """Run a copy of a notebook and give it with its outputs, normalized.

    Args:
        notebook: what to run; its old outputs are dropped.
        folder: the working directory; what cells write stays there.
        timeout: seconds for each cell, and for the kernel to start.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    copy = nbformat.from_dict(notebook)
    client = NotebookClient(
        copy,
        kernel_manager_class=ThisPython,
        timeout=timeout,
        startup_timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    # A folder of its own for IPython, so that nobody's start-up files and history take part.
    with TemporaryDirectory() as private:
        client.execute(env={**os.environ, **OFFLINE, "IPYTHONDIR": private})
    return normalized(copy)


def normalized(notebook: NotebookNode) -> NotebookNode:
    """Give a copy without anything that only tells when and where it was run."""
    cells = [_cell(cell, number) for number, cell in enumerate(notebook.cells, start=1)]
    return nbformat.from_dict({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def _cell(cell: NotebookNode, number: int) -> dict[str, Any]:
    kept = {"cell_type": cell.cell_type, "id": f"cell-{number:02}", "metadata": {}, "source": cell.source}
    if cell.cell_type == "code":
        kept |= {"execution_count": cell.execution_count, "outputs": [_output(output) for output in cell.outputs]}
    return kept


def _output(output: NotebookNode) -> dict[str, Any]:
    kept = dict(output)
    if "data" in output:
        kept |= {"metadata": {}, "data": dict(output.data)}
    if PNG in output.get("data", {}):
        kept["data"][PNG] = _smaller(output.data[PNG])
    return kept


def _smaller(encoded: str) -> str:
    """Write a PNG, given in base64, with fewer colours; one that has few already stays as it is."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        if picture.mode == "P":
            return encoded.strip()
        small = io.BytesIO()
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode("ascii")


def main() -> None:
    """Execute the notebooks that are named, or all of them."""
    parser = argparse.ArgumentParser(description="Execute the notebooks and write their outputs back.")
    parser.add_argument("notebook", nargs="*", type=Path)
    for path in parser.parse_args().notebook or notebooks():
        with TemporaryDirectory() as folder:
            done = execute(nbformat.read(path, as_version=4), Path(folder))
        nbformat.validate(done)
        nbformat.write(done, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
