#!/usr/bin/env bash
# What only a GPU can tell: whether hypersd is right on it, and how fast. Two commands, the first on a machine with a Rust
# toolchain and the registry, the second, for which nothing else is needed, on the one with the GPU and no network:
#
#   bash tools/gpu.sh pack
#   bash tools/gpu.sh run --minutes 20 --models full --python .venv/bin/python cuda vulkan
#
# `pack` puts the programs into target/gpu/kit.tar.xz, to be copied with this repository. `run` tests on each device that it
# is given in f32, f16 and bf16, then times, the most telling first, into target/gpu/report.md; when the minutes are over, it
# ends with what it has. Devices: cuda, vulkan, wgpu, metal, and vulkan-software and wgpu-software for a rehearsal
# (tools/software-vulkan). --models names what `reference/full_size.py` writes; where it is not there and --python has the
# packages of reference/requirements.txt, it is written. --python also times diffusers in the same run, eager and compiled.
# See docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly kit=target/gpu
readonly report=$kit/report.md
readonly profile=carried
readonly features=cuda-nvrtc,vulkan,wgpu,hypersd-testing/cuda,hypersd-testing/vulkan,hypersd-testing/wgpu
readonly programs=(tests stages)

fail() { echo "tools/gpu.sh: $*" >&2; exit 1; }

# The newest program of a target, of which cargo says the path.
program() {
  bash tools/cargo-cuda build --profile "$profile" --features "$features" --message-format json "$@" |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

pack() {
  mkdir -p "$kit"
  install "$(program --test gpu)" "$kit/tests"
  install "$(program --bench stages)" "$kit/stages"
  tar -C "$kit" -c "${programs[@]}" | xz -T0 -6 --x86 --lzma2=preset=6,dict=128MiB >"$kit/kit.tar.xz.part"
  mv "$kit/kit.tar.xz.part" "$kit/kit.tar.xz"
  ls -l "$kit"
}

# Seconds until the time is over.
left() { echo $((deadline > SECONDS ? deadline - SECONDS : 0)); }

# Runs a command or a function for so many seconds at most; then all of its processes end, and the status is 143 or 137.
within() {
  local seconds=$1 rc=0 running watching
  shift
  set -m # each in a process group of its own
  "$@" &
  running=$!
  { sleep "$seconds" && kill -TERM -- "-$running" && sleep 5 && kill -KILL -- "-$running"; } >/dev/null 2>&1 &
  watching=$!
  set +m
  wait "$running" || rc=$?
  kill -TERM -- "-$watching" 2>/dev/null || true
  wait "$watching" 2>/dev/null || true
  return "$rc"
}

# A heading, and what a command prints under it until it ends or the time is over. It is left out where less than so many
# seconds are left, and takes at most such a share of them that the parts after it have some.
part() {
  local title=$1 seconds=$2 share=$3 rc=0
  shift 3
  printf '\n## %s\n\n' "$title"
  if [ "$(left)" -lt "$seconds" ]; then
    printf 'Left out: %s s are left of the time, and this takes %s s or more.\n' "$(left)" "$seconds"
    return
  fi
  local began=$SECONDS
  within $(($(left) * share / 100)) "$@" 2>&1 || rc=$?
  case $rc in
    0) printf '\n%s s.\n' $((SECONDS - began)) ;;
    137 | 143) printf '\nCut off: its share of the time is over, after %s s.\n' $((SECONDS - began)) ;;
    *) printf '\nFAILED with status %s, after %s s.\n' "$rc" $((SECONDS - began)) ;;
  esac
}

# How programs are started for a device.
runner() {
  case $1 in
    *-software) echo "bash tools/software-vulkan run" ;;
  esac
}

tests() {
  local device=$1 dtype=$2
  # One thread: the tests share one card.
  # shellcheck disable=SC2046 # words
  part "Tests on $device in $dtype" 20 35 env HYPERSD_TEST_DEVICE="$device" HYPERSD_TEST_DTYPE="$dtype" \
    HYPERSD_TEST_REPOSITORY="$PWD" $(runner "$device") "$kit/tests" --test-threads 1
}

# The model's files of a family, as the programs take them.
files() {
  case $1 in
    sd15) echo --model "$models/stable-diffusion-v1-5" --lora "$models/Hyper-SD15-1step-lora.safetensors" \
      --taesd "$models/taesd" --controlnet "$models/controlnet-sd15" --size "$size_sd15" ;;
    sdxl) echo --model "$models/stable-diffusion-xl-base-1.0" --lora "$models/Hyper-SDXL-1step-lora.safetensors" \
      --controlnet "$models/controlnet-sdxl" --size "$size_sdxl" ;;
  esac
}

# stages DEVICE FAMILY STAGES ROUNDS [OPTION…]
stages() {
  local device=$1 family=$2 stages=$3 rounds=$4 dtype=f16 own=()
  shift 4
  if [[ $device == *-software ]]; then # a program that the driver's loader starts cannot start itself
    dtype=f32 own=(--only-peers --peer "hypersd=$(runner "$device") $kit/stages")
  fi
  # shellcheck disable=SC2046 # words
  "$kit/stages" $(files "$family") --device "$device" --dtype "$dtype" --threads "$(nproc)" \
    --stages "$stages" --rounds "$rounds" "${own[@]}" "$@"
}

