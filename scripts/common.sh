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

# test_programs PACKAGES OPTION…: builds with cargo's options; a line "name folder
# program" for each test program of a package that PACKAGES matches, with tabs.
test_programs() {
	local packages=$1
	shift
	cargo test "$@" --no-run --message-format=json |
		sed -nE '/"profile":\{[^}]*"test":true/s/.*"package_id":"[^"]*conntrack-('"$packages"')[#@][^"]*","manifest_path":"([^"]*)\/Cargo.toml".*"name":"([^"]*)".*"executable":"([^"]*)".*/\1 \3\t\2\t\4/p'
}
