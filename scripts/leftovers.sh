#!/usr/bin/env bash
# leftovers.sh snapshot        prints what our programs could leave on this machine
# leftovers.sh compare FILE    prints what is there and is not in FILE; fails if
#                              it is still there after a few seconds
#
# Network namespaces, interfaces and what sits on them, pins, processes, loaded
# programs and links.
#
# LOADED  the built example "loaded" of conntrack-bpf, which lists programs and
#         links; without it, bpftool does where it is installed
# MARK    NAME=VALUE in the environment of processes that are ours; one called
#         conntrack always is
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# ours: the /proc folders of our processes.
ours() {
	local process
	for process in /proc/[0-9]*; do
		if [ "$(cat "$process/comm" 2>/dev/null)" = conntrack ] ||
			{ [ -n "${MARK:-}" ] && grep -qzxF "$MARK" "$process/environ" 2>/dev/null; }; then
			echo "$process"
		fi
	done
}

# namespaces PROCESS: those that its threads are in, or that it has open.
namespaces() {
	local link
	for link in "$1"/task/*/ns/net "$1"/fd/*; do
		readlink "$link" 2>/dev/null || true
	done | grep '^net:' | sort -u || true
}

processes() {
	local process namespace here
	here=$(readlink /proc/self/ns/net)
	for process in $(ours); do
		echo "process ${process#/proc/} $(cat "$process/comm" 2>/dev/null || true)"
		for namespace in $(namespaces "$process"); do
			[ "$namespace" = "$here" ] || echo "namespace $namespace of process ${process#/proc/}"
		done
	done
}

snapshot() {
	local root
	{
		ip netns list | awk '{print "namespace", $1}'
		# Those that are mounted, under whatever name.
		cat /proc/self/mountinfo /proc/1/mountinfo 2>/dev/null |
			awk '$4 ~ /^net:/ && $5 !~ "^(/var)?/run/netns/" {print "namespace", $4, "at", $5}'
		ip -o -d link show | awk '{
			split($2, name, "[:@]")
			xdp = match($0, /prog\/xdp id [0-9]+/) ? " with " substr($0, RSTART, RLENGTH) : ""
			print "interface", name[1] xdp
		}'
		if command -v tc >/dev/null; then
			tc qdisc show | awk '$2 == "clsact" {print "qdisc clsact on", $5}'
		fi
		for root in "" /proc/1/root; do
			find "$root/sys/fs/bpf/conntrack" -type f 2>/dev/null | sed 's/^/pin /' || true
		done
		processes
		if [ -n "${LOADED:-}" ]; then
			"$LOADED"
		elif command -v bpftool >/dev/null; then
			bpftool prog list 2>/dev/null | awk '$4 ~ /^ct_/ {print "program", $1, $4}'
			bpftool link list 2>/dev/null | awk '/^[0-9]+: (xdp|tcx)/ {print "link", $1, $2}'
		fi
	} | sort -u
}

case ${1:-} in
snapshot) snapshot ;;
compare)
	# The kernel frees programs and namespaces a little after their last user.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		left=$(snapshot | comm -13 "$2" -)
		[ -n "$left" ] || exit 0
		sleep 1
	done
	say "left behind:"
	printf '%s\n' "$left"
	exit 1
	;;
*) die "usage: leftovers.sh snapshot | compare FILE" ;;
esac
