"""How much memory there is: the machine's, or what a container or a systemd unit leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.service import memory

GB = 10**9


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups of our own; this process is in none of them yet."""
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_MEMBERSHIPS", tmp_path / "cgroup")
    return tmp_path / "groups"


def bound(folder: Path, text: str, name: str = "memory.max") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def member(groups: Path, *lines: str) -> int | None:
    (groups.parent / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    return memory.memory_of_the_machine()


def test_a_systemd_unit_bounds_it_and_so_does_a_slice_above(groups: Path) -> None:
    unit = groups / "system.slice" / "nightflow-watch.service"
    bound(unit, f"{GB}\n")
    assert member(groups, "0::/system.slice/nightflow-watch.service") == GB
    bound(groups / "system.slice", f"{GB // 2}\n")
    assert member(groups, "0::/system.slice/nightflow-watch.service") == GB // 2


def test_a_container_sees_its_own_group_as_the_root(groups: Path) -> None:
    bound(groups, f"{GB}\n")
    assert member(groups, "0::/") == GB


def test_older_kernels_keep_memory_in_a_tree_of_its_own(groups: Path) -> None:
    bound(groups / "memory" / "docker" / "ab:c", f"{GB}\n", "memory.limit_in_bytes")
    bound(groups / "cpu" / "docker" / "ab:c", "5\n", "memory.limit_in_bytes")
    assert member(groups, "4:cpu:/docker/ab:c", "3:memory,hugetlb:/docker/ab:c", "0::/") == GB


def test_without_a_bound_it_is_the_machines(groups: Path) -> None:
    bound(groups / "user.slice", "max\n")
    machine = member(groups)
    assert machine is not None
    assert machine > GB
    assert member(groups, "0::/user.slice") == machine
    (groups.parent / "cgroup").unlink()
    assert memory.memory_of_the_machine() == machine
