# cmake/scripts.sh: what ./run and ./test share. Sourced by bash with root set to the source folder.

build_packages=(gcc libc6-dev cmake ninja-build pkg-config libsleef-dev libxxhash-dev libpcre2-dev
  libutf8proc-dev libjansson-dev libhwloc-dev liblzma-dev)
test_packages=(libcmocka-dev clang libomp-dev libclang-rt-14-dev xz-utils gnuplot-nox
  python3-jinja2)

arm64_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)

note() { printf '%s\n' "$*" >&2; }

# Installs those of the given Debian packages that are missing, or says what to install and ends the script. Needs
# neither root nor network when nothing is missing.
need_packages() {
  local package missing=() as=()
  if ! command -v dpkg-query >/dev/null; then
    note "note: this is not Debian; what Debian calls ${*} must be installed"
    return
  fi
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      note "These packages are missing; install them and try again:"
      note "  sudo apt-get install ${missing[*]}"
      exit 1
    fi
    as=(sudo -n)
  fi
  note "installing ${missing[*]}"
  local install=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends)
  if ! "${install[@]}" "${missing[@]}" >"$root/build/packages.log" 2>&1; then # perhaps for want of package lists
    "${as[@]}" apt-get update >>"$root/build/packages.log" 2>&1 || true
    if ! "${install[@]}" "${missing[@]}" >>"$root/build/packages.log" 2>&1; then
      tail -n 20 "$root/build/packages.log" >&2
      note "could not install ${missing[*]} (log: build/packages.log)"
      exit 1
    fi
  fi
}

# quietly LOG COMMAND...: runs the command in the source folder with its output appended to build/LOG; shows the end
# of the log if it fails.
quietly() {
  local log=$root/build/$1
  shift
  if ! (cd "$root" && "$@") >>"$log" 2>&1; then
    note "failed: $*"
    tail -n 40 "$log" >&2
    note "(log: build/${log##*/})"
    return 1
  fi
}
