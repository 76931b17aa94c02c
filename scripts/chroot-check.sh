#!/usr/bin/env bash
# chroot-check.sh [COMMAND…]: the newcomer's test. Makes a fresh Debian in a
# temporary folder, with nothing in it but make, certificates and Rust; clones
# the last commit of this repository into it, runs the commands there ("make
# demo", then "make test"), and looks at what they left behind. Run as root.
#
# SUITE   bookworm; or any other that debootstrap knows
# MIRROR  where its packages come from (this machine's own source for SUITE)
# BARE=1  a toolchain without rustfmt and clippy
# KEEP=1  leave the folder for a look
#
# Everything is mounted in a mount namespace of its own, so whatever happens no
# mount outlives it, and deleting the folder can't reach through one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

suite=${SUITE:-bookworm}
here=$(cd "$(dirname "$0")/.." && pwd)

# rooted ROOT: processes that have ROOT as their root folder.
rooted() {
	local link
	for link in /proc/[0-9]*/root; do
		if [ "$(readlink "$link" 2>/dev/null)" = "$1" ]; then
			link=${link%/root}
			echo "${link#/proc/}"
		fi
	done
}

# source_of CODENAME: the address that this machine's apt has for it.
source_of() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v name="$1" '$1 == name && $2 == "main" {print $3; exit}'
}

# make_debian ROOT: a minimal system whose apt works as this machine's does.
make_debian() {
	local root=$1 mirror security components=main
	mirror=${MIRROR:-$(source_of "$suite")}
	# A mirror that has this machine's release usually has the others too.
	mirror=${mirror:-$(source_of "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")")}
	[ -n "$mirror" ] || die "apt here knows no source for $suite; set MIRROR"
	debootstrap --variant=minbase --include=ca-certificates,make "$suite" "$root" "$mirror" >"$root.log" 2>&1 ||
		{ tail -n 20 "$root.log"; die "debootstrap failed"; }
	security=$(source_of "$suite-security")
	# Ubuntu keeps some of what the tests need elsewhere.
	! grep -qi '^ID=ubuntu' "$root/etc/os-release" || components="main universe"
	{
		echo "deb $mirror $suite $components"
		[ -z "$security" ] || echo "deb $security $suite-security $components"
	} >"$root/etc/apt/sources.list"
	apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+)(::[^:]+)* "' >"$root/etc/apt/apt.conf.d/99host" || true
	cp /etc/resolv.conf /etc/hosts "$root/etc/"
	# The certificate authorities that this machine trusts, its own included.
	cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # start no services
	chmod +x "$root/usr/sbin/policy-rc.d"
}

# add_rust ROOT: this machine's toolchain, read-only, without rustup.
add_rust() {
	local root=$1 tool
	mkdir -p "$root/opt/toolchain" "$root/opt/rust/bin"
	mount --bind "$(rustc --print sysroot)" "$root/opt/toolchain"
	mount -o remount,bind,ro "$root/opt/toolchain"
	for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
		case ${BARE:-}:$tool in
		?*:*fmt | ?*:*clippy*) ;;
		*) ln -s "/opt/toolchain/bin/$tool" "$root/opt/rust/bin/$tool" ;;
		esac
	done
}

# inside ROOT COMMAND…: all that happens in the mount namespace.
inside() {
	local root=$1 command begin status=0 left
	shift
	begin=$SECONDS
	# `ip netns` changes how its root is mounted; a mere folder is not.
	mount --bind "$root" "$root"
	say "debootstrap $suite"
	make_debian "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	# As an ordinary system has it: one for all who look.
	mount --bind /sys/fs/bpf "$root/sys/fs/bpf"
	mount --rbind /dev "$root/dev"
	mount --make-rslave "$root/dev"
	add_rust "$root"
	git clone --quiet "file://$here" "$root/src/conntrack"
	say "system made in $((SECONDS - begin)) s; commit $(git -C "$root/src/conntrack" log -1 --format='%h %s')"
	"$here/scripts/leftovers.sh" snapshot >"$root.before"

	for command in "$@"; do
		begin=$SECONDS
		printf '\n=== in the chroot: %s\n' "$command"
		if chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
			PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			bash -c "cd /src/conntrack && $command" </dev/null; then
			printf '=== %s: ok (%d s)\n' "$command" $((SECONDS - begin))
		else
			printf '=== %s: FAILED (%d s)\n' "$command" $((SECONDS - begin))
			status=1
		fi
	done

	left=$(
		compared=$("$here/scripts/leftovers.sh" compare "$root.before" 2>/dev/null) ||
			printf '%s\n' "${compared:-the comparison itself failed}"
		find "$root/run/netns" -mindepth 1 -printf 'namespace %f\n' 2>/dev/null || true
		find "$root/sys/fs/bpf" -mindepth 1 -printf 'pin %p\n' 2>/dev/null || true
		for pid in $(rooted "$root"); do
			echo "process $pid $(cat "/proc/$pid/comm")"
		done
		git -C "$root/src/conntrack" status --porcelain | sed 's/^/changed in the clone: /'
	)
	printf '\n'
	if [ -n "$left" ]; then
		printf 'left behind:\n%s\n' "$left"
		status=1
	else
		printf 'nothing was left behind\n'
	fi
	return $status
}

# clean ROOT: ends what still runs in there, then deletes it, if nothing is mounted.
clean() {
	local pid
	for pid in $(rooted "$1"); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	if [ -n "${KEEP:-}" ]; then
		say "kept: $1"
	elif awk -v root="$1" 'index($5, root "/") == 1 || $5 == root {found = 1} END {exit !found}' /proc/self/mountinfo; then
		say "something is still mounted below $1: not deleted"
	else
		rm -rf --one-file-system "$1" "$1.log" "$1.before"
	fi
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
	exit
fi

is_root || die "needs root: sudo -E $0"
for needed in cargo rustc git; do
	command -v $needed >/dev/null || die "cargo, rustc and git are needed: $needed is missing"
done
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
command -v bpftool >/dev/null || say "bpftool is not installed: loaded programs are not looked at"
[ $# -gt 0 ] || set -- "make demo" "make test"
root=$(mktemp -d "${TMPDIR:-/tmp}/conntrack-chroot.XXXXXX")
chmod 755 "$root"
trap 'clean "$root"' EXIT
mountpoint -q /sys/fs/bpf || mount -t bpf -o mode=700 bpf /sys/fs/bpf
unshare --mount --propagation private --fork --kill-child "$0" --inside "$root" "$@"
