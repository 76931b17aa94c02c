#!/usr/bin/env bash
# root-tests.sh FILE: runs the root tests of each program that FILE lists ("name
# folder program", see test_programs), as root, and tells how each ended once it
# has. Fails if one failed.
#
# JOBS   programs at a time (2, 1 on a machine with one CPU). Within a program the
#        tests take turns; many of them wait for something most of the time
# ALONE  pattern of names of programs that run by themselves, after the others
# PART   tests of one program that are run in one go (24): what is left of one that
#        has more is run beside them, or all would wait for it at the end
# LIMIT  how long one may take (20m): what hangs is to be known by its name
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

jobs=${JOBS:-$(($(nproc) > 1 ? 2 : 1))}
# They need both CPUs at the same time, or count what the whole machine has.
alone=${ALONE:-'^(xdp kills|bpf (hot|races|flood|many))$'}
part=${PART:-24}
limit=${LIMIT:-20m}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# parts: of each program that has root tests, a line "name folder program tests" for
# every $part of them, those with most tests first.
parts() {
	local name folder program list tests count each i
	while IFS=$'\t' read -r name folder program; do
		list=$(cd "$folder" && CARGO_MANIFEST_DIR=$folder "$program" --ignored --list </dev/null) ||
			die "$name does not say what tests it has"
		mapfile -t tests < <(sed -n 's/: test$//p' <<<"$list")
		count=${#tests[@]}
		[ "$count" -gt 0 ] || continue
		each=$(((count + part - 1) / part))
		# In turn: neighbours are alike, and so is what they take.
		for ((i = 0; i < each; i++)); do
			printf '%d\t%s\t%s\t%s\t' $((count / each)) "$name" "$folder" "$program"
			[ "$each" -eq 1 ] || printf '%s\n' "${tests[@]}" | awk -v i="$i" -v each="$each" '(NR - 1) % each == i' | tr '\n' ' '
			printf '\n'
		done
	done <"$1" >"$work/counted"
	sort -t $'\t' -k 1,1nr -s "$work/counted" | cut -f 2-
}

# run NAME FOLDER PROGRAM TESTS: what it printed comes out in one piece.
run() {
	local log begin=$SECONDS status=0 tests exact=()
	log=$(mktemp -p "$work")
	read -ra tests <<<"$4"
	[ ${#tests[@]} -eq 0 ] || exact=(--exact "${tests[@]}")
	# Cargo would start it in its package's folder.
	(cd "$2" && CARGO_MANIFEST_DIR=$2 exec timeout -k 30 "$limit" "$3" --ignored --test-threads=1 "${exact[@]}") </dev/null >"$log" 2>&1 || status=$?
	[ "$status" -eq 0 ] || printf '%s (%d)\n' "$1" "$status" >>"$work/failed"
	# One at a time, or they would mix.
	flock "$work" -c "printf '\n-- %s: ended with %d after %d s\n' '$1' $status $((SECONDS - begin)); cat '$log'"
}

# every ALONE JOBS: those that run alone (1), or the others (0), so many at a time.
every() {
	local name folder program tests running=0
	while IFS=$'\t' read -r name folder program tests; do
		if [ "$running" -ge "$2" ]; then
			wait -n || true
			running=$((running - 1))
		fi
		run "$name" "$folder" "$program" "$tests" &
		running=$((running + 1))
	done < <(awk -F '\t' -v alone="$alone" -v want="$1" '($1 ~ alone) == want' "$work/parts")
	wait
}

parts "$1" >"$work/parts"
[ -s "$work/parts" ] || die "no root test is there"
: >"$work/failed"
every 0 "$jobs"
every 1 1
if [ -s "$work/failed" ]; then
	printf '\nroot tests that failed, and how they ended:\n'
	cat "$work/failed"
	exit 1
fi
