#!/usr/bin/env bash
# cmake/arm64-sysroot.sh [FOLDER]: the libraries that an arm64 build of terse needs, from Debian's arm64 packages
# (1 MB), in a folder of their own: build/arm64-root unless named. Needs the network but no root; the system's own
# packages, sources and architectures stay as they are. Does nothing where all of them are there already.
#
# A foreign architecture (dpkg --add-architecture) would work too, but mixes two C libraries with the cross
# compiler's: programs then hang when they start their first thread.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
to=${1:-$root/build/arm64-root}
packages=(libsleef-dev libsleef3 libxxhash-dev libxxhash0 libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2
  libjansson-dev libjansson4 libhwloc-dev libhwloc15 libudev1 liblzma-dev liblzma5 libcmocka-dev libcmocka0)

if [ "$(cat "$to/packages" 2>/dev/null)" = "${packages[*]}" ]; then
  exit 0
fi
mkdir -p "$root/build"
work=$(mktemp -d "$root/build/arm64-apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,packages,root}
: >"$work/status"

codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | head -n 1)
if [ -z "$mirror" ]; then
  echo "arm64-sysroot: apt has no package source for $codename; add one to /etc/apt/sources.list" >&2
  exit 1
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=arm64 signed-by=$keys] $mirror $codename main" >"$work/sources.list"
private=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= -o Acquire::Languages=none
  -o Acquire::Retries=2 -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=-
  -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache")

if ! { apt-get "${private[@]}" update --error-on=any &&
  (cd "$work/packages" && apt-get "${private[@]}" download "${packages[@]}"); } >"$work/log" 2>&1; then
  tail -n 20 "$work/log" >&2
  echo "arm64-sysroot: could not get the packages from $mirror; is there a network?" >&2
  exit 1
fi
for package in "$work"/packages/*.deb; do
  dpkg -x "$package" "$work/root"
done
echo "${packages[*]}" >"$work/root/packages"
rm -rf "$to"
mv "$work/root" "$to"
chmod 755 "$to"
