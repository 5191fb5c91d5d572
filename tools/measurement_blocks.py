"""Blocks of README.md and docs/ on the measurements kept in results/: each function returns Markdown."""

from pathlib import Path
from typing import Any

from lfwstudy import bench
from lfwstudy.bench.measure import lines
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.study.results import Results
from lfwstudy.system.files import read_json
from lfwstudy.system.text import signed_points
from lfwstudy.verify.kept import SHIPPED
from tools import precision as precisions
from tools import verify_lfw
from tools.kept_studies import REPORT, RESULTS
from tools.two_cores import BENCHES

GPU_BENCHES = ("bench-h200.json", "bench-h100.json")
NOT_MEASURED = "Not yet measured with the current network."


def contamination() -> str:
    """Effect of identity overlap between training and validation."""
    path = RESULTS / "contamination.json"
    if not path.is_file():
        return NOT_MEASURED
    m = read_json(path)
    touched, gap = "validation pairs with a person of the training pairs, %", "validation minus test [95 %]"
    columns = [Column("split"), Column(touched, "percent", digits=0)]
    columns += [Column(name, "percent") for name in ("training", "validation", "test")] + [Column(gap, "points")]
    rows = [
        {"split": name, touched: s["touched"], "training": s["train"], gap: Interval(*s["gap"]), **s}
        for name, s in m["splits"].items()
    ]
    mean, low, high = m["wider"]
    told = "so the first is wider" if low > 0 else "so the second is wider" if high < 0 else "inside the noise"
    caption = (
        f"{m['dataset']}, a stand-in for the base network ({m['width']:g} of its filters, {m['side']}x{m['side']} pixels, "
        f"{m['epochs']} epochs, float32), mean over {m['repeats']} drawn splits of each kind, on {m['machine']}; accuracy in "
        "percent at the best epochs, on all development pairs. The gap under `random` minus that under `components`: "
        f"{signed_points(mean)} [{signed_points(low)}, {signed_points(high)}] points, {told}. Intervals: corrected resampled t "
        "(Nadeau and Bengio 2003)."
    )
    return Table(columns, rows, caption).to_markdown()


def precision() -> str:
    """The cost of rounding to bfloat16."""
    kept = [path for name in ("precision.json", "precision-full.json") if (path := RESULTS / name).is_file()]
    return "\n\n".join(precisions.table(read_json(path)).to_markdown() for path in kept) or NOT_MEASURED


def benches() -> str:
    """The output of `lfwstudy bench` on some machines."""
    return "\n".join(_bench(read_json(RESULTS / name)) for name in BENCHES)


def _bench(m: dict[str, Any]) -> str:
    ceilings = [f"peak matrix rate in {name}: {gflops:,.0f} GFLOP/s" for name, gflops in m["ceiling_gflops"].items()]
    return "\n".join(["```", f"{m['machine']}; convolutions in {m['precision']}", *ceilings, *lines(m), "```"])


def accelerator() -> str:
    """The report's ladder on a GPU, and a step of the full network on several."""
    measured = [read_json(RESULTS / name) for name in GPU_BENCHES]
    step = (
        f"a step of {bench.BATCH} pairs of the full network, {measured[0]['step_gflop']:,.0f} GFLOP, alone on the GPU"
    )
    columns = {m["device"]: _step_cells(m) for m in measured}
    rows = [
        {step: name, **{device: cells[name] for device, cells in columns.items()}} for name in _step_cells(measured[0])
    ]
    table = Table([Column(step), *map(Column, columns)], rows).to_markdown()
    return "\n\n".join(filter(None, [_on_a_gpu(RESULTS / REPORT), table]))


def _step_cells(m: dict[str, Any]) -> dict[str, str]:
    ours, bare, plain = (m["step_seconds"][name] for name in (bench.OURS, bench.BARE, bench.PLAIN))

    def of_all(values: dict[str, float], how: str, unit: str) -> str:
        ours, bare, plain = (format(values[name], how) for name in (bench.OURS, bench.BARE, bench.PLAIN))
        return f"{ours} {unit} ({bench.BARE} {bare}, {bench.PLAIN} {plain})"

    share = f"{100 * m['share_of_ceiling']:.0f} % of the peak matrix rate"
    return {
        **{f"peak matrix rate in {name}": f"{g / 1000:,.0f} TFLOP/s" for name, g in m["ceiling_gflops"].items()},
        f"ours, convolutions in {m['precision']}": f"{1000 * ours:.1f} ms, {m['step_gflop'] / ours / 1000:,.0f} TFLOP/s, {share}",
        "a bare Keras `fit` on float arrays, same precision": f"{1000 * bare:.1f} ms",
        "the plain script, float32": f"{1000 * plain:.1f} ms, {m['plain_script_to_ours']:.2f}x ours",
        "first step after process start": of_all(m["first_step_seconds"], ".1f", "s"),
        "peak GPU memory": of_all(m["peak_memory_mb"], ",.0f", "MiB"),
    }


