#!/usr/bin/env bash
# install.sh install|uninstall: puts the built program below $PREFIX/bin, or
# takes it away.
#
# PREFIX (/usr/local), DESTDIR (empty), NAME (found out).
# conntrack-tools has a program `conntrack` too, which scripts and kube-proxy
# call: where it, or any other foreign `conntrack`, is present, ours becomes
# `conntrack-xdp`. Setting NAME decides it beforehand, as a package must.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

bin=${DESTDIR:-}${PREFIX:-/usr/local}/bin

# ours FILE: did an earlier install put it there? Theirs says "conntrack v1.4.7 (conntrack-tools)".
ours() { [[ "$("$1" --version 2>/dev/null)" =~ ^conntrack(-xdp)?\ [0-9] ]]; }

# Prints the first `conntrack` in PATH that is not ours.
foreign() {
	local dir dirs
	IFS=: read -ra dirs <<<"$PATH"
	for dir in "${dirs[@]}"; do
		if [ -x "$dir/conntrack" ] && ! ours "$dir/conntrack"; then
			echo "$dir/conntrack"
			return
		fi
	done
}

remove() {
	if [ -x "$1" ] && ours "$1"; then
		rm -f "$1"
		say "removed $1"
	fi
}

install_it() {
	local target built name other
	target=$(cargo metadata --format-version 1 --no-deps 2>/dev/null |
		sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p') || true
	built=${target:-${CARGO_TARGET_DIR:-target}}/release/conntrack
	[ -x "$built" ] || die "$built is not there; 'make build' first"
	name=${NAME:-}
	if [ -z "$name" ]; then
		other=$(foreign)
		name=conntrack
		if [ -n "$other" ]; then
			name=conntrack-xdp
			say "$other belongs to another package: installing as '$name'"
			remove "$bin/conntrack"
		fi
	fi
	install -D -m 755 "$built" "$bin/$name"
	say "installed $bin/$name"
}

case ${1:-} in
install) install_it ;;
uninstall)
	remove "$bin/conntrack"
	remove "$bin/conntrack-xdp"
	;;
*) die "usage: install.sh install|uninstall" ;;
esac
