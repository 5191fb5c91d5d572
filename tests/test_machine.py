import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.errors import DataError
from lfwstudy.runs import dispatch, process
from lfwstudy.runs.job import Job
from lfwstudy.system import backend, machine, precision, processes
from tests.support.commands import python


@pytest.fixture
def processor(monkeypatch):
    """Lets a test say which feature flags the processor has; no GPU."""

    def have(*flags):
        monkeypatch.setattr(precision, "cpu_flags", lambda: set(flags))
        monkeypatch.setattr(precision, "_has_device_file", lambda: False)

    return have


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """Lets a test say what Linux tells about itself: files below / by name."""
    monkeypatch.setattr(machine, "SYSTEM", tmp_path)

    def tell(**files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return tell


def test_the_processor_is_known_by_its_first_core(linux):
    linux(**{"proc/cpuinfo": "model name : A\nflags : avx2 fma\n\nmodel name : B\nflags :\n"})
    assert machine.cpu_name().startswith("A, ") and machine.cpu_flags() == {"avx2", "fma"}


@pytest.mark.parametrize(
    "flags, expected",
    [((), "float32"), (("avx2", "avx512f"), "float32"), (("avx512_bf16",), "bfloat16"), (("amx_bf16",), "bfloat16")],
)
def test_auto_takes_bfloat16_where_the_processor_computes_in_it(processor, flags, expected):
    processor(*flags)
    assert precision.resolve_precision("auto") == expected
    assert precision.resolve_precision("float32") == "float32"


def test_resuming_in_a_precision_that_is_only_emulated_here_is_warned_of(processor):
    processor()
    assert "only emulates" in precision.precision_warning("bfloat16")
    assert precision.precision_warning("float32") is None
    processor("avx512_bf16")
    assert precision.precision_warning("bfloat16") is None and precision.precision_warning("float32") is None


@pytest.mark.long
def test_a_gpu_that_the_backend_does_not_see_does_not_count(processor, monkeypatch):
    processor("avx2")
    monkeypatch.setattr(precision, "_has_device_file", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    precision._backend_sees_one.cache_clear()
    assert not precision._backend_sees_one() and precision.resolve_precision("auto") == "float32"
    monkeypatch.setattr(precision, "_backend_sees_one", lambda: True)
    assert precision.resolve_precision("auto") == "bfloat16"


GIB = 2**30
MEMINFO = {"proc/meminfo": "MemTotal:  16777216 kB\nMemAvailable:  8388608 kB\n"}  # 8 GiB
V1_MEMORY = "9:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n"


@pytest.mark.parametrize(
    "own, files, free",
    [
        (None, {}, None),
        (None, MEMINFO, 8 * GIB),
        ("0::/\n", {"memory.max": "max\n", "memory.stat": f"anon {GIB}\nfile {9 * GIB}\n"}, 8 * GIB),
        ("0::/\n", {"memory.max": f"{4 * GIB}\n", "memory.stat": f"anon {GIB}\nfile {9 * GIB}\n"}, 3 * GIB),
        ("0::/a/job\n", {"a/job/memory.max": f"{2 * GIB}\n", "a/job/memory.stat": f"anon {GIB}\n"}, GIB),
        (
            "0::/a/job\n",
            {
                "a/job/memory.max": "max\n",
                "a/job/memory.stat": "anon 5\n",
                "a/memory.max": f"{5 * GIB}\n",
                "a/memory.stat": f"anon {3 * GIB}\n",
            },
            2 * GIB,
        ),
        ("0::/of/the/host\n", {"memory.max": f"{GIB}\n", "memory.stat": f"anon {2 * GIB}\n"}, 0),
        ("0::/\n", {"memory.max": f"{GIB}\n", "memory.stat": "no number\n"}, 8 * GIB),
        (
            V1_MEMORY,
            {
                "memory/docker/ab/memory.limit_in_bytes": f"{3 * GIB}\n",
                "memory/docker/ab/memory.stat": f"rss 7\ntotal_rss {GIB}\n",
            },
            2 * GIB,
        ),
        (
            V1_MEMORY,
            {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.stat": "total_rss 0\n"},
            8 * GIB,
        ),
    ],
)
def test_free_memory_is_what_the_machine_and_its_control_groups_leave(linux, own, files, free):
    if own is None:
        linux(**files)
    else:
        groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
        linux(**MEMINFO, **{"proc/self/cgroup": own}, **groups)
    assert machine.free_memory() == free


def test_what_is_left_out_is_there_again_afterwards():
    with backend.left_out("wave", "json"):
        assert "json" in sys.modules and sys.modules["json"] is not None
        with pytest.raises(ImportError):
            import wave
    import wave

    assert wave.open


@pytest.mark.long
def test_training_process_starts_without_what_it_does_not_need():
    asked = (
        "import lfwstudy.training.run, sys; print([name for name in ('IPython', 'matplotlib', 'pandas', 'sklearn') "
        "if name in sys.modules])"
    )
    done = python(asked, env=processes.environment())
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_peak_memory_is_this_process_s_own():
    held = np.ones((300, 2**17))  # 300 MiB, which a child's peak must not count
    code = "from lfwstudy.system.machine import peak_memory_mb as p; a = p(); b = bytearray(50 << 20); print(a, p())"
    before, after = map(float, python(code, check=True).stdout.split())
    assert before < 250 < machine.peak_memory_mb() and held.nbytes == 300 << 20
    assert 40 < after - before < 70


@pytest.mark.parametrize("own", ["", "glibc.malloc.check=1"])
def test_training_process_asks_for_large_pages_where_the_user_s_settings_do_not_speak(own, tmp_path, monkeypatch):
    (tmp_path / "tell_tunables.py").write_text("import os; print(os.environ['GLIBC_TUNABLES'])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    process.train_in_process(Job("run", RunConfig(), tmp_path / "run", threads=0, program="tell_tunables"))
    assert (tmp_path / "run" / "log.txt").read_text() == (own or "glibc.malloc.hugetlb=1") + "\n"


V1 = "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n1:cpuset:/\n"


@pytest.mark.parametrize(
    "own, files, cores",
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "no number\n"}, 8),
        (
            "0::/user/job\n",
            {"sys/fs/cgroup/user/job/cpu.max": "max 100000\n", "sys/fs/cgroup/user/cpu.max": "300000 100000\n"},
            3,
        ),
        ("0::/docker/of/the/host\n", {"sys/fs/cgroup/cpu.max": "100000 50000\n"}, 2),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "50000\n",
            },
            1,
        ),
        ("", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_cores_are_those_that_the_control_groups_grant(linux, monkeypatch, own, files, cores):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    linux(**{"proc/self/cgroup": own}, **files)
    assert machine.cores() == cores


def test_images_are_decoded_and_drawn_on_as_many_threads_as_there_are_cores(monkeypatch, tmp_path):
    from lfwstudy.data import bank, demo

    asked = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers):
            asked.append(workers)
            super().__init__(workers)

    for module in (bank, demo):
        monkeypatch.setattr(module, "cores", lambda: 3)
        monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    demo.make_demo(tmp_path, people=10, train_people=6, train_pairs=1, test_pairs=1, fold_pairs=0)
    with pytest.raises(DataError):
        bank.build_bank([], DataConfig(side=8), "nowhere")
    assert asked == [3, 3]


def test_a_run_of_the_whole_machine_computes_with_as_many_threads_as_its_share_of_it(monkeypatch):
    monkeypatch.setattr(process, "usable_cores", lambda: 8)
    for share, threads, limit in ((8, 0, None), (2, 0, "2"), (2, 1, "1")):
        monkeypatch.setattr(process, "cores", lambda share=share: share)
        assert process.thread_limits(threads).get("TF_NUM_INTRAOP_THREADS") == limit


@pytest.mark.parametrize(
    "threads", [[1, 1, 0, 1, 1], [0, 0, 1, 0], [0, 1], [3, 2, 2, 1, 0, 9, 1], [0, 0], [2, 2, 2], []]
)
def test_runs_share_the_cores_and_one_of_the_whole_machine_runs_alone(threads, monkeypatch, tmp_path):
    running, seen, began = [], [], []

    def start(job):
        began.append(job.run)
        running.append(job.threads)
        seen.append(list(running))
        return subprocess.Popen(["sleep", "0.1"])

    monkeypatch.setattr(dispatch, "start", start)
    monkeypatch.setattr(dispatch, "finish", lambda job, process: running.remove(job.threads))
    monkeypatch.setattr(dispatch, "cores", lambda: 4)
    jobs = [Job(str(n), RunConfig(), tmp_path / str(n), threads=t, title=str(n)) for n, t in enumerate(threads)]
    assert dispatch.run(jobs) == {}
    assert sorted(began) == [job.run for job in jobs]
    assert all(len(at_once) == 1 or (sum(at_once) <= 4 and 0 not in at_once) for at_once in seen)
    assert max(map(len, seen), default=0) == (
        2 if threads not in ([0, 1], [0, 0], [0, 0, 1, 0], []) else len(threads) > 0
    )
