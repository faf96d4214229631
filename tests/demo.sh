#!/usr/bin/env bash
# Three nodes on this machine form a mesh, count the words of this repository, and prove what it cost.
#
#   tests/demo.sh DIRECTORY        where `weft` and `weft-runner` are; `make demo` builds them first
#
# Takes well under a minute, touches nothing outside a temporary directory, and leaves nothing running. The results and
# the receipt stay there, so that they can be looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
shopt -s globstar nullglob

bin="$(cd "${1:?usage: tests/demo.sh DIRECTORY}" && pwd)"
weft="$bin/weft"
[ -x "$weft" ] && [ -x "$bin/weft-runner" ] || {
    echo "demo: no weft and weft-runner in $bin: run \`make demo\`, which builds them" >&2
    exit 1
}
unset WEFT_DATA_DIR WEFT_API
# Whoever runs this sits at the machine: it is theirs to be used nevertheless.
export WEFT_LIMITS__IDLE=0s WEFT_LIMITS__ON_BATTERY=true WEFT_LIMITS__MAX_CPU_OTHERS=100

work="$(mktemp -d "${TMPDIR:-/tmp}/weft-demo.XXXXXX")"
began=$SECONDS
names=(one two three)
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

# Waits until a command succeeds: `within SECONDS WHAT COMMAND…`. Ends the demo where it takes too long.
within() {
    local limit=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$limit" ]; then
            echo "demo: $what did not happen in time" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# The first value of a key in a JSON document on standard input.
value() { grep -o "\"$1\": *[^,}]*" | sed -n 1p | sed 's/^[^:]*: *//; s/^"//; s/"$//'; }

at() { # runs weft as the node of that name
    local name="$1"
    shift
    "$weft" --data-dir "$work/$name" "$@"
}

stop_nodes() {
    local pid limit=$((SECONDS + 15))
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$limit" ]; do sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

finish() {
    local code=$?
    trap - EXIT
    stop_nodes
    if [ "$code" -ne 0 ]; then
        for name in "${names[@]}"; do
            if [ -s "$work/$name.log" ]; then
                echo "--- the last lines of node $name:" >&2
                tail -n 15 "$work/$name.log" >&2
            fi
        done
        echo "demo: failed; everything is in $work" >&2
    else
        rm -rf "${names[@]/#/$work/}"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

start() { # start NAME [FLAG…]
    local name="$1"
    shift
    "$weft" up --data-dir "$work/$name" --name "$name" --no-mdns --api 127.0.0.1:0 \
        --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 "$@" \
        >"$work/$name.out" 2>"$work/$name.log" </dev/null &
    pids+=($!)
    within 15 "node $name being ready" ready_or_gone "$name" $!
}

ready_or_gone() {
    grep -q '^ready ' "$work/$1.out" && return
    kill -0 "$2" 2>/dev/null || {
        echo "demo: node $1 ended" >&2
        exit 1
    }
    return 1
}

ready_field() { sed -n 's/^ready //p' "$work/$1.out" | tr ' ' '\n' | sed -n "s/^$2=//p"; }

members() { # whether three nodes are approved and heard from
    local nodes
    nodes="$(at one node list -o json 2>/dev/null)" || return 1
    [ "$(grep -o '"admission": *"APPROVED"' <<<"$nodes" | wc -l)" -eq 3 ] &&
        [ "$(grep -o '"liveness": *"HEALTHY"' <<<"$nodes" | wc -l)" -eq 3 ]
}

admitted() { at "$1" credits balance >/dev/null 2>&1; }

credits() { awk -v ucr="$1" 'BEGIN { printf "%.6f cr", ucr / 1000000 }'; }

say "1. Three nodes on this machine"
start one --auto-approve
start two --bootstrap "$(ready_field one p2p)"
start three --bootstrap "$(ready_field one p2p)"
within 20 "three nodes in one mesh" members
within 10 "node two being admitted" admitted two
at one node list

say "2. Node two counts the words of this repository's documents and sources, on all three"
inputs=('*.md' 'doc*/**/*.md' '*/src/**/*.rs' '*/tests/**/*.rs')
flags=()
for glob in "${inputs[@]}"; do
    flags+=(--in "$glob")
done
at two map sandbox/guests/wasm/wordfreq.wasm "${flags[@]}" --reduce --out "$work/results" -o json >"$work/job.json"
job="$(value id <"$work/job.json")"

say "3. The most frequent words"
tr -d '{}" \n' <"$work/results/result.json" | tr ',' '\n' | sort -t : -k 2,2nr -k 1,1 >"$work/counts"
sed -n "1,10p" "$work/counts" | awk -F : '{ printf "  %7d  %s\n", $2, $1 }'

# The same by other programs. The globs have no spaces in them and are meant to be expanded.
# shellcheck disable=SC2086
awk 1 ${inputs[*]} | tr 'A-Z' 'a-z' | tr -cs "a-z0-9'" '\n' | sed '/^$/d' | sort | uniq -c |
    awk '{ print $2 ":" $1 }' | sort -t : -k 2,2nr -k 1,1 >"$work/expected"
if ! cmp -s "$work/counts" "$work/expected"; then
    echo "demo: tr, sort and uniq count otherwise: compare $work/counts with $work/expected" >&2
    exit 1
fi
echo "  $(wc -l <"$work/counts") different words; tr, sort and uniq find the same counts"

say "4. What it cost"
at two job show "$job"
echo
echo "  cost   $(credits "$(value cost_ucr <"$work/job.json")")"
at two credits balance

say "5. A receipt, verified without a node"
receipt="$(grep -o '"r-[0-9a-f]*-[0-9]*"' "$work/job.json" | sed -n 1p | tr -d '"')"
at two receipt export "$receipt" --out "$work/receipt.json"
"$weft" receipt verify "$work/receipt.json"

say "6. Stopping"
for name in "${names[@]}"; do
    at "$name" down
done
for pid in "${pids[@]}"; do
    within 15 "a node's end" bash -c "! kill -0 $pid 2>/dev/null"
    wait "$pid"
done
pids=()

say "Done in $((SECONDS - began)) s. Where to look next"
cat <<END
  results    $work/results/result.json   (one .out for each file beside it)
  receipt    $work/receipt.json
  yourself   $weft up
             $weft run --example primes -- 1000000        (in another terminal)
  read       README.md, ARCHITECTURE.md, docs/protocol.md
END
