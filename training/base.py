"""Stage 3, the base model: a CLIP text encoder and a UNet in SD1.5's architecture, trained together to predict noise.

Timesteps are drawn evenly; the loss of each is weighted by 1 / sqrt(SNR) (Yu et al., arXiv 2310.08442), so that neither
the clean end takes all capacity nor the noisy one, where a small error of the noise is a large one of the picture, is
left without. One caption in ten is empty, for classifier-free guidance. It begins with the weights of the crate's
model (`warm`).
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from . import examples, sampling, warm
from .common import Average, Run, descend, parameters_of, save_folder
from .muon import Muon

STEPS = 20_000
BATCH = {"cpu": 64, "cuda": 256}
PROMPTS = (
    "a photo of a cat", "a chocolate cookie", "a blue paradise bird in the jungle", "a red house in the snow at night",
    "a yellow boat at the beach at sunset", "green star", "a pink mushroom in the meadow", "a white cat and a red balloon",
    "two cats and a tree", "a purple flower", "a small red cat and a blue mushroom", "a fluffy dragon on the beach",
)  # fmt: skip


class Texts:
    """Captions to the states that the UNet attends to."""

    def __init__(self, encoder, tokens):
        self.encoder, self.tokens = encoder, tokens

    def __call__(self, texts):
        ids = self.tokens(list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        return self.encoder(ids.to(self.encoder.device)).last_hidden_state


def load(setup):
    """The trained base: UNet, texts and VAE."""
    folder = setup.work / "base"
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").to(setup.device).eval()
    network = setup.network(UNet2DConditionModel.from_pretrained(folder / "unet")).eval()
    vae = load_vae(setup)
    for part in (encoder, network):
        part.requires_grad_(False)
    return network, Texts(encoder, warm.tokenizer(setup.work)), vae


def load_vae(setup):
    return setup.network(AutoencoderKL.from_pretrained(setup.work / "vae")).eval().requires_grad_(False)


def noise_loss(eps, noise, t):
    alpha = sampling.alphas(t.device)[t]
    weight = ((1 - alpha) / alpha).sqrt()
    return (weight * (eps.float() - noise).square().mean((1, 2, 3))).mean()


@torch.no_grad()
def look(network, texts, vae, path):
    """A sheet of the prompts: 25 steps with guidance, twice, then one without."""
    context, empty = texts(PROMPTS), texts([""])
    latents = [sampling.sample(network, context, empty, 25, guidance=5.0, seed=seed) for seed in (0, 1)]
    latents.append(sampling.sample(network, context, empty, 1))
    sampling.sheet([sampling.decode(vae, x) for x in latents], path)


def train(setup, signals):
    batch = BATCH[setup.device.type]
    vae = load_vae(setup)
    source = examples.of(setup, vae)
    tokens = warm.tokenizer(setup.work)
    encoder, network = warm.text_encoder(tokens).to(setup.device), setup.network(warm.unet())
    print(f"base: {parameters_of(network):,} parameters in the UNet, {parameters_of(encoder):,} in the text encoder")
    texts = Texts(encoder, tokens)
    parameters = [*network.parameters(), *encoder.parameters()]
    embeddings = {id(layer.weight) for layer in encoder.modules() if isinstance(layer, nn.Embedding)}
    optimizer = Muon(parameters, lr=2e-3, adam=lambda p: p.ndim < 2 or id(p) in embeddings)
    average = Average(parameters, decay=0.9995)
    state = {"unet": network, "text": encoder, "optimizer": optimizer, "average": average}
    run = Run(setup, signals, "base", STEPS, state)
    network.train()
    for step in run:
        x0, words, _ = source.batch(run.rng, batch, drop=0.1)
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (batch,), device=x0.device)
        with setup.precision():
            eps = network(sampling.add_noise(x0, noise, t), t, texts(words)).sample
        loss = noise_loss(eps, noise, t)
        descend(loss, parameters, optimizer, run.rate())
        average.update()
        run.report(loss=loss)
        if step % 1000 == 999:
            with average.applied():
                look(network.eval(), texts, vae, setup.work / f"sheets/base-{step + 1:05}.png")
            network.train()
    with average.applied():
        save_folder(network, setup.work / "base/unet")
        save_folder(encoder, setup.work / "base/text_encoder")
