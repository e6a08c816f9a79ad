#!/usr/bin/env bash
# Runs a command as an ordinary user: as nobody where this is uid 0.
#
#   as_user.sh COMMAND [ARGUMENT...]
set -euo pipefail
if [[ $(id -u) == 0 ]]; then
  set -- setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
fi
exec "$@"
