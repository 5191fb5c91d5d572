import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tools.scoring
from lfwstudy.config import RunConfig
from lfwstudy.data.pairs import image_names, person_of, read_people, read_view1
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import ConfigError
from lfwstudy.ladder import base_config
from lfwstudy.runs.damage import NEEDED
from lfwstudy.runs.job import Job
from lfwstudy.verify.network import Network
from tools import light
from tools.ruler import SCORING, main, recipes_of, ruler, split_people, verdicts, write_split
from tools.ruler_training import crossed, held_out_pairs, measure
from tools.side_by_side import SideBySide

TINY = {
    "model.architecture": "shallow", "model.width": 0.1, "model.l2": 0.0, "model.head": "cosine", "data.side": 32, "data.crop": 144,
    "data.pictures": "all-people", "training.drawn_people": 64, "training.batch_size": 32, "training.epochs": 1,
}  # fmt: skip


@pytest.fixture
def config():
    return base_config("report", "beyond", dataset="lfw-a").change(TINY)


def test_nobody_held_out_is_trained_on_and_nobody_else_is_there(tmp_path, config, faces):
    training, held = split_people(config.data, 1, str(faces))
    folder = write_split(tmp_path / "split", 1, config.data, str(faces))
    assert not set(training) & set(held) and 0.05 < len(held) / (len(training) + len(held)) < 0.3
    assert read_people(folder / "peopleDevTrain.txt") == [training]
    assert set(read_view1(folder / "pairsDevTrain.txt").people().ravel()) <= set(training)
    assert set(read_view1(folder / "pairsDevTest.txt").people().ravel()) <= set(held)
    assert set(person_of(prepare_bank(config.data, str(folder)).names)) == set(training) | set(held)
    assert split_people(config.data, 2, str(faces))[1] != held


def test_held_out_pairs_are_all_mismatched_and_few_matched_ones():
    left, right, label = held_out_pairs(np.array(["a"] * 4 + ["b"] * 2 + ["c"]))
    assert label.sum() == 3 + 1 and (label == 0).sum() == 4 * 2 + 4 + 2
    assert not (left == right).any() and len(set(zip(left, right))) == len(label)


def test_line_is_fitted_on_people_that_are_not_measured():
    rng = np.random.default_rng(0)
    label, half = rng.integers(0, 2, 4000), rng.integers(-1, 2, 4000)
    score = label + rng.normal(0, 1, 4000)
    found = crossed(score, label, half)
    # The scores' distributions are known: the best line gives log-odds score - 1/2.
    exact = np.log1p(np.exp(-np.where(label == 1, 1, -1) * (score - 0.5)))[half >= 0].mean()
    assert found["cross_entropy"] == pytest.approx(exact, rel=0.02) and found["auc"] == pytest.approx(0.76, abs=0.02)
    shifted = np.where(half == 1, score + 3, score)  # measured with a line that does not fit it
    assert crossed(shifted, label, half)["cross_entropy"] > 2 * exact


SCORINGS = [
    (cohort, nearest, zooms, whitening)
    for zooms in (1, 2)
    for whitening in (0.0, 0.5)
    for cohort, nearest in (("512", 10), ("1536", 30), ("all", 100))
]


def test_a_recipe_stays_if_it_is_better_in_most_splits():
    rows = [
        {
            "recipe": name,
            "split": split,
            "seed": seed,
            "cohort": cohort,
            "neighbours": nearest,
            "zooms": 1,
            "whitening": 0,
        }
        | {"cross_entropy": (entropy + seed / 100) * (1 if cohort == "512" else 0.9)}
        for name, entropies in (("first", (0.2,) * 4), ("mostly", (0.1, 0.1, 0.1, 0.3)), ("half", (0.1, 0.1, 0.2, 0.2)))
        for split, entropy in enumerate(entropies, 1)
        for seed in (0, 1)
        for cohort, nearest in (("512", 10), ("all", 100))
    ]
    found = verdicts(pd.DataFrame(rows)).set_index(["recipe", "cohort"])
    assert list(found["stays"]) == [False, False, True, True, False, False]
    for cohort in ("512", "all"):  # against the first recipe with the same scoring
        assert found.loc[("mostly", cohort), "gain in split 1"] == pytest.approx((0.1 / 0.2 + 0.1 / 0.21) / 2)
    assert found.loc[("first", "all"), "gain over today's"] == pytest.approx(0.1)
    # Cut off after three splits: the verdict rests on those that are there.
    cut = verdicts(pd.DataFrame([row for row in rows if row["recipe"] == "first" or row["split"] < 4]))
    assert cut.set_index(["recipe", "cohort"]).loc[("mostly", "512"), "stays"]
    # One seed alone is compared with the same seed.
    cut = verdicts(pd.DataFrame([row for row in rows if row["recipe"] == "first" or row["seed"] == 0]))
    assert cut.set_index(["recipe", "cohort"]).loc[("mostly", "512"), "gain in split 1"] == pytest.approx(0.5)


@pytest.mark.long
def test_what_is_measured_is_not_trained_again(tmp_path, config, faces, monkeypatch):
    recipes = {"first": config, "erased": config.change({"training.erase": 0.5})}
    target = tmp_path / "tried.csv"
    light.pack("lfw-a", str(faces), tmp_path / "light")
    rows = ruler(recipes, str(tmp_path / "light"), tmp_path, target, splits=1, seeds=1)
    assert set(rows["recipe"]) == set(recipes) and (rows["cross_entropy"] > 0).all()
    for _, of_one in rows.groupby("recipe"):
        assert list(of_one[list(SCORING)].itertuples(index=False, name=None)) == SCORINGS
        assert of_one["cross_entropy"].nunique() >= 4  # the wider view is another, and so is a whitened one
    monkeypatch.setattr("tools.side_by_side.start", lambda *_: pytest.fail("trained again"))
    again = ruler(recipes, str(faces), tmp_path / "elsewhere", target, 1, 1)  # from the CSV file alone
    pd.testing.assert_frame_equal(again, rows, check_dtype=False)


