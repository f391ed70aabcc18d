#!/usr/bin/env bash
# Resolve tests/clients/*.in and deploy/engine/vllm.in anew into hashed locks. Run it after a change of an .in file; it
# needs a package registry.
set -euo pipefail
cd "$(dirname "$0")"
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
python3.11 -m venv "$cache/uv"
"$cache/uv/bin/pip" install --quiet "uv>=0.9,<1"
compile() { "$cache/uv/bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@"; }

engine=../../deploy/engine

for name in boto3-newest boto3-1.43 aiobotocore awscli openai moto; do
  compile --universal "$name.in" -o "$name.lock"
done

# The CPU build of torch is not on PyPI. pip finds the wheel in PIP_FIND_LINKS, or in PyTorch's own index
# (PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu); uv writes no hash for it, so it is added here.
torch=$(grep '^torch==' $engine/vllm.in)
grep -v '^torch==' $engine/vllm.in >"$cache/rest.in"
compile --no-deps --no-annotate "$cache/rest.in" -o $engine/vllm.lock
"$cache/uv/bin/pip" download --quiet --no-deps --dest "$cache/torch" "$torch"
printf '%s \\\n    --hash=sha256:%s\n' "$torch" "$(sha256sum "$cache"/torch/*.whl | cut -d' ' -f1)" >>$engine/vllm.lock
