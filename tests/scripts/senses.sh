#!/usr/bin/env bash
# The ensembles judge real pictures and sounds rightly, and say clearly what they cannot read.
#
#   senses.sh PROGRAM
set -euo pipefail
senses=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'FAILED: %s\n' "$1" >&2
  cat "$work"/* >&2
  exit 1
}

"$senses" >"$work/output" 2>"$work/errors" || fail "exit code $?"
grep -q '^astronaut.ppm {"face":true,' "$work/output" || fail "the face was not found"
grep -q '^coffee.ppm {"face":false,' "$work/output" || fail "a cup is no face"
speech=$(sed -n 's/^speech.wav {"frames":62,"speech":\([0-9]*\)}/\1/p' "$work/output")
[[ -n $speech && $speech -ge 50 ]] || fail "speech was not heard"
grep -q '^noise {"frames":62,"speech":0}' "$work/output" || fail "noise is no speech"

printf 'no picture' >"$work/none.ppm"
code=0
"$senses" --picture "$work/none.ppm" >"$work/output" 2>"$work/errors" || code=$?
[[ $code == 2 ]] || fail "a broken picture: exit code $code"
grep -q 'expected a binary PPM' "$work/errors" || fail "the error does not say what was expected"

code=0
"$senses" --face-model "$work/none.ppm" >"$work/output" 2>"$work/errors" || code=$?
[[ $code != 0 ]] || fail "a broken model was taken"
grep -q 'none.ppm' "$work/errors" || fail "the error does not name the model"
