#!/usr/bin/env bash
# setup.sh [build|test|kernels]: installs what this step needs and is missing.
#
#   build    compile and run the demo
#   test     the same and the test suite
#   kernels  the same and the test suite under other kernels
#
# Debian and Ubuntu: by apt, asking sudo only if something is missing and you
# are not root. Elsewhere: names the packages and fails if any is missing.
#
# OS_RELEASE  a file that says which of them this is (/etc/os-release)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

rust_min=88 # 1.88, as in Cargo.toml
unpacked=${CARGO_TARGET_DIR:-target}/fail2ban

# Level, how to look, what for; then the package on Debian and Ubuntu, Fedora,
# Arch, Alpine, SUSE.
needs() {
	cat <<-'END'
		build   cmd     cc                 gcc               gcc                   gcc              gcc           gcc
		build   file    stdio.h            libc6-dev         glibc-devel           glibc            musl-dev      glibc-devel
		build   file    linux/bpf.h        linux-libc-dev    kernel-headers        linux-api-headers linux-headers linux-glibc-devel
		build   cmd     clang              clang             clang                 clang            clang         clang
		build   cmd     make               make              make                  make             make          make
		build   cmd     pkg-config         pkg-config        pkgconf-pkg-config    pkgconf          pkgconf       pkg-config
		build   lib     libelf             libelf-dev        elfutils-libelf-devel libelf           elfutils-dev  libelf-devel
		build   lib     zlib               zlib1g-dev        zlib-devel            zlib             zlib-dev      zlib-devel
		build   cmd     ip                 iproute2          iproute               iproute2         iproute2      iproute2
		build   cmd     ping               iputils-ping      iputils               iputils          iputils-ping  iputils
		build   cmd     ps                 procps            procps-ng             procps-ng        procps        procps
		test    tools   conntrack          conntrack         conntrack-tools       conntrack-tools  conntrack-tools conntrack-tools
		test    cmd     nft                nftables          nftables              nftables         nftables      nftables
		test    cmd     tc                 iproute2          iproute-tc            iproute2         iproute2-tc   iproute2
		test    cmd     iperf3             iperf3            iperf3                iperf3           iperf3        iperf
		test    cmd     curl               curl              curl                  curl             curl          curl
		test    cmd     ethtool            ethtool           ethtool               ethtool          ethtool       ethtool
		test    sbin    sshd               openssh-server    openssh-server        openssh          openssh-server openssh-server
		test    cmd     ssh                openssh-client    openssh-clients       openssh          openssh-client openssh-clients
		test    cmd     tcpdump            tcpdump           tcpdump               tcpdump          tcpdump       tcpdump
		test    sbin    p0f                p0f               p0f                   p0f              p0f           p0f
		test    unpacked fail2ban-server   fail2ban          fail2ban              fail2ban         fail2ban      fail2ban
		test    cmd     python3            python3           python3               python            python3       python3
		test    cmd     setpriv            util-linux        util-linux            util-linux       setpriv       util-linux
		test    cmd     chrt               util-linux        util-linux            util-linux       util-linux-misc util-linux
		test    cmd     stty               coreutils         coreutils             coreutils        coreutils     coreutils
		kernels cmd     qemu-system-x86_64 qemu-system-x86   qemu-system-x86-core  qemu-system-x86  qemu-system-x86_64 qemu-x86
		kernels virtiofsd virtiofsd        virtiofsd|qemu-system-common virtiofsd virtiofsd        virtiofsd     virtiofsd
		kernels cmd     busybox            busybox-static    busybox               busybox          busybox-static busybox-static
		kernels cmd     modprobe           kmod              kmod                  kmod             kmod          kmod
		kernels cmd     zstd               zstd              zstd                  zstd             zstd          zstd
		kernels cmd     lz4                lz4               lz4                   lz4              lz4           lz4
	END
}

# found HOW WHAT: is it here?
found() {
	case $1 in
	cmd) command -v "$2" >/dev/null ;;
	sbin) command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] ;;
	lib) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
	file) compgen -G "/usr/include/$2" >/dev/null ;;
	unpacked) command -v "$2" >/dev/null || [ -x "$unpacked/usr/bin/$2" ] ;;
	# Ours has the same name: ask the one that is found who it is.
	tools) [[ "$(conntrack --version 2>&1)" == *conntrack-tools* ]] ||
		[[ "$(/usr/sbin/conntrack --version 2>&1)" == *conntrack-tools* ]] ;;
	virtiofsd) command -v virtiofsd >/dev/null || [ -x /usr/libexec/virtiofsd ] ||
		[ -x /usr/lib/qemu/virtiofsd ] || [ -x /usr/lib/virtiofsd ] ;;
	esac
}

