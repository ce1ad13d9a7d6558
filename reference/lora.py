"""Fixtures of hypersd-lora: small networks, LoRA files in the Hyper-SD form, and what diffusers merges them to.

    python reference/lora.py

Writes crates/hypersd-lora/tests/fixtures/:

    unet, text                 weights of the base
    hyper, style               two LoRA files: every module of the Hyper-SD kind, and attention in f16
    hyper_unet, hyper_text     what diffusers makes of the touched weights with hyper at 0.8
    both_unet                  the same with style at -0.5 on top
    odd_base, odd, odd_merged  shapes and types that diffusers does not take, and the formula in f64
    sd15.tsv, sdxl.tsv         every linear and convolution of the real UNets: name, shape, name in a LoRA file
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from common import save

OUT = Path("crates/hypersd-lora/tests/fixtures")
# formats.md 3.4: the target list of the Hyper-SD files.
UNET = ("to_q to_k to_v to_out.0 proj_in proj_out ff.net.0.proj ff.net.2 conv1 conv2 conv_shortcut "
        "downsamplers.0.conv upsamplers.0.conv time_emb_proj").split()
TEXT = "q_proj k_proj v_proj out_proj fc1 fc2".split()


def networks():
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=12, norm_num_groups=4,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=40, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=7,
    ))
    return unet.eval(), text.eval()


def targets(network, suffixes):
    return {n: m for n, m in network.named_modules() if any(n == s or n.endswith("." + s) for s in suffixes)}


def kohya(network, prefix, suffixes, rank, alpha, dtype=torch.float32):
    """A LoRA in kohya naming with random factors.

    One alpha for all: diffusers 0.42.1 turns other alphas of attention modules into patterns that match nothing
    (`….attn1.processor.to_k_lora.down.weight`) and ignores them. `odd` has the alphas that differ.
    """
    tensors = {}
    for name, module in sorted(targets(network, suffixes).items()):
        out, *rest = module.weight.shape
        up = [out, rank, 1, 1] if len(rest) == 3 else [out, rank]
        key = prefix + name.replace(".", "_")
        tensors[key + ".lora_down.weight"] = torch.randn(rank, *rest).to(dtype)
        tensors[key + ".lora_up.weight"] = (0.1 * torch.randn(up)).to(dtype)
        tensors[key + ".alpha"] = torch.tensor(alpha).to(dtype)
    return tensors


def fused(adapters):
    """The touched weights after diffusers has loaded and fused `{name: (file, weight)}` into new networks."""
    torch.manual_seed(0)
    unet, text = networks()
    for name, (file, _) in adapters.items():
        state, alphas, _ = StableDiffusionPipeline.lora_state_dict(
            dict(file), unet_config=unet.config, return_lora_metadata=True)
        StableDiffusionPipeline.load_lora_into_unet(state, alphas, unet, adapter_name=name)
        if any(key.startswith("lora_te_") for key in file):
            StableDiffusionPipeline.load_lora_into_text_encoder(state, alphas, text, adapter_name=name)
    unet.set_adapters(list(adapters), [weight for _, weight in adapters.values()])
    unet.fuse_lora()
    for module in text.modules():
        if hasattr(module, "merge"):
            for name, (_, weight) in adapters.items():
                if name in module.scaling:
                    module.scale_layer(weight)
            module.merge()
    touched = lambda network: {
        name.replace(".base_layer", ""): tensor for name, tensor in network.state_dict().items()
        if name.endswith(".base_layer.weight")}
    return touched(unet), touched(text)


def odd():
    """Modules with 2-D factors on convolutions, 4-D ones on linears, no alpha, half types: (base, lora, merged)."""
    f32, f16, bf16 = torch.float32, torch.float16, torch.bfloat16
    cases = {  # name: (weight, down, up, alpha, base type, factor type)
        "conv1x1_flat": ([6, 5, 1, 1], [3, 5], [6, 3], 1.5, f32, f32),
        "linear_4d": ([6, 5], [3, 5, 1, 1], [6, 3, 1, 1], 6.0, f32, f32),
        "conv3x3_flat": ([4, 3, 3, 3], [2, 27], [4, 2], 1.0, f32, f32),
        "conv1x3": ([4, 3, 1, 3], [2, 3, 1, 3], [4, 2, 1, 1], 3.0, f32, f32),
        "no_alpha": ([7, 9], [4, 9], [7, 4], None, f32, f32),
        "alpha_1d": ([7, 9], [4, 9], [7, 4], [8.0], f32, f32),
        "rank_over": ([3, 2], [5, 2], [3, 5], 5.0, f32, f32),
        "negative": ([3, 2], [1, 2], [3, 1], -2.0, f32, f32),
        "half": ([5, 8], [2, 8], [5, 2], 1.0, f16, f16),
        "bfloat": ([5, 8, 3, 3], [2, 8, 3, 3], [5, 2, 1, 1], 4.0, bf16, bf16),
        "mixed": ([5, 8], [2, 8], [5, 2], 1.0, f16, f32),
    }
    base, lora, merged = {}, {}, {}
    for i, (name, (shape, down, up, alpha, of_base, of_factors)) in enumerate(cases.items()):
        path = f"block.{i}.{name}"
        key = "lora_unet_" + path.replace(".", "_")
        w = base[path + ".weight"] = torch.randn(shape).to(of_base)
        d = lora[key + ".lora_down.weight"] = torch.randn(down).to(of_factors)
        u = lora[key + ".lora_up.weight"] = torch.randn(up).to(of_factors)
        scale = 1.0
        if alpha is not None:
            lora[key + ".alpha"] = torch.tensor(alpha)
            scale = float(torch.tensor(alpha)) / down[0]
        delta = u.double().reshape(shape[0], -1) @ d.double().reshape(down[0], -1)
        merged[path + ".weight"] = w.double() + 0.7 * scale * delta.reshape(shape)
    return base, lora, merged


def write_keys(path, **config):
    """The table is made from the modules, so that it vouches for what the Rust makes from names and shapes alone."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    rows = [
        f"{name}.weight\t{'x'.join(map(str, module.weight.shape))}\tlora_unet_{name.replace('.', '_')}\n"
        for name, module in sorted(unet.named_modules()) if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    path.write_text("".join(rows))
    print(f"{path}  {path.stat().st_size:,} bytes  {len(rows)} modules")


