"""Measure this machine's speed and compare a training step with its peak rate: ratios within one run.

The full network is trained on demo faces (the content of the images does not change the speed) for a few steps in three
ways, in turns: our own step; a bare Keras `fit` of the same network on float arrays (our layers, both twins in one batch,
same precision); and a plain script in the style of the published study (two tower calls, float32). Each runs in a separate
process, as a training does, with separate memory and TensorFlow settings. The peak matrix rate is measured first and again
in each turn: on shared machines it changes by a fifth within a minute.
"""

CEILING, OURS, BARE, PLAIN = "ceiling", "ours", "bare Keras fit", "plain script"
# Pairs per step, and timed steps per round. A GPU gets all of them in advance; only the last result is awaited.
BATCH, STEPS, STEPS_QUEUED = 64, 2, 20
# In place of the time when a contestant's process was started, if that was ahead of its turn.
AHEAD = "ahead"
