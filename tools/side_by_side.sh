#!/bin/sh
# Many small networks on a machine with a GPU that has Keras and JAX but no TensorFlow, side by side and until a time, with
# only numbers left to be copied back: tools/ruler.py or tools/view2.py.
#
#   tools/side_by_side.sh ruler|view2 DATA OUT SECONDS [OPTION ...]
#
# DATA: the folder that `python -m tools.light pack DATA` wrote (--all-images for view2). OUT: gets runs.tgz, the numbers of
# each run, and the ruler's tried.csv, both kept up to date; what they already have is not trained again. SECONDS: stop by
# then. Further options are passed on, such as --only free or --at-once 8 (5 by default).
set -eu
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 4 ] || usage
what=$1 data=$2 out=$3 limit=$4
shift 4
case $what in ruler | view2) ;; *) usage ;; esac
case $limit in '' | *[!0-9]*) usage ;; esac
export KERAS_BACKEND=jax
work=${TMPDIR:-/tmp}/side-by-side
export LFWSTUDY_CACHE="$work/cache"
mkdir -p "$out" "$work/runs"
[ ! -f "$out/runs.tgz" ] || tar xzf "$out/runs.tgz" -C "$work/runs" --skip-old-files

pack() { # a file of the numbers so far, by way of the one named; a training may be writing them
    (cd "$work/runs" && find . -name '*.csv' -o -name '*.json' -o -name log.txt | tar czf - -T - 2> /dev/null) > "$1" || :
    mv "$1" "$out/runs.tgz"
}

# One process's kernels fill the gaps of another's; without the service, the GPU switches between them.
quit=:
if command -v nvidia-cuda-mps-control > /dev/null && nvidia-cuda-mps-control -d; then
    quit='echo quit | nvidia-cuda-mps-control'
fi
while sleep 30; do pack "$out/.runs-so-far"; done > /dev/null 2>&1 &
trap "kill $! 2> /dev/null; $quit" EXIT
trap : INT TERM # the networks' processes end; their numbers are kept
[ "$what" != ruler ] || set -- tools/recipes.toml --csv "$out/tried.csv" "$@"
status=0
# The last seconds are for Python's start and the file below.
python3 -m "tools.$what" --data-dir "$data" --out "$work" --at-once 5 --seconds "$((limit - 20))" "$@" || status=$?
pack "$out/.runs"
exit "$status"
