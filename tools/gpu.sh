#!/usr/bin/env bash
# What only a GPU can tell: whether hypersd is right on it, and how fast. Two commands, the first on a machine with a Rust
# toolchain and the registry, the second, for which nothing else is needed, on the one with the GPU and no network:
#
#   bash tools/gpu.sh build
#   bash tools/gpu.sh run cuda --models full [--python .venv/bin/python]
#
# `build` puts the programs into target/gpu, to be copied with this repository. `run` tests on cuda, vulkan or wgpu in
# f32, f16 and bf16 and then times, into target/gpu/report-DEVICE.md. --models names what `reference/full_size.py` writes
# for both families; where it is not there and --python has the packages of reference/requirements.txt, it is written.
# --python also times diffusers in the same run, eager and compiled. See docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly kit=target/gpu
readonly features=cuda-nvrtc,vulkan,wgpu,hypersd-testing/cuda,hypersd-testing/vulkan,hypersd-testing/wgpu

fail() { echo "tools/gpu.sh: $*" >&2; exit 1; }

# The newest program of a target of the release build, of which cargo says the path.
program() {
  bash tools/cargo-cuda build --release --features "$features" --message-format json "$@" |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

build() {
  mkdir -p "$kit"
  install -s "$(program --test gpu)" "$kit/tests"
  install -s "$(program --bench stages)" "$kit/stages"
  install -s "$(program --example generate)" "$kit/generate"
  ls -l "$kit"
}

# Seconds that a command takes, from its start to its end.
seconds() {
  local start=$EPOCHREALTIME
  "$@" >/dev/null
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

tests() {
  local device=$1 failed=0
  for dtype in f32 f16 bf16; do
    printf '\n## Tests, %s, %s\n\n```\n' "$device" "$dtype"
    # One thread: the tests share one card.
    HYPERSD_TEST_DEVICE=$device HYPERSD_TEST_DTYPE=$dtype HYPERSD_TEST_REPOSITORY=$PWD \
      "$kit/tests" --test-threads 1 2>&1 || failed=1
    printf '```\n'
  done
  return "$failed"
}

# The tables of one family.
times() {
  local device=$1 models=$2 python=$3 family=$4 size lora model
  case $family in
    sd15) size=512 model=stable-diffusion-v1-5 lora=Hyper-SD15-1step-lora ;;
    sdxl) size=1024 model=stable-diffusion-xl-base-1.0 lora=Hyper-SDXL-1step-lora ;;
  esac
  local files=(--model "$models/$model" --lora "$models/$lora.safetensors" --size "$size"
    --controlnet "$models/controlnet-$family" --device "$device" --dtype f16 --rounds 10 --threads "$(nproc)")
  [ "$family" = sd15 ] && files+=(--taesd "$models/taesd")
  local diffusers="$python reference/bench_diffusers.py" eager=()
  [ -z "$python" ] || eager=(--peer "diffusers=$diffusers")

  printf '\n## %s, %sx%s, f16: medians of 10 after an untimed run\n\n' "$model" "$size" "$size"
  "$kit/stages" "${files[@]}" --stages load,swap,text,unet,control,vae,taesd,image,four "${eager[@]}"
  if [ -n "$python" ]; then
    printf '\nThe same networks beside `torch.compile`:\n\n'
    "$kit/stages" "${files[@]}" --stages unet,control,vae,taesd --peer "torch.compile=$diffusers --compile"
  fi

  printf '\n### From the start of the program to the picture, seconds\n\n| kernels | %s |\n|---|---|\n' "$device"
  local draw=("$kit/generate" --device "$device" --model "$models/$model" --lora "$models/$lora.safetensors"
    --scheduler tcd --steps 1 --width "$size" --height "$size" --no-metadata --output "$scratch/out.png" "a cat")
  export XDG_CACHE_HOME=$scratch/$family
  printf '| compiled and tuned | %s |\n' "$(seconds "${draw[@]}")"
  printf '| kept from the run before | %s |\n' "$(seconds "${draw[@]}")"
}

run() {
  local device=${1:-} models= python=
  [[ $device =~ ^(cuda|vulkan|wgpu)$ ]] || fail "run: expected cuda, vulkan or wgpu, found '$device'"
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --models) models=${2:?--models: expected a folder} ;;
      --python) python=${2:?--python: expected a program} ;;
      *) fail "$1: expected --models or --python" ;;
    esac
    shift 2
  done
  [ -n "$models" ] || fail "run: expected --models and a folder for full-size models (20 GB)"
  [ -x "$kit/tests" ] || fail "$kit: expected the programs that \`bash tools/gpu.sh build\` makes"
  for family in sd15 sdxl; do
    [ -d "$models/controlnet-$family" ] && continue
    [ -n "$python" ] || fail "$models: expected what reference/full_size.py writes, or --python to write it with"
    "$python" reference/full_size.py --out "$models" --family "$family"
  done
  # diffusers is timed where it has the device.
  [ "$device" = cuda ] || python=

  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  export XDG_CACHE_HOME=$scratch/tests
  local report=$kit/report-$device.md
  {
    printf '# hypersd %s on %s, %s\n\n' "$(git rev-parse --short HEAD 2>/dev/null || echo '(no git)')" "$device" "$(date -I)"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
      vulkaninfo --summary 2>/dev/null | grep deviceName || echo 'a card that neither nvidia-smi nor vulkaninfo names'
    tests "$device" || true # what failed is in the report, and timing is worth having all the same
    for family in sd15 sdxl; do times "$device" "$models" "$python" "$family"; done
  } | tee "$report"
  grep -q '^test result: FAILED' "$report" && fail "$report: tests failed"
  echo "$report"
}

case ${1:-} in
  build) build ;;
  run) shift && run "$@" ;;
  *) fail "expected build or run, found '${1:-}'" ;;
esac
