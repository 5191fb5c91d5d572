"""Imported once by the server that training processes are forked from (see forking.py), for all of them."""

from .machine import quiet_stderr

with quiet_stderr():
    from . import train  # noqa: F401
# What a run's results are measured with, and a checkpoint is written with.
import h5py  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import sklearn.linear_model  # noqa: E402, F401
import sklearn.metrics  # noqa: E402, F401