def jobs_of_a_second(tmp_path, count):
    """Jobs whose program takes a second, half of it training: an epoch of the first, of later ones 200. The second fails,
    the third once it has trained."""
    result = dict.fromkeys(NEEDED, 0) | {"seconds_total": 0.5}
    (tmp_path / "a_second.py").write_text(
        "import json, pathlib, sys, time\nfolder = pathlib.Path(json.load(open(sys.argv[1]))['folder'])\ntime.sleep(1)\n"
        "if folder.name == '1': sys.exit('it fails')\n"
        "for name in ('config.json', 'history.csv', 'predictions.csv'): (folder / name).touch()\n"
        f"(folder / 'result.json').write_text({json.dumps(result)!r})\n"
        "if folder.name == '2': sys.exit('it fails later')\n"
    )
    configs = [RunConfig().change({"training.epochs": 200 if n else 1}) for n in range(count)]
    return [Job(str(n), c, tmp_path / str(n), title=f"job {n}", program="a_second") for n, c in enumerate(configs)]


def test_nothing_is_started_that_would_not_end_in_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    first, fails, *others = jobs_of_a_second(tmp_path, 4)
    assert [job.run for job in SideBySide(1, 60).train([first, *others])] == ["0"]
    # The first begins before anything is known; the next ones would take 200 times its half a second.
    assert capsys.readouterr().err.count("left out") == 2
    assert list(SideBySide(-1).train([fails, others[0]])) == []
    told = capsys.readouterr().err
    assert "error: job 1: " in told and "error: job 2: trained, then ended with status 1" in told
    assert [(tmp_path / run / "log.txt").read_text() for run in "12"] == ["it fails\n", "it fails later\n"]


def test_what_still_runs_at_the_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    assert list(SideBySide(1, 0.3).train(jobs_of_a_second(tmp_path, 1))) == []
    assert time.monotonic() - began < 1 + 5 and not (tmp_path / "0" / "result.json").exists()


def test_recipes_are_changes_to_the_start(tmp_path, capsys):
    file = tmp_path / "recipes.toml"
    file.write_text(
        '[[stages]]\nid = "wide"\ntitle = "Wider"\nhypothesis = "More filters."\n'
        '[[stages.variants]]\nid = "half-more"\ntitle = "1.5"\nchanges = { model.width = 1.5 }\n'
    )
    first, wider = recipes_of(str(file), "all-people-shallow/shallow", "lfw-a").items()
    assert list(recipes_of(str(file), "all-people-shallow/shallow", "lfw-a", ["wide"])) == [first[0], wider[0]]
    with pytest.raises(ConfigError, match="unknown recipe 'wide/more'"):
        recipes_of(str(file), "all-people-shallow/shallow", "lfw-a", ["wide/more"])
    assert (first[0], wider[0]) == ("all-people-shallow/shallow", "wide/half-more")
    assert wider[1].differences(first[1]) == [("model.width", 1.0, 1.5)] and first[1].model.cohort == 0
    assert main([str(file), "--start", "all-people-shallow/deep", "--out", str(tmp_path), "--csv", "x.csv"]) == 2
    assert "unknown variant 'deep'" in capsys.readouterr().err


class Pixels:
    """A runtime whose embeddings are 64 pixels."""

    def tower(self, pixels):
        return pixels[:, ::4, ::4, 0].reshape(len(pixels), -1)


def test_scoring_measures_the_people_left_out_and_reads_no_test_pair(tmp_path, config, faces, monkeypatch, capsys):
    data = replace(config.data, split="components")
    for file in ("pairsDevTrain.txt", "peopleDevTrain.txt"):
        shutil.copy(faces / file, tmp_path)
    prepare_bank(data, str(faces)).save(tmp_path / "images.npz")
    prepare_bank(replace(data, crop=160), str(faces)).save(tmp_path / "wider.npz")
    monkeypatch.setattr(tools.scoring, "load_network", lambda: Network(Pixels(), replace(config, data=data), "pixels"))
    target = tmp_path / "scoring.csv"
    assert tools.scoring.main(["--data-dir", str(tmp_path), "--csv", str(target)]) == 0
    found = pd.read_csv(target, dtype={"cohort": str})
    assert list(found[list(SCORING)].itertuples(index=False, name=None)) == SCORINGS
    # What the ruler measures of the same network, given the people trained on.
    (people,), held = read_people(faces / "peopleDevTrain.txt"), load_pairs(data, str(faces)).validation.people()
    training = {person: n for person, n in people.items() if person not in held}
    images = prepare_bank(data, str(faces)).subset(image_names([people]))
    expected = measure(Network(Pixels(), replace(config, data=data), ""), [images], training)
    pd.testing.assert_frame_equal(found[found["zooms"] == 1], pd.DataFrame(expected)[list(found)], check_exact=False)
    (tmp_path / "peopleDevTrain.txt").unlink()
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "nothing"))
    capsys.readouterr()
    assert tools.scoring.main(["--data-dir", str(tmp_path), "--csv", str(target)]) == 2
    assert "peopleDevTrain.txt" in capsys.readouterr().err
