from __future__ import annotations

import json
import math
import statistics as reference
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Calibration, ModalityCalibration, ModalityStatistics, Provenance
from commonscale.core.calibration import normal_cdf
from commonscale.core.errors import (
    CalibrationMismatchError,
    FewQuestionsWarning,
    FileFormatError,
    InvalidInputError,
    NotCalibratedError,
)

CLIP = Provenance("clip:0123", 512, "cosine")
CALIBRATION = Calibration(
    {
        "text": ModalityCalibration(ModalityStatistics(0.8, 0.05, 100), CLIP),
        "image": ModalityCalibration(ModalityStatistics(0.3, 0.02, 99), CLIP),
        "sound": ModalityCalibration(ModalityStatistics(0.1, 0.0, 100)),
    },
    questions=100,
)


def test_standardize_is_equation_two() -> None:
    np.testing.assert_allclose(CALIBRATION.standardize([0.8, 0.9], "text"), [0, 2])
    np.testing.assert_allclose(CALIBRATION.standardize([0.26, 0.34], "image"), [-2, 2])


def test_without_spread_only_the_mean_is_subtracted() -> None:
    np.testing.assert_allclose(CALIBRATION.standardize([0.1, 0.4], "sound"), [0, 0.3])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_probability_is_the_normal_distribution_and_keeps_the_order(cosines: list[float]) -> None:
    found = CALIBRATION.probability(cosines, "image")
    expected = [reference.NormalDist(0.3, 0.02).cdf(c) for c in cosines]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(cosines)]) >= 0).all()


def test_normal_cdf_is_exact_in_the_lower_tail() -> None:
    # 1 + erf(-10 / sqrt 2) would be exactly 0; the true value is 7.62e-24 (tables of the normal distribution).
    assert normal_cdf(-10.0) == pytest.approx(7.619853024160489e-24, rel=1e-12)
    assert normal_cdf([[0.0]]).shape == (1, 1)


def test_unknown_modality_says_what_is_covered() -> None:
    with pytest.raises(NotCalibratedError, match=r"'video' has no statistics.*\['image', 'sound', 'text'\]"):
        CALIBRATION.standardize([0.1], "video")


def test_cosines_that_are_not_finite() -> None:
    with pytest.raises(InvalidInputError, match=r"modality 'text': 1 of 1 cosines are not finite"):
        CALIBRATION.standardize([math.nan], "text")


def test_no_modality_at_all() -> None:
    with pytest.raises(InvalidInputError, match="at least one modality, got none"):
        Calibration({})


def test_labeled_pairs_are_equation_one() -> None:
    cosines = np.concatenate([np.linspace(0.6, 0.9, 30), np.linspace(0.2, 0.3, 40)])
    calibration = Calibration.from_labeled_pairs(cosines, ["text"] * 30 + ["image"] * 40, {"text": CLIP})
    assert calibration.method == "labeled"
    assert calibration.questions == 70
    assert calibration.statistics("image") == ModalityStatistics.fit(cosines[30:])
    assert calibration.modalities["text"].provenance == CLIP


def test_labeled_pairs_of_unequal_length_and_too_few() -> None:
    with pytest.raises(InvalidInputError, match="2 cosines come with 1 modalities"):
        Calibration.from_labeled_pairs([0.1, 0.2], ["text"])
    with pytest.warns(FewQuestionsWarning, match="rest on 2 different questions"):
        Calibration.from_labeled_pairs([0.1, 0.2], ["text", "text"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Provenance("clip:9999"), "calibrated with encoder 'clip:0123', not 'clip:9999'"),
        (Provenance(dimension=768), "calibrated with dimension 512, not 768"),
        (Provenance(score_kind="l2"), "calibrated with score kind 'cosine', not 'l2'"),
    ],
)
def test_a_mismatch_names_both_sides(given: Provenance, message: str) -> None:
    with pytest.raises(CalibrationMismatchError, match=message):
        CALIBRATION.check("text", given)


