from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ir_measures")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")

from commonscale.core.errors import FileFormatError, InvalidInputError  # noqa: E402
from commonscale.reproduction import MODELS, Sizes, model_of, published, reproduce, write_reproduction  # noqa: E402
from commonscale.reproduction.results import read_runs, stands_for  # noqa: E402
from commonscale.reproduction.tables import table_3, table_4, table_5, table_6  # noqa: E402
from reproduction_world import WorldEncoder, write_world  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")

CLIP = "openai/clip-vit-base-patch32"
FIGURES = ("figure-4", "figure-5", "figure-6", "figure-14", "shares")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under the name of a published model, a smaller one, and one under a name with markup in it."""
    folder = tmp_path_factory.mktemp("out")
    data = write_world(tmp_path_factory.mktemp("data"), 40)
    reproduce("mmqa", data, folder, WorldEncoder(), encoder_name=CLIP)
    reproduce("mmqa", data, folder, WorldEncoder(), encoder_name=CLIP, sizes=Sizes("context"))
    reproduce("mmqa", data, folder, WorldEncoder(), encoder_name="org/<b>own</b>&co")
    return folder


def test_one_page_json_and_figures(out: Path) -> None:
    files = write_reproduction(out)
    assert files[0] == out / "report.html"
    assert json.loads((out / "report.json").read_text())["published"]["table4"] == published()["table4"]
    for run in read_runs(out):
        for name in FIGURES:
            with Image.open(run.folder / f"{name}.png") as picture:
                assert min(picture.size) > 300
                assert len(picture.convert("L").getcolors()) > 5, "something is drawn"
    page = (out / "report.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["']?(https?:|//|(?!data:)[\w./-]+\.)""", page), (
        "nothing is loaded from elsewhere"
    )
    assert "<b>own</b>" not in page
    assert "own&lt;/b&gt;&amp;co" in page or "b&gt;&amp;co" in page
    assert "31.90\u00a0/\u00a0" in page
    assert "these are other data than the paper&#39;s" in page
    assert "This is not the paper&#39;s setting" in page


def cells(row: list[str]) -> Iterator[tuple[float | None, float | None]]:
    for cell in row:
        theirs, ours = (None if part == "–" else float(part.replace("−", "-")) for part in cell.split("\u00a0/\u00a0"))
        yield theirs, ours


def test_table_3_has_the_published_numbers_beside_ours(out: Path) -> None:
    runs = read_runs(out)
    table = table_3(runs)
    assert table.columns[2:5] == ["MMQA TextQ Recall@20", "MMQA TextQ MRR@20", "MMQA TextQ NDCG@20"]
    rows = {(row[0], row[1]): list(cells(list(row[2:]))) for row in table.rows}
    means = stands_for(runs, "mmqa", "CLIP (ViT-B/32)").numbers["methods"]  # type: ignore[union-attr]
    for label, method in (("Cos", "cosine"), ("Std", "labeled"), ("Ours", "standardized")):
        found = rows["CLIP (ViT-B/32)", label]
        assert [ours for _, ours in found[6:]] == [None] * 6, "WebQA was not run"
        expected = [
            100 * means[method]["means"][kind][figure]
            for kind in ("text", "image")
            for figure in ("recall@20", "mrr@20", "ndcg@20")
        ]
        assert [ours for _, ours in found[:6]] == pytest.approx(expected, abs=0.005)
    assert [theirs for theirs, _ in rows["CLIP (ViT-B/32)", "Ours"]] == [
        27.46, 18.44, 17.88, 66.09, 45.03, 49.86, 27.14, 19.07, 17.29, 28.14, 13.79, 15.98
    ]  # fmt: skip
    assert [theirs for theirs, _ in rows["CLIP (ViT-B/32)", "chance *"]] == [None] * 12
    assert rows["CLIP (ViT-B/32)", "ceiling *"][0][1] == pytest.approx(
        100 * means["text-only"]["means"]["text"]["recall@20"], abs=0.005
    )
    assert all(ours is None for _, ours in rows["E5-V", "Ours"]), "other models keep the published numbers alone"
    assert ("E5-V", "chance *") not in rows
    assert {row[0] for row in table.rows} == {*MODELS, "b>&co"}


