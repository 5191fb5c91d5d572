import pytest

from lfwstudy import machine


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
