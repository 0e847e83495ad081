"""A file of one kind given to the reader of another says what it is; NumPy's own advice is never passed on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, LivingCalibration, Question
from commonscale.core.errors import FileFormatError
from commonscale.core.file_kinds import kind_of
from living_world import ChangingStore
from sources import unit_rows


@pytest.fixture(params=["standardized", "chance"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    search, asked = searching()
    living = LivingCalibration.fit(asked, search.sources, method=request.param)
    living.save(tmp_path / "living.npz")
    living.calibration.save(tmp_path / "calibration.json")
    return tmp_path


def searching() -> tuple[JointSearch, list[Question]]:
    rng = np.random.default_rng(6)
    stores = {
        modality: ChangingStore(modality, {f"{modality}{i}": row for i, row in enumerate(unit_rows(rng, 40, 8))})
        for modality in ("text", "image")
    }
    return JointSearch(stores), [Question(vector=row) for row in unit_rows(rng, 40, 8)]


def test_each_reader_names_the_other(folder: Path) -> None:
    sources = searching()[0].sources
    with pytest.raises(
        FileFormatError, match=r"living\.npz: is no JSON.*LivingCalibration\.load\(path, sources\)"
    ) as told:
        Calibration.load(folder / "living.npz")
    assert "UTF-8" not in str(told.value)
    with pytest.raises(FileFormatError, match=r"calibration\.json: is no living .*Calibration\.load\(path\)$") as told:
        LivingCalibration.load(folder / "calibration.json", sources)
    assert "pickle" not in str(told.value)
    # And each reads its own.
    assert LivingCalibration.load(folder / "living.npz", sources).calibration.questions == 40
    assert Calibration.load(folder / "calibration.json").questions == 40


def test_the_second_file_points_to_the_first(tmp_path: Path) -> None:
    search, asked = searching()
    search.calibrate(asked, method="chance").save(tmp_path / "calibration.json")
    (second,) = tmp_path.glob("*.npz")
    with pytest.raises(FileFormatError, match=r"the second file of a calibration.*the \.json file beside it"):
        Calibration.load(second)
    with pytest.raises(FileFormatError, match=r"is no living calibration, but the second file of a calibration"):
        LivingCalibration.load(second, search.sources)


@pytest.mark.parametrize("data", [b"", b"some text", b"PK\x03\x04 cut short", b"\x93NUMPY", b"{}"])
def test_what_is_neither_is_told_without_numpys_advice(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    assert kind_of(io.BytesIO(data)) is None
    for read in (Calibration.load, lambda path: LivingCalibration.load(path, searching()[0].sources)):
        with pytest.raises(FileFormatError, match=r"not a (living )?calibration") as told:
            read(file)
        assert "pickle" not in str(told.value)


def test_other_archives_are_neither(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", questions=np.ones(3))
    with (tmp_path / "other.npz").open("rb") as file:
        assert kind_of(file) is None
        assert file.tell() == 0
    with pytest.raises(FileFormatError, match="not a calibration"):
        Calibration.load(tmp_path / "other.npz")
