"""Random weights that are not kept: only what was drawn for them is, so that anybody can draw them again.

Beside the fixtures of a package lies a folder `weights`. Each `<name>.tsv` in it tells, in order, what is drawn from
one `torch.Generator` on the CPU; columns are separated by tabs:

    seed   15                                    the generator's seed; the first line
    file   unet/model.safetensors  pt  <SHA-256>   begins a file: its path under the fixtures, its metadata's `format`
                                                   (or `-`), and the digest of its bytes
    draw   conv_in.weight  F16  32x4x3x3  0.16666667  0   scale * randn(shape) + shift, each rounded to f32, then stored
    value  mid_block.alpha  F32  8                 a scalar; nothing is drawn
    skip   327680                                  numbers that served a fit, a multiple of 16

What was fitted afterwards is in `<name>.safetensors`, under `<file>:<tensor>`, and takes the place of what was drawn.
`hypersd-testing` (`src/weights.rs`) reads the same lists when a test starts; the digests make sure that both agree.
"""

import atexit
import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parent.parent
TYPES = {"F16": torch.float16, "F32": torch.float32}
NAMES = {dtype: name for name, dtype in TYPES.items()}


class Draws:
    """Draws from one generator, written down.

    `file` begins a file, whose tensors are then drawn; when they are all as they shall be, the file is written under
    the fixtures by whatever writes such files, and `write` puts the list in its place.
    """

    def __init__(self, fixtures, name, seed):
        self.fixtures, self.name, self.seed = Path(fixtures), name, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.entries = []  # ("file", path), ("draw", tensor's name, shape, scale, shift, value), …

    def file(self, path):
        """Begins a file; `path` is relative to the fixtures."""
        self.entries.append(("file", path))

    def draw(self, name, shape, scale=1.0, shift=0.0):
        """The next tensor of the file, in f32."""
        value = torch.randn(tuple(shape), generator=self.generator) * scale + shift
        self.entries.append(("draw", name, tuple(shape), scale, shift, value))
        return value

    def value(self, name, number):
        """A scalar of the file."""
        self.entries.append(("value", name, number))
        return torch.tensor(float(number))

    def randn(self, *shape):
        """Numbers that are not of a file, but serve a fit."""
        count = torch.Size(shape).numel()
        assert count % 16 == 0, shape  # so that draws one after the other are as one
        before = self.entries.pop()[1] if self.entries[-1][0] == "skip" else 0
        self.entries.append(("skip", before + count))
        return torch.randn(shape, generator=self.generator)

    def write(self):
        """Writes the list, and what was fitted, for the files under the fixtures; those go."""
        lines, fitted, file, missing = [f"seed\t{self.seed}"], {}, None, set()
        for kind, *entry in self.entries:
            if kind == "skip":
                lines.append(f"skip\t{entry[0]}")
                continue
            name = entry[0]
            if kind == "file":
                assert not missing, (file, missing)
                file = name
                stored, missing, form, digest = opened(self.fixtures / file)
                lines.append(f"file\t{file}\t{form}\t{digest}")
                continue
            missing.remove(name)
            type_name = NAMES[stored[name].dtype]
            if kind == "value":
                lines.append(f"value\t{name}\t{type_name}\t{entry[1]:g}")
                continue
            _, shape, scale, shift, value = entry
            extents = "x".join(map(str, shape))
            lines.append(f"draw\t{name}\t{type_name}\t{extents}\t{shortest(scale)}\t{shortest(shift)}")
            if not torch.equal(value.to(stored[name].dtype), stored[name]):
                fitted[f"{file}:{name}"] = stored[name]
        assert not missing, (file, missing)
        folder = self.fixtures / "weights"
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.tsv").write_text("\n".join(lines) + "\n")
        (folder / f"{self.name}.safetensors").unlink(missing_ok=True)
        if fitted:
            save_file(fitted, folder / f"{self.name}.safetensors")
        for kind, *entry in self.entries:
            if kind == "file":
                (self.fixtures / entry[0]).unlink()
        print(f"{folder / self.name}.tsv  {len(lines)} lines, fitted: {', '.join(fitted) or 'nothing'}")


def opened(path):
    """Tensors, their names, the metadata's format and the digest of a file."""
    with safe_open(path, "pt") as file:
        form = (file.metadata() or {}).get("format", "-")
    stored = load_file(path)
    return stored, set(stored), form, hashlib.sha256(path.read_bytes()).hexdigest()


def shortest(number):
    """A number of f32, with as many digits as tell it from others."""
    return f"{np.float32(number)!s}".removesuffix(".0")


def made(fixtures):
    """A folder, until Python ends, with the files of all lists of a package, and the small files of their folders."""
    out = Path(tempfile.mkdtemp(prefix="weights-"))
    atexit.register(shutil.rmtree, out)
    for path in sorted((Path(fixtures) / "weights").glob("*.tsv")):
        make(Path(fixtures), path, out)
    return out


def make(fixtures, path, out):
    """Draws the files of one list."""
    fitted = path.with_suffix(".safetensors")
    fitted = load_file(fitted) if fitted.exists() else {}
    files, generator = {}, torch.Generator()
    for line in path.read_text().splitlines():
        match line.split("\t"):
            case "seed", seed:
                generator.manual_seed(int(seed))
            case "skip", count:
                torch.randn(int(count), generator=generator)
            case "file", file, form, digest:
                files[file] = (form, digest, {})
            case "value", name, dtype, number:
                files[file][2][name] = torch.tensor(float(number), dtype=TYPES[dtype])
            case "draw", name, dtype, extents, scale, shift:
                shape = tuple(map(int, extents.split("x")))
                drawn = torch.randn(shape, generator=generator) * float(scale) + float(shift)
                files[file][2][name] = fitted.get(f"{file}:{name}", drawn.to(TYPES[dtype]))
    for file, (form, digest, tensors) in files.items():
        folder = file.split("/")[0]
        if "/" in file and not (out / folder).exists():
            shutil.copytree(fixtures / folder, out / folder, ignore=shutil.ignore_patterns("*.safetensors"))
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / file, None if form == "-" else {"format": form})
        assert hashlib.sha256((out / file).read_bytes()).hexdigest() == digest, f"{path}: {file}"
