#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# image.sh BUILD_DIRECTORY OUT - an OCI image of its programs: OUT/oci (a layout), OUT/waymark.tar (the same in
# one file), OUT/sbom.spdx.json. There is nothing in it but waymarkd, waymarkctl, the shared libraries that these
# ask for, as Debian's packages have them, and the authorities of ca-certificates: no shell, no package manager.
# The same sources, packages and SOURCE_DATE_EPOCH give the same octets. No registry is asked.
set -euo pipefail
cd "$(dirname "$0")/.."
B=$1 out=$2
IMAGE_MAX=60000000 # octets of all files; sanitizers, of builds that are tested, are not held to it
version=$(cat VERSION) arch=$(dpkg --print-architecture) multi=$(gcc -print-multiarch)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)}"
: "${IMAGE_REVISION:=$(git rev-parse HEAD 2>/dev/null || true)}"
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
rm -rf "$out"
mkdir -p "$out"
root=$out/rootfs

# --- files: where Debian has them, /usr merged
mkdir -p "$root"/{etc/ssl/certs,proc,sys,dev,tmp,run/waymark,var/lib/waymark,var/lib/dpkg/status.d} \
	"$root"/usr/{bin,sbin,lib/ssl,lib64,share/doc/waymark} "$root/usr/lib/$multi"
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
ln -s /run "$root/var/run"
chmod 1777 "$root/tmp"
strip -o "$root/usr/sbin/waymarkd" "$B/waymarkd"
strip -o "$root/usr/bin/waymarkctl" "$B/waymarkctl"
taken=(/usr/share/ca-certificates/mozilla)
while read -r lib; do
	cp -L "$lib" "$root/usr/${lib#/usr/}" 2>/dev/null || cp -L "$lib" "$root/usr$lib"
	taken+=("$(readlink -f "$lib")")
done < <(ldd "$B/waymarkd" "$B/waymarkctl" | grep -oE '/[^ ]+\.so[^ ]*' | sort -u)
cat /usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
echo 'root:x:0:0:root:/:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
cp -L /etc/os-release "$root/etc/os-release"

# --- whose they are: licenses, what scanners of images look for, and the list of all
packages=()
while read -r p; do packages+=("$p"); done < <(for f in "${taken[@]}"; do
	dpkg -S "$f" 2>/dev/null || dpkg -S "${f#/usr}"
done | sed 's/:.*//; s/,.*//' | sort -u)
for p in "${packages[@]}"; do
	mkdir -p "$root/usr/share/doc/$p"
	cp -L "/usr/share/doc/$p/copyright" "$root/usr/share/doc/$p/copyright"
	dpkg-query -s "$p:$arch" >"$root/var/lib/dpkg/status.d/$p" 2>/dev/null ||
		dpkg-query -s "$p" >"$root/var/lib/dpkg/status.d/$p"
done
cp LICENSE "$root/usr/share/doc/waymark/copyright"
/usr/bin/python3 tools/sbom.py "$version" "$created" "$root" >"$out/sbom.spdx.json"
cp "$out/sbom.spdx.json" "$root/usr/share/doc/waymark/"

# --- one layer
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
octets=$(find "$root" -type f -printf '%s\n' | awk '{n += $1} END {print n}')
if [ "$octets" -gt $IMAGE_MAX ] && ! ls "$root/usr/lib/$multi"/lib?san.so* >/dev/null 2>&1; then
	echo "$octets octets are more than $IMAGE_MAX: what grew?" >&2
	exit 1
fi
image=$out/oci:$version
umoci init --layout "$out/oci"
umoci new --image "$image"
umoci insert --image "$image" --history.created "$created" --history.created_by 'waymark: make image' "$root" /
labels=(title=waymark 'description=Service discovery in the kernel of each node: registry, checks, DNS, connect()'
	"version=$version" "created=$created" licenses=Apache-2.0)
[ -z "$IMAGE_REVISION" ] || labels+=("revision=$IMAGE_REVISION")
[ -z "${IMAGE_SOURCE:-}" ] || labels+=("source=$IMAGE_SOURCE")
given=()
for l in "${labels[@]}"; do
	given+=(--config.label "org.opencontainers.image.$l" --manifest.annotation "org.opencontainers.image.$l")
done
umoci config --image "$image" --no-history --created "$created" --os linux --architecture "$arch" \
	--config.entrypoint /usr/sbin/waymarkd --config.env PATH=/usr/sbin:/usr/bin --config.user 0:0 \
	--config.workingdir / --config.stopsignal SIGTERM "${given[@]}"
umoci gc --layout "$out/oci"
chmod 644 "$out/oci/index.json"
tar c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$out/oci" . >"$out/waymark.tar"
rm -rf "$root"
echo "$out: $octets octets in files, $(stat -c %s "$out/waymark.tar") as an archive, ${#packages[@]} packages of Debian"
