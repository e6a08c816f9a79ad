#!/usr/bin/env bash
# An agent that is built and run from what `cmake --install` puts down, and from nothing else.
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

# Both in a swarm of the installed binary.
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
CONFIG
swarm=$prefix/bin/microswarm
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

kill "$pid"
wait "$pid"
pid=
