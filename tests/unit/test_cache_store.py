"""The file of a cache: what survives, what is refused, what makes room."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, FileFormatError, InvalidInputError
from commonscale.encoders.cache.store import FILE_NAME, LEAST_BYTES, VectorStore

DIMENSION = 64


def vector(number: int, dimension: int = DIMENSION) -> bytes:
    return np.random.default_rng(number).standard_normal(dimension).astype("<f4").tobytes()


def key(number: int) -> bytes:
    return number.to_bytes(24, "big")


def rows(numbers: range, dimension: int = DIMENSION) -> dict[bytes, bytes]:
    return {key(number): vector(number, dimension) for number in numbers}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    opened = VectorStore(tmp_path / "cache", 10_000_000)
    yield opened
    opened.close()


def test_gives_back_what_was_put_in_also_after_reopening(store: VectorStore) -> None:
    assert (store.count(), store.get([key(0)]), store.dimension("e")) == (0, {}, None)
    store.put(rows(range(1200)), "e", DIMENSION)
    store.close()
    again = VectorStore(store.path.parent, 10_000_000)
    assert again.get([key(number) for number in range(1300)]) == rows(range(1200))
    assert (again.count(), again.dimension("e"), again.dimension("other")) == (1200, DIMENSION, None)
    assert 1200 * 4 * DIMENSION < again.bytes_used() < 3 * 1200 * 4 * DIMENSION
    again.close()


def test_a_key_keeps_its_first_vector(store: VectorStore) -> None:
    store.put({key(1): vector(1)}, "e", DIMENSION)
    store.put({key(1): vector(2)}, "e", DIMENSION)
    assert store.get([key(1)]) == {key(1): vector(1)}


def test_clear_gives_the_space_back(store: VectorStore) -> None:
    store.put(rows(range(3000)), "e", DIMENSION)
    full = store.bytes_used()
    store.clear()
    assert (store.count(), store.dimension("e")) == (0, None)
    assert store.bytes_used() < full / 5
    assert store.path.stat().st_size < full / 5
    store.put(rows(range(3)), "e", DIMENSION)
    assert store.count() == 3


def test_the_longest_unused_make_room(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, LEAST_BYTES)
    chunk = 25
    numbers = range(2000)
    for start in range(0, 2000, chunk):
        store.put(rows(numbers[start : start + chunk], 512), "e", 512)
        # Vector 7 is used again and again, so it stays while its neighbors go.
        assert key(7) in store.get([key(7)])
        assert store.bytes_used() <= LEAST_BYTES
    kept = [number for number in numbers if key(number) in store.get([key(number)])]
    assert kept == [7, *range(2000 - len(kept) + 1, 2000)]
    assert 0.6 * LEAST_BYTES < len(kept) * 4 * 512 < LEAST_BYTES
    store.close()
    assert store.path.stat().st_size < 2 * LEAST_BYTES


def test_a_lower_limit_makes_the_file_smaller(tmp_path: Path) -> None:
    large = VectorStore(tmp_path, 20_000_000)
    large.put(rows(range(4000), 512), "e", 512)
    large.close()
    small = VectorStore(tmp_path, LEAST_BYTES)
    small.put(rows(range(4000, 4001), 512), "e", 512)
    small.close()
    assert small.path.stat().st_size < 2 * LEAST_BYTES


def test_uses_are_written_on_close_and_not_with_every_hit(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, LEAST_BYTES)
    store.put(rows(range(10)), "e", DIMENSION)
    before = uses(store.path)
    for _ in range(20):
        store.get([key(3)])
    assert uses(store.path) == before
    store.close()
    after = uses(store.path)
    assert after[key(3)] > before[key(3)]
    assert {k: u for k, u in after.items() if k != key(3)} == {k: u for k, u in before.items() if k != key(3)}


def uses(path: Path) -> dict[bytes, int]:
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT key, used FROM entry").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("content", [b"not a database at all, only words" * 99, b"\0" * 5000], ids=["words", "zeros"])
def test_a_foreign_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"{FILE_NAME}: cannot be used as a cache.*another folder, or move"):
        VectorStore(tmp_path, LEAST_BYTES).get([key(1)])
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, key BLOB)")
    connection.close()
    content = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(FileFormatError, match="another program"):
        VectorStore(tmp_path, LEAST_BYTES).put(rows(range(1)), "e", DIMENSION)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_newer_version_is_refused(store: VectorStore) -> None:
    store.put(rows(range(1)), "e", DIMENSION)
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(FileFormatError, match="version 2, this release of commonscale reads 1"):
        store.get([key(0)])


def test_a_truncated_file_is_an_error(store: VectorStore) -> None:
    store.put(rows(range(3000)), "e", DIMENSION)
    store.close()
    content = store.path.read_bytes()
    store.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="malformed"):
        store.get([key(number) for number in range(3000)])


def test_a_changed_vector_is_an_error(store: VectorStore) -> None:
    store.put(rows(range(5)), "e", DIMENSION)
    store.close()
    content = store.path.read_bytes()
    place = content.index(vector(3))
    store.path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    assert store.get([key(2)]) == {key(2): vector(2)}
    with pytest.raises(FileFormatError, match="not as it was written"):
        store.get([key(3)])


def test_an_empty_file_is_a_new_cache(tmp_path: Path) -> None:
    # What a process leaves that is killed before it has written anything.
    (tmp_path / FILE_NAME).touch()
    store = VectorStore(tmp_path, LEAST_BYTES)
    store.put(rows(range(2)), "e", DIMENSION)
    assert store.count() == 2
    store.close()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(InvalidInputError, match="cannot be a folder"):
        VectorStore(tmp_path / "cache", LEAST_BYTES).count()


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="users are told apart on POSIX only")
@pytest.mark.parametrize("exists", [False, True], ids=["empty", "filled"])
def test_a_read_only_folder(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    store = VectorStore(folder, LEAST_BYTES)
    if exists:
        store.put(rows(range(1)), "e", DIMENSION)
        store.close()
        store.path.chmod(0o444)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    for part in [*tmp_path.parents][:2] if root else []:
        part.chmod(part.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    try:
        if root:  # root may write anything
            os.seteuid(65534)
        with pytest.raises(InvalidInputError, match=r"cannot be written.*give a folder on a local disk"):
            store.get([key(0)])
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.parametrize("size", [0, LEAST_BYTES - 1, 1e9, True], ids=str)
def test_the_limit_is_a_number_of_bytes(tmp_path: Path, size: object) -> None:
    with pytest.raises(InvalidInputError, match="max_bytes must be a whole number of at least 1,000,000"):
        VectorStore(tmp_path, size)  # type: ignore[arg-type]


def test_another_program_that_holds_the_file(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonscale.encoders.cache.file.WAIT", 0.05)
    store.put(rows(range(2)), "e", DIMENSION)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert store.get([key(1)]) == {key(1): vector(1)}
        with pytest.raises(EncoderError, match=r"cannot be used now \(database is locked\)"):
            store.put(rows(range(2, 4)), "e", DIMENSION)
    finally:
        other.close()
    store.put(rows(range(2, 4)), "e", DIMENSION)
    assert store.count() == 4


def test_threads_share_it(store: VectorStore) -> None:
    wrong: list[object] = []

    def work(start: int) -> None:
        for number in range(start, start + 400, 20):
            part = range(number, number + 20)
            store.put(rows(part), "e", DIMENSION)
            if store.get([key(n) for n in part]) != rows(part):
                wrong.append(part)

    threads = [threading.Thread(target=work, args=(200 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, store.count()) == ([], 1000)


def writer(folder: Path, start: int, count: int = 2000) -> subprocess.Popen[str]:
    script = f"""
        import sys
        import numpy as np
        from commonscale.encoders.cache.store import VectorStore

        def rows(numbers):
            return {{
                n.to_bytes(24, "big"): np.random.default_rng(n).standard_normal({DIMENSION}).astype("<f4").tobytes()
                for n in numbers
            }}

        store = VectorStore({str(folder)!r}, 100_000_000)
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range({start}, {start + count}, 50):
            part = rows(range(number, number + 50))
            store.put(part, "e", {DIMENSION})
            assert store.get(list(part)) == part
            print(number, flush=True)
        store.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    # Half of the keys are the same in both; they also create the file at the same moment.
    both = [writer(tmp_path, 0), writer(tmp_path, 1000)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
        assert process.returncode == 0
    store = VectorStore(tmp_path, 100_000_000)
    assert store.get([key(number) for number in range(3000)]) == rows(range(3000))
    assert store.count() == 3000
    store.close()


def test_what_was_kept_survives_a_kill(tmp_path: Path) -> None:
    process = writer(tmp_path, 0, count=10_000_000)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    process.stdout.readline()
    told = [int(process.stdout.readline()) for _ in range(7)]
    process.kill()
    rest, _ = process.communicate()
    assert process.returncode == (-signal.SIGKILL if hasattr(signal, "SIGKILL") else 1)
    last = max([*told, *(int(line) for line in rest.split())])
    store = VectorStore(tmp_path, 100_000_000)
    numbers = range(last + 50)
    assert store.get([key(number) for number in numbers]) == rows(numbers)
    # Whole chunks or nothing.
    assert store.count() % 50 == 0
    assert check(store.path) == "ok"
    store.put(rows(range(5000, 5010)), "e", DIMENSION)
    store.close()


def check(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_a_pickled_copy_opens_the_same_file(store: VectorStore) -> None:
    store.put(rows(range(3)), "e", DIMENSION)
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.path, copy.max_bytes, copy.count()) == (store.path, store.max_bytes, 3)
    copy.close()


def in_child(store: VectorStore, start: int) -> None:
    store.put(rows(range(start, start + 100)), "e", DIMENSION)
    assert store.get([key(n) for n in range(100)]) == rows(range(100))
    store.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 where threads run
def test_after_a_fork_parent_and_children_go_on(store: VectorStore) -> None:
    store.put(rows(range(100)), "e", DIMENSION)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=in_child, args=(store, 100 * number)) for number in (1, 2, 3)]
    for child in children:
        child.start()
    for number in range(4, 8):
        store.put(rows(range(100 * number, 100 * number + 100)), "e", DIMENSION)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert store.get([key(number) for number in range(800)]) == rows(range(800))
    store.close()
    assert check(store.path) == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 where threads run
def test_nobody_waits_for_flights_of_threads_that_a_fork_left_behind(store: VectorStore) -> None:
    store.flights.begin([key(1)])
    assert store.flights.begin([key(1), key(2)]) == {key(2)}
    child = os.fork()
    if child == 0:
        os._exit(0 if store.flights.begin([key(1)]) == {key(1)} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.flights.begin([key(1)]) == set()
