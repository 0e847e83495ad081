"""Positions of SigLIP 2 NaFlex for pictures that are one patch wide, which torch resizes wrongly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from commonscale.core.extras import require


def mend_positions(embeddings: Any) -> None:
    """Make a NaFlex image tower resize its table of positions rightly for grids of one column.

    torch's antialiased bilinear resize to a width of 1 leaves out the resize of the height: every row gets the values
    of the first (2.13.0, on the CPU, in float32 and float64). All patches of a tall and narrow picture would then have
    one position. Resizing the height first and the width afterwards is right. With patches of 16 pixels, up to 256 of
    them, this meets pictures more than 128 times as high as wide.

    Args:
        embeddings: ``vision_model.embeddings`` of a Siglip2Model; its way to resize is replaced, its weights stay.
    """
    embeddings.resize_positional_embeddings = partial(_resized, type(embeddings).resize_positional_embeddings)


def _resized(theirs: Callable[..., Any], positional_embeddings: Any, spatial_shapes: Any, max_length: int) -> Any:
    """Resize a table of positions to the grid of each picture.

    Args:
        theirs: transformers' function, right for all grids but those of one column.
        positional_embeddings: shape (side, side, width).
        spatial_shapes: rows and columns of each grid, shape (n, 2).
        max_length: length of the result; places after the grid repeat its first position, and are masked.

    Returns:
        Shape (n, max_length, width).
    """
    functional = require("torch.nn.functional", "encoders")
    resized = theirs(positional_embeddings, spatial_shapes, max_length=max_length)
    for positions, (rows, columns) in zip(resized, spatial_shapes.tolist(), strict=True):
        if columns == 1:
            table = positional_embeddings.permute(2, 0, 1).unsqueeze(0).float()
            for size in ((rows, table.shape[-1]), (rows, 1)):
                table = functional.interpolate(table, size=size, mode="bilinear", align_corners=False, antialias=True)
            positions[:rows] = table[0, :, :, 0].T.to(positions.dtype)
            positions[rows:] = positions[0]
    return resized
