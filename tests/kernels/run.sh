#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run the release build's tests on other kernels: Debian's 6.1 and 6.12 cloud kernels, booted under
# QEMU (emulated, no KVM needed) from an initramfs made of busybox and what the tests link. Nothing is
# installed into the system: packages are unpacked under build/kernels.
#   tests/kernels/run.sh [-k 6.1|6.12]... [-t seconds] [-s] [-c] [test binary]...
# Default: both kernels, every build/release/tests/bpf/test_*, the end-to-end smoke test and the container; with -s
# the smoke test and with -c the container alone, or beside tests that are named.
# Ends with one row a test and kernel, and with status 1 when one of them failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PATH:/usr/sbin:/sbin
cache=build/kernels
kernels=()
timeout_s=600
# QEMU 7.2 (Debian 12) emulates cmpxchg16b without a lock prefix wrongly, and the kernel allocates with it
cpu=max,la57=off,cx16=off
scripts=()
while getopts k:t:sch o; do
	case $o in
	k) kernels+=("$OPTARG") ;;
	t) timeout_s=$OPTARG ;;
	s) scripts+=(smoke.sh) ;;
	c) scripts+=(container.sh) ;;
	*) sed -n '3,9s/^# \{0,1\}//p' "$0"; [ "$o" = h ] && exit 0 || exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12)
tests=("$@")
if [ ${#tests[@]} -eq 0 ] && [ ${#scripts[@]} -eq 0 ]; then
	for t in build/release/tests/bpf/test_*; do
		case $t in
		*.d | */test_insns | */test_plane_faults) ;; # a budget of one kernel (all: test_insns_most); hours when emulated
		*) [ ! -x "$t" ] || tests+=("$t") ;;
		esac
	done
	[ ! -x build/release/waymarkd ] || scripts=(smoke.sh container.sh)
