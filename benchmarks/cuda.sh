#!/usr/bin/env bash
# What can only be checked and measured on a GPU, in about three minutes:
#
#     benchmarks/cuda.sh FOLDER
#
# The folder gets the output of the tests and of the benchmark as they go on, so that an
# interruption leaves what there is.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath "${1:?a folder for the results}")
export PYTHONUNBUFFERED=1

# Warnings of other versions than the pinned ones are shown and no failures.
timeout 150 python3 -m pytest -q -o filterwarnings=default -p no:cacheprovider \
  -k "not cpu" --durations 8 -rA --no-header --tb=short tests/training/test_cuda.py \
  >"$folder/tests.log" 2>&1
tests=$?
grep -E "^(FAILED|ERROR|E  )|passed|failed" "$folder/tests.log"
timeout 60 python3 benchmarks/convolution.py --device cuda 2>&1 |
  tee "$folder/convolution.log"
timeout 150 python3 benchmarks/fleet.py --device cuda --repetitions 3 --seconds .15 \
  --output "$folder/fleet_cuda.json" 2>&1 | tee "$folder/fleet.log"
figures=$?
exit $((tests || figures))
