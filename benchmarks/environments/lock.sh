#!/usr/bin/env bash
# Resolve *.in anew into hashed locks: the gateways that `python -m benchmarks.cost` compares with. Needs a package registry.
set -euo pipefail
cd "$(dirname "$0")"
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
python3.11 -m venv "$cache/uv"
"$cache/uv/bin/pip" install --quiet "uv>=0.9,<1"
for name in *.in; do
  "$cache/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    "$name" -o "${name%.in}.lock"
done
