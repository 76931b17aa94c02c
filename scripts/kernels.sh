#!/usr/bin/env bash
# kernels.sh: the kernel part of the test suite on several kernels: that of the BPF
# program and of the library. The command line asks the kernel through these only.
#
# KERNELS    "6.1 6.12 running newest"; "running" is this machine's own
# VM_RUN     the program that boots a kernel with this root file system and runs
#            a command there: VM_RUN --kernel VERSION … -- COMMAND
# TIMEOUT    seconds for one kernel (3600)
# TESTS      only the test programs whose name matches this pattern
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

kernels=${KERNELS:-6.1 6.12 running newest}
vm_run=${VM_RUN:-../shared/tools/vm-run}
timeout=${TIMEOUT:-3600}
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

# Built with the whole workspace, as `make test` does, so that nothing is compiled twice.
test_programs 'bpf|xdp' --features conntrack-xdp/async --workspace --lib --bins --tests | grep -E "${TESTS:-.}" >"$work/programs" || die "no test program was built"
passed=0 failed=0
for kernel in $kernels; do
	printf '\n== kernel %s\n' "$kernel"
	begin=$SECONDS
	on_kernel "$kernel" | tee "$work/out" || say "kernel $kernel: ended with ${PIPESTATUS[0]}"
	read -r ok bad < <(sed -n 's/^kernel-tests: //p' "$work/out" | tail -n 1; echo)
	# A guest that died says nothing, and a kernel where no test ran proves nothing.
	if [ "${ok:-0}" -eq 0 ] && [ "${bad:-0}" -eq 0 ]; then
		bad=1
		say "kernel $kernel: no test ran"
	fi
	printf '== kernel %s: %d passed, %d failed (%d s)\n' "$kernel" "${ok:-0}" "${bad:-0}" $((SECONDS - begin))
	passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0}))
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
