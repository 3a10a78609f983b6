#!/usr/bin/env bash
# Checks switch.pml: the model holds, and each broken variant of it is found. Needs spin and a C compiler. model.sh [VARIANT…]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=$(command -v clang-19 || command -v clang || command -v gcc)

# $1: a name, $2…: -D of the model. Prints what the verifier says; 0 when it finds no error in the whole state space.
verify() {
  local name=$1; shift
  mkdir -p "$work/$name"
  (cd "$work/$name" && spin "-P$cc -E -x c" "$@" -a "$here/switch.pml" > spin.out 2>&1 || { cat spin.out >&2; exit 2; }
   "$cc" -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=3000 -o pan pan.c
   ./pan -m400000 -n > pan.out 2>&1 || true)
  if grep -q 'max search depth too small\|out of memory\|reached -DMEMLIM' "$work/$name/pan.out"; then cat "$work/$name/pan.out" >&2; exit 2; fi
  grep -q 'errors: 0' "$work/$name/pan.out"
}

failed=0
if [ $# = 0 ]; then
  if verify holds; then echo "holds: $(grep -o '[0-9.e+]* states, stored' "$work/holds/pan.out")"
  else failed=1; echo "FAILED: the protocol loses something"; grep 'assert\|invalid end' "$work/holds/pan.out"; (cd "$work/holds" && ./pan -r | tail -n 60); fi
fi
for variant in "${@:-$(grep -o 'BROKEN_[A-Z_]*' "$here/switch.pml" | sort -u)}"; do
  for name in $variant; do
    [ "$name" = BROKEN_ ] && continue
    if verify "$name" "-D$name"; then failed=1; echo "FAILED: $name is not found"
    else echo "found: $name: $(grep -m1 -o 'assertion violated [^(]*([^)]*)*\|invalid end state' "$work/$name/pan.out")"; fi
  done
done
exit $failed
