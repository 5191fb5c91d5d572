import shutil
import subprocess

import numpy as np
import pytest

from lfwstudy.data.pairs import person_of
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import DataError
from lfwstudy.evaluation import metrics
from lfwstudy.ladder import base_config
from lfwstudy.network.siamese import build_siamese
from lfwstudy.runs import store
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.store import Store
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.training import recorder, run
from lfwstudy.training.batches import cohort_rows, drawable_rows, gather_sets
from lfwstudy.training.checkpoints import weights_path
from lfwstudy.training.run import score_test_pairs, train
from lfwstudy.verify.network import load_model
from tests.support.runs import run_files
from tests.support.trained import BEYOND, numbers


def test_a_run_is_four_files_and_the_network(finished):
    assert {p.name for p in finished.iterdir()} == {
        "config.json",
        "history.csv",
        "predictions.csv",
        "result.json",
        "model.keras",
    }
    assert problem_of(Store(finished.parent), "run") is None


def test_result_agrees_with_predictions_and_history(finished, data):
    result, store = read_json(finished / "result.json"), Store(finished.parent)
    for part, pairs in data[1].sets().items():
        scored = store.predictions("run", part)
        assert scored["left"].tolist() == pairs.left.tolist() and scored["pair"].tolist() == pairs.line.tolist()
        assert result[f"{part}_accuracy"] == metrics.accuracy(scored["label"], scored["score"])
        assert result[f"{part}_accuracy_at_best"] == metrics.accuracy(scored["label"], scored["score_at_best"])
    rows = store.history("run")
    assert result["epochs_run"] == result["evaluated_epoch"] == 3
    assert result["val_accuracy"] == pytest.approx(rows[-1]["val_accuracy"])
    assert result["val_loss"] == pytest.approx(rows[-1]["val_loss"], rel=1e-5)
    assert result["val_loss"] > result["val_cross_entropy"]
    assert result["val_accuracy_at_best"] == pytest.approx(max(r["val_accuracy"] for r in rows))
    assert result["seconds_total"] == pytest.approx(sum(r["seconds"] for r in rows))


@pytest.fixture(scope="module")
def without_test(tiny, data, tmp_path_factory):
    """The run of `finished` once more, its test pairs not scored yet."""
    folder = tmp_path_factory.mktemp("without_test")
    train(tiny, 0, "float32", *data, folder, "run", score_test=False)
    return folder


def test_same_seed_gives_the_same_history(finished, without_test, tiny, data, tmp_path):
    history = numbers(finished)[0]
    assert numbers(without_test)[0] == history
    train(tiny, 1, "float32", *data, tmp_path, "run")
    assert all(one != other for one, other in zip(numbers(tmp_path)[0], history, strict=True))


def test_test_scores_can_be_added_later_without_training(finished, without_test, tiny, data, tmp_path, monkeypatch):
    folder = shutil.copytree(without_test, tmp_path / "run")
    result = read_json(folder / "result.json")
    assert result["test_accuracy"] is None and result["test_ci_low"] is None
    assert {row["set"] for row in read_csv(folder / "predictions.csv")} == {"train", "val"}
    monkeypatch.setattr(run, "fit", None)
    score_test_pairs(tiny, *data, folder)
    assert numbers(folder) == numbers(finished)
    assert not list(folder.glob("epoch-*"))


@pytest.fixture(scope="module")
def stopped(tiny, data, tmp_path_factory):
    """A run that may take 40 epochs and whose best ones are evaluated: its history and its result."""
    config = tiny.change(
        {
            "training.epochs": 40,
            "training.patience": 1,
            "training.checkpoint_period": 1,
            "training.learning_rate": 0.1,
            "training.evaluated": "best-checkpoint",
        }
    )
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(config, 0, "float32", *data, folder, "run")
    return Store(folder.parent).history("run"), read_json(folder / "result.json")


def test_best_checkpoint_is_evaluated_not_the_last_epoch(stopped):
    rows, result = stopped
    lowest = min(rows, key=lambda r: r["val_loss"])
    assert result["evaluated_epoch"] == lowest["epoch"] < rows[-1]["epoch"]
    assert result["val_loss"] == pytest.approx(lowest["val_loss"], rel=1e-4)


def test_patience_ends_training(stopped):
    rows, _ = stopped
    assert len(rows) < 40 and rows[-1]["val_loss"] >= min(r["val_loss"] for r in rows[:-1])


def test_saved_network_takes_images_and_loads_in_safe_mode(finished, data, tiny):

    model = load_model(finished / "model.keras")
    bank, pairs = data
    left, right = (
        bank.images[bank.rows(names)].astype(np.float32)[..., None] / 255
        for names in (pairs.test.left, pairs.test.right)
    )
    scored = Store(finished.parent).predictions("run", "test")["score_at_best"]
    assert np.allclose(np.asarray(model([left, right]))[:, 0], scored, atol=1e-4)
    assert model.count_params() < bank.images.size