# The column of this distribution in the table above.
column() {
	local id
	# shellcheck disable=SC1090,SC1091
	for id in $(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}"); do
		case $id in
		debian | ubuntu) echo 4 ;;
		fedora | rhel | centos) echo 5 ;;
		arch) echo 6 ;;
		alpine) echo 7 ;;
		suse | opensuse* | sles) echo 8 ;;
		*) continue ;;
		esac
		return
	done
	echo 0
}

# check_rust: cargo is there and new enough; it is the one thing not installed here.
check_rust() {
	local version minor
	if ! command -v cargo >/dev/null; then
		say "Rust is missing: get 1.$rust_min or newer from https://rustup.rs"
		say "(is it only root's PATH that lacks it? Then run make as yourself; it asks for sudo where it must)"
		return 1
	fi
	version=$(cargo --version | awk '{print $2}')
	minor=${version#1.}
	if [ "${minor%%.*}" -lt "$rust_min" ]; then
		say "Rust $version is too old: 1.$rust_min or newer is needed ('rustup update')"
		return 1
	fi
}

apt_update() {
	as_root apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null ||
		die "apt-get update failed"
}

# unpack_fail2ban: installed, it would start and ban by itself. What newer Pythons lack
# comes along.
unpack_fail2ban() {
	local package packages=(fail2ban)
	found unpacked fail2ban-server && return
	say "unpacking fail2ban, without installing it"
	apt-cache show fail2ban >/dev/null 2>&1 || apt_update
	for package in python3-pyasyncore python3-pyasynchat; do
		! apt-cache show "$package" >/dev/null 2>&1 || packages+=("$package")
	done
	mkdir -p "$unpacked"
	(cd "$unpacked" && apt-get -q download "${packages[@]}" >/dev/null 2>&1) || die "apt-get download failed: ${packages[*]}"
	for package in "$unpacked"/*.deb; do
		dpkg-deb -x "$package" "$unpacked"
		rm "$package"
	done
}

apt_install() {
	local package chosen=()
	say "installing with apt: $*"
	apt_update
	# "a|b": the first that this release has.
	for package in "$@"; do
		if [[ $package == *"|"* ]] && ! apt-cache show "${package%%|*}" >/dev/null 2>&1; then
			package=${package#*|}
		fi
		chosen+=("${package%%|*}")
	done
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${chosen[@]}" >/dev/null ||
		die "apt-get install failed"
}

# missing LEVELS COLUMN: a line "what package" for each need that is not met.
missing() {
	local need how what rest
	while read -r need how what rest; do
		[[ " $1 " == *" $need "* ]] || continue
		found "$how" "$what" || echo "$what $(awk -v n="$2" '{print n ? $(n - 3) : "?"}' <<<"$rest")"
	done < <(needs)
}

main() {
	local levels column lacking packages
	case ${1:-build} in
	build) levels="build" ;;
	test) levels="build test" ;;
	kernels) levels="build test kernels" ;;
	*) die "usage: setup.sh [build|test|kernels]" ;;
	esac
	[ "$(uname -s)" = Linux ] || die "conntrack runs on Linux only"
	column=$(column)
	if [ "$column" -eq 4 ] && [[ " $levels " == *" test "* ]]; then
		unpack_fail2ban
	fi
	lacking=$(missing "$levels" "$column")

	if [ -n "$lacking" ]; then
		mapfile -t packages < <(awk '{print $2}' <<<"$lacking" | sort -u)
		if [ "$column" -eq 4 ]; then
			apt_install "${packages[@]}"
		else
			say "missing here: $(awk '{print $1}' <<<"$lacking" | paste -sd' ')"
			[ "$column" -eq 0 ] || say "packages of this distribution: ${packages[*]}"
			die "install them and try again (only Debian and Ubuntu are done automatically)"
		fi
		lacking=$(missing "$levels" "$column" | awk '{print $1}' | paste -sd' ')
		[ -z "$lacking" ] || die "still missing after installing: $lacking"
	fi
	check_rust
	say "all that '${1:-build}' needs is here"
}

main "$@"
