import itertools

import pytest

from lfwstudy.errors import ConfigError
from lfwstudy.stages import LADDERS, PROFILES, REPORT_LADDER, base_config, get_ladder, get_stage, in_order, scale, seeds_of

CONTRACT = {
    "base": ["base"], "stride": ["pool1-stride1"], "early-stopping": ["patience5"],
    "batchnorm": ["activation-and-pooling", "after-activation", "after-activation-patient", "before-activation"],
    "augmentation": ["impatient", "before-activation", "after-activation"],
    "label-clipping": ["copies", "copies-and-originals"], "lr-schedule": ["drop40", "drop50", "drop60"]}


def test_stages_and_variants_are_the_agreed_ones():
    assert {s.id: [v.id for v in s.variants] for s in REPORT_LADDER} == CONTRACT


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"tiny", "speck"}))
@pytest.mark.parametrize("ladder", LADDERS)
def test_no_two_variants_of_a_stage_come_out_equal(ladder, profile):
    base = base_config(profile)
    for stage in LADDERS[ladder]:
        starts = [base.change(v.changes) for other in LADDERS[ladder] for v in other.variants]
        for start in starts:
            configs = [scale(start.change(v.changes), profile, ladder) for v in stage.variants]
            assert all(a != b for a, b in itertools.combinations(configs, 2)), stage.id


def test_report_profile_changes_no_epoch():
    for stage in REPORT_LADDER:
        for variant in stage.variants:
            config = base_config("report").change(variant.changes)
            assert scale(config, "report") == config


def test_scaling_rounds_half_up_and_stays_at_least_one():
    config = base_config("cpu").change({"training.patience": 10, "training.checkpoint_period": 5,
                                        "training.lr_drop_epoch": 50, "training.epochs": 300})
    scaled = scale(config, "cpu").training
    assert (scaled.patience, scaled.checkpoint_period, scaled.lr_drop_epoch, scaled.epochs) == (2, 1, 8, 45)


def test_report_path_is_the_published_one():
    config = base_config("report")
    for stage in REPORT_LADDER:
        for variant in stage.variants:
            if variant.id == stage.report_choice:
                config = config.change(variant.changes)
    t = config.training
    assert (config.model.batchnorm, t.patience, t.epochs, t.augmented_copies, t.checkpoint_period, t.evaluated) == (
        "after-activation", 20, 200, 2, 5, "best-checkpoint")
    assert config.model.pool1_stride == 2 and t.label_epsilon_copies == 0 and t.lr_drop_epoch is None
    assert not get_stage("report", "stride").carry


def test_stages_come_in_order_with_base_first():
    assert in_order("report", ["batchnorm", "stride"]) == ["base", "stride", "batchnorm"]
    with pytest.raises(ConfigError, match="did you mean 'batchnorm'"):
        in_order("report", ["batchnrom"])


def test_published_totals_are_those_of_the_report():
    best = max((v.published.accuracy, v.id) for s in REPORT_LADDER for v in s.variants if v.published)
    assert best == (0.712, "before-activation")


def test_the_recipe_for_all_people_needs_no_stage_before_it_and_view_2_a_network_a_fold():
    stage = get_stage("beyond", "all-people")
    alone = base_config("cpu").change(stage.variants[0].changes)
    config = base_config("cpu")
    for earlier in get_ladder("beyond"):
        if earlier.id == stage.id:
            break
        if earlier.carry and earlier.id != "erase":  # which was no better on View 1's validation
            config = config.change(earlier.variants[0].changes)
    assert alone == config.change(stage.variants[0].changes)
    assert (seeds_of(stage, "cpu", 1), seeds_of(stage, "cpu", 1, "view2"), seeds_of(stage, "quick", 1)) == (5, 1, 1)
