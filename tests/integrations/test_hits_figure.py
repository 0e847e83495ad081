"""Rankings drawn as pictures and passages."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

from commonscale.core.errors import InvalidInputError  # noqa: E402
from commonscale.diagnostics.hits import hits_figure  # noqa: E402
from commonscale.diagnostics.panel import png_bytes  # noqa: E402
from commonscale.prompting import PromptItem  # noqa: E402

PASSAGE = PromptItem(
    "p", "text", "A trio of crimson cottages hovers over a lone ship, at a price of $3 and $4.", cosine=0.83
)


def picture(name: str, size: tuple[int, int], folder: Path) -> PromptItem:
    file = folder / name
    Image.new("RGB", size, "navy").save(file)
    return PromptItem(name, "image", picture=file, score=-1.5)


def words(figure: object) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]  # type: ignore[attr-defined]


def test_every_hit_has_its_place_its_number_and_its_content(tmp_path: Path) -> None:
    wide = picture("wide.png", (600, 300), tmp_path)
    figure = hits_figure({"raw cosine": [PASSAGE, wide], "standardized": [wide]}, title="Where are cottages?")
    shown = words(figure)
    assert shown[0] == "1.  cos 0.83"
    assert "2.  -1.50" in shown
    assert "crimson" in shown[1]
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == 2
    left, right, low, high = images[0].get_extent()
    # Whole and undistorted in its square tile: as wide as the tile, half as high.
    assert (right - left, high - low) == pytest.approx((1, 1 / 2))
    assert max(images[0].get_array().shape) <= 200
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_the_score_of_a_raw_ranking_is_called_a_cosine() -> None:
    assert words(hits_figure({"raw": [PromptItem("p", "text", "words", score=0.5, cosine=0.5)]}))[0] == "1.  cos 0.50"


def test_no_more_than_k_hits_are_shown() -> None:
    assert len(hits_figure({"one": [PASSAGE] * 9}, k=4).axes) == 4


def test_long_texts_are_shortened_to_their_tile() -> None:
    long = PromptItem("long", "text", "word " * 500)
    text = words(hits_figure({"one": [long]}))[1]
    assert text.endswith("…")
    assert len(text.splitlines()) == 8


def test_a_bad_picture_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    figure = hits_figure({"one": [PromptItem("bad", "image", picture=tmp_path / "bad.png")]})
    assert words(figure)[1].replace("\n", " ").startswith("(picture not shown:")


@pytest.mark.parametrize(("rankings", "k"), [({}, 5), ({"one": [PASSAGE]}, 0)])
def test_nothing_to_show_is_refused(rankings: dict[str, list[PromptItem]], k: int) -> None:
    with pytest.raises(InvalidInputError, match="at least one ranking"):
        hits_figure(rankings, k=k)
