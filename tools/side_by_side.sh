#!/bin/sh
# Many small networks on a machine with a GPU that has Keras and JAX but no TensorFlow, side by side and until a time, with
# only numbers left to be copied back: tools/ruler.py or tools/view2.py.
#
#   tools/side_by_side.sh ruler|view2 DATA OUT SECONDS [OPTION ...]
#
# DATA: the folder that `python -m tools.light pack DATA` wrote (--all-images for view2). OUT: gets runs.tgz, the numbers of
# each run, and the ruler's tried.csv; what a tried.csv has that is there already is not trained again. SECONDS: stop by
# then. Further options are passed on, such as --only free or --at-once 8 (5 by default).
set -eu
[ $# -ge 4 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
what=$1 data=$2 out=$3 limit=$4
shift 4
export KERAS_BACKEND=jax
work=${TMPDIR:-/tmp}/side-by-side
export LFWSTUDY_CACHE="$work/cache"
# One process's kernels fill the gaps of another's; without the service, the GPU switches between them.
if command -v nvidia-cuda-mps-control > /dev/null && nvidia-cuda-mps-control -d; then
    trap 'echo quit | nvidia-cuda-mps-control' EXIT
fi
mkdir -p "$out" "$work/runs"
[ "$what" != ruler ] || set -- tools/recipes.toml --csv "$out/tried.csv" "$@"
status=0
# The last seconds are for the files below.
python3 -m "tools.$what" --data-dir "$data" --out "$work" --at-once 5 --seconds "$((limit - 15))" "$@" || status=$?
(cd "$work/runs" && find . -name '*.csv' -o -name '*.json' -o -name log.txt | tar czf ../runs.tgz -T -)
mv "$work/runs.tgz" "$out/runs.tgz"
exit "$status"
