"""What the fixture scripts share."""

from pathlib import Path

from safetensors.torch import save_file


def save(path, tensors, metadata=None):
    """Writes `tensors` (name -> torch tensor) to `path`, folders included."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)
    print(f"{path}  {path.stat().st_size:,} bytes  {len(tensors)} tensors")
