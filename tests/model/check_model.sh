#!/usr/bin/env bash
# check_model.sh MODEL WORK_DIR: explores the whole state space of the model; any violation fails.
# check_model.sh MODEL WORK_DIR PLANT...: explores it with one planted mistake at a time; each must
# be found. Prints the number of states. Needs spin and a C compiler. At most 5 minutes a run.
set -u
model=$1
work=$2
shift 2

# explore DIR [spin option...]: 0 = nothing found, 1 = a violation, 2 = it could not be explored.
explore() {
  local dir=$1
  shift
  rm -rf "$dir"
  mkdir -p "$dir" || return 2
  (
    cd "$dir" || exit 2
    spin -a "$@" "$model" > spin.log 2>&1 || { cat spin.log; exit 2; }
    gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c || exit 2
    timeout 300 ./pan -E -m100000 > pan.log 2>&1
    grep -q '^State-vector.*errors: ' pan.log || { cat pan.log; exit 2; }
    if grep -qE 'Search not completed|max search depth too small|out of memory' pan.log &&
       grep -q 'errors: 0' pan.log; then
      cat pan.log
      exit 2
    fi
    grep -q 'errors: 0' pan.log
  )
}
states() { awk '/states, stored/ {print $1}' "$1/pan.log"; }

if [ $# -eq 0 ]; then
  explore "$work/right"
  result=$?
  if [ $result -ne 0 ]; then
    echo "the model is violated or could not be explored whole (see $work/right/pan.log):"
    grep 'pan:1' "$work/right/pan.log"
    exit 1
  fi
  echo "no violation in $(states "$work/right") states, explored whole"
  exit 0
fi

failed=0
for plant in "$@"; do
  explore "$work/$plant" "-D$plant"
  case $? in
    1) echo "$plant: found after $(states "$work/$plant") states" ;;
    0) echo "$plant: NOT found in $(states "$work/$plant") states"; failed=1 ;;
    *) echo "$plant: could not be explored"; failed=1 ;;
  esac
  rm -rf "${work:?}/$plant"
done
exit $failed
