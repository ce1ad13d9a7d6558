"""How far what programs made is from what they made in f32, as a relative L2: of the files that `--save` of
`benches/stages` wrote, each beside the f32 of the same stage and program.

    python reference/bench_error.py DIR
"""

import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    stage, program, dtype = path.name.split(".")
    wide = folder / f"{stage}.{program}.f32"
    if dtype == "f32" or not wide.exists():
        continue
    got, want = (np.fromfile(file, "<f4").astype(np.float64) for file in (path, wide))
    print(f"{stage:6} {program:10} {dtype:5} {np.linalg.norm(got - want) / np.linalg.norm(want):.2e}")
