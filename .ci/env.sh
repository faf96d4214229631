# Sourced, from the root of the repository, by the Makefile and the scripts beside it: where builds go, and the
# RocksDB that was built before.
#
# RocksDB's C++ takes a quarter of an hour on two cores. It is built once per version and compiler, kept outside
# the clone, and linked from there in every profile (see docs/decisions/0002-building-rocksdb-once.md).
#
# Settings: WEFT_CACHE_DIR (default: the user's cache directory) and CARGO_TARGET_DIR (default: inside it).
cache="${WEFT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
# Cargo names the workspace's own crates by their place inside the workspace. In a target directory that clones share,
# what one clone built would pass for another's wherever the other's files are older. So whoever comes from another
# clone builds these crates afresh; everything else is kept. (Two clones at the same time: give one its own CARGO_TARGET_DIR.)
if [ "$(cat "$CARGO_TARGET_DIR/.clone" 2>/dev/null || true)" != "$(pwd -P)" ]; then
    for member in $(sed -n 's/^members = \[\(.*\)\]$/\1/p' Cargo.toml | tr -d '",'); do
        rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$member"-*
    done
    mkdir -p "$CARGO_TARGET_DIR"
    pwd -P >"$CARGO_TARGET_DIR/.clone"
fi
# Tools that CI installs for itself.
PATH="$cache/tools/bin:$PATH"
rocksdb_version="$(sed -n '/^name = "librocksdb-sys"$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)"
rocksdb_cache="$cache/rocksdb-$(printf '%s' "$rocksdb_version" | tr '+' '-')-lz4-gcc$(g++ -dumpfullversion 2>/dev/null || echo none)-$(uname -m)"
if [ -f "$rocksdb_cache/librocksdb.a" ]; then
    export ROCKSDB_LIB_DIR="$rocksdb_cache" ROCKSDB_STATIC=1
else
    unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
fi
