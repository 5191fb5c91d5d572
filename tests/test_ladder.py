import itertools
import re
import tomllib
from pathlib import Path

import pytest

from lfwstudy.errors import ConfigError
from lfwstudy.ladder import FIGURES, LADDERS, PROFILES, base_config, own_stages
from lfwstudy.ladder.profiles import Profile
from lfwstudy.ladder.stage import Ladder
from lfwstudy.report import wording
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.training.decisions import learning_rate

CONTRACT = {
    "base": ["base"],
    "stride": ["pool1-stride1"],
    "early-stopping": ["patience5", "patience5-cross-entropy"],
    "batchnorm": ["activation-and-pooling", "after-activation", "after-activation-patient", "before-activation"],
    "augmentation": ["impatient", "before-activation", "after-activation"],
    "label-clipping": ["copies", "copies-and-originals"],
    "lr-schedule": ["drop40", "drop50", "drop60"],
}


@pytest.mark.parametrize("ladder", ["report", "published"])
def test_stages_and_variants_are_the_agreed_ones(ladder):
    assert {s.id: [v.id for v in s.variants] for s in LADDERS[ladder].stages} == CONTRACT


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"tiny", "speck"}))
@pytest.mark.parametrize("ladder", LADDERS)
def test_no_two_variants_of_a_stage_come_out_equal(ladder, profile):
    base = base_config(profile, ladder)
    for stage in LADDERS[ladder].stages:
        starts = [base.change(v.changes) for other in LADDERS[ladder].stages for v in other.variants]
        for start in starts:
            configs = [PROFILES[profile].scale(start.change(v.changes), LADDERS[ladder]) for v in stage.variants]
            assert all(a != b for a, b in itertools.combinations(configs, 2)), stage.id


@pytest.mark.parametrize("ladder", ["report", "published"])
def test_report_profile_changes_no_epoch(ladder):
    for config in LADDERS[ladder].path(base_config("report", ladder)).values():
        assert PROFILES["report"].scale(config, LADDERS[ladder]) == config


def test_scaling_rounds_half_up_and_stays_at_least_one():
    config = base_config("cpu").change(
        {"training.patience": 10, "training.checkpoint_period": 5, "training.lr_drop_epoch": 50, "training.epochs": 300}
    )
    scaled = PROFILES["cpu"].scale(config, LADDERS["report"]).training
    assert (scaled.patience, scaled.checkpoint_period, scaled.lr_drop_epoch, scaled.epochs) == (2, 1, 8, 45)


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"tiny", "speck"}))
@pytest.mark.parametrize("ladder", LADDERS)
def test_learning_rate_reaches_its_value_in_every_stage_and_falls_along_a_cosine(ladder, profile):
    variants = [v for stage in LADDERS[ladder].stages for v in stage.variants]
    starts = [base_config(profile, ladder), *(base_config(profile, ladder).change(v.changes) for v in variants)]
    for training in {
        PROFILES[profile].scale(start.change(v.changes), LADDERS[ladder]).training for start in starts for v in variants
    }:
        rates = [learning_rate(training, epoch) for epoch in range(1, training.epochs + 1)]
        assert max(rates) == pytest.approx(training.learning_rate), training
        after = rates[training.warmup :]
        if training.schedule == "cosine" and len(after) > 1:
            assert after == sorted(after, reverse=True) and after[-1] < 0.51 * after[0], training
        assert training.epochs > 1 or training.warmup == 0


@pytest.mark.parametrize(
    "epochs, warmup, factor, scaled",
    [
        (44, 2, 0.075, (3, 1)),
        (20, 2, 0.075, (2, 1)),
        (4, 1, 0.075, (1, 0)),
        (20, 0, 0.075, (2, 0)),
        (200, 20, 0.15, (30, 3)),
        (44, 2, 1.0, (44, 2)),
        (4, 1, 1.0, (4, 1)),
        (1, 2, 1.0, (1, 0)),
        (100, 90, 0.05, (5, 4)),
        (10, 1, 2.0, (20, 2)),
    ],
)
def test_warm_up_is_scaled_like_the_epochs_and_leaves_one_of_them(monkeypatch, epochs, warmup, factor, scaled):
    monkeypatch.setitem(PROFILES, "scaled", Profile("scaled", "", factor, beyond_factor=factor))
    config = base_config("scaled").change({"training.epochs": epochs, "training.warmup": warmup})
    for ladder in LADDERS:
        training = PROFILES["scaled"].scale(config, LADDERS[ladder]).training
        assert (training.epochs, training.warmup) == scaled


