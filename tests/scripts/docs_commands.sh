#!/usr/bin/env bash
# Runs what README.md and the documents in docs/ and examples/ tell the reader to run, so that it
# cannot rot.
#
#   docs_commands.sh SOURCE_DIR BUILD_DIR [file.md...]
#
# Fenced blocks, by their language:
#   sh       commands. All blocks of a file run in order as one `bash -euo pipefail` script, in a
#            directory that looks like the checkout (build/release is BUILD_DIR) with a runtime
#            directory of its own; every command must succeed. The scripts/ that build and test
#            everything are not run from here, only looked at: there, executable, no syntax error.
#   console  what a session looks like: `$ command` and its output. Not run; but each microswarm
#            verb and each script named must exist.
#   toml     a configuration file: `config check` must accept it.
# Relative links must lead to a file. A file may not leave a swarm running.
set -euo pipefail
source_dir=$(realpath "$1")
build_dir=$(realpath "$2")
shift 2
cd "$source_dir"
files=("$@")
[[ ${#files[@]} -gt 0 ]] || mapfile -t files < <(find README.md docs examples -name '*.md' | sort)

work=$(mktemp -d)
chmod o+x "$work"  # agents have uids of their own
group=
clean_up() {
  [[ -z $group ]] || kill -KILL -- "-$group" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
failures=0
fail() {
  printf 'FAILED: %s\n' "$1" >&2
  failures=$((failures + 1))
}

# blocks LANGUAGE FILE: the lines of its fenced blocks, each block after a line "#@ LINE".
blocks() {
  awk -v language="$1" '
    /^ *```/ {
      if (inside) { inside = 0; next }
      name = $0; sub(/^ *```/, "", name); sub(/[ {].*/, "", name)
      inside = name == language ? 1 : 2
      if (inside == 1) print "#@ " NR
      next
    }
    inside == 1 { print }' "$2"
}

# A directory that looks like the checkout, but for the scripts that must not run inside a test.
make_sandbox() {
  local entry
  mkdir -p "$work/checkout/build" "$work/checkout/scripts" "$work/run"
  for entry in "$source_dir"/*; do
    case ${entry##*/} in
      build | scripts) ;;
      *) ln -s "$entry" "$work/checkout/" ;;
    esac
  done
  ln -s "$build_dir" "$work/checkout/build/release"
  for entry in "$source_dir"/scripts/*; do
    printf '#!/usr/bin/env bash\nset -e\ntest -x %q\nbash -n %q\n' "$entry" "$entry" \
      >"$work/checkout/scripts/${entry##*/}"
    chmod +x "$work/checkout/scripts/${entry##*/}"
  done
}

check_links() {
  local file=$1 target
  while read -r target; do
    case $target in
      '' | http://* | https://* | mailto:*) continue ;;
    esac
    [[ -e $(dirname "$file")/$target ]] || fail "$file: the link to $target leads nowhere"
  done < <(awk '/^ *```/ { inside = !inside } !inside' "$file" |
    grep -oE '\]\([^)#[:space:]]+' | cut -c 3- || true)
}

# has_verb WORD [SUBWORD]: the help lists WORD, and where WORD has verbs of its own, SUBWORD too.
has_verb() {
  local help
  [[ $1 != -* ]] || return 0
  "$build_dir/microswarm" --help | grep -qE "^  $1( |\$)" || return 1
  help=$("$build_dir/microswarm" "$1" --help)
  ! grep -q '^Subcommands:' <<<"$help" || grep -qE "^  $2( |\$)" <<<"$help"
}

# One command line as shown to the reader.
check_shown_command() {
  local file=$1 line=$2 words
  read -ra words <<<"$line"
  [[ ${words[0]:-} != sudo ]] || words=("${words[@]:1}")
  case ${words[0]:-} in
    microswarm | */microswarm)
      has_verb "${words[1]:-}" "${words[2]:-}" ||
        fail "$file: there is no such verb: $line"
      ;;
    scripts/* | ./scripts/*)
      [[ -x ${words[0]} ]] || fail "$file: ${words[0]} is not there"
      ;;
  esac
}

check_console() {
  local file=$1 line
  while IFS= read -r line; do
    check_shown_command "$file" "${line#\$ }"
  done < <(blocks console "$file" | sed -n 's/^ *\(\$ .*\)/\1/p')
}

check_toml() {
  local file=$1 line config=
  while IFS= read -r line; do
    if [[ $line == "#@ "* ]]; then
      config=$work/${file//\//_}_${line#"#@ "}.toml
      : >"$config"
    else
      printf '%s\n' "$line" >>"$config"
    fi
  done < <(blocks toml "$file")
  for config in "$work/${file//\//_}"_*.toml; do
    [[ -e $config ]] || continue
    "$build_dir/microswarm" config check -c "$config" >"$work/output" 2>&1 || {
      cat "$work/output" >&2
      line=${config##*_}
      fail "$file: the configuration in line ${line%.toml} is refused"
    }
  done
}

run_commands() {
  local file=$1
  blocks sh "$file" | sed "s|^#@ \(.*\)|echo '-- $file:\1'|" >"$work/commands"
  [[ -s $work/commands ]] || return 0
  # A session of its own, so that whatever the commands leave running can be ended.
  (
    cd "$work/checkout"
    export MICROSWARM_RUNTIME_DIR=$work/run
    exec setsid bash -euo pipefail -x "$work/commands" \
      </dev/null >"$work/output" 2>&1
  ) &
  group=$!
  if ! wait "$group"; then
    cat "$work/output" >&2
    fail "$file: a command failed"
  fi
  if compgen -G "$work/run/*.sock" >/dev/null; then
    cat "$work/output" >&2
    fail "$file: its commands leave a swarm running"
  fi
  kill -KILL -- "-$group" 2>/dev/null || true
  group=
  rm -rf "$work/run"/*
}

make_sandbox
for file in "${files[@]}"; do
  printf 'checking %s\n' "$file"
  check_links "$file"
  check_console "$file"
  check_toml "$file"
  run_commands "$file"
done
[[ $failures == 0 ]]
