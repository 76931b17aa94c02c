#!/usr/bin/env bash
# as-root.sh COMMAND…: runs a command as root. Cargo uses it as its runner, so
# that cargo itself stays the user's and leaves no files of root's behind.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

as_root "$@"