def test_what_is_not_known_cannot_conflict() -> None:
    CALIBRATION.check("text", Provenance())
    CALIBRATION.check("sound", CLIP)
    CALIBRATION.check("video", CLIP)


# --- calibration.json ---------------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.builds(ModalityStatistics, st.floats(-1, 1), st.floats(0, 1), st.integers(1, 10**9)),
        min_size=1,
        max_size=4,
    )
)
def test_saving_and_loading_keeps_every_bit(tmp_path_factory: pytest.TempPathFactory, stats: dict) -> None:
    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration = Calibration({m: ModalityCalibration(s, CLIP) for m, s in stats.items()}, questions=7)
    calibration.save(path)
    assert Calibration.load(path) == calibration


def test_the_file_has_the_promised_fields(tmp_path: Path) -> None:
    CALIBRATION.save(tmp_path / "deep" / "calibration.json")
    document = json.loads((tmp_path / "deep" / "calibration.json").read_text())
    assert document["schema_version"] == 1
    assert document["questions"] == 100
    assert document["created"].endswith("+00:00")
    assert document["modalities"]["text"] == {
        "mean": 0.8,
        "std": 0.05,
        "count": 100,
        "encoder_fingerprint": "clip:0123",
        "dimension": 512,
        "score_kind": "cosine",
    }


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calibration.json"
    CALIBRATION.save(path)
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Calibration({"text": ModalityCalibration(ModalityStatistics(0.5, 0.1, 3))}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def changed(**fields: object) -> str:
    document = {
        "format": "commonscale.calibration",
        "schema_version": 1,
        "method": "standardized",
        "created": "2026-01-31T12:00:00+00:00",
        "questions": 5,
        "modalities": {
            "text": {
                "mean": 0.8, "std": 0.1, "count": 5, "encoder_fingerprint": None, "dimension": None, "score_kind": None
            }
        },
    }  # fmt: skip
    text = document["modalities"]["text"]  # type: ignore[index]
    for key, value in fields.items():
        target = text if key in text else document
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return json.dumps(document)


def test_a_changed_file_that_is_right_loads(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(changed(mean=0.5))
    assert Calibration.load(tmp_path / "c.json").statistics("text").mean == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a calibration: the file is no valid JSON"),
        (changed()[:-20], "damaged or truncated"),
        ("\x00\x01binary", "no valid JSON"),
        ("[1, 2]", 'lacks "format": "commonscale.calibration"'),
        ('{"schema_version": 1}', 'lacks "format"'),
        (changed(schema_version=3), "schema version 3, this commonscale reads versions 1 to 2; upgrade"),
        (changed(schema_version=True), "schema version True"),
        (changed(mean=...), "field 'mean' is missing"),
        (changed(mean="0.8"), "field 'mean' is '0.8'"),
        (changed(mean=True), "field 'mean' is True"),
        (changed(std=-0.1), "finite std >= 0"),
        (changed(mean=math.nan), "finite mean"),
        (changed(count=0), "count >= 1"),
        (changed(count=1.5), "field 'count' is 1.5"),
        (changed(dimension="512"), "field 'dimension'"),
        (changed(created="yesterday"), "yesterday"),
        (changed(questions=-7), "at least 0, got -7"),
        (changed().replace("0.8", "1" + "0" * 400), "too large"),
        ("[" * 100_000, "no valid JSON"),
        (changed(modalities={}), "at least one modality"),
        (changed(modalities={"text": 5}), "modality 'text' is int"),
        (changed(centering={"text": [0.1]}), r"unknown fields \['centering'\] \(perhaps from a newer commonscale\)"),
    ],
)
def test_damaged_foreign_and_newer_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        Calibration.load(path)
    assert "calibration.json" in str(caught.value)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(FileFormatError, match="no valid JSON"):
        Calibration.load(tmp_path / "c.json")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Calibration.load(tmp_path / "none.json")
