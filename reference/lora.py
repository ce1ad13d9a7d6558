"""Fixtures of hypersd-lora: small networks, LoRA files in every naming, and what diffusers and PEFT merge them to.

    python reference/lora.py

Writes crates/hypersd-lora/tests/fixtures/:

    unet, text                 weights of the base
    hyper, style               two LoRA files: every module of the Hyper-SD kind, and attention in f16
    hyper_unet, hyper_text     what diffusers makes of the touched weights with hyper at 0.8
    both_unet                  the same with style at -0.5 on top
    odd_base, odd, odd_merged  shapes and types that diffusers does not take, and the formula in f64
    sgm, te, old               kohya's files with Stability's block names and with two text encoders, old diffusers'
    peft, rslora, dora         files that diffusers writes for PEFT adapters, with their metadata
    adapter/                   the folder that PEFT itself writes
    *_unet, *_text, *_text_2   what diffusers or PEFT makes of the touched weights with these
    sd15.tsv, sdxl.tsv         every linear and convolution of the real UNets: name, shape, names in LoRA files
"""

import re
import tempfile

from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers, _maybe_map_sgm_blocks_to_diffusers)
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
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


def fused(adapters, prefixes=("text_encoder",)):
    """The touched weights after diffusers has loaded and fused `{name: (file, weight)}` into new networks: those of
    the UNet and of a text encoder for each prefix."""
    torch.manual_seed(0)
    unet, text = networks()
    texts = [text] + [networks()[1] for _ in prefixes[1:]]
    for other in texts[1:]:
        other.load_state_dict(text.state_dict())
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in (unet, *texts)]
    for name, (file, _) in adapters.items():
        pipeline = StableDiffusionPipeline if len(prefixes) == 1 else StableDiffusionXLPipeline
        state, alphas, *_ = pipeline.lora_state_dict(dict(file), unet_config=unet.config, return_lora_metadata=True)
        if any(key.startswith("unet.") for key in state):
            pipeline.load_lora_into_unet(state, alphas, unet, adapter_name=name)
        for network, prefix in zip(texts, prefixes):
            if any(key.startswith(prefix + ".") for key in state):
                pipeline.load_lora_into_text_encoder(state, alphas, network, prefix=prefix, adapter_name=name)
    if unet_adapters := getattr(unet, "peft_config", None):
        names = [name for name in adapters if name in unet_adapters]
        unet.set_adapters(names, [adapters[name][1] for name in names])
        unet.fuse_lora()
    for network in texts:
        merge(network, {name: weight for name, (_, weight) in adapters.items()})
    return [touched(network, old) for network, old in zip((unet, *texts), before)]


def merge(network, weights):
    for module in network.modules():
        if hasattr(module, "merge"):
            for name, weight in weights.items():
                if name in module.scaling:
                    module.scale_layer(weight)
            module.merge()


def touched(network, before):
    """What differs from before, under the names of before."""
    after = {name.replace(".base_layer", ""): tensor for name, tensor in network.state_dict().items()}
    return {name: after[name] for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def sgm_names(config):
    """Module path -> LDM path with `_` for `.`, for the blocks of a UNet; formats.md 2.1."""
    inner = {"norm1": "in_layers_0", "conv1": "in_layers_2", "time_emb_proj": "emb_layers_1", "norm2": "out_layers_0",
             "conv2": "out_layers_3", "conv_shortcut": "skip_connection"}
    n, last = config["layers_per_block"] + 1, len(config["down_block_types"]) - 1

    def name(path):
        match path.split("."):
            case ["down_blocks", b, "downsamplers", "0", "conv"]:
                return f"input_blocks_{n * int(b) + n}_0_op"
            case ["up_blocks", b, "upsamplers", "0", "conv"]:
                attention = "Attn" in config["up_block_types"][int(b)]
                return f"output_blocks_{n * int(b) + n - 1}_{2 if attention else 1}_conv"
            case ["down_blocks" | "up_blocks" as side, b, "resnets" | "attentions" as kind, j, *rest]:
                at = n * int(b) + int(j) + (1 if side == "down_blocks" else 0)
                block = f"{'input' if side == 'down_blocks' else 'output'}_blocks_{at}"
            case ["mid_block", kind, j, *rest]:
                block, rest = f"middle_block_{2 * int(j) + (kind == 'attentions')}", [None, *rest]
            case _:
                return None
        if rest[0] is None:
            rest = rest[1:]
        else:
            block += "_0" if kind == "resnets" else "_1"
        if kind == "resnets":
            rest = [inner[rest[0]], *rest[1:]]
        return "_".join([block, *rest])

    return name


def check_sgm(paths, name, config):
    """diffusers must read the names as those of the modules that they were made from, where it can: blocks from 10 on
    and upsamplers without attention before them (`…_1_conv`), which SDXL does not have, it mistakes for others."""
    paths = [path for path in paths if not re.search(r"_\d\d_|blocks_\d_1_conv", name(path))]
    file = {f"lora_unet_{name(path)}.lora_{part}.weight": torch.tensor([float(i)])
            for i, path in enumerate(paths) for part in ("down", "up")}
    config = SimpleNamespace(**config)
    state, _ = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(file, config))
    read = {re.sub(r"^unet\.|\.processor|[._]lora\..*", "", key): int(tensor) for key, tensor in state.items()}
    assert read == {path.replace("to_out.0", "to_out") if "attn" in path else path: i for i, path in enumerate(paths)}


