#!/bin/sh
# Rebuilds the example guests. Needs clang, lld, the WASI C library and its compiler runtime; on Debian 12:
#   apt-get install --no-install-recommends clang-14 lld-14 llvm-14 wasi-libc libclang-rt-14-dev-wasm32
set -eu
cd "$(dirname "$0")"
CC="${CC:-clang-14}"
STRIP="${STRIP:-llvm-strip-14}"
mkdir -p wasm
for source in *.c; do
    name="${source%.c}"
    "$CC" --target=wasm32-wasi --sysroot="${SYSROOT:-/usr}" -std=gnu11 -O2 -Wall -Wextra -Werror \
        -Wl,--strip-all -Wl,-z,stack-size=65536 -o "wasm/$name.wasm" "$source"
    "$STRIP" --strip-all "wasm/$name.wasm"
done
ls -l wasm
