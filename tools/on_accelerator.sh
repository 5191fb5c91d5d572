#!/bin/sh
# The report's ladder with the report's hyperparameters on a machine with a GPU that has Keras and JAX but neither
# TensorFlow nor notebooks: see docs/accelerator.md.
#
#   tools/on_accelerator.sh DATA OUT [SECONDS] [OPTION ...]
#
# DATA: the folder that `lfwstudy data --pack` made. OUT: the study's folder, to be copied back and rendered. SECONDS: stop
# by then (0: never); the same command resumes. Further options are passed to `lfwstudy run`, such as --seeds 3 or
# --cluster local:4 (four runs share the GPU; needs dask and distributed).
set -eu
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
data=$1 out=$2 limit=${3:-0}
[ $# -ge 3 ] && shift 3 || shift 2
case $limit in *[!0-9]*) usage ;; esac
export KERAS_BACKEND=jax
# The same configuration and seed must give the same numbers: without this, the order of sums on a GPU varies. XLA chooses
# algorithms by timing them, and the choice is kept with the compiled programs.
export XLA_FLAGS="--xla_gpu_exclude_nondeterministic_ops=true ${XLA_FLAGS:-}"
mkdir -p "$out"
began=$(date +%s) status=0
trap : INT TERM # the command ends; its seconds still count
# In the foreground, so that Ctrl-C reaches the command. It ends its trainings; whatever it does not end is killed.
timeout --foreground --signal=INT --kill-after=30 "$limit" python3 -m lfwstudy run --dataset lfw-deepfunneled \
    --data-dir "$data" --profile report --keep none --no-report --out "$out" "$@" || status=$?
echo "$(($(date +%s) - began))" >> "$out/seconds.txt"
echo "$(awk '{ sum += $1 } END { print sum }' "$out/seconds.txt") s in total, over $(wc -l < "$out/seconds.txt") command(s)"
case $status in 124 | 137) echo "not finished: the same command resumes"; exit 0 ;; esac
exit "$status"