@pytest.mark.long
def test_quick_profile_learns_on_demo_faces(tmp_path):
    config = base_config("quick").change({"training.epochs": 10})
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    train(config, 0, "float32", bank, pairs, tmp_path, "run", keep_weights=False)
    result = read_json(tmp_path / "result.json")
    # 600 test pairs: chance lies below .54 with 97.5 %.
    assert result["test_accuracy_at_best"] > 0.6
    assert not (tmp_path / "model.keras").exists() and not weights_path(tmp_path, 10).exists()


def test_a_view1_network_is_refused_on_view2_pairs(finished, tiny, data, tmp_path):
    view2 = load_pairs(tiny.change({"data.protocol": "view2", "data.fold": 1}).data)
    for call in (
        lambda: train(tiny, 0, "float32", data[0], view2, tmp_path / "run"),
        lambda: score_test_pairs(tiny, data[0], view2, finished),
    ):
        with pytest.raises(DataError, match="view1 cannot be trained or scored.*--protocol view2"):
            call()
    assert not (tmp_path / "run").exists()


def test_damaged_runs_are_set_aside(finished, tmp_path):
    for file, text in (("result.json", '{"run":'), ("history.csv", "epoch\n1\n"), ("predictions.csv", "set\n")):
        shutil.copytree(finished, tmp_path / "runs" / "run")
        (tmp_path / "runs" / "run" / file).write_text(text)
        (problem,) = Store(tmp_path / "runs").set_aside_damaged()
        assert "damaged" in problem and not (tmp_path / "runs" / "run").exists()
    assert len(list(tmp_path.glob("runs/run.damaged-*"))) == 3


class Killed:
    returncode = -9


