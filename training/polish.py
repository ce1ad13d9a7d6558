"""Stage 7, the VAE's decoder alone, sharpened: latents stay what they are, and with them all that was trained on them.

To the loss of stage 1 come a perceptual part, the difference of what the judge's first layers see, and a weak
adversarial one: a small network that looks at patches learns to tell decoded pictures from drawn ones (hinge loss).
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from . import base, data, judge
from .common import Average, Run, descend, save_folder
from .muon import Muon
from .vae import EDGE_WEIGHT, HELD, SHARDS, SQUARE_WEIGHT, batch, psnr

STEPS = 3000
PERCEPTUAL_WEIGHT = 0.05
ADVERSARIAL_WEIGHT = 0.01


def patches():
    """Logits for patches of 31 pixels: how drawn they look."""
    widths, layers = (3, 24, 48, 96), []
    for a, b in zip(widths, widths[1:]):
        layers += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))


def perceived(eye, y, x):
    pairs = zip(eye.features(y)[:3], eye.features(x)[:3])
    return sum(F.l1_loss(a, b) for a, b in pairs)


def train(setup, signals):
    torch.manual_seed(3)
    drawn = data.Kept(setup.work, SHARDS)
    vae, eye, critic = base.load_vae(setup), judge.load(setup), setup.network(patches())
    decoder = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    for p in decoder:
        p.requires_grad_(True)
    optimizer, average = Muon(decoder, lr=5e-4), Average(decoder)
    against = torch.optim.AdamW(critic.parameters(), lr=4e-4, betas=(0.5, 0.99))
    state = {"vae": vae, "critic": critic, "optimizer": optimizer, "against": against, "average": average}
    run = Run(setup, signals, "polish", STEPS, state)
    held = setup.pixels(data.held_pictures(HELD)[0])
    for step in run:
        x = batch(setup, drawn, run.rng, crop=step % 2 == 0)
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.sample()
        y = vae.decode(latents).sample
        real, made = critic(x), critic(y.detach())
        doubt = F.relu(1 - real).mean() + F.relu(1 + made).mean()
        against.zero_grad(set_to_none=True)
        doubt.backward()
        against.step()
        l1, square = F.l1_loss(y, x), F.mse_loss(y, x)
        edges = sum(F.l1_loss(y.diff(dim=d), x.diff(dim=d)) for d in (2, 3))
        seen, praise = perceived(eye, y, x), -critic(y).mean()
        loss = l1 + EDGE_WEIGHT * edges + SQUARE_WEIGHT * square
        loss = loss + PERCEPTUAL_WEIGHT * seen + ADVERSARIAL_WEIGHT * praise
        descend(loss, decoder, optimizer, run.rate())
        average.update()
        run.report(l1=l1, seen=seen, praise=praise, doubt=doubt)
        if step % 250 == 249:
            with average.applied():
                run.write(psnr_held_out=round(psnr(vae, held), 2))
    with average.applied():
        save_folder(vae, setup.work / "vae-polished")
