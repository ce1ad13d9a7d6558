"""Runs all stages in their order; each takes up where it was stopped."""

import subprocess
import sys
from pathlib import Path

from common import WORK

# A stage, and what it leaves behind.
STAGES = {
    "data.py": "scenes.json",
    "vae.py": "vae/config.json",
    "base.py": "base/text_encoder/config.json",
    "hyper.py": "hyper-lora.safetensors",
    "controlnet.py": "controlnet/config.json",
    "judge.py": "judge.safetensors",
    "export.py": None,
}


def main():
    for stage, result in STAGES.items():
        if result and (WORK / result).exists():
            continue
        subprocess.run([sys.executable, Path(__file__).parent / stage], check=True)


if __name__ == "__main__":
    main()
