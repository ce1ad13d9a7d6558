"""Fixtures of hypersd-lora for the forms that diffusers does not merge: LoCon, LoHa, LoKr, DoRA, whole differences.

    python reference/lora_forms.py        # needs lycoris-lora, see requirements.txt

LyCORIS writes the modules; what it computes for them must agree with the formulas here, in f64, which make the
merged weights. Writes crates/hypersd-lora/tests/fixtures/:

    forms_base, forms          the base and the file
    forms_merged               the base with 0.7 of the file
    forms_dora                 the base with all of it, where the modules are DoRA: what LyCORIS gives
    others_base, others        the same for OFT, BOFT, GLoRA and (IA)³, which are no plain sums
    others_merged, others_whole  what LyCORIS makes of 0.7 and of all of them; modules with a rescale only as a whole
"""

from pathlib import Path

import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from torch import nn

from common import save

OUT = Path("crates/hypersd-lora/tests/fixtures")
WEIGHT = 0.7
# LyCORIS adds 1.2e-7 to norms of about 1 and more, and keeps alpha / rank in f32.
AGREE = 1e-6

linear = lambda inputs, out: nn.Linear(inputs, out)
conv = lambda inputs, out: nn.Conv2d(inputs, out, 3)
CASES = {  # name: (layer, LyCORIS class, settings)
    "locon": (conv(5, 6), LoConModule, dict(lora_dim=3, alpha=2.0)),
    "locon_core": (conv(5, 6), LoConModule, dict(lora_dim=3, alpha=2.0, use_tucker=True)),
    "loha": (linear(9, 7), LohaModule, dict(lora_dim=3, alpha=1.5)),
    "loha_conv": (conv(5, 6), LohaModule, dict(lora_dim=2, alpha=3.0)),
    "loha_core": (conv(5, 6), LohaModule, dict(lora_dim=3, alpha=1.5, use_tucker=True)),
    "lokr_whole": (linear(12, 8), LokrModule, dict(lora_dim=2, alpha=1.0, full_matrix=True)),
    "lokr_second": (linear(36, 24), LokrModule, dict(lora_dim=2, alpha=1.0, factor=4)),
    "lokr_both": (linear(36, 36), LokrModule, dict(lora_dim=2, alpha=3.0, factor=6, decompose_both=True)),
    "lokr_conv": (conv(16, 24), LokrModule, dict(lora_dim=2, alpha=1.0, factor=2)),
    "lokr_conv_whole": (conv(6, 8), LokrModule, dict(lora_dim=4, alpha=1.0, full_matrix=True)),
    "lokr_core": (conv(16, 24), LokrModule, dict(lora_dim=2, alpha=1.0, factor=2, use_tucker=True)),
    "dora_out": (linear(9, 7), LoConModule, dict(lora_dim=3, alpha=2.0, weight_decompose=True)),
    "dora_in": (linear(9, 7), LoConModule, dict(lora_dim=3, alpha=2.0, weight_decompose=True, wd_on_out=False)),
    "dora_square_in": (linear(8, 8), LoConModule, dict(lora_dim=3, alpha=2.0, weight_decompose=True, wd_on_out=False)),
    "dora_conv_out": (conv(5, 6), LoConModule, dict(lora_dim=3, alpha=2.0, weight_decompose=True)),
    "dora_conv_in": (conv(5, 6), LoConModule, dict(lora_dim=3, alpha=2.0, weight_decompose=True, wd_on_out=False)),
    "dora_loha": (conv(5, 6), LohaModule, dict(lora_dim=2, alpha=3.0, weight_decompose=True)),
    "dora_lokr": (linear(36, 24), LokrModule, dict(lora_dim=2, alpha=1.0, factor=4, weight_decompose=True)),
    "whole": (linear(9, 7), FullModule, {}),
    "whole_conv": (conv(5, 6), FullModule, {}),
    "norm": (nn.GroupNorm(2, 12), NormModule, {}),
}
OTHERS = {
    "oft": (linear(9, 12), DiagOFTModule, dict(lora_dim=4)),
    "oft_conv": (conv(5, 6), DiagOFTModule, dict(lora_dim=3)),
    "oft_constrained": (linear(9, 12), DiagOFTModule, dict(lora_dim=4, constraint=0.05)),
    "oft_rescaled": (linear(9, 12), DiagOFTModule, dict(lora_dim=4, rescaled=True)),
    "boft": (linear(5, 16), ButterflyOFTModule, dict(lora_dim=4)),
    "boft_conv": (conv(3, 24), ButterflyOFTModule, dict(lora_dim=8)),
    "boft_rescaled": (conv(3, 8), ButterflyOFTModule, dict(lora_dim=4, rescaled=True, constraint=0.1)),
    "glora": (linear(9, 7), GLoRAModule, dict(lora_dim=3, alpha=2.0)),
    "glora_conv": (conv(5, 6), GLoRAModule, dict(lora_dim=3, alpha=1.5)),
    "ia3_out": (linear(9, 7), IA3Module, {}),
    "ia3_in": (linear(9, 7), IA3Module, dict(train_on_input=True)),
    "ia3_conv_out": (conv(5, 6), IA3Module, {}),
    "ia3_conv_in": (conv(5, 6), IA3Module, dict(train_on_input=True)),
}


