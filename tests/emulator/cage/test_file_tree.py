"""Where a walk through a sandbox's files begins, and what it never enters."""

import gc
import os
import sys

import pytest
from leftovers import descriptors_below

from caged.emulator.cage import file_tree, safe_files
from caged.emulator.cage.file_tree import FileTree, OutsideOfSandbox
from caged.emulator.cage.paths import Layout
from caged.emulator.cage.safe_paths import walk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs O_PATH and /proc")


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    return layout


def tree_at(layout, path, only=None):
    return FileTree(layout, os.open(path, os.O_PATH | os.O_DIRECTORY), only)


@pytest.mark.parametrize("path", ["/proc", "/proc/self/root/x", "/sys/kernel", "/dev/null", "/x/../proc/self/cwd"])
def test_directories_of_the_kernel_are_refused_by_name(layout, tmp_path, path):
    (tmp_path / "x").mkdir()
    for name in ("proc", "sys", "dev"):
        (tmp_path / name).mkdir()
    with tree_at(layout, tmp_path) as tree, pytest.raises(OutsideOfSandbox), walk(tree, path):
        pass


def test_file_system_of_the_kernel_is_refused_wherever_it_is_mounted(layout, monkeypatch):
    monkeypatch.setattr(file_tree, "KERNEL_DIRECTORIES", ())
    for path in ("/proc/self/environ", "/proc/", "/sys/kernel/x", "/dev/pts/ptmx"):
        with tree_at(layout, "/") as tree, pytest.raises(OutsideOfSandbox), walk(tree, path):
            pass


def test_tree_of_one_directory_refuses_the_others(layout, tmp_path):
    (tmp_path / "workspace").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "file").write_text("secret")
    for target in ("/etc", "/file", "/", "..", "../file"):
        (tmp_path / "workspace" / "link").symlink_to(target)
        with tree_at(layout, tmp_path, "workspace") as tree:
            with pytest.raises((OutsideOfSandbox, IsADirectoryError)):
                safe_files.read(tree, "/workspace/link", 10)
            with pytest.raises((OutsideOfSandbox, IsADirectoryError)):
                safe_files.write(tree, f"/workspace/link{'' if target.endswith('file') else '/new'}", b"")
        (tmp_path / "workspace" / "link").unlink()
    assert sorted(os.listdir(tmp_path)) == ["box", "etc", "file", "workspace"]
    assert (tmp_path / "file").read_text() == "secret"


def test_tree_closes_its_descriptor_also_when_it_is_not_used(layout, tmp_path):
    with tree_at(layout, tmp_path) as tree:
        assert descriptors_below(tmp_path) > 0
        os.close(tree.open_top())
        tree.close()
        tree.close()
        with pytest.raises(OutsideOfSandbox), walk(tree, "/workspace/x"):
            pass
    unused = tree_at(layout, tmp_path)
    del unused
    gc.collect()
    assert descriptors_below(tmp_path) == 0
