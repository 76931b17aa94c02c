#!/usr/bin/env bash
# test.sh: what `make test` runs once everything it needs is installed. Goes on
# after a failed step, so that one run tells all; fails if any step failed.
#
# CI (set): Cargo.lock must be up to date, and a test that hangs is ended.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

locked=() limit=() features=(--features conntrack-xdp/async)
[ -z "${CI:-}" ] || { locked=(--locked) limit=(timeout 50m); }
work=$(mktemp -d)
# An aside does not end by Ctrl-C on its own.
trap 'jobs -pr | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
failed=() left_out=()

# step NAME COMMAND…: runs it, keeps its output, remembers how it ended.
step() {
	local name=$1 begin=$SECONDS
	shift
	printf '\n== %s: %s\n' "$name" "$*"
	if "$@" 2>&1 | tee -a "$work/log"; then
		printf '== %s: ok (%d s)\n' "$name" $((SECONDS - begin))
	else
		printf '== %s: FAILED (%d s)\n' "$name" $((SECONDS - begin))
		failed+=("$name")
		return 1
	fi
}

# aside NAME COMMAND…: begins a step that runs beside those that follow, in the time that
# they leave; `step NAME told NAME` waits for it.
aside() {
	local name=$1 child status
	shift
	printf '\n== %s: %s: begun beside what follows\n' "$name" "$*"
	(
		chrt -i 0 "$@" >"$work/$name.out" 2>&1 </dev/null &
		child=$! status=0
		trap 'kill "$child"; exit' TERM
		wait "$child" || status=$?
		echo "$status" >"$work/$name.status"
	) &
	echo $! >"$work/$name.pid"
}

# shellcheck disable=SC2317 # step calls it
# told NAME: what that one printed, ending as it did.
told() {
	# Whoever was killed says nothing any more.
	while kill -0 "$(<"$work/$1.pid")" 2>/dev/null; do
		sleep 1
	done
	cat "$work/$1.out"
	[ -s "$work/$1.status" ] && return "$(<"$work/$1.status")"
}

# component NAME: is this optional part of the toolchain installed?
component() {
	cargo "$1" --version >/dev/null 2>&1 && return
	printf '\n== %s: not installed for this toolchain, left out\n' "$1"
	left_out+=("$1")
	return 1
}

# linter PROGRAM: is this one installed?
linter() {
	command -v "$1" >/dev/null && return
	printf '\n== %s: not installed, left out\n' "$1"
	left_out+=("$1")
	return 1
}

# shellcheck disable=SC2317 # step calls it
# format_of_c: does clang-format want any C otherwise?
format_of_c() {
	git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format --dry-run -Werror
}

# total WORD: sum over the test runners' closing lines, as in "12 passed; 0 failed".
total() {
	sed -n "s/^test result:.* \([0-9]*\) $1.*/\1/p" "$work/log" | awk '{n += $1} END {print n + 0}'
}

finish() {
	local passed failures
	passed=$(total passed)
	failures=$(total failed)
	[ "$passed" -gt 0 ] || failed+=("no test ran")
	printf '\n'
	[ ${#left_out[@]} -eq 0 ] || printf 'left out (not installed): %s\n' "${left_out[*]}"
	if [ ${#failed[@]} -eq 0 ]; then
		printf 'make test: every step passed in %d s\n' "$SECONDS"
	else
		printf 'make test: FAILED in %d s:' "$SECONDS"
		printf ' [%s]' "${failed[@]}"
		printf '\n'
	fi
	printf '%d passed, %d failed\n' "$passed" "$failures"
	[ ${#failed[@]} -eq 0 ]
	exit
}

export RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings"

if component fmt; then
	step format cargo fmt --all --check || true
fi
if linter clang-format; then
	step "format of C" format_of_c || true
fi
if linter shellcheck; then
	step shellcheck shellcheck -x scripts/*.sh .ci/run || true
fi
if linter cargo-deny; then
	# Advisories take a network, and what they say changes without a commit:
	# `make lint` asks for them.
	step licences cargo deny --all-features check bans licenses sources || true
fi
step build cargo test "${locked[@]}" "${features[@]}" --workspace --no-run || finish
step tests "${limit[@]}" cargo test "${locked[@]}" "${features[@]}" --workspace --no-fail-fast || true

mark=CONNTRACK_TEST_RUN=$$-$RANDOM
# Built with the tests.
leftovers=(env "MARK=$mark" "LOADED=${CARGO_TARGET_DIR:-target}/debug/examples/loaded" scripts/leftovers.sh)
as_root "${leftovers[@]}" snapshot >"$work/before"
test_programs '[a-z]+' "${locked[@]}" "${features[@]}" --workspace --lib --bins --tests >"$work/programs" || failed+=("root tests")
clippy=no
if component clippy; then
	clippy=yes
	aside clippy "${limit[@]}" cargo clippy "${locked[@]}" "${features[@]}" --workspace --all-targets -- -D warnings
fi
aside documentation "${limit[@]}" cargo doc "${locked[@]}" "${features[@]}" --workspace --no-deps
step "root tests" as_root "${limit[@]}" env "$mark" scripts/root-tests.sh "$work/programs" || true
[ "$clippy" = no ] || step clippy told clippy || true
step documentation told documentation || true
step "nothing left behind" as_root "${leftovers[@]}" compare "$work/before" || true
finish
