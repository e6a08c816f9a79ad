#!/usr/bin/env bash
# docs_commands.sh sees what it is there to see: each document here has one mistake planted, and it
# must be reported; the last has none.
#
#   docs_commands_fail.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
source_dir=$1
build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
document=$work/document.md
failures=0

# planted MESSAGE: the document on stdin is refused with this message.
planted() {
  cat >"$document"
  if "$source_dir/tests/scripts/docs_commands.sh" "$source_dir" "$build_dir" "$document" \
    >"$work/output" 2>&1; then
    printf 'FAILED: not seen: %s\n' "$1" >&2
    failures=$((failures + 1))
  elif ! grep -qF -- "$1" "$work/output"; then
    printf 'FAILED: seen, but not as: %s\n' "$1" >&2
    cat "$work/output" >&2
    failures=$((failures + 1))
  else
    printf 'seen: %s\n' "$1"
  fi
}

planted "a command failed" <<'DOCUMENT'
```sh
true
build/release/microswarm config check -c no-such-file.toml
true
```
DOCUMENT

planted "a command failed" <<'DOCUMENT'
```sh
scripts/no-such-script
```
DOCUMENT

planted "its commands leave a swarm running" <<'DOCUMENT'
```sh
build/release/microswarm run --agents 1 2>run.log &
until build/release/microswarm status >/dev/null 2>&1; do sleep 0.05; done
```
DOCUMENT

planted "there is no such verb" <<'DOCUMENT'
```console
$ microswarm fly --high
```
DOCUMENT

planted "there is no such verb" <<'DOCUMENT'
```console
$ microswarm task fly 7
```
DOCUMENT

planted "scripts/fly is not there" <<'DOCUMENT'
```console
$ scripts/fly
```
DOCUMENT

planted "the configuration in line 1 is refused" <<'DOCUMENT'
```toml
no_such_key = 1
```
DOCUMENT

planted "leads nowhere" <<'DOCUMENT'
See [there](no-such-document.md).
DOCUMENT

cat >"$document" <<'DOCUMENT'
See [this](document.md), and [that](https://example.org/).
```sh
build/release/microswarm --version
```
```console
$ microswarm agent list --format json
$ sudo scripts/setup
```
DOCUMENT
"$source_dir/tests/scripts/docs_commands.sh" "$source_dir" "$build_dir" "$document" || failures=1
[[ $failures == 0 ]]