fi
if [ ${#tests[@]} -eq 0 ] && [ ${#scripts[@]} -eq 0 ]; then
	echo "nothing to run: build with 'make FLAVOUR=release all test-build' first" >&2
	exit 1
fi
wants() { [[ " ${scripts[*]} " == *" $1 "* ]]; }
mkdir -p "$cache"
work=$(mktemp -d "$PWD/$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT

# --- kernels -----------------------------------------------------------------------------------
# The backports suite is known to a configuration of our own only, never to the system's.
private_apt=("-o" "Dir::Etc::sourcelist=$PWD/$cache/apt/sources.list" "-o" "Dir::Etc::sourceparts=-"
	"-o" "Dir::State::lists=$PWD/$cache/apt/lists" "-o" "Dir::Cache=$PWD/$cache/apt")
use_backports() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	local keys=/usr/share/keyrings/debian-archive-keyring.gpg mirror
	# the system's own mirror
	# shellcheck disable=SC2016 # apt's fields
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)
	echo "deb [signed-by=$keys] $mirror bookworm-backports main" \
		>"$cache/apt/sources.list"
	apt-get "${private_apt[@]}" update -qq
}

# Print the directory of an unpacked kernel whose version starts with $1, fetching it if needed.
kernel_dir() {
	local want=$1 apt=() package dir
	dir=$(compgen -G "$cache/$want.*" | sort -V | tail -n 1 || true)
	if [ -n "$dir" ]; then
		echo "$dir"
		return
	fi
	if [ "$want" != 6.1 ]; then
		use_backports >&2 || return 1
		apt=("${private_apt[@]}")
	fi
	package=$(apt-cache "${apt[@]}" search --names-only "^linux-image-$want\\.[^ ]*-cloud-amd64\$" |
		awk '{print $1}' | sort -V | tail -n 1)
	[ -n "$package" ] || return 1
	dir=$cache/${package#linux-image-}
	(cd "$work" && apt-get "${apt[@]}" download -qq "$package") >&2 || return 1
	dpkg -x "$work/$package"_*.deb "$work/unpacked" >&2
	mv "$work/unpacked" "$dir"
	rm -f "$work/$package"_*.deb
	echo "$dir"
}

# --- initramfs -----------------------------------------------------------------------------------
# Copy a program and every library that it links, at the paths where the loader looks for them.
add_program() {
	local root=$1 from to=$3 lib
	from=$(readlink -f "$2")
	install -D -m 755 "$from" "$root/$to"
	while read -r lib; do
		[ -e "$root$lib" ] || install -D -m 755 "$(readlink -f "$lib")" "$root$lib"
	done < <(ldd "$from" 2>/dev/null | grep -o '/[^ ]*')
}

# Copy a module of the kernel and what it depends on, unpacked, and list them in loading order.
add_module() {
	local kernel=$1 root=$2 name=$3 base line file out
	base=$(echo "$kernel"/lib/modules/*)
	[ -e "$base/modules.dep" ] || depmod -b "$kernel" "$(basename "$base")"
	line=$(grep -E "/$name\\.ko(\\.xz)?:" "$base/modules.dep" || true)
	[ -n "$line" ] || return 0 # built in
	for file in $(echo "$line" | tr -d : | tr ' ' '\n' | tac); do
		out=$(basename "${file%.xz}")
		[ -e "$root/modules/$out" ] && continue
		case $file in
		*.xz) xz -dc "$base/$file" >"$root/modules/$out" ;;
		*) cp "$base/$file" "$root/modules/$out" ;;
		esac
		echo "$out" >>"$root/modules/order"
	done
}

# $work/pod: the image, unpacked, and configurations of the DaemonSet's pod as containerd runs it. There is no API server.
make_pod() {
	# shellcheck disable=SC2034 # pod.sh's
	local TMP=$work/pod B=build/release IMAGE=$work/image
	tools/unpack.sh apparmor "$cache/apparmor"
	mkdir "$TMP"
	# shellcheck source=tests/net/pod.sh
	. tests/net/pod.sh
	image_unpack
	configure() { # name, options of pod.py
		/usr/bin/python3 tests/net/pod.py $DEPLOY/daemonset.yaml "$IMAGE_CONFIG" /wm/pod/bundle/rootfs $DEPLOY/seccomp.json \
			--host /var/lib/waymark=/run/state --host /run/waymark=/run/waymark --file account=/wm/pod/account \
			--file config=/wm/pod/config --file resolv.conf=/wm/pod/resolv.conf --env WAYMARKD_SOURCE_KUBERNETES_ENABLED=false \
			"${@:2}" | build/containerd-profiles/containerd-profiles cri-containerd.apparmor.d "$TMP/profile" | jq . >"$TMP/$1.json"
	}
	configure agent
	configure detach --args /usr/bin/waymarkctl detach
	configure elsewhere --env WAYMARKD_KERNEL_PIN_DIR=/sys/fs/bpf/waymark
	sed -i 's,"/bpf","/sys/fs/bpf",' "$TMP/elsewhere.json"
	jq 'del(.process.apparmorProfile)' "$TMP/elsewhere.json" >"$TMP/elsewhere-free.json"
}

make_initramfs() {
	local kernel=$1 root=$2 out=$3 t m p
	mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,run,modules,wm,etc,usr/bin,usr/sbin,var/lib}
	add_program "$root" /usr/bin/busybox bin/busybox
	: >"$root/modules/order"
	for m in sch_ingress cls_bpf veth tun; do
		add_module "$kernel" "$root" "$m"
	done
	for p in bash bpftool ip tc dig curl; do
		command -v "$p" >/dev/null && add_program "$root" "$(command -v "$p")" "usr/bin/$p"
	done
	ln -sf /usr/bin/bash "$root/bin/bash"
	: >"$root/wm/list"
	for t in "${tests[@]}"; do
		add_program "$root" "$t" "wm/$t"
		echo "$t" >>"$root/wm/list"
	done
	mkdir -p "$root/wm/build/custom"
	cp build/custom/*.bpf.o "$root/wm/build/custom/"
	for t in "${scripts[@]}"; do
		install -D -m 755 -t "$root/wm" "tests/kernels/$t" tests/kernels/guest.sh
		echo "$t" >>"$root/wm/list"
	done
	if wants smoke.sh; then
		for t in build/release/waymarkd build/release/waymarkctl \
			build/release/tests/{dnsload,connload,regload,applyload}; do
			add_program "$root" "$t" "wm/$t"
		done
	fi
	if wants container.sh; then
		cp -a "$work/pod" "$root/wm/"
		add_program "$root" "$(command -v crun)" usr/bin/crun
		add_program "$root" "$cache/apparmor/sbin/apparmor_parser" usr/sbin/apparmor_parser
		cp -a "$cache"/apparmor/etc/apparmor* "$root/etc/"
		mkdir -p "$root/usr/share"
		cp -a "$cache/apparmor/usr/share/apparmor-features" "$root/usr/share/"
	fi
	echo "127.0.0.1 localhost" >"$root/etc/hosts"
	echo "root:x:0:0:root:/:/bin/sh" >"$root/etc/passwd"
	install -m 755 tests/kernels/init "$root/init"
	(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) | gzip -1 >"$out"
}

# --- one kernel ----------------------------------------------------------------------------------
failed=0
row() { printf 'kernel test %-7s %-26s %s\n' "$1" "$2" "$3"; }

run_kernel() {
	local want=$1 dir version log started t status
	if ! dir=$(kernel_dir "$want"); then
		row failed "$want" "no package of this kernel can be had from apt"
		failed=1
		return
	fi
	version=$(basename "$dir")
	log=$cache/console-$version.log
	make_initramfs "$dir" "$work/$version" "$work/$version.cpio.gz"
	started=$SECONDS
	timeout --kill-after=5 "$timeout_s" qemu-system-x86_64 -accel tcg,thread=multi -cpu "$cpu" -smp 2 \
		-m 1G -nographic -no-reboot -nic none -kernel "$dir"/boot/vmlinuz-* \
		-initrd "$work/$version.cpio.gz" \
		-append "console=ttyS0 quiet panic=-1 oops=panic no_timer_check" </dev/null >"$log" 2>&1 || true
	for t in "${tests[@]}" "${scripts[@]}"; do
		if [ "$want" = 6.1 ] && [[ $t == */test_plane ]]; then
			row skipped "$version" "test_plane: is about tcx links (6.6)"
			continue
		fi
		status=$(tr -d '\r' <"$log" | awk -v t="$t" '$1 == "WM-KERNEL-TEST" && $2 == t {print $3}')
		if [ "$status" = 0 ]; then
			row ok "$version" "$(basename "$t")"
		else
			row failed "$version" "$(basename "$t") (status ${status:-none}, see $log)"
			failed=1
		fi
	done
	echo "  $version: $((SECONDS - started)) s, console in $log"
}

fail() {
	echo "$*" >&2
	exit 1
}
if wants container.sh; then
	# where what writes its profiles cannot be had that is said, and the rest is run
	if tests/kernels/containerd/build.sh; then make_pod; elif wants smoke.sh; then scripts=(smoke.sh); else scripts=(); fi
fi
for k in "${kernels[@]}"; do
	run_kernel "$k"
done
exit $failed
