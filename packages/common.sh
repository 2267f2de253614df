# What the scripts of this folder have in common. They read it with `.`, in the workspace's root.
# shellcheck shell=sh disable=SC2034

VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
REPOSITORY=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# The oldest C library that the released program runs with.
GLIBC=2.28
# From PyPI.
ZIGLANG=0.17.1
ZIGBUILD=0.24.1

# Absolute: build scripts call the tools of `packages/build` from other folders, and callers read the printed paths in theirs.
cargo_target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$cargo_target/packages
