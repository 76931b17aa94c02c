#!/usr/bin/env bash
# kernels.sh: the kernel part of the test suite, which kernel-part lists, on several
# kernels.
#
# KERNELS    "6.1 6.12 running newest"; "running" is this machine's own
# JOBS       kernels at a time (2, 1 on a machine with one CPU): an emulated guest
#            takes one CPU
# VM_RUN     the program that boots a kernel with this root file system and runs
#            a command there: VM_RUN --kernel VERSION … -- COMMAND
# TIMEOUT    seconds for one kernel (7200)
# TESTS      only the test programs whose name matches this pattern
# ALL        1: each root test of them, which takes hours where a guest is emulated
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

kernels=${KERNELS:-6.1 6.12 running newest}
jobs=${JOBS:-$(($(nproc) > 1 ? 2 : 1))}
vm_run=${VM_RUN:-../shared/tools/vm-run}
timeout=${TIMEOUT:-7200}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# on_kernel KERNEL: runs them all on it; its last line is "kernel-tests: PASSED FAILED".
on_kernel() {
	if [ "$1" = running ]; then
		as_root scripts/kernels-guest.sh "$work/programs"
		return
	fi
	[ -x "$vm_run" ] || die "VM_RUN: $vm_run is not there; set VM_RUN=/path/to/vm-run, or KERNELS=running"
	"$vm_run" --kernel "$1" --flavour full --memory 4096 --timeout "$timeout" \
		--env CONNTRACK_TEST_KERNEL_MATRIX=1 -- scripts/kernels-guest.sh "$work/programs"
}

# kernel KERNEL: the same, and how it ended in a line, kept in a file of its name.
kernel() {
	local begin=$SECONDS ok bad out
	out=$(mktemp -p "$work")
	on_kernel "$1" 2>&1 | tee "$out" || say "kernel $1: ended with ${PIPESTATUS[0]}"
	read -r ok bad < <(sed -n 's/^kernel-tests: //p' "$out" | tail -n 1; echo)
	# A guest that died says nothing, and a kernel where no test ran proves nothing.
	if [ "${ok:-0}" -eq 0 ] && [ "${bad:-0}" -eq 0 ]; then
		bad=1
		say "kernel $1: no test ran"
	fi
	printf '== kernel %s: %d passed, %d failed (%d s)\n' "$1" "${ok:-0}" "${bad:-0}" $((SECONDS - begin))
	printf '%d %d\n' "${ok:-0}" "${bad:-0}" >"$work/ended-${1//\//_}"
}

# chosen: a line of "name folder program tests" for each program that is to run.
chosen() {
	local name folder program tests
	while IFS=$'\t' read -r name folder program; do
		tests=
		if [ "${ALL:-0}" != 1 ]; then
			tests=$(grep "^$name:" scripts/kernel-part) || continue
			tests=${tests#*:}
		fi
		printf '%s\t%s\t%s\t%s\n' "$name" "$folder" "$program" "$tests"
	done
}

# Built with the whole workspace, as `make test` does, so that nothing is compiled twice.
test_programs 'bpf|xdp|cli' --features conntrack-xdp/async --workspace --lib --bins --tests |
	grep -E "${TESTS:-.}" | chosen >"$work/programs"
[ -s "$work/programs" ] || die "no test program was built"
# A program that bears another name now would leave a gap that nobody sees.
if [ -z "${TESTS:-}${ALL:-}" ]; then
	gone=$(comm -23 <(sed -n 's/^\([^#:]*\):.*/\1/p' scripts/kernel-part | sort) <(cut -f 1 "$work/programs" | sort))
	[ -z "$gone" ] || die "kernel-part: no such program: $gone"
fi
# Emulated ones first, side by side; this machine's own in quiet, after them.
running=0
for kernel in $kernels; do
	[ "$kernel" != running ] || continue
	if [ "$running" -ge "$jobs" ]; then
		wait -n || true
		running=$((running - 1))
	fi
	printf '\n== kernel %s\n' "$kernel"
	kernel "$kernel" &
	running=$((running + 1))
done
wait
case " $kernels " in *' running '*)
	printf '\n== kernel running\n'
	kernel running
	;;
esac
passed=0 failed=0
for kernel in $kernels; do
	ok=0 bad=1 # if it did not get as far as to say so
	read -r ok bad <"$work/ended-${kernel//\//_}" || true
	passed=$((passed + ok)) failed=$((failed + bad))
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
