"""How the demo model is made: see README.md. `reference/`'s modules are at hand for tokenizers, LoRA names and folders."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "reference"))
