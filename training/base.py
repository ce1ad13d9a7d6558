"""Stage 2, the base model: a CLIP text encoder and a UNet in SD1.5's architecture, trained together to predict noise.

Timesteps are drawn evenly and their losses weighted by min(SNR, 5) / SNR (Hang et al., arXiv 2303.09556), so that the
clean end does not take all capacity. One caption in ten is empty, for classifier-free guidance.
"""

import argparse

import captions
import data
import numpy as np
import parts
import sampling
import torch
from common import DEVICE, WORK, Average, Run, descend, parameters_of, to_device, warmup_cosine
from diffusers import AutoencoderKL, UNet2DConditionModel
from muon import Muon
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

BATCH = 64
CONTEXT = 96
PROMPTS = (
    "a photo of a cat", "a chocolate cookie", "a blue paradise bird in the jungle", "a red house in the snow at night",
    "a yellow boat at the beach at sunset", "a green star", "a pink mushroom in the meadow", "a white cat and a red balloon",
    "an orange fish in the desert", "a purple flower", "a tree in winter", "a brown bird on the beach, by moonlight",
)  # fmt: skip


def tokenizer():
    """CLIP's tokenizer with those of its merges that make the captions' words whole."""
    folder = WORK / "tokenizer"
    if not folder.exists():
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


def text_encoder(vocabulary):
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=CONTEXT,
        intermediate_size=4 * CONTEXT,
        num_hidden_layers=2,
        num_attention_heads=3,
        hidden_act="quick_gelu",
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        projection_dim=CONTEXT,
    )
    return CLIPTextModel(config)


def unet():
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(48, 64, 80),
        down_block_types=("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        attention_head_dim=8,  # misnamed: the number of heads
        cross_attention_dim=CONTEXT,
        norm_num_groups=16,
    )


class Texts:
    """Captions to the states that the UNet attends to."""

    def __init__(self, encoder, tokens):
        self.encoder, self.tokens = encoder, tokens

    def __call__(self, texts):
        ids = self.tokens(list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        return self.encoder(ids.to(DEVICE)).last_hidden_state


class Examples:
    """Batches of latents with captions in fresh words."""

    def __init__(self, drop=0.1):
        saved = torch.load(WORK / "latents.pt", weights_only=True)
        self.latents, self.drop = saved["latents"].float() * saved["scale"], drop
        _, self.scenes = data.load()
        self.rng = np.random.default_rng()

    def batch(self, size):
        chosen = self.rng.integers(len(self.scenes), size=size)
        texts = [captions.caption(self.scenes[i], self.rng) for i in chosen]
        texts = ["" if self.rng.uniform() < self.drop else text for text in texts]
        return self.latents[chosen].to(DEVICE), texts, chosen


def load():
    """The trained base: UNet, texts and VAE."""
    folder = WORK / "base"
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").to(DEVICE).eval()
    network = to_device(UNet2DConditionModel.from_pretrained(folder / "unet")).eval()
    vae = to_device(AutoencoderKL.from_pretrained(WORK / "vae")).eval()
    for part in (encoder, network, vae):
        part.requires_grad_(False)
    return network, Texts(encoder, tokenizer()), vae


def noise_loss(eps, noise, t):
    alpha = sampling.ALPHAS[t]
    snr = alpha / (1 - alpha)
    weight = snr.clamp(max=5) / snr
    return (weight * (eps - noise).square().mean((1, 2, 3))).mean()


@torch.no_grad()
def look(network, texts, vae, path):
    """A sheet of the prompts: 25 steps with guidance, then one without."""
    context, empty = texts(PROMPTS), texts([""])
    rows = [
        sampling.decode(vae, sampling.sample(network, context, empty, 25, guidance=4.0)),
        sampling.decode(vae, sampling.sample(network, context, empty, 1)),
    ]
    sampling.sheet(rows, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1700)
    options = parser.parse_args()
    torch.manual_seed(1)
    tokens = tokenizer()
    encoder, network = text_encoder(len(tokens)).to(DEVICE), to_device(unet())
    print(f"{parameters_of(network):,} parameters in the UNet, {parameters_of(encoder):,} in the text encoder")
    texts, examples = Texts(encoder, tokens), Examples()
    vae = to_device(AutoencoderKL.from_pretrained(WORK / "vae")).eval()
    parameters = [*network.parameters(), *encoder.parameters()]
    embeddings = {id(layer.weight) for layer in encoder.modules() if isinstance(layer, nn.Embedding)}
    optimizer = Muon(parameters, lr=3e-3, adam=lambda p: p.ndim < 2 or id(p) in embeddings)
    schedule, average = warmup_cosine(optimizer, options.steps), Average(parameters)
    state = {"unet": network, "text": encoder, "optimizer": optimizer, "schedule": schedule, "average": average}
    run = Run("base", options.steps, state)
    for step in run:
        x0, words, _ = examples.batch(BATCH)
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (BATCH,), device=DEVICE)
        loss = noise_loss(network(sampling.add_noise(x0, noise, t), t, texts(words)).sample, noise, t)
        descend(loss, parameters, optimizer, schedule)
        average.update()
        run.report(loss=loss)
        if step % 500 == 499:
            look(network.eval(), texts, vae, f"base-{step + 1:05}.png")
            network.train()
    average.store()
    look(network.eval(), texts, vae, "base.png")
    network.save_pretrained(WORK / "base/unet")
    encoder.save_pretrained(WORK / "base/text_encoder")


if __name__ == "__main__":
    main()
