#!/usr/bin/env bash
# Agents and clients that are built and run from what `cmake --install` puts down, and from nothing
# else.
#
#   install.sh BUILD_DIR SOURCE_DIR
set -euo pipefail
build=$1
source=$2
work=$(mktemp -d)
chmod 711 "$work"  # agents of other uids pass it on their way to their programs
pid=
clean_up() {
  [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
prefix=$work/prefix

cmake --install "$build" --prefix "$prefix" >/dev/null
PKG_CONFIG_PATH=$prefix/lib/pkgconfig:$prefix/lib/$(uname -m)-linux-gnu/pkgconfig
export PKG_CONFIG_PATH

# With pkg-config, in C. The file says where it was to be installed; that prefix is not this one.
read -ra flags < <(pkg-config --define-variable=prefix="$prefix" --cflags --libs microswarm-agent)
libdir=$(pkg-config --define-variable=prefix="$prefix" --variable=libdir microswarm-agent)
cc -std=c99 -Wall -Wextra -Werror -pedantic "$source/examples/agents/shout.c" -o "$work/shout" \
  "${flags[@]}" "-Wl,-rpath,$libdir"

# With find_package, in C++ and in another place than the one it was built in.
mkdir "$work/project"
cp "$source/examples/agents/scale.cpp" "$work/project"
cat >"$work/project/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.25)
project(stranger LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(MicroSwarm 0.1 REQUIRED)
add_executable(scale scale.cpp)
target_link_libraries(scale PRIVATE MicroSwarm::agent)
PROJECT
cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/project/build" >/dev/null

# Clients: the project of their own that the examples are, and with pkg-config. Of the library only
# micro_swarm::client shows, and it needs nothing that a C++ program does not need anyway.
cp -r "$source/examples/clients" "$work/clients"
cmake -S "$work/clients" -B "$work/clients/build" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wpedantic -Werror" >/dev/null
cmake --build "$work/clients/build" >/dev/null
read -ra flags < <(pkg-config --define-variable=prefix="$prefix" --cflags --libs microswarm-client)
libdir=$(pkg-config --define-variable=prefix="$prefix" --variable=libdir microswarm-client)
c++ -std=c++20 -Wall -Wextra -Werror -pedantic "$source/examples/clients/submit.cpp" \
  -o "$work/submit" "${flags[@]}" "-Wl,-rpath,$libdir"
library=$libdir/libmicroswarm-client.so
nm -DC --defined-only "$library" | cut -d ' ' -f 3- >"$work/shown"
grep -q '^micro_swarm::client::Client::submit(' "$work/shown"
if grep -v '^micro_swarm::client::' "$work/shown" >&2; then
  printf 'it shows what is its own\n' >&2
  exit 1
fi
objdump -p "$library" | awk '$1 == "NEEDED" { print $2 }' >"$work/needed"
grep -q '^libc\.so' "$work/needed"
if grep -vE '^(libstdc\+\+|libgcc_s|libm|libc|ld-linux.*)\.so\.[0-9]+$' "$work/needed" >&2; then
  printf 'it needs what may not be there\n' >&2
  exit 1
fi

# refused CODE TEXT COMMAND...: it ends with that exit code and says so.
refused() {
  local code=$1 text=$2 got=0
  shift 2
  "$@" >"$work/said" 2>&1 || got=$?
  if [[ $got != "$code" ]] || ! grep -qF "$text" "$work/said"; then
    printf '%s: exit code %s and not %s, or not "%s":\n' "$*" "$got" "$code" "$text" >&2
    cat "$work/said" >&2
    exit 1
  fi
}

# All of them in a swarm of the installed binary.
mkdir -m 700 "$work/run"
export MICROSWARM_RUNTIME_DIR=$work/run
cat >"$work/swarm.toml" <<CONFIG
[[agent]]
name = "shout"
kind = "external"
command = ["$work/shout"]
capabilities = ["shout"]

[[agent]]
name = "scale"
kind = "external"
command = ["$work/project/build/scale"]
capabilities = ["scale"]

[[agent]]
name = "tensors"
kind = "generic"
count = 2
CONFIG
swarm=$prefix/bin/microswarm
refused 3 'microswarm run' "$work/submit" default shout hello
"$swarm" run -c "$work/swarm.toml" 2>"$work/log" &
pid=$!
# The socket is there when the swarm is up; an end before that is an end of the test.
until "$swarm" status >/dev/null 2>&1; do
  kill -0 "$pid" || { cat "$work/log" >&2; exit 1; }
done

printf 'quiet, please' >"$work/text"
answer=$("$swarm" task submit shout --file "$work/text" --wait)
[[ $answer == 'QUIET, PLEASE' ]] || { printf 'shout: %s\n' "$answer" >&2; exit 1; }
printf '\0\0\200\77\0\0\0\300' >"$work/floats"
"$swarm" task submit scale --file "$work/floats" --wait --output "$work/scaled"
printf '\0\0\0\100\0\0\200\300' | cmp - "$work/scaled"

# said TEXT COMMAND...: it prints that.
said() {
  local answer
  answer=$("${@:2}")
  [[ $answer == "$1" ]] || { printf '%s: %s\n' "${*:2}" "$answer" >&2; exit 1; }
}
for submit in "$work/submit" "$work/clients/build/submit"; do
  said $'HELLO\nAGAIN' "$submit" default shout hello again
done
squares='{"count":100000,"value":333338333350000.0}'
said "$squares" "$work/clients/build/sum_of_squares" default
said "$squares (from the cache)" "$work/clients/build/sum_of_squares" default
refused 1 'it has: ' "$work/submit" default no_such_work hello
refused 2 'neither' "$work/submit" /no/socket shout hello

kill "$pid"
wait "$pid"
pid=
refused 3 'microswarm run' "$work/submit" default shout hello
