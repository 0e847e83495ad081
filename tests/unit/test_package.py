from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import commonscale
from commonscale.core import errors
from commonscale.core.extras import require
from commonscale.core.files import atomic_path, write_text_atomically
from sources import ArraySource

HEAVY = ["torch", "transformers", "llama_index", "langchain_core", "faiss", "PIL", "typer", "httpx", "ir_measures"]


def test_a_slow_machine_fails_no_drawn_example() -> None:
    assert settings().deadline is None
    assert settings(max_examples=5).deadline is None


def test_importing_commonscale_loads_nothing_heavy() -> None:
    code = f"import sys, commonscale; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    # The names that the documentation promises; removing one breaks users.
    promised = {"Calibration", "ModalityStatistics", "QuestionBank", "JointSearch", "load_encoder"}
    assert promised <= set(commonscale.__all__)
    assert commonscale.__all__ == sorted(
        commonscale.__all__, key=lambda n: (not n.isupper(), n.startswith("_"), n)
    ) or (set(commonscale.__all__) == set(dir(commonscale)))
    for name in commonscale.__all__:
        if name != "load_encoder":
            assert getattr(commonscale, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = commonscale.nonsense


def test_every_error_is_in_the_tree_drawn_at_the_top() -> None:
    assert errors.__doc__ is not None
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, (Exception, Warning))]
    assert len(classes) > 10
    for cls in classes:
        assert issubclass(cls, (errors.CommonscaleError, errors.CommonscaleWarning))
        assert cls.__name__ in errors.__doc__


def test_a_missing_extra_ends_in_the_pip_command() -> None:
    with pytest.raises(errors.MissingExtraError) as caught:
        require("no_such_package.part", "faiss")
    assert str(caught.value).splitlines()[-1] == "pip install 'commonscale[faiss]'"
    assert "'no_such_package'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_package_that_is_there_but_broken_raises_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import a_dependency_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_dependency_that_is_missing") as caught:
        require("half_installed", "faiss")
    assert not isinstance(caught.value, errors.MissingExtraError)


def test_atomic_writing_replaces_the_file_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_text_atomically(path, "one\n")
    write_text_atomically(path, "zwei\N{SNOWMAN}\n")
    assert path.read_text(encoding="utf-8") == "zwei\N{SNOWMAN}\n"

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_text(encoding="utf-8") == "zwei\N{SNOWMAN}\n"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_written_files_have_the_users_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text_atomically(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_warnings_point_at_the_caller() -> None:
    vectors = np.eye(4, dtype=np.float32)
    search = commonscale.JointSearch({"text": ArraySource(["a"], vectors[:1])})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.calibrate([commonscale.Question(vector=vector) for vector in vectors], method="standardized")
    assert len(caught) == 1
    assert {Path(w.filename).name for w in caught} == {"test_package.py"}
