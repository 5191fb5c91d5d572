"""The server that small trainings are forked from (see forked.py); it imports the libraries once for all of them."""

import sys

from lfwstudy.system.backend import quiet_stderr

with quiet_stderr():
    import lfwstudy.training.run  # noqa: F401  (first: it keeps packages out that the others would bring in)

    # isort: split
    # Used to measure a run's results and to write a checkpoint.
    import h5py  # noqa: F401
    import scipy.stats  # noqa: F401
    import setproctitle  # noqa: F401
    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401

    from lfwstudy.runs import training_process

from lfwstudy.runs.forked import serve

if __name__ == "__main__":
    sys.exit(training_process.main(serve()))