def main():
    torch.set_num_threads(2)
    torch.manual_seed(0)
    unet, text = networks()  # the same weights as in `fused`
    save(OUT / "unet.safetensors", unet.state_dict())
    save(OUT / "text.safetensors", text.state_dict())

    hyper = kohya(unet, "lora_unet_", UNET, rank=4, alpha=1.0)
    hyper |= kohya(text, "lora_te_", TEXT, rank=4, alpha=1.0)
    style = kohya(unet, "lora_unet_", ["to_q", "to_k", "to_v", "to_out.0"], 2, 3.0, torch.float16)
    save(OUT / "hyper.safetensors", hyper, {"format": "pt"})
    save(OUT / "style.safetensors", style)

    unet, text = fused({"hyper": (hyper, 0.8)})
    save(OUT / "hyper_unet.safetensors", unet)
    save(OUT / "hyper_text.safetensors", text)
    style = {key: tensor.float() for key, tensor in style.items()}
    save(OUT / "both_unet.safetensors", fused({"hyper": (hyper, 0.8), "style": (style, -0.5)})[0])

    torch.manual_seed(1)
    for name, tensors in zip(("odd_base", "odd", "odd_merged"), odd()):
        save(OUT / f"{name}.safetensors", tensors)

    write_keys(OUT / "sd15.tsv", cross_attention_dim=768)
    write_keys(
        OUT / "sdxl.tsv", cross_attention_dim=2048, block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)


if __name__ == "__main__":
    main()
