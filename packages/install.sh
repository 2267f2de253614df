#!/bin/sh
# Installs Glare's program: downloads the release for this machine, checks its SHA-256, and unpacks it.
#
#   sh install.sh [VERSION [FOLDER]]    [the version that this script belongs to; ~/.local/bin]
#
#   GLARE_RELEASES    URL of the folder with a folder for each version, for a mirror
#
# Exit codes: 0 installed; 1 the download is damaged, or the program does not run; 2 wrong usage, or no system for Glare; 3 there is
# no program for this machine or version: build from source.
set -eu

version=${1:-@VERSION@}
folder=${2:-${HOME:?}/.local/bin}
repository=@REPOSITORY@
releases=${GLARE_RELEASES:-$repository/releases/download}

fail() {
  code=$1
  shift
  printf 'glare: %s\n' "$@" >&2
  exit "$code"
}

case $version in
  [0-9]*.[0-9]*.[0-9]*) ;;
  *) fail 2 "\`$version\` is not a version, such as 0.1.0" ;;
esac

system=$(uname -s)
machine=$(uname -m)
if [ "$system" != Linux ]; then
  fail 2 "there is no program for $system: simulations need Linux" \
    "use the container image, or Linux in a virtual machine (on Windows: WSL 2): $repository#install"
fi
case $machine in
  x86_64 | aarch64) ;;
  arm64) machine=aarch64 ;;
  *) fail 3 "there is no program for Linux on $machine: build it from source with cargo: $repository#from-source" ;;
esac
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || glibc=
glibc=${glibc#glibc }
if [ -z "$glibc" ]; then
  fail 3 "this system has another C library than glibc, such as Alpine's musl, and the program needs glibc @GLIBC@ or newer" \
    "use an image with glibc, such as debian:stable-slim, or build from source with cargo"
fi
if [ "$(printf '%s\n' "$glibc" @GLIBC@ | sort -V | head -n 1)" != @GLIBC@ ]; then
  fail 3 "this system has glibc $glibc, and the program needs @GLIBC@ or newer: use a newer system, or build from source with cargo"
fi

# download NAME: a file of the release, into the temporary folder; its code is 3 if there is none.
download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --retry 3 --output "$temporary/$1" "$releases/v$version/$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document "$temporary/$1" "$releases/v$version/$1"
  else
    fail 2 "neither curl nor wget is installed: install one of them"
  fi || fail 3 "cannot download $releases/v$version/$1: is $version a release, and is the network there?"
}

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
name=glare-$version-$machine-unknown-linux-gnu
download SHA256SUMS
download "$name.tar.gz"
expected=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\.tar\.gz\$/\1/p" "$temporary/SHA256SUMS")
found=$(sha256sum "$temporary/$name.tar.gz" | cut -d ' ' -f 1)
if [ -z "$expected" ]; then
  fail 1 "SHA256SUMS of $version does not list $name.tar.gz: the download is damaged, or the release is incomplete: try again later"
fi
if [ "$found" != "$expected" ]; then
  fail 1 "the download of $name.tar.gz is damaged: its SHA-256 is $found, and should be $expected" \
    "nothing was installed: try again; if a proxy or mirror is between, it may serve another file"
fi
tar -xzf "$temporary/$name.tar.gz" -C "$temporary"
"$temporary/$name/glare" --version >/dev/null || fail 1 "the program does not run on this system: report this, with the output of \`uname -a\`"
mkdir -p "$folder"
# The old program may be running: its file is replaced, not written to.
mv -f "$temporary/$name/glare" "$folder/glare.new"
mv -f "$folder/glare.new" "$folder/glare"
echo "installed glare $version: $folder/glare"
case :$PATH: in
  *:"$folder":*) ;;
  *) echo "add it to PATH: export PATH=\"$folder:\$PATH\"" ;;
esac