def test_the_stage_that_the_docs_add_is_one_and_does_what_it_says(tmp_path, monkeypatch):
    text = (Path(__file__).resolve().parents[1] / "docs/adding-a-stage.md").read_text(encoding="utf-8")
    (stage,) = own_stages.parse(tomllib.loads(re.search("```toml\n(.*?)```", text, re.S)[1])["stages"])
    assert stage.id not in {other.id for ladder in LADDERS for other in LADDERS[ladder].stages}
    assert stage.id.replace("-", " ") in stage.title.lower()
    monkeypatch.setitem(LADDERS, "report", Ladder("report", (*LADDERS["report"].stages, stage)))
    study = Study(Settings(out=str(tmp_path), stages=stage.id, precision="float32"))
    start = study.base()
    for variant in stage.variants:
        for key, old, new in start.change(variant.changes).differences(start):
            # What is changed is what the stage is called, and the values are those of the title.
            assert (
                key == f"training.{stage.id.replace('-', '_')}"
                and f"{stage.id.replace('-', ' ')} {new:g} instead of {old:g}" == variant.title
            )
    study.ask(study.requested())
    assert study.stages() == ["base", stage.id] and [s.stage for s in study.certain()] == ["base", stage.id, stage.id]
    assert stage.title in wording.stage_heading(study, stage.id)


def test_report_path_is_the_published_one():
    found = LADDERS["report"].path(base_config("report"))
    config = found["augmentation", "after-activation"]
    t = config.training
    assert (config.model.batchnorm, t.patience, t.epochs, t.augmented_copies, t.checkpoint_period, t.evaluated) == (
        "after-activation",
        20,
        200,
        2,
        5,
        "best-checkpoint",
    )
    assert config.model.pool1_stride == 2 and t.label_epsilon_copies == 0 and t.lr_drop_epoch is None
    assert found["lr-schedule", "drop40"] == config.change({"training.patience": 30, "training.lr_drop_epoch": 40})
    assert {c.training.monitor for (_, v), c in found.items() if v != "patience5-cross-entropy"} == {"val_loss"}
    assert {(c.model.head_l2, c.data.filter) for c in found.values()} == {(0.01, "bilinear")}
    assert not LADDERS["report"].stage("stride").carry


def test_the_published_ladder_does_what_the_published_code_did():
    found = LADDERS["published"].path(base_config("report", "published"))
    for (_stage, variant), config in found.items():
        t = config.training
        assert (config.model.head_l2, config.data.filter, t.shear, t.stretch_copies, t.separate_twins) == (
            0.01,
            "nearest",
            0,
            True,
            True,
        )
        # No batch-norm after the activation, and hence none in what is built on it.
        norms = {
            "activation-and-pooling": "activation-and-pooling",
            "before-activation": "before-activation",
            "impatient": "before-activation",
        }
        assert config.model.batchnorm == norms.get(variant, "none"), variant
    clipped, dropped = (
        found[key].training for key in (("label-clipping", "copies-and-originals"), ("lr-schedule", "drop40"))
    )
    assert (clipped.label_epsilon_copies, clipped.label_epsilon_originals, clipped.augmented_copies) == (0.03, 0.01, 2)
    assert [learning_rate(dropped, epoch) for epoch in (41, 42)] == pytest.approx([0.001, 0.0001])
    settings = Settings(ladder="published")
    assert (settings.split, settings.select) == ("sequential", "report")
    told = {(s.id, v.id): v.title for s in LADDERS["published"].stages for v in s.variants}
    assert all(
        ("no batch-norm layer in the published code" in told[key]) == (key[1].startswith("after-activation"))
        for key in told
    )
    assert "not in the published code" in told["early-stopping", "patience5-cross-entropy"]


def test_replicates_of_the_published_code_are_one_network():
    """Early stopping and `after activation`, patience 5, are the same configuration there: rows that share a run."""
    found = LADDERS["published"].path(base_config("cpu", "published"))
    assert found["batchnorm", "after-activation"] == found["early-stopping", "patience5"]


def test_only_the_reports_ladders_have_its_penalty_and_its_path():
    assert [name for name, ladder in LADDERS.items() if ladder.has_path()] == ["report", "published"]
    assert base_config("cpu", "beyond").model.head_l2 == 0
    assert LADDERS["beyond"].path(base_config("cpu", "beyond")) == {}


def test_stages_come_in_order_with_base_first():
    assert LADDERS["report"].in_order(["batchnorm", "stride"]) == ["base", "stride", "batchnorm"]
    with pytest.raises(ConfigError, match="did you mean 'batchnorm'"):
        LADDERS["report"].in_order(["batchnrom"])


def test_published_totals_are_those_of_the_report():
    best = max((printed.accuracy, variant) for (_, variant), printed in FIGURES.items())
    assert best == (0.712, "before-activation")


def test_the_recipe_for_all_people_needs_no_stage_before_it_and_view_2_a_network_a_fold():
    stage = LADDERS["beyond"].stage("all-people")
    alone = base_config("cpu", "beyond").change(stage.variants[0].changes)
    config = base_config("cpu", "beyond")
    for earlier in LADDERS["beyond"].stages:
        if earlier.id == stage.id:
            break
        if earlier.carry and earlier.id != "erase":  # which was no better on View 1's validation
            config = config.change(earlier.variants[0].changes)
    assert alone == config.change(stage.variants[0].changes)
    cpu = PROFILES["cpu"]
    assert (cpu.seeds_of(stage, 1), cpu.seeds_of(stage, 1, "view2"), PROFILES["quick"].seeds_of(stage, 1)) == (5, 1, 1)