def test_tables_4_to_6(out: Path) -> None:
    runs = read_runs(out)
    run = stands_for(runs, "mmqa", "CLIP (ViT-B/32)")
    assert run is not None
    assert run.complete, "the run in the paper's setting stands in its cells"
    four = {(row[0], row[1]): list(cells(list(row[2:]))) for row in table_4(runs).rows}
    assert [theirs for theirs, _ in four["BLIP", "Ours"]] == [21.30, 35.22, 43.48, 56.09, 3.78, 7.39, 14.04, 26.66]
    means = run.numbers["methods"]["standardized"]["means"]["image"]
    expected = [100 * means[f"recall@{k}"] for k in (1, 5, 20, 100)]
    assert [ours for _, ours in four["CLIP (ViT-B/32)", "Ours"][:4]] == pytest.approx(expected, abs=0.005)
    five = {row[0]: list(cells(list(row[1:]))) for row in table_5(runs).rows}
    assert [theirs for theirs, _ in five["Long-CLIP-L"]] == [-1.88, 0.47, -1.30, 0.72]
    assert five["CLIP (ViT-B/32)"][1][1] == pytest.approx(run.numbers["table5"]["image"], abs=0.005)
    six = {(row[0], row[1]): list(cells(list(row[2:]))) for row in table_6(runs).rows}
    assert [theirs for theirs, _ in six["CLIP (ViT-L/14)", "Std"]] == [
        0.642, 0.136, 0.280, 0.049, 0.700, 0.122, 0.269, 0.040
    ]  # fmt: skip
    assert six["CLIP (ViT-B/32)", "Ours"][3][1] == pytest.approx(
        run.numbers["table6"]["standardized"]["image"]["std"], abs=0.0005
    )


def test_the_published_tables_agree_with_each_other_and_with_the_numbers_of_questions() -> None:
    tables: dict[str, Any] = dict(published())
    assert list(tables["table3"]) == list(tables["table4"]) == list(tables["table5"]) == list(MODELS)
    for model, methods in tables["table3"].items():
        for method, sets in methods.items():
            if method != "Std":
                for dataset in ("mmqa", "webqa"):
                    both = sets[dataset]["image"]["recall@20"], tables["table4"][model][method][dataset]["recall@20"]
                    assert both[0] == both[1]
            # Each of 721 questions has one or two relevant texts, each of 230 has one picture.
            halves = 2 * 7.21 * sets["mmqa"]["text"]["recall@20"]
            assert abs(halves - round(halves)) < 2 * 7.21 * 0.005 + 1e-9
            found = 2.30 * sets["mmqa"]["image"]["recall@20"]
            assert abs(found - round(found)) < 2.30 * 0.005 + 1e-9


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (CLIP, "CLIP (ViT-B/32)"),
        ("/models/clip-vit-large-patch14", "CLIP (ViT-L/14)"),
        ("C:\\models\\e5-v\\", "E5-V"),
        ("embed-english-v3.0", "Cohere Embed 3"),
        ("org/another", "another"),
    ],
)
def test_encoders_are_known_by_the_papers_names(name: str, model: str) -> None:
    assert model_of(name, MODELS) == model


def test_damaged_and_missing_runs_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no runs"):
        write_reproduction(tmp_path)
    (tmp_path / "mmqa-x").mkdir()
    path = tmp_path / "mmqa-x" / "numbers.json"
    path.write_text("{")
    with pytest.raises(FileFormatError, match=r"numbers\.json: damaged .*run the same command again"):
        read_runs(tmp_path)
    path.write_text('{"schema_version": 9}')
    with pytest.raises(FileFormatError, match="has schema version 9, this commonscale reads 1"):
        read_runs(tmp_path)