def _on_a_gpu(folder: Path) -> str:
    """How long the report's ladder took on a GPU, if `tools/on_accelerator.sh` trained it."""
    if not (folder / "seconds.txt").is_file():
        return ""
    frame = Results.open(folder).frame()
    seconds = [int(line) for line in (folder / "seconds.txt").read_text(encoding="utf-8").split()]
    return (
        f"The {len(frame)} runs of the report's ladder, profile `{frame.profile[0]}`, took {sum(seconds) // 60}:"
        f"{sum(seconds) % 60:02d} minutes on one {frame.device[0]} in {len(seconds)} commands "
        f"({', '.join(map(str, seconds))} s), including start-up, compilation and scoring: {frame.epochs_run.sum():,} epochs in "
        "total, up to four runs at a time on the GPU."
    )


def growth() -> str:
    """How time and memory grow."""
    m = read_json(RESULTS / "growth.json")
    titles = {
        "pairs": "an epoch of training, by pairs",
        "pixels": "an epoch of 250 pairs, by pixels of an image",
        "runs": "opening and tabulating a study, by finished runs",
    }
    columns = [Column("what grows"), *(Column(name, "number", digits=0) for name in ("from", "to"))]
    columns += [Column("seconds"), Column("peak memory, MiB")]
    columns += [Column(f"slope of {what}", "number", digits=2) for what in ("time", "memory")]
    rows = [
        {
            "what grows": titles[cause],
            "from": c["n"][0],
            "to": c["n"][-1],
            "seconds": f"{c['seconds'][0]:,.1f} to {c['seconds'][-1]:,.1f}",
            "peak memory, MiB": f"{c['memory_mb'][0]:,.0f} to {c['memory_mb'][-1]:,.0f}",
            "slope of time": c["seconds_slope"],
            "slope of memory": c["memory_slope"],
        }
        for cause, c in m["curves"].items()
    ]
    caption = f"{m['machine']}, {m['network']}. A slope of 1 is linear; it is taken between the two largest sizes."
    return f"{Table(columns, rows, caption).to_markdown()}\n\n![How time and memory grow](results/growth.png)"


def verify(run: str = "") -> str:
    """Coverage and accuracy of `lfwstudy verify` on LFW with the network of a run; without one, the shipped network."""
    m = read_json(RESULTS / "verify.json")
    known = run or read_json(SHIPPED / "run.json")["run"]
    return verify_lfw.table(m).to_markdown() if m["run"] == known else NOT_MEASURED


def cluster() -> str:
    """The measured cost of handing out runs to a cluster, and an estimate for larger studies."""
    m = read_json(RESULTS / "cluster.json")
    slower = f"{100 * (m['cluster_seconds'] / m['local_seconds'] - 1):+.1f} %"
    measured = {
        "finished runs; trained twice": f"{m['finished']:,}; {m['trained_twice']}",
        "runs per second, including the start of a Python process for each": f"{m['runs_per_second']:.1f}",
        "from the client's restart to the first epoch trained": f"{m['seconds_to_resume']:.1f} s",
        "processor time of the scheduler per run": f"{m['scheduler_cpu_ms_per_run']:.0f} ms",
        "memory of the scheduler before and after": f"{m['scheduler_memory_idle_mb']:.0f} and {m['scheduler_memory_mb']:.0f} MiB",
        f"{m['overhead_runs']} runs of {m['overhead_run_seconds']:.0f} s, {m['overhead_at_once']} at a time, on one machine: without "
        f"a cluster, with `local:{m['overhead_at_once']}`": f"{m['local_seconds']:.1f} s, {m['cluster_seconds']:.1f} s ({slower})",
    }
    rows = [{"measured": name, "": value} for name, value in measured.items()]
    return (
        f"A simulated study of {m['runs']:,} runs on {m['workers']} workers, all on one machine ({m['machine']}, with other work "
        f"running). Each run is a process that trains nothing; the client was killed after {m['finished_at_kill']} "
        f"runs and started again:\n\n{Table([Column('measured'), Column('')], rows).to_markdown()}"
    )
