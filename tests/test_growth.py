import json

import pytest

from tools.growth import growth, slope, table


@pytest.mark.long
def test_growth_is_measured_for_each_cause():
    """Nothing is judged here but that each measurement is there; slopes are for `python -m tools.growth`."""
    said = []
    result = growth(said.append, pairs=(40, 80), sides=(69, 90), seeds=(1, 3), people=120)
    assert json.loads(json.dumps(result)) == result
    assert [result["curves"][cause]["n"] for cause in ("pairs", "pixels", "runs")] == [
        [40, 80],
        [69**2, 90**2],
        [7, 21],
    ]
    assert all(
        value > 0 for curve in result["curves"].values() for name in ("seconds", "memory_mb") for value in curve[name]
    )
    assert said[-4:] == table(result)


def test_a_slope_is_that_of_the_last_step():
    assert slope([10, 100, 1000], [7.0, 2.0, 20.0]) == 1.0
    assert slope([10, 1000], [3.0, 30.0]) == 0.5
