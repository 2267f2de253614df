#!/bin/sh
# Builds the shim by hand, for its own tests. The simulator builds it through the `cc` crate.
# usage: build.sh OUTPUT
set -eu
cd "$(dirname "$0")"
exec "${CC:-cc}" -std=gnu11 -O2 -g -fPIC -fvisibility=hidden -fno-plt -Wall -Wextra -Werror -shared -o "$1" ./*.c -ldl -lpthread
