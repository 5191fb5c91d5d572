"""A contestant of `tools.accelerator`, as in `lfwstudy.bench.contestant`. The job of our own step also names the candidates to
try; when its input ends, this one tells the time of a validation, and time by operation."""

import sys
from collections.abc import Mapping
from typing import Any

from lfwstudy.bench import STEPS, STEPS_QUEUED
from lfwstudy.bench.contestant import Contest, OurStep, StepClock, main, on_gpu, seconds
from lfwstudy.config import RunConfig
from lfwstudy.training.scorer import Scorer
from tools.candidates import Candidates
from tools.candidates.loop import LONGEST
from tools.candidates.operations import CandidateOperations
from tools.candidates.profile import seconds_by_operation


class CandidateStep(OurStep):
    """Our step with candidates, all steps of an epoch perhaps in a few executions."""

    def __init__(self, config: RunConfig, precision: str, using: CandidateOperations) -> None:
        super().__init__(config, precision, using)
        self.using = using

    def run(self, clock: StepClock, steps: int) -> None:
        using = self.using
        clock.lengths = using.executions(steps)
        scans = len(using.executions(2)) == 1
        while scans and (len(clock.lengths) == 1 or len(set(clock.lengths)) > 1):
            # The first execution's end starts the clock; one length is one program to compile.
            steps += 1
            clock.lengths = using.executions(steps)
        using.fit(self.trainer, self.batches(steps), callbacks=[clock])

    def finish(self) -> dict[str, Any]:
        scorer, steps = Scorer(self.trainer, self.sets), (STEPS_QUEUED if on_gpu() else STEPS) + 1
        scorer.validate()  # compiles
        validation = seconds(scorer.validate)
        return {
            "validation_seconds": validation,
            "operations": seconds_by_operation(lambda: self.run(StepClock(), steps)),
        }


def ours(config: RunConfig, asked: Mapping[str, Any]) -> Contest:
    """Our step with the candidates that a job names."""
    candidates = Candidates(**dict.fromkeys(asked["candidates"], True))
    using = CandidateOperations(candidates, LONGEST if on_gpu() else STEPS)
    step = CandidateStep(config, asked["precision"], using)
    return step.run, step.finish


if __name__ == "__main__":
    main(ours, *sys.argv[1:])
