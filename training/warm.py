"""Where the base begins: the crate's model, its tokenizer widened by the words that captions have since learned.

Tokens keep what they have learned by their names, for their numbers move when merges come between; new ones begin as
the mean of the tokens that their word was split into before.
"""

import json

import parts
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from . import captions
from .common import CRATE


def tokenizer(work):
    """CLIP's tokenizer with those of its merges that make the captions' words whole."""
    folder = work / "tokenizer"
    if not (folder / "tokenizer_config.json").exists():
        parts.write_tokenizer(folder, merges_for(captions.words()))
    return CLIPTokenizer.from_pretrained(folder)


def merges_for(words):
    """Those of CLIP's merges that its tokenizer applies to `words`, in its order: each word has its usual tokens."""
    every = parts.merges()
    ranks = {tuple(merge.split()): rank for rank, merge in enumerate(every)}
    used = set()
    for word in words:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while True:
            known = [(ranks[pair], i) for i, pair in enumerate(zip(symbols, symbols[1:])) if pair in ranks]
            if not known:
                break
            rank, i = min(known)
            used.add(rank)
            symbols[i : i + 2] = ["".join(symbols[i : i + 2])]
    return [every[rank] for rank in sorted(used)]


def unet():
    return UNet2DConditionModel.from_pretrained(CRATE / "model/unet", torch_dtype=torch.float32)


def text_encoder(tokens):
    """The crate's text encoder with a row of its embedding for each of `tokens`."""
    before = CLIPTextModel.from_pretrained(CRATE / "model/text_encoder", torch_dtype=torch.float32)
    ids = json.loads((CRATE / "model/tokenizer/vocab.json").read_text(encoding="utf-8"))
    size = len(tokens)
    config = CLIPTextConfig(**before.config.to_dict() | dict(
        vocab_size=size, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
    ))  # fmt: skip
    after = CLIPTextModel(config)
    weights = before.state_dict()
    name = next(key for key in weights if key.endswith("token_embedding.weight"))
    weights[name] = embedding(weights[name], ids, tokens.get_vocab())
    after.load_state_dict(weights)
    return after


def embedding(rows, ids, vocabulary):
    """`rows` of tokens numbered by `ids`, for the tokens and numbers of `vocabulary`."""
    widened = torch.empty(len(vocabulary), rows.shape[1])
    for token, number in vocabulary.items():
        pieces = [token] if token in ids else split(token, ids)
        widened[number] = torch.stack([rows[ids[piece]] for piece in pieces]).mean(0)
    return widened


def split(token, ids):
    """The longest known tokens, from the left, that make up one that is not known."""
    pieces = []
    while token:
        length = next(n for n in range(len(token), 0, -1) if token[:n] in ids)
        pieces.append(token[:length])
        token = token[length:]
    return pieces
