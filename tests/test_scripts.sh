#!/usr/bin/env bash
# tests/test_scripts.sh SOURCE-FOLDER: what ./test does where packages cannot be had: a copy of the scripts meets
# invented commands (dpkg-query, id, sudo, apt-get) in the place of the system's.
set -euo pipefail
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/tree/cmake" "$work/tree/build"
cp "$source/test" "$work/tree/"
cp "$source"/cmake/*.sh "$work/tree/cmake/"

# invent NAME LINE...: a command of that name.
invent() {
  printf '%s\n' '#!/bin/sh' "${@:2}" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
export PATH=$work/bin:$PATH

# expect RC TEXT COMMAND...: the command ends with RC and says TEXT.
expect() {
  local rc=$1 text=$2 got=0
  shift 2
  "$@" >"$work/said" 2>&1 </dev/null || got=$?
  if [ "$got" != "$rc" ] || ! grep -qF -- "$text" "$work/said"; then
    echo "FAILED: $* ended with $got, not $rc, or did not say: $text" >&2
    cat "$work/said" >&2
    exit 1
  fi
}

# The cross compiler is missing, and the user may not install it.
invent id 'echo 1000'
invent sudo 'exit 1'
invent apt-get 'exit 100'
invent dpkg-query 'case "$*" in *aarch64*) exit 1 ;; *) printf installed ;; esac'
expect 1 'sudo apt-get install gcc-aarch64-linux-gnu' "$work/tree/test" --arm64
expect 1 '== arm64 SKIPPED' "$work/tree/test" --arm64
expect 1 '0 passed, 0 failed, 1 skipped' "$work/tree/test" --arm64

# The user may, but there is no network.
invent id 'echo 0'
expect 1 'could not install gcc-aarch64-linux-gnu' "$work/tree/test" --arm64
expect 1 '0 passed, 0 failed, 1 skipped' "$work/tree/test" --arm64

# The packages are there, the libraries cannot be fetched: nothing is left behind.
invent dpkg-query 'printf installed'
invent apt-get 'case "$*" in *indextargets*) echo http://mirror.invalid/debian ;; *) exit 100 ;; esac'
expect 1 'is there a network?' "$work/tree/cmake/arm64-sysroot.sh"
expect 1 '0 passed, 0 failed, 1 skipped' "$work/tree/test" --arm64
if ls -d "$work"/tree/build/arm64-* >/dev/null 2>&1; then
  echo "FAILED: arm64-sysroot.sh left something behind" >&2
  exit 1
fi

# A system without package sources.
invent apt-get 'case "$*" in *indextargets*) ;; *) exit 100 ;; esac'
expect 1 'apt has no package source' "$work/tree/cmake/arm64-sysroot.sh"

expect 2 'usage: ./test' "$work/tree/test" --nonsense
