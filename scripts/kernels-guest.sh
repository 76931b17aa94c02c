#!/usr/bin/env bash
# kernels-guest.sh FILE: runs the root tests that FILE lists ("name folder program
# tests", no tests for all of a program), on the kernel it is started on, one line a
# program. kernels.sh starts it.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# Devices and parts that the tests use; some are built in, some may be lacking.
modules="veth bridge 8021q bonding dummy macvlan vrf tun ip_gre sctp sch_ingress cls_bpf act_bpf
	nf_conntrack nf_conntrack_netlink nf_tables nft_ct nft_compat"

prepare() {
	local module absent=()
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	mkdir -p /run/netns
	ip link set lo up
	for module in $modules; do
		modprobe -q "$module" 2>/dev/null || absent+=("$module")
	done
	# A kernel without loadable modules has what it has built in.
	if [ -s /proc/modules ] && [ ${#absent[@]} -gt 0 ]; then
		say "$(uname -r) has no module: ${absent[*]}"
	fi
}

# run NAME FOLDER PROGRAM TESTS: one line, and all it printed if it failed.
run() {
	local log begin=$SECONDS status result ok bad tests exact=()
	log=$(mktemp)
	read -ra tests <<<"$4"
	[ ${#tests[@]} -eq 0 ] || exact=(--exact "${tests[@]}")
	# Cargo would start it in its package's folder.
	(cd "$2" && CARGO_MANIFEST_DIR=$2 exec "$3" --ignored --test-threads=1 "${exact[@]}") </dev/null >"$log" 2>&1
	status=$?
	result=$(grep '^test result:' "$log" | tail -n 1)
	ok=$(sed -n 's/.* \([0-9]*\) passed.*/\1/p' <<<"$result")
	bad=$(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$result")
	# A name that no test bears any more would leave a gap that nobody sees.
	if [ ${#tests[@]} -gt 0 ] && [ $((${ok:-0} + ${bad:-0})) -ne ${#tests[@]} ]; then
		say "$1: $((${ok:-0} + ${bad:-0})) of ${#tests[@]} tests ran"
		bad=$((${bad:-0} + 1))
	fi
	# Died before its closing line: that is a failure too.
	if [ "$status" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then
		bad=1
	fi
	[ "$status" -eq 0 ] || cat "$log"
	if [ "${ok:-0}" -gt 0 ] || [ "${bad:-0}" -gt 0 ]; then
		printf '%s: %s: %d passed, %d failed (%d s)\n' \
			"$(uname -r)" "$1" "${ok:-0}" "${bad:-0}" $((SECONDS - begin))
	fi
	passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0}))
	rm -f "$log"
}

passed=0 failed=0
prepare
while IFS=$'\t' read -r name folder program tests; do
	run "$name" "$folder" "$program" "$tests"
done <"$1"
printf 'kernel-tests: %d %d\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