def core(t, left, right):
    """[r, q, kh, kw], [r, out], [q, in] -> [out, in, kh, kw]"""
    return torch.einsum("rqyx,ro,qi->oiyx", t, left, right)


def kron(one, two):
    if two.ndim == 4:
        return torch.kron(one[:, :, None, None], two.contiguous())
    return torch.kron(one, two)


def delta(p):
    """alpha / rank · Δ of the pieces of a module, by formats.md's formulas, in f64."""
    if "diff" in p or "w_norm" in p:
        return p.get("diff", p.get("w_norm"))
    if "lora_up.weight" in p:
        up, down = p["lora_up.weight"].flatten(1), p["lora_down.weight"]
        rank = down.shape[0]
        if "lora_mid.weight" in p:
            d = core(p["lora_mid.weight"], up.T, down.flatten(1))
        else:
            d = torch.einsum("or,r...->o...", up, down)
    elif "hada_w1_a" in p:
        rank = p["hada_w1_b"].shape[0]
        if "hada_t1" in p:
            one, two = (core(p[f"hada_t{i}"], p[f"hada_w{i}_a"], p[f"hada_w{i}_b"]) for i in "12")
        else:
            one, two = (p[f"hada_w{i}_a"] @ p[f"hada_w{i}_b"] for i in "12")
        d = one * two
    else:
        rank = None
        one, two = p.get("lokr_w1"), p.get("lokr_w2")
        if one is None:
            rank = p["lokr_w1_b"].shape[0]
            one = p["lokr_w1_a"] @ p["lokr_w1_b"]
        if two is None:
            rank = p["lokr_w2_b"].shape[0]
            a, b = p["lokr_w2_a"], p["lokr_w2_b"]
            two = core(p["lokr_t2"], a, b) if "lokr_t2" in p else a @ b
        d = kron(one, two)
        if rank is None:
            return d
    return d * (p["alpha"] / rank)


def decomposed(v, scale):
    """The axis is that of `scale`'s extent other than 1."""
    dims = [i for i, extent in enumerate(scale.shape) if extent == 1]
    return v * scale / v.square().sum(dims, keepdim=True).sqrt()


def lycoris_weight(module, layer):
    """What LyCORIS trains and runs with; its own merge applies the scale of LoHa and LoKr twice."""
    shape = layer.weight.shape
    if isinstance(module, LoConModule):
        d = module.make_weight() * module.scale
    else:
        d = module.get_weight(shape)
    v = layer.weight + d.reshape(shape)
    return module.apply_weight_decompose(v) if module.wd else v


