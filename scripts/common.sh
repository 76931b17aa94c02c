# Sourced by the other scripts: messages, and running a command as root.
# shellcheck shell=bash

# Debian keeps ip, nft and conntrack where an ordinary user's PATH may not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
	say "$*"
	exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# as_root COMMAND…: runs it as root, keeping PATH (and so cargo) under sudo.
as_root() {
	if is_root; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -E env "PATH=$PATH" "$@"
	else
		die "needs root and there is no sudo; run as root: $*"
	fi
}