def rename(file, names):
    """A kohya file with other module names, `{old: new}`; modules without one are left out."""
    return {names[module] + "." + part: tensor for module, part, tensor in
            ((*key.split(".", 1), tensor) for key, tensor in file.items()) if module in names}


def old_diffusers(unet, text):
    """Attention processors, `.lora.` layers and the two spellings of text encoders: no alphas anywhere."""
    tensors = {}

    def module(key, layer, rank):
        tensors[f"{key}.down.weight"] = torch.randn(rank, layer.in_features)
        tensors[f"{key}.up.weight"] = 0.1 * torch.randn(layer.out_features, rank)

    for name, layer in targets(unet, "to_q to_k to_v to_out.0".split()).items():
        attention, projection = name.rsplit(".to_", 1)
        module(f"unet.{attention}.processor.to_{projection.removesuffix('.0')}_lora", layer, 3)
    for name, layer in targets(text, TEXT[:4]).items():
        attention, projection = name.rsplit(".", 1)
        if "layers.0." in name:
            old = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}[projection]
            module(f"text_encoder.text_model.{attention}.{old}_lora", layer, 3)
        else:
            module(f"text_encoder.text_model.{name}.lora_linear_layer", layer, 3)
    return tensors


def adapter(network, **config):
    """Puts a PEFT adapter with random factors into a network; its tensors, as PEFT names them."""
    if hasattr(network, "add_adapter"):
        network.add_adapter(LoraConfig(init_lora_weights=False, **config))
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            # A magnitude is a length; PEFT starts from the weight's own.
            parameter.data = parameter.data * 1.3 if "magnitude" in name else 0.3 * torch.randn(parameter.shape)
    return get_peft_model_state_dict(network)


def write_peft(path, unet_config, text_config=None):
    """Writes `path` as diffusers does, and what PEFT merges it to beside it."""
    torch.manual_seed(0)
    unet, text = networks()
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in (unet, text)]
    metadata = dict(unet=unet, text_encoder=text if text_config else None)
    layers = dict(unet_lora_layers=adapter(unet, **unet_config))
    if text_config:
        layers["text_encoder_lora_layers"] = adapter(text, **text_config)
    metadata = _collate_lora_metadata({name: network for name, network in metadata.items() if network})
    with tempfile.TemporaryDirectory() as folder:
        StableDiffusionPipeline.save_lora_weights(folder, weight_name=path.name, **layers, **metadata)
        (path.parent / path.name).write_bytes((Path(folder) / path.name).read_bytes())
    print(f"{path}  {path.stat().st_size:,} bytes")
    unet.fuse_lora()
    merge(text, {})
    save(path.with_name(f"{path.stem}_unet.safetensors"), touched(unet, before[0]))
    if text_config:
        save(path.with_name(f"{path.stem}_text.safetensors"), touched(text, before[1]))


