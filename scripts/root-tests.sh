#!/usr/bin/env bash
# root-tests.sh FILE: runs the root tests of each program that FILE lists ("name
# folder program", see test_programs), as root, and tells how each ended once it
# has. Fails if one failed.
#
# JOBS   programs at a time (2, 1 on a machine with one CPU). Within a program the
#        tests take turns; most of them wait for something most of the time
# ALONE  pattern of names of programs that run by themselves, after the others
# LIMIT  how long one may take (30m): what hangs is to be known by its name
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

jobs=${JOBS:-$(($(nproc) > 1 ? 2 : 1))}
# They need both CPUs at the same time, or count what the whole machine has.
alone=${ALONE:-'^(xdp kills|bpf (hot|races|flood|many))$'}
limit=${LIMIT:-30m}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# run NAME FOLDER PROGRAM: what it printed comes out in one piece.
run() {
	local log begin=$SECONDS status=0
	log=$(mktemp -p "$work")
	# Cargo would start it in its package's folder.
	(cd "$2" && CARGO_MANIFEST_DIR=$2 exec timeout -k 30 "$limit" "$3" --ignored --test-threads=1) </dev/null >"$log" 2>&1 || status=$?
	[ "$status" -eq 0 ] || printf '%s (%d)\n' "$1" "$status" >>"$work/failed"
	if [ "$status" -ne 0 ] || ! grep -q '^running 0 tests' "$log"; then
		echo "$1" >>"$work/ran"
		# One at a time, or they would mix.
		flock "$work" -c "printf '\n-- %s: ended with %d after %d s\n' '$1' $status $((SECONDS - begin)); cat '$log'"
	fi
}

# every ALONE JOBS: those that run alone (1), or the others (0), so many at a time.
every() {
	local name folder program running=0
	while IFS=$'\t' read -r name folder program; do
		if [ "$running" -ge "$2" ]; then
			wait -n || true
			running=$((running - 1))
		fi
		run "$name" "$folder" "$program" &
		running=$((running + 1))
	done < <(awk -F '\t' -v alone="$alone" -v want="$1" '($1 ~ alone) == want' "$list")
	wait
}

list=$1
: >"$work/failed"
every 0 "$jobs"
every 1 1
[ -s "$work/ran" ] || die "no root test ran"
if [ -s "$work/failed" ]; then
	printf '\nroot tests that failed, and how they ended:\n'
	cat "$work/failed"
	exit 1
fi