# From the start of the program to the picture, with the kernels of the run before and without.
starts() {
  local device=$1 family=$2 cold
  cold=$(mktemp -d "$scratch/cold.XXXX")
  printf '| from the start of the program to the picture | |\n|---|---|\n'
  for what in 'kernels compiled and tuned' 'kernels kept from the run before'; do
    local began=$EPOCHREALTIME
    XDG_CACHE_HOME=$cold stages "$device" "$family" image 1 >/dev/null
    printf '| %s, then one more picture | %s s |\n' "$what" \
      "$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')"
  done
}

# Writes full-size models where they are missing and can be had.
write_models() {
  for family in sd15 sdxl; do
    [ -d "$models/controlnet-$family" ] && continue
    [ -n "$python" ] || { echo "$models has no $family, and --python is not given to write it with"; return; }
    "$python" reference/full_size.py --out "$models" --family "$family"
  done
}

times() {
  local device=$1 family=$2 eager=() compiled=()
  [ -d "$models/controlnet-$family" ] || { printf '\n## %s on %s\n\nLeft out: no model.\n' "$family" "$device"; return; }
  if [ -n "$python" ] && [ "$device" = cuda ]; then # diffusers is timed where it has the device
    eager=(--peer "diffusers=$python reference/bench_diffusers.py")
    compiled=(--peer "torch.compile=$python reference/bench_diffusers.py --compile")
  fi
  part "$family on $device: medians of $rounds after an untimed run, and peak memory" 30 50 \
    stages "$device" "$family" unet,vae,text,image,four,control,taesd,load,swap "$rounds" "${eager[@]}"
  part "$family on $device: cold and warm start" 30 50 starts "$device" "$family"
  [ ${#compiled[@]} = 0 ] || part "$family on $device beside torch.compile" 90 60 \
    stages "$device" "$family" unet,vae "$rounds" "${compiled[@]}"
}

# What is asked, and of what.
machine() {
  printf '# hypersd %s on %s, %s\n\n' "$(git rev-parse --short HEAD 2>/dev/null || echo '(no git)')" "$*" "$(date -I)"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
    vulkaninfo --summary 2>/dev/null | grep deviceName || echo 'No card that nvidia-smi or vulkaninfo names.'
}

run() {
  local minutes=60 devices=()
  models='' python='' rounds=10 size_sd15=512 size_sdxl=1024
  while [ $# -gt 0 ]; do
    case $1 in
      --minutes) minutes=${2:?--minutes: expected a number}; shift 2 ;;
      --models) models=${2:?--models: expected a folder}; shift 2 ;;
      --python) python=${2:?--python: expected a program}; shift 2 ;;
      --rounds) rounds=${2:?--rounds: expected a number}; shift 2 ;;
      --sizes) IFS=, read -r size_sd15 size_sdxl <<<"${2:?--sizes: expected two numbers}"; shift 2 ;;
      cuda | vulkan | wgpu | metal | vulkan-software | wgpu-software) devices+=("$1"); shift ;;
      *) fail "$1: expected a device, --minutes, --models, --python, --rounds or --sizes" ;;
    esac
  done
  [ ${#devices[@]} -gt 0 ] || fail "run: expected a device: cuda, vulkan, wgpu, metal, vulkan-software, wgpu-software"
  [[ $minutes =~ ^[0-9]+$ ]] || fail "--minutes: expected a number, found '$minutes'"
  deadline=$((SECONDS + 60 * minutes))
  if [ ! -x "$kit/tests" ]; then
    [ -f "$kit/kit.tar.xz" ] || fail "$kit: expected the archive that \`bash tools/gpu.sh pack\` makes"
    tar -C "$kit" -xJf "$kit/kit.tar.xz"
  fi
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  export XDG_CACHE_HOME=$scratch/kept # of kernels, from part to part
  {
    machine "${devices[@]}"
    tests "${devices[0]}" f32
    tests "${devices[0]}" f16
    tests "${devices[0]}" bf16
    if [ -n "$models" ]; then
      part "Models of full size" 60 60 write_models
      times "${devices[0]}" sd15
      times "${devices[0]}" sdxl
    fi
    for device in "${devices[@]:1}"; do
      for dtype in f32 f16 bf16; do tests "$device" "$dtype"; done
      [ -z "$models" ] || for family in sd15 sdxl; do times "$device" "$family"; done
    done
    printf '\n%s of %s minutes.\n' "$((SECONDS / 60))" "$minutes"
  } | tee "$report"
  ! grep -qE '^(test result: FAILED|FAILED with status)' "$report" || fail "$report: something failed"
  echo "$report"
}

case ${1:-} in
  pack) pack ;;
  run) shift && run "$@" ;;
  *) fail "expected pack or run, found '${1:-}'" ;;
esac