def write_adapter(path, **config):
    """PEFT's own folder for a UNet, and what it merges to."""
    torch.manual_seed(0)
    unet, _ = networks()
    before = {k: v.clone() for k, v in unet.state_dict().items()}
    model = get_peft_model(unet, LoraConfig(**config))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape)
    model.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)
    save(path.parent / "adapter_unet.safetensors", touched(model.merge_and_unload(), before))


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
    modules = {name: module for name, module in sorted(unet.named_modules())
               if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))}
    sgm = sgm_names(unet.config)
    check_sgm([name for name in modules if sgm(name)], sgm, unet.config)
    outer = {"conv_in": "input_blocks_0_0", "conv_out": "out_2"} | {
        f"{part}_embedding.linear_{i}": f"{old}_{2 * i - 2}"
        for part, old in (("time", "time_embed"), ("add", "label_emb_0")) for i in (1, 2)}
    rows = [
        f"{name}.weight\t{'x'.join(map(str, module.weight.shape))}\tlora_unet_{name.replace('.', '_')}"
        f"\tlora_unet_{sgm(name) or outer[name]}\n" for name, module in modules.items()]
    path.write_text("".join(rows))
    print(f"{path}  {path.stat().st_size:,} bytes  {len(rows)} modules")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet, text = networks()  # the same weights as in `fused`
    save(OUT / "unet.safetensors", unet.state_dict())
    save(OUT / "text.safetensors", text.state_dict())

    hyper = kohya(unet, "lora_unet_", UNET, rank=4, alpha=1.0)
    hyper |= kohya(text, "lora_te_", TEXT, rank=4, alpha=1.0)
    style = kohya(unet, "lora_unet_", ["to_q", "to_k", "to_v", "to_out.0"], 2, 3.0, torch.float16)
    save(OUT / "hyper.safetensors", hyper, {"format": "pt"})
    save(OUT / "style.safetensors", style)

    merged_unet, merged_text = fused({"hyper": (hyper, 0.8)})
    save(OUT / "hyper_unet.safetensors", merged_unet)
    save(OUT / "hyper_text.safetensors", merged_text)
    style = {key: tensor.float() for key, tensor in style.items()}
    save(OUT / "both_unet.safetensors", fused({"hyper": (hyper, 0.8), "style": (style, -0.5)})[0])

    torch.manual_seed(1)
    for name, tensors in zip(("odd_base", "odd", "odd_merged"), odd()):
        save(OUT / f"{name}.safetensors", tensors)

    torch.manual_seed(3)
    sgm = sgm_names(unet.config)
    some = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "attn2.to_k"]
    file = kohya(unet, "lora_unet_", some, 2, 3.0)
    names = {"lora_unet_" + name.replace(".", "_"): "lora_unet_" + sgm(name) for name in targets(unet, some)
             if not sgm(name).endswith("_1_conv")}  # see check_sgm
    sgm_file = rename(file, names)
    save(OUT / "sgm.safetensors", sgm_file)
    save(OUT / "sgm_unet.safetensors", fused({"sgm": (sgm_file, 1.0)})[0])

    te = kohya(text, "lora_te1_text_model_", TEXT, 2, 1.0) | kohya(text, "lora_te2_text_model_", TEXT[:4], 3, 2.0)
    save(OUT / "te.safetensors", te)
    _, one, two = fused({"te": (te, 0.6)}, ("text_encoder", "text_encoder_2"))
    save(OUT / "te_text.safetensors", one)
    save(OUT / "te_text_2.safetensors", two)

    old = old_diffusers(unet, text)
    save(OUT / "old.safetensors", old)
    old_unet, old_text = fused({"old": (old, 1.5)})
    save(OUT / "old_unet.safetensors", old_unet)
    save(OUT / "old_text.safetensors", old_text)

    some = ["attn1.to_q", "attn2.to_out.0", "ff.net.2", "mid_block.resnets.0.conv1", "proj_in"]
    write_peft(
        OUT / "peft.safetensors",
        dict(r=4, lora_alpha=6, target_modules=some, rank_pattern={"mid_block.resnets.0.conv1": 2},
             alpha_pattern={"attn1.to_q": 1, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 2.5}),
        dict(r=2, lora_alpha=5, target_modules=TEXT))
    with_bias = ["ff.net.2", "mid_block.resnets.0.conv1", "proj_in"]
    write_peft(
        OUT / "rslora.safetensors",
        dict(r=4, lora_alpha=3, target_modules=with_bias, use_rslora=True, lora_bias=True))
    write_peft(OUT / "dora.safetensors", dict(r=3, lora_alpha=2, target_modules=some, use_dora=True))
    write_adapter(OUT / "adapter", r=3, lora_alpha=7, target_modules=["attn2.to_v"])

    write_keys(OUT / "sd15.tsv", cross_attention_dim=768)
    write_keys(
        OUT / "sdxl.tsv", cross_attention_dim=2048, block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)


if __name__ == "__main__":
    main()