@pytest.mark.parametrize("killed", [False, True])
def test_many_runs_are_checked_whatever_the_current_folder_holds_and_becomes_of_the_helpers(
    tmp_path, monkeypatch, killed
):
    (tmp_path / "runs").mkdir()
    whole = run_files(tmp_path / "runs")
    for name in ("copy", "other"):  # whose files name another run
        shutil.copytree(whole, whole.with_name(name))
    (tmp_path / "socket.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "_FEW", 1)
    monkeypatch.setattr(store, "cores", lambda: 2)
    started = []
    run_process = subprocess.run

    def start(*arguments, **named):
        started.append(Killed if killed else run_process(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "run", start)
    told = list(Store("runs").set_aside_damaged())
    assert [line.split()[1] for line in told] == ["copy", "other"] and whole.exists()
    assert [process.returncode for process in started] == [-9 if killed else 0] * 2


def melted(weights, rate, steps, l2):
    """The weights after some of Adam's steps (Kingma and Ba 2015, algorithm 1) on their penalty alone."""
    first = second = np.zeros_like(weights)
    for step in range(1, steps + 1):
        gradient = 2 * l2 * weights
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
    return weights


def test_the_penalty_of_the_head_falls_as_adam_alone_lets_it(tiny, data, tmp_path):
    config = tiny.change({"model.head_l2": 0.01, "training.batch_size": 8})
    begun = build_siamese(config.model, config.data.side).get_layer("head").get_layer("logit").kernel.numpy()
    train(config, 0, "float32", *data, tmp_path / "run", "run")
    rows = Store(tmp_path).history("run")
    assert len(rows) == config.training.epochs
    for row in rows:
        expected = 0.01 * np.square(melted(begun, 0.003, 8 * row["epoch"], 0.01)).sum()
        assert row["head_penalty"] == pytest.approx(expected, rel=0.02)
        assert row["penalty"] == pytest.approx(row["val_loss"] - row["val_cross_entropy"], abs=1e-5)
        assert row["head_penalty"] < 0.01 * np.square(begun).sum() * (1 - 0.025 * row["epoch"])  # that much falls


@pytest.mark.long
def test_a_history_without_penalties_or_with_empty_ones_stays_readable(tiny, data, tmp_path):
    folder = tmp_path / "run"
    train(tiny, 0, "float32", *data, folder, "run")
    whole = Store(tmp_path).history("run")
    lines = (folder / "history.csv").read_text().splitlines()
    (folder / "history.csv").write_text("\n".join(line.rpartition(",")[0].rpartition(",")[0] for line in lines) + "\n")
    assert [set(whole[0]) - set(row) for row in Store(tmp_path).history("run")] == [{"penalty", "head_penalty"}] * 3
    (folder / "history.csv").write_text("\n".join([*lines[:2], lines[2].rpartition(",")[0] + ",", lines[3]]) + "\n")
    assert [np.isnan(row["head_penalty"]) for row in Store(tmp_path).history("run")] == [False, True, False]


@pytest.fixture(scope="module")
def beyond(tiny, tmp_path_factory):
    """A finished run of everything that the second ladder adds, its configuration and data; next to it what a kill left."""
    config = tiny.change(BEYOND)
    data = prepare_bank(config.data), load_pairs(config.data)
    folder = tmp_path_factory.mktemp("beyond") / "run"
    begin = recorder.Recorder.on_epoch_begin

    def copied(self, epoch, logs=None):
        if epoch == 2:
            half_written = shutil.ignore_patterns(".*")
            shutil.copytree(self.folder, self.folder.with_name("killed"), ignore=half_written)
        begin(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "RESUME_EPOCHS", 1)
        patch.setattr(recorder.Recorder, "on_epoch_begin", copied)
        train(config, 0, "float32", *data, folder, "run")
    return config, data, folder


@pytest.mark.long
def test_everything_beyond_trains_and_resumes_after_a_kill(beyond):
    config, data, folder = beyond
    killed = folder.with_name("killed")
    assert (killed / "resume.npz").exists() and len(read_csv(killed / "history.csv")) == 2
    train(config, 0, "float32", *data, killed, "run")
    assert numbers(killed) == numbers(folder)


@pytest.mark.long
def test_a_kept_cosine_network_gives_the_scores_of_the_run(beyond):
    _, data, folder = beyond
    kept = load_model(folder / "model.keras")
    images, sets = gather_sets(*data)
    left, right, _ = (values[:20] for values in sets["test"])
    shown = [images.images[rows].astype(np.float32)[..., None] / 255 for rows in (left, right)]
    scores = [float(row["score_at_best"]) for row in read_csv(folder / "predictions.csv") if row["set"] == "test"][:20]
    assert np.allclose(np.asarray(kept(shown, training=False))[:, 0], scores, atol=1e-4)


@pytest.mark.long
def test_a_cohort_is_of_training_people_and_does_not_change_the_training(beyond, tmp_path):
    config, data, folder = beyond
    images, sets = gather_sets(*data)
    held = set(person_of(np.concatenate([data[1].validation.names(), data[1].test.names()])))
    assert held and held <= set(person_of(images.names))
    for people in (None, 75):
        changed = config.change({"training.drawn_people": people})
        rows = cohort_rows(changed, sets["train"], drawable_rows(changed, images, data[1]), 0)
        assert len(rows) == 30 == len(set(rows)) and not held & set(person_of(images.names[rows]))
    train(config.change({"model.cohort": 0}), 0, "float32", *data, tmp_path, "run")
    without, with_cohort = (read_csv(path / "history.csv") for path in (tmp_path, folder))
    assert [row["loss"] for row in without] == [row["loss"] for row in with_cohort]
    assert [row["val_loss"] for row in without] != [row["val_loss"] for row in with_cohort]
    kept = load_model(folder / "model.keras").get_layer("head").get_layer("cosine")
    assert np.allclose(np.linalg.norm(kept.cohort, axis=1), 1, atol=1e-4)


@pytest.mark.long
def test_a_cohort_and_a_calibration_of_all_images_are_for_the_final_scores_only(beyond, tmp_path):
    config, before, _ = beyond
    changes = {"model.cohort": "all", "model.neighbours": 20, "data.calibration": "all-pairs", "training.epochs": 1}
    config = config.change(changes)
    data = prepare_bank(config.data), load_pairs(config.data)
    held = data[1].calibration
    assert set(held.people().ravel()) == set(before[1].validation.people().ravel())
    assert set(held.names()) > set(before[1].validation.names()) and held.label.sum() < (held.label == 0).sum()
    train(config, 0, "float32", *data, tmp_path / "run", "run", score_test=False)
    score_test_pairs(config, *data, tmp_path / "run")
    train(config, 0, "float32", *data, tmp_path / "at-once", "run")
    assert numbers(tmp_path / "run") == numbers(tmp_path / "at-once")
    kept = load_model(tmp_path / "run" / "model.keras").get_layer("head").get_layer("cosine")
    assert kept.cohort.shape[0] == len(data[1].train.names()) and kept.neighbours == 20
    assert np.allclose(np.linalg.norm(kept.cohort, axis=1), 1, atol=1e-4)
    train(config.change({"model.cohort": 0}), 0, "float32", *before, tmp_path / "without", "run")
    (epoch,), (other,) = (numbers(tmp_path / name)[0] for name in ("run", "without"))
    assert epoch == other and numbers(tmp_path / "run")[1] != numbers(tmp_path / "without")[1]
