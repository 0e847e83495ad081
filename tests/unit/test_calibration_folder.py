"""Calibrations that share a folder: what one save removes must never be what another file needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, Question
from commonscale.core import calibration_folder
from living_world import ChangingStore
from sources import unit_rows


@pytest.fixture(scope="module")
def calibrations() -> list[Calibration]:
    rng = np.random.default_rng(4)
    search = JointSearch({"text": ChangingStore("text", {f"{i}": r for i, r in enumerate(unit_rows(rng, 40, 8))})})
    banks = [[Question(vector=row) for row in unit_rows(rng, 40, 8)] for _ in range(3)]
    return [search.calibrate(bank, method="chance") for bank in banks]


def tables(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.npz"))


def test_files_of_one_stem_keep_their_tables(calibrations: list[Calibration], tmp_path: Path) -> None:
    names = ["scale.json", "scale.old", "scale-2.json"]
    for name, calibration in zip(names, calibrations, strict=True):
        calibration.save(tmp_path / name)
    assert [Calibration.load(tmp_path / name) for name in names] == calibrations
    assert len(tables(tmp_path)) == 3


def test_a_copy_beside_the_file_stays_whole(calibrations: list[Calibration], tmp_path: Path) -> None:
    calibrations[0].save(tmp_path / "scale.json")
    shutil.copy(tmp_path / "scale.json", tmp_path / "backup.json")
    calibrations[1].save(tmp_path / "scale.json")
    assert Calibration.load(tmp_path / "backup.json") == calibrations[0]
    calibrations[2].save(tmp_path / "scale.json")
    assert len(tables(tmp_path)) == 2  # that of the copy, and the newest


def test_what_somebody_else_is_about_to_name_stays(
    calibrations: list[Calibration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scale.json"
    write = calibration_folder.write_text_atomically

    def write_after_another_save(path: Path, text: str) -> None:
        monkeypatch.setattr(calibration_folder, "write_text_atomically", write)
        calibrations[1].save(file)
        write(path, text)

    monkeypatch.setattr(calibration_folder, "write_text_atomically", write_after_another_save)
    calibrations[0].save(file)
    assert Calibration.load(file) == calibrations[0]


def test_what_an_interrupted_save_left_goes_when_it_is_old(calibrations: list[Calibration], tmp_path: Path) -> None:
    left, foreign = tmp_path / f"scale-{'0' * 16}.npz", tmp_path / f"scale-{'0' * 15}.npz"
    for path in (left, foreign):
        path.write_bytes(b"half a file")
    calibrations[0].save(tmp_path / "scale.json")
    assert left.exists()
    for path in (left, foreign):
        os.utime(path, (0, 0))
    calibrations[0].save(tmp_path / "scale.json")
    assert not left.exists()
    assert foreign.exists()


def test_a_file_saved_while_it_is_read_is_read_again(
    calibrations: list[Calibration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scale.json"
    calibrations[0].save(file)
    read = calibration_folder._tables

    def read_after_a_save(path: Path, named: Any) -> Any:
        monkeypatch.setattr(calibration_folder, "_tables", read)
        calibrations[1].save(file)
        return read(path, named)

    monkeypatch.setattr(calibration_folder, "_tables", read_after_a_save)
    assert Calibration.load(file) == calibrations[1]
