from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from synth_actors.machine import Container, container_limit_bytes, rss_bytes, usable_memory_bytes

MIB = 2**20
V1_UNLIMITED = 9223372036854771712
V1_UNLIMITED_64K_PAGES = 9223372036854710272
V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
V1_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"
TMPFS = "30 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755"


class FakeMachine:
    """A `/proc` and a `/sys/fs/cgroup` below one folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.proc = folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.root.mkdir()

    def process(self, *, cgroup: str, mounts: list[str]) -> None:
        (self.proc / "self" / "cgroup").write_text(cgroup + "\n")
        (self.proc / "self" / "mountinfo").write_text("\n".join(mounts) + "\n")

    def file(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    @property
    def limit(self) -> int | None:
        return container_limit_bytes(str(self.root), str(self.proc))

    def v2_group(self, path: str, *, limit: object, usage: int, inactive_file: int = 0) -> None:
        self.file(f"{path}memory.max", limit)
        self.file(f"{path}memory.current", usage)
        # the kernel's own order: names that begin alike stand around it
        self.file(f"{path}memory.stat", f"anon 7\nfile 9\ninactive_anon 5\ninactive_file {inactive_file}\nsock 3")

    def v1_group(self, path: str, *, limit: int, usage: int, own: int = 0, total: int = 0) -> None:
        self.file(f"memory/{path}memory.limit_in_bytes", limit)
        self.file(f"memory/{path}memory.usage_in_bytes", usage)
        stat = f"inactive_file {own}\nhierarchical_memory_limit {V1_UNLIMITED}\ntotal_inactive_file {total}"
        self.file(f"memory/{path}memory.stat", stat)

    @property
    def container(self) -> Container:
        return Container(str(self.root), str(self.proc))

    @property
    def figures(self) -> tuple[int, int]:
        """Limit and working set of the group with the least room."""
        memory = self.container.read()
        assert memory is not None
        return memory.limit_bytes, memory.working_set_bytes


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_v2_a_group_of_its_own_namespace_has_the_limit_at_the_mount_point(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.file("memory.max", 512 * MIB)
    assert machine.limit == 512 * MIB


def test_v2_the_smallest_limit_of_all_ancestors_counts(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/kubepods/pod1/worker", mounts=[V2.format(root="/")])
    machine.file("kubepods/pod1/worker/memory.max", 900 * MIB)
    machine.file("kubepods/pod1/memory.max", 300 * MIB)
    machine.file("kubepods/memory.max", 4000 * MIB)
    assert machine.limit == 300 * MIB


def test_v2_a_neighbour_s_limit_is_not_ours(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/pod/ours", mounts=[V2.format(root="/")])
    machine.file("pod/ours/memory.max", 900 * MIB)
    machine.file("pod/other/memory.max", 10 * MIB)
    assert machine.limit == 900 * MIB


def test_v2_max_is_no_limit(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/a/b", mounts=[V2.format(root="/")])
    machine.file("a/b/memory.max", "max")
    machine.file("a/memory.max", "max")
    assert machine.limit is None


def test_v2_the_mark_at_which_the_kernel_throttles_counts_as_a_limit(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/a", mounts=[V2.format(root="/")])
    machine.file("a/memory.max", 800 * MIB)
    machine.file("a/memory.high", 600 * MIB)
    assert machine.limit == 600 * MIB


def test_v2_a_mount_that_shows_only_a_part_is_walked_from_there(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/docker/abc/inner", mounts=[V2.format(root="/docker/abc")])
    machine.file("inner/memory.max", "max")
    machine.file("memory.max", 256 * MIB)
    assert machine.limit == 256 * MIB


@pytest.mark.parametrize("path", ["/../../elsewhere", "/another/container"])
def test_a_path_outside_the_mounted_part_falls_back_to_the_mount_point(machine: FakeMachine, path: str) -> None:
    machine.process(cgroup=f"0::{path}", mounts=[V2.format(root="/docker/abc")])
    machine.file("memory.max", 128 * MIB)
    assert machine.limit == 128 * MIB


def test_a_path_that_leaves_its_namespace_falls_back_to_the_mount_point(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/../sibling", mounts=[V2.format(root="/")])
    machine.file("memory.max", 128 * MIB)
    (machine.root.parent / "sibling").mkdir()
    (machine.root.parent / "sibling" / "memory.max").write_text("1\n")
    assert machine.limit == 128 * MIB


def test_v1_the_limit_stands_in_the_memory_hierarchy(machine: FakeMachine) -> None:
    machine.process(
        cgroup="4:memory:/docker/abc\n1:cpu:/docker/abc", mounts=[TMPFS, V1_CPU, V1_MEMORY.format(root="/docker/abc")]
    )
    machine.file("memory/memory.limit_in_bytes", 200 * MIB)
    machine.file("cpu/memory.limit_in_bytes", 1)
    assert machine.limit == 200 * MIB


def test_v1_ancestors_count_too(machine: FakeMachine) -> None:
    machine.process(cgroup="4:memory:/api/job", mounts=[V1_MEMORY.format(root="/")])
    machine.file("memory/api/job/memory.limit_in_bytes", V1_UNLIMITED)
    machine.file("memory/api/memory.limit_in_bytes", 700 * MIB)
    machine.file("memory/memory.limit_in_bytes", V1_UNLIMITED)
    assert machine.limit == 700 * MIB


@pytest.mark.parametrize("huge", [V1_UNLIMITED, V1_UNLIMITED_64K_PAGES])
def test_v1_the_huge_number_is_no_limit(machine: FakeMachine, huge: int) -> None:
    machine.process(cgroup="4:memory:/", mounts=[V1_MEMORY.format(root="/")])
    machine.file("memory/memory.limit_in_bytes", huge)
    machine.file("memory/memory.stat", f"cache 4096\nhierarchical_memory_limit {huge}")
    assert machine.limit is None


def test_v1_a_limit_above_the_namespace_is_found_in_the_statistics(machine: FakeMachine) -> None:
    machine.process(cgroup="4:memory:/", mounts=[V1_MEMORY.format(root="/")])
    machine.file("memory/memory.limit_in_bytes", V1_UNLIMITED)
    machine.file("memory/memory.stat", f"cache 4096\nrss 1\nhierarchical_memory_limit {96 * MIB}\ntotal_cache 4096")
    assert machine.limit == 96 * MIB


def test_both_versions_mounted_the_memory_limit_of_v1_counts(machine: FakeMachine) -> None:
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
    machine.process(cgroup="4:memory:/job\n0::/", mounts=[TMPFS, V1_MEMORY.format(root="/"), unified])
    machine.file("memory/job/memory.limit_in_bytes", 333 * MIB)
    machine.file("unified/cgroup.procs", "1")
    assert machine.limit == 333 * MIB


def test_v1_controllers_mounted_together_are_recognised(machine: FakeMachine) -> None:
    mount = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory"
    machine.process(cgroup="4:cpu,memory:/job", mounts=[mount])
    machine.file("memory/job/memory.limit_in_bytes", 40 * MIB)
    assert machine.limit == 40 * MIB


def test_a_mount_point_elsewhere_with_a_blank_in_its_name_is_read(machine: FakeMachine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "my groups"
    (elsewhere / "job").mkdir(parents=True)
    (elsewhere / "job" / "memory.max").write_text(f"{77 * MIB}\n")
    point = str(elsewhere).replace(" ", "\\040")
    machine.process(cgroup="0::/job", mounts=[f"31 23 0:28 / {point} rw - cgroup2 none rw"])
    assert machine.limit == 77 * MIB


def test_a_colon_in_the_name_of_a_group_belongs_to_the_name(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/system.slice/app:1", mounts=[V2.format(root="/")])
    machine.file("system.slice/app:1/memory.max", 55 * MIB)
    assert machine.limit == 55 * MIB


def test_without_control_groups_nothing_limits(machine: FakeMachine) -> None:
    assert machine.limit is None  # neither file exists
    machine.process(cgroup="", mounts=["22 1 8:1 / / rw - ext4 /dev/sda1 rw"])
    assert machine.limit is None


def test_the_usable_memory_is_the_machine_s_where_nothing_smaller_limits(machine: FakeMachine) -> None:
    total = psutil.virtual_memory().total
    assert usable_memory_bytes(str(machine.root), str(machine.proc)) == total
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.file("memory.max", total * 3)
    assert usable_memory_bytes(str(machine.root), str(machine.proc)) == total
    machine.file("memory.max", 64 * MIB)
    assert usable_memory_bytes(str(machine.root), str(machine.proc)) == 64 * MIB


def test_v2_the_working_set_leaves_out_what_the_kernel_drops_first(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.v2_group("", limit=512 * MIB, usage=500 * MIB, inactive_file=300 * MIB)
    assert machine.figures == (512 * MIB, 200 * MIB)


def test_v2_the_group_with_the_least_room_counts_and_not_the_one_with_the_smallest_limit(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/pod/worker", mounts=[V2.format(root="/")])
    machine.v2_group("pod/worker/", limit=500 * MIB, usage=100 * MIB)
    machine.v2_group("pod/", limit=2000 * MIB, usage=1950 * MIB)  # sidecars fill it
    assert machine.figures == (2000 * MIB, 1950 * MIB)
    assert machine.limit == 500 * MIB


def test_v2_a_nested_group_without_a_limit_is_measured_by_the_one_above_it(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/pod/worker", mounts=[V2.format(root="/")])
    machine.v2_group("pod/worker/", limit="max", usage=100 * MIB)
    machine.v2_group("pod/", limit=800 * MIB, usage=400 * MIB, inactive_file=50 * MIB)
    assert machine.figures == (800 * MIB, 350 * MIB)


def test_v1_the_working_set_leaves_out_the_page_cache_of_nested_groups_too(machine: FakeMachine) -> None:
    machine.process(cgroup="4:memory:/job", mounts=[V1_MEMORY.format(root="/")])
    machine.v1_group("job/", limit=512 * MIB, usage=500 * MIB, own=1 * MIB, total=310 * MIB)
    assert machine.figures == (512 * MIB, 190 * MIB)


def test_v1_nested_the_group_with_the_least_room_counts(machine: FakeMachine) -> None:
    machine.process(cgroup="4:memory:/api/job", mounts=[V1_MEMORY.format(root="/")])
    machine.v1_group("api/job/", limit=V1_UNLIMITED, usage=90 * MIB)
    machine.v1_group("api/", limit=700 * MIB, usage=650 * MIB, total=100 * MIB)
    machine.v1_group("", limit=9000 * MIB, usage=1000 * MIB)
    assert machine.figures == (700 * MIB, 550 * MIB)


def test_a_working_set_is_never_below_nothing(machine: FakeMachine) -> None:
    """The two files are read one after the other, and the page cache may have grown in between."""
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.v2_group("", limit=512 * MIB, usage=100 * MIB, inactive_file=101 * MIB)
    assert machine.figures == (512 * MIB, 0)


def test_without_a_limit_there_is_no_working_set_to_look_at(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.v2_group("", limit="max", usage=500 * MIB)
    assert machine.container.read() is None
    assert machine.container.beside_others_bytes(MIB) is None
    assert not machine.container.may_be_near(lambda _limit: 2**60)


def test_a_container_may_be_near_its_limit_only_when_little_is_left_page_cache_included(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.v2_group("", limit=1000 * MIB, usage=900 * MIB, inactive_file=800 * MIB)
    assert machine.container.may_be_near(lambda limit: limit // 5)
    assert not machine.container.may_be_near(lambda limit: limit // 20)


def test_what_others_in_the_container_hold_is_taken_off(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/pod/worker", mounts=[V2.format(root="/")])
    machine.v2_group("pod/worker/", limit=500 * MIB, usage=100 * MIB)
    machine.v2_group("pod/", limit=1000 * MIB, usage=800 * MIB, inactive_file=100 * MIB)
    assert machine.container.beside_others_bytes(100 * MIB) == 400 * MIB


def test_what_a_process_shares_with_others_makes_them_no_smaller_than_nothing(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.v2_group("", limit=500 * MIB, usage=60 * MIB)
    assert machine.container.beside_others_bytes(80 * MIB) == 500 * MIB  # its libraries are charged elsewhere


def test_a_group_whose_figures_may_not_be_read_is_taken_for_empty(machine: FakeMachine) -> None:
    machine.process(cgroup="0::/", mounts=[V2.format(root="/")])
    machine.file("memory.max", 500 * MIB)
    assert machine.figures == (500 * MIB, 0)


def test_this_machine_answers() -> None:
    assert 16 * MIB < usable_memory_bytes() <= psutil.virtual_memory().total


def test_resident_memory_rises_with_what_is_held() -> None:
    before = rss_bytes()
    held = bytearray(b"x" * (64 * MIB))
    assert rss_bytes() - before > 48 * MIB
    assert len(held) == 64 * MIB
