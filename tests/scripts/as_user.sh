#!/usr/bin/env bash
# Runs a command of the build directory as an ordinary user: as nobody where this is uid 0. Where
# nobody cannot reach it there, from a copy of it and of the files it needs.
#
#   as_user.sh BUILD_DIRECTORY COMMAND [FILE...]     all named from the build directory
set -euo pipefail
build=$1
shift
as_nobody=()
if [[ $(id -u) == 0 ]]; then
  as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  if ! "${as_nobody[@]}" test -x "$build/$1"; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    chmod 755 "$copy"
    (cd "$build" && cp --parents -- "$@" "$copy")
    build=$copy
  fi
fi
"${as_nobody[@]}" "$build/$1"
