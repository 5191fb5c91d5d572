import subprocess
import sys

import numpy as np
import pytest

from lfwstudy import executors, machine


@pytest.fixture
def processor(monkeypatch):
    """Lets a test say which feature flags the processor has; no accelerator."""
    def have(*flags):
        monkeypatch.setattr(machine, "cpu_flags", lambda: set(flags))
        monkeypatch.setattr(machine, "_has_device_file", lambda: False)
    return have


@pytest.mark.parametrize("flags, precision", [((), "float32"), (("avx2", "avx512f"), "float32"),
                                              (("avx512_bf16",), "bfloat16"), (("amx_bf16",), "bfloat16")])
def test_auto_takes_bfloat16_where_the_processor_computes_in_it(processor, flags, precision):
    processor(*flags)
    assert machine.resolve_precision("auto") == precision
    assert machine.resolve_precision("float32") == "float32"


def test_going_on_in_a_precision_that_is_only_emulated_here_is_warned_of(processor):
    processor()
    assert "only emulates" in machine.precision_warning("bfloat16")
    assert machine.precision_warning("float32") is None
    processor("avx512_bf16")
    assert machine.precision_warning("bfloat16") is None and machine.precision_warning("float32") is None


def test_an_accelerator_that_the_backend_does_not_see_does_not_count(processor, monkeypatch):
    processor("avx2")
    monkeypatch.setattr(machine, "_has_device_file", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    machine._backend_sees_one.cache_clear()
    assert not machine._backend_sees_one() and machine.resolve_precision("auto") == "float32"
    monkeypatch.setattr(machine, "_backend_sees_one", lambda: True)
    assert machine.resolve_precision("auto") == "bfloat16"


def test_free_memory_is_what_the_machine_and_the_control_group_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert machine.free_memory() is None
    for name, text in (("proc/meminfo", "MemTotal:  16777216 kB\nMemAvailable:  8388608 kB\n"),
                       ("sys/fs/cgroup/memory.stat", f"anon {2**30}\nfile {2**33}\n"),
                       ("sys/fs/cgroup/memory.max", "max\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.free_memory() == 8 * 2**30
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{4 * 2**30}\n")
    assert machine.free_memory() == 3 * 2**30


def test_what_is_left_out_is_there_again_afterwards():
    with machine.left_out("wave", "json"):
        assert "json" in sys.modules and sys.modules["json"] is not None
        with pytest.raises(ImportError):
            import wave
    import wave
    assert wave.open


def test_training_process_starts_without_what_it_does_not_need():
    asked = ("import lfwstudy.train, sys; print([name for name in ('IPython', 'matplotlib', 'pandas', 'sklearn') "
             "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=machine.environment())
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_peak_memory_is_this_process_s_own():
    held = np.ones((300, 2**17))  # 300 MiB, which a child's peak must not count
    told = subprocess.run([sys.executable, "-c", "from lfwstudy.machine import peak_memory_mb as p; a = p(); b = bytearray(50 << 20); "
                           "print(a, p())"], capture_output=True, text=True, check=True).stdout
    before, after = map(float, told.split())
    assert before < 250 < machine.peak_memory_mb() and held.nbytes == 300 << 20
    assert 40 < after - before < 70


@pytest.mark.parametrize("own", ["", "glibc.malloc.check=1"])
def test_training_process_asks_for_large_pages_where_the_user_s_settings_do_not_speak(own, tmp_path, monkeypatch):
    (tmp_path / "tell_tunables.py").write_text("import os; print(os.environ['GLIBC_TUNABLES'])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    executors.train_in_process({"folder": str(tmp_path / "run"), "threads": 0, "program": "tell_tunables"})
    assert (tmp_path / "run" / "log.txt").read_text() == (own or "glibc.malloc.hugetlb=1") + "\n"
