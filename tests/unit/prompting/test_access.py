"""Files are read only from where the user allowed: no traversal, no links, no races, no devices."""

from __future__ import annotations

import ntpath
import os
import posixpath
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.prompting.access import CAN_WALK, Folders, on_other_drive, open_and_look, open_walking

OPENERS = [open_and_look, pytest.param(open_walking, marks=pytest.mark.skipif(not CAN_WALK, reason="no dir_fd here"))]
SECRET = b"the secret"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``allowed`` with ``a.png`` and ``below/b.png``, and things outside that must not be read."""
    (tmp_path / "allowed" / "below").mkdir(parents=True)
    (tmp_path / "allowed" / "a.png").write_bytes(b"a")
    (tmp_path / "allowed" / "below" / "b.png").write_bytes(b"b")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "secret.png").write_bytes(SECRET)
    (tmp_path / "secret.png").write_bytes(SECRET)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path


def read(folders: Folders, path: str | os.PathLike[str]) -> bytes:
    with folders.open(path) as stream:
        return stream.read()


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "./a.png",
        "below/../a.png",
        "below//../../allowed/a.png",
        Path("a.png"),
        PurePosixPath("below/../a.png"),
        "{root}/allowed/a.png",
        "{root}/allowed-not/../allowed/a.png",
    ],
)
def test_what_is_inside_is_read(world: Path, path: str | Path) -> None:
    folders = Folders([world / "allowed"])
    assert read(folders, path.format(root=world) if isinstance(path, str) else path) == b"a"


def test_relative_paths_are_tried_in_each_folder_and_last_where_the_program_runs(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world / "elsewhere" / "a.png").write_bytes(b"elsewhere")
    folders = Folders([world / "allowed" / "below", world / "elsewhere", world / "allowed"])
    assert read(folders, "b.png") == b"b"
    assert read(folders, "a.png") == b"elsewhere"
    monkeypatch.chdir(world)
    assert read(Folders(["allowed"]), "allowed/below/b.png") == b"b"


def test_one_folder_needs_no_list_and_is_fixed_when_it_is_named(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    folders = Folders("allowed")
    monkeypatch.chdir(world / "elsewhere")
    assert read(folders, "a.png") == b"a"
    assert str(folders) == repr(os.path.realpath(world / "allowed"))


@pytest.mark.parametrize("bad", [["{root}/missing"], ["{root}/secret.png"], [""], "", [3], [b""]])
def test_what_is_no_folder_is_told_at_once(world: Path, bad: object) -> None:
    given = [part.format(root=world) if isinstance(part, str) else part for part in bad] if bad else bad
    with pytest.raises(InvalidInputError, match="folders must be paths of folders"):
        Folders(given)  # type: ignore[arg-type]


OUTSIDE = [
    "../secret.png",
    "below/../../secret.png",
    "./.././secret.png",
    "../allowed-not/secret.png",
    "{root}/secret.png",
    "{root}/allowed/../secret.png",
    "{root}/allowed/below/../../secret.png",
    "//{root}/secret.png",
    "{root}/allowed-not/secret.png",
    "{root}",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "/",
    "..",
    "../" * 40 + "etc/passwd",
]
NOWHERE = [
    "missing.png",
    "a.png/",
    "a.png/x",
    "~/a.png",
    "~root/a.png",
    "$HOME/a.png",
    "%2e%2e/secret.png",
    "..%2fsecret.png",
    "..\\secret.png",
    "C:\\Windows\\win.ini",
    "\\\\host\\share\\a.png",
    "file:/etc/passwd",
    "....//secret.png",
    "..;/secret.png",
    "\uff0e\uff0e/secret.png",
    "a.png\n",
    "x" * 5000,
    "\udcff.png",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_outside_is_refused(world: Path, path: str, kind: type) -> None:
    folders = Folders([world / "allowed"])
    with pytest.raises(ImageError, match=r"outside the folders .*allowed.*; .* Pictures\(folders=\[\.\.\.\]\)"):
        folders.open(kind(path.format(root=world)))


@pytest.mark.skipif(os.sep != "/", reason="a backslash parts folders here")
@pytest.mark.parametrize("path", [path for path in NOWHERE if path != "a.png/"])
def test_what_looks_odd_is_a_name_like_any_other(world: Path, path: str) -> None:
    with pytest.raises(ImageError, match=r"no such file in the folders .*allowed|cannot be opened"):
        Folders([world / "allowed"]).open(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "empty"),
        ("a\0.png", "null character"),
        (".", "is a folder"),
        ("below", "is a folder"),
        ("below/", "folder"),
    ],
)
def test_what_is_no_file_is_refused(world: Path, path: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Folders([world / "allowed"]).open(path)


@pytest.mark.parametrize("path", ["a.png", "/etc/passwd", "", "\0"])
def test_without_folders_nothing_is_read_and_the_way_to_allow_it_is_told(path: str) -> None:
    with pytest.raises(ImageError, match=r"no folder was named; allow .* Pictures\(folders=\[\.\.\.\]\)"):
        Folders().open(path)


def test_links_within_the_folder_are_followed(world: Path) -> None:
    (world / "allowed" / "link.png").symlink_to("below/b.png")
    (world / "allowed" / "short").symlink_to(world / "allowed" / "below", target_is_directory=True)
    folders = Folders([world / "allowed"])
    assert read(folders, "link.png") == read(folders, "short/b.png") == b"b"


def test_a_folder_may_be_named_by_a_link(world: Path) -> None:
    (world / "link").symlink_to(world / "allowed", target_is_directory=True)
    folders = Folders([world / "link"])
    for path in ("a.png", world / "link" / "a.png", world / "allowed" / "a.png"):
        assert read(folders, path) == b"a"


@pytest.mark.parametrize(
    "target", ["../secret.png", "{root}/secret.png", "/etc/passwd", "/dev/zero", "below/../../secret.png"]
)
def test_links_out_of_the_folder_are_refused(world: Path, target: str) -> None:
    (world / "allowed" / "link.png").symlink_to(target.format(root=world))
    with pytest.raises(ImageError, match="outside the folders"):
        Folders([world / "allowed"]).open("link.png")


def test_a_link_of_a_folder_out_of_the_folder_is_refused(world: Path) -> None:
    (world / "allowed" / "up").symlink_to("..", target_is_directory=True)
    with pytest.raises(ImageError, match="outside the folders"):
        Folders([world / "allowed"]).open("up/secret.png")
    assert read(Folders([world / "allowed"]), "up/allowed/a.png") == b"a"


def test_a_link_that_leads_nowhere_or_in_a_circle(world: Path) -> None:
    (world / "allowed" / "dead.png").symlink_to("missing.png")
    (world / "allowed" / "one.png").symlink_to("two.png")
    (world / "allowed" / "two.png").symlink_to("one.png")
    folders = Folders([world / "allowed"])
    with pytest.raises(ImageError, match="no such file"):
        folders.open("dead.png")
    with pytest.raises(ImageError, match="link, not a picture file"):
        folders.open("one.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("opener", OPENERS)
def test_a_pipe_is_refused_and_holds_up_nobody(world: Path, opener) -> None:
    pipe = world / "allowed" / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(ImageError, match="device, pipe or link"):
        opener(pipe, world / "allowed")
    with pytest.raises(ImageError, match="device, pipe or link"):
        Folders([world / "allowed"]).open("pipe.png")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev here")
@pytest.mark.parametrize("opener", OPENERS)
def test_a_device_is_refused_even_if_its_folder_is_allowed(opener) -> None:
    with pytest.raises(ImageError, match="device, pipe or link"):
        opener(Path("/dev/null"), Path("/dev"))
    with pytest.raises(ImageError, match="device, pipe or link"):
        Folders(["/dev"]).open("null")


@pytest.mark.parametrize("opener", OPENERS)
def test_files_are_opened_under_a_checked_path(world: Path, opener) -> None:
    folder = Path(os.path.realpath(world / "allowed"))
    with os.fdopen(opener(folder / "below" / "b.png", folder), "rb") as stream:
        assert stream.read() == b"b"


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_put_there_after_the_check_is_not_followed(world: Path, opener, swapped: str) -> None:
    """What a race comes to: the checked path is another file by the time it is opened."""
    folder = Path(os.path.realpath(world / "allowed"))
    (world / "allowed-not" / "b.png").write_bytes(SECRET)
    if swapped == "file":
        (folder / "below" / "b.png").unlink()
        (folder / "below" / "b.png").symlink_to(world / "secret.png")
    else:
        (folder / "below").rename(world / "was-below")
        (folder / "below").symlink_to(world / "allowed-not", target_is_directory=True)
    with pytest.raises((ImageError, OSError)):
        os.close(opener(folder / "below" / "b.png", folder))


@pytest.mark.skipif(not CAN_WALK, reason="no dir_fd here")
def test_a_race_that_is_won_by_the_attacker_is_an_error_of_the_picture(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world / "allowed"
    look = os.path.lexists

    def swap(path: str) -> bool:
        found = look(path)
        (folder / "below").rename(world / "was-below")
        (folder / "below").symlink_to(world / "allowed-not", target_is_directory=True)
        (world / "allowed-not" / "b.png").write_bytes(SECRET)
        return found

    monkeypatch.setattr(os.path, "lexists", swap)
    with pytest.raises(ImageError, match="cannot be opened"):
        Folders([folder]).open("below/b.png")


@pytest.mark.parametrize("opener", OPENERS)
def test_a_link_put_there_between_the_look_and_the_opening_is_not_followed(
    world: Path, opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.path.realpath(world / "allowed"))
    really_open = os.open

    def swap_and_open(path: object, flags: int, **where: int) -> int:
        if os.fspath(path).endswith("a.png"):
            (folder / "a.png").unlink()
            (folder / "a.png").symlink_to(world / "secret.png")
        return really_open(path, flags, **where)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises((ImageError, OSError)):
        os.close(opener(folder / "a.png", folder))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open descriptors are counted in /proc")
@pytest.mark.parametrize("opener", OPENERS)
def test_no_descriptor_is_left_open(world: Path, opener) -> None:
    folder = Path(os.path.realpath(world / "allowed"))
    (folder / "below" / "link.png").symlink_to(world / "secret.png")
    before = len(list(Path("/proc/self/fd").iterdir()))
    os.close(opener(folder / "below" / "b.png", folder))
    for name in ("below/link.png", "below/missing.png", "missing/b.png", "below"):
        with pytest.raises((ImageError, OSError)):
            opener(folder / name, folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_may_not_be_read_says_so(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ImageError, match="cannot be opened: Permission denied"):
        Folders([world / "allowed"]).open("a.png")


def test_trouble_of_the_machine_is_not_the_pictures(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", no_more)
    with pytest.raises(OSError, match="Too many open files"):
        Folders([world / "allowed"]).open("a.png")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (r"C:\pictures\a.png", False),
        (r"c:\pictures\a.png", False),
        (r"pictures\a.png", False),
        (r"\pictures\a.png", False),
        (r"D:\a.png", True),
        (r"D:a.png", True),
        (r"\\host\share\a.png", True),
        ("//host/share/a.png", True),
        (r"\\?\C:\pictures\a.png", True),
        (r"\\.\PhysicalDrive0", True),
        (r"\\127.0.0.1\c$\a.png", True),
    ],
)
def test_windows_paths_of_other_drives_and_machines_are_not_even_looked_at(path: str, other: bool) -> None:
    folders = [PureWindowsPath(r"C:\pictures")]
    assert on_other_drive(path, folders, ntpath) is other
    assert not on_other_drive(path, [PurePosixPath("/pictures")], posixpath)


STEPS = st.sampled_from(["..", ".", "", "below", "a.png", "b.png", "secret.png", "up", "out", "allowed", "allowed-not"])


@given(steps=st.lists(STEPS, max_size=8), absolute=st.booleans())
def test_no_way_leads_out(tmp_path_factory: pytest.TempPathFactory, steps: list[str], absolute: bool) -> None:
    """Any walk over folders, links and names ends at a file of the folder or at an ImageError, never at a secret."""
    root = tmp_path_factory.getbasetemp() / "no_way_leads_out"
    if not root.exists():
        (root / "allowed" / "below").mkdir(parents=True)
        (root / "allowed-not").mkdir()
        for path in ("allowed/a.png", "allowed/below/b.png"):
            (root / path).write_bytes(b"fine")
        for path in ("secret.png", "allowed-not/secret.png", "allowed-not/a.png"):
            (root / path).write_bytes(SECRET)
        (root / "allowed" / "up").symlink_to("..", target_is_directory=True)
        (root / "allowed" / "out").symlink_to("../allowed-not", target_is_directory=True)
        (root / "allowed" / "secret.png").symlink_to("../secret.png")
    path = "/".join([str(root / "allowed")] * absolute + steps)
    try:
        found = read(Folders([root / "allowed"]), path)
    except ImageError:
        return
    assert found == b"fine"
