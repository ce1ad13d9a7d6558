"""Writes crates/hypersd-models/tests/fixtures/clip/added.json: what transformers' CLIPTokenizer makes of a folder of the old
layout with an `added_tokens.json` and without a `tokenizer.json`.

Run from the repository's root: python reference/added_tokens.py
"""

import json
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

OUT = Path("crates/hypersd-models/tests/fixtures/clip")
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
PROMPTS = ["a photo of <cat-toy>", "<CAT-TOY> and <cat-toy>s", "Big <Dog> <|endoftext|> end", "plain words", "cat! <dog>"]


def main():
    vocabulary = json.loads((OUT / "tiny/vocab.json").read_text(encoding="utf-8"))
    size = len(vocabulary)
    files = {
        "added_tokens.json": {"<cat-toy>": size, "<Dog>": size + 1, BOS: vocabulary[BOS], EOS: vocabulary[EOS]},
        "special_tokens_map.json": {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS},
        "tokenizer_config.json": {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"},
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).write_bytes((OUT / "tiny" / name).read_bytes())
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        ids = [tokenizer(prompt, padding="max_length", max_length=77)["input_ids"] for prompt in PROMPTS]
    files = {name: json.dumps(content) for name, content in files.items()}
    eos = vocabulary[EOS]
    short = [row[: row.index(eos, len(row) - row[::-1].index(next(i for i in row[::-1] if i != eos))) + 1] for row in ids]
    cases = [{"prompt": prompt, "ids": row} for prompt, row in zip(PROMPTS, short)]
    (OUT / "added.json").write_text(json.dumps({"files": files, "pad": eos, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
