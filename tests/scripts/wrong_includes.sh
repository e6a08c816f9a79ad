#!/usr/bin/env bash
# A file of one layer that includes a header of another which its layer does not link must not
# compile, and for that reason: the header exists, and the compiler does not find it.
#
#   wrong_includes.sh SOURCE_DIR BUILD_DIR target=header...
set -euo pipefail
source_dir=$1
build_dir=$2
shift 2

failures=0
for probe in "$@"; do
  target=${probe%%=*}
  header=${probe#*=}
  if [[ ! -e $source_dir/$header ]]; then
    echo "FAILED: $header, which $target asks for, is no longer there: name another" >&2
    failures=$((failures + 1))
  elif output=$(cmake --build "$build_dir" --target "$target" 2>&1); then
    echo "FAILED: $target compiles with $header" >&2
    failures=$((failures + 1))
  elif ! grep -qE "fatal error: '?$header'?(: No such file| file not found)" <<<"$output"; then
    printf 'FAILED: %s fails for another reason:\n%s\n' "$target" "$output" >&2
    failures=$((failures + 1))
  else
    echo "refused, as it should be: $target"
  fi
done
[[ $failures == 0 ]]
