"""How fast is this machine, and how does a training step compare with its arithmetic? Ratios within one run.

The full network is trained on demo faces (the content of the images does not change the speed) for a few steps in three
ways, in turns: our own step; a bare Keras `fit` of the same network on float arrays (our layers, both twins in one batch,
same precision); and a plain script in the style of the published study (two tower calls, float32). Each has a process of
its own, as a training has, so that its memory and its settings of TensorFlow are its own. The peak matrix rate is measured
first, and again in each turn: on shared machines it changes by a fifth within a minute.
"""

CEILING, OURS, BARE, PLAIN = "ceiling", "ours", "bare Keras fit", "plain script"
# Pairs a step, and the timed steps of a round. A GPU is given all of them ahead, and asked for the last one's result alone.
BATCH, STEPS, STEPS_QUEUED = 64, 2, 20
