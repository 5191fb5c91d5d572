#!/bin/sh
# The ruler for recipes (tools/ruler.py) on a machine with a GPU that has Keras and JAX but no TensorFlow: several networks
# side by side on the GPU, until a time, with only numbers left to be copied back.
#
#   tools/ruler_on_accelerator.sh DATA OUT SECONDS [OPTION ...]
#
# DATA: the folder that `python -m tools.light pack DATA` wrote. OUT: gets tried.csv, a row for each measurement, and numbers.tgz,
# the histories, predictions and results of the networks. If OUT/tried.csv is there, what it has is not trained again.
# SECONDS: stop by then; networks that are not done are lost. Further options are passed to the ruler, such as --splits 1 or
# --at-once 8 (5 by default).
set -eu
[ $# -ge 3 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }
data=$1 out=$2 limit=$3
shift 3
export KERAS_BACKEND=jax
work=${TMPDIR:-/tmp}/ruler
export LFWSTUDY_CACHE="$work/cache"
# One process's kernels fill the gaps of another's; without the service, the GPU switches between them.
if command -v nvidia-cuda-mps-control > /dev/null && nvidia-cuda-mps-control -d; then
    trap 'echo quit | nvidia-cuda-mps-control' EXIT
fi
mkdir -p "$out" "$work/runs"
status=0
# The last seconds are for the files below.
python3 -m tools.ruler tools/recipes.toml --data-dir "$data" --out "$work" \
    --csv "$out/tried.csv" --at-once 5 --seconds "$((limit - 15))" "$@" || status=$?
(cd "$work/runs" && find . -name '*.csv' -o -name '*.json' -o -name log.txt | tar czf ../numbers.tgz -T -)
mv "$work/numbers.tgz" "$out/numbers.tgz"
exit "$status"