def case(name, layer, kind, settings):
    """(base tensors, pieces of the module, merged at WEIGHT, merged at 1)"""
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    module = kind(name, layer, **settings)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape)
    state = module.custom_state_dict() or module.state_dict()
    pieces = {key: tensor.detach().clone() for key, tensor in state.items()}
    if name == "lokr_whole":
        pieces["alpha"] = torch.tensor(5.0)  # which nobody may use
    exact = {key: tensor.double() for key, tensor in pieces.items()}
    w, b = layer.weight.detach().double(), layer.bias.detach().double()
    full = w + delta(exact).reshape(w.shape)
    if "dora_scale" in pieces:
        full = decomposed(full, exact["dora_scale"])
    if kind not in (FullModule, NormModule):
        theirs = lycoris_weight(module.double(), layer.double()).detach()
        layer.float()
        error = (theirs - full).norm() / full.norm()
        assert error < AGREE, (name, error)
    base = {"weight": layer.weight.detach()}
    merged = {"weight": w + WEIGHT * (full - w)}
    change = exact.get("diff_b", exact.get("b_norm"))
    if change is not None:
        base["bias"] = layer.bias.detach()
        merged["bias"] = b + WEIGHT * change
    return base, pieces, merged, {"weight": full}


@torch.no_grad()
def others():
    """The modules that are no plain sums: LyCORIS' own merges."""
    torch.manual_seed(3)
    base, file, merged, whole = {}, {}, {}, {}
    for name, (layer, kind, settings) in OTHERS.items():
        nn.init.normal_(layer.weight)
        module = kind(name, layer, **settings)
        for parameter in module.parameters():
            parameter.data = torch.randn(parameter.shape) * 0.5
        state = (getattr(module, "custom_state_dict", dict)() or module.state_dict()).items()
        file |= {f"lora_unet_block_{name}.{key}": tensor.detach().clone() for key, tensor in state}
        base[f"block.{name}.weight"] = layer.weight.detach().clone()
        at = lambda m: module.get_merged_weight(multiplier=m)[0].detach().reshape(layer.weight.shape)
        whole[f"block.{name}.weight"] = at(1)
        if "rescale" not in dict(state):
            merged[f"block.{name}.weight"] = at(WEIGHT)
    for name, tensors in (("others_base", base), ("others", file), ("others_merged", merged), ("others_whole", whole)):
        save(OUT / f"{name}.safetensors", tensors)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(2)
    base, file, merged, dora = {}, {}, {}, {}
    cases = {name: case(name, *how) for name, how in CASES.items()}
    # LyCORIS reads this one and writes it for no layer of these sizes.
    one = {"lokr_w1_a": torch.randn(6, 2), "lokr_w1_b": torch.randn(2, 4), "lokr_w2": torch.randn(2, 3)}
    one["alpha"] = torch.tensor(3.0)
    w = torch.randn(12, 12)
    full = w.double() + delta({key: tensor.double() for key, tensor in one.items()})
    cases["lokr_first"] = {"weight": w}, one, {"weight": w + WEIGHT * (full - w)}, {"weight": full}
    for name, (weights, pieces, part, whole) in cases.items():
        base |= {f"block.{name}.{key}": tensor for key, tensor in weights.items()}
        file |= {f"lora_unet_block_{name}.{key}": tensor for key, tensor in pieces.items()}
        merged |= {f"block.{name}.{key}": tensor for key, tensor in part.items()}
        if "dora_scale" in pieces:
            dora |= {f"block.{name}.{key}": tensor for key, tensor in whole.items()}
    for name, tensors in (("forms_base", base), ("forms", file), ("forms_merged", merged), ("forms_dora", dora)):
        save(OUT / f"{name}.safetensors", tensors)
    others()


if __name__ == "__main__":
    main()
