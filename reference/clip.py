"""Reference for crates/hypersd-models/src/clip: tokenizer ids and the states of two tiny text encoders.

Run from the repository's root: python reference/clip.py
Tokenizers are transformers' CLIPTokenizer, read from folders laid out as the published ones; encoders are
CLIPTextModel and CLIPTextModelWithProjection with every parameter random.
"""

import json
import random
import shutil
import tempfile
from pathlib import Path

import torch
from common import save
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from weights import Draws

OUT = Path("crates/hypersd-models/tests/fixtures/clip")
MERGES = Path("crates/hypersd-models/data/clip-merges.txt")
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77

PROMPTS = [
    "", " ", "\n\t \r\n", "a", "a photo of a cat", "A PHOTO OF A CAT", "  a   photo\tof\n\na cat  ",
    "masterpiece, best quality, 1girl, (solo:1.2), [detailed], {{8k}}", "cat!", "wow !!! !", "!", "!!", "?!?!", "...",
    "a--b---c----d", "snake_case kebab-case CamelCase", "(((nested)))", "it's we're they've I'm you'll he'd don't",
    "IT'S WE'RE", "it’s a curly ’quote’", "''s", "'s't're", "1234567890", "3.14159", "1girl2boys", "v1.5-pruned",
    "f/2.8 50mm", "100%", "$5", "#hashtag @mention", "user@example.com", "https://example.com/a?b=c&d=e#f",
    "C:\\path\\file.txt", "<b>bold</b>", "&amp; &lt;html&gt;", "a|b||c", "<|startoftext|>", "<|endoftext|>",
    "<|endoftext|> x <|startoftext|>", "<|STARTOFTEXT|> y <|EndOfText|>", "cat<|endoftext|>dog", "<|endoftext",
    "<|startoftext|><|startoftext|><|endoftext|>", "|endoftext|>", "<| endoftext |>", "[PAD] <pad> <unk>",
    "café", "cafe\u0301", "Ångström A\u030angstro\u0308m", "ÀÉÎÕÜ ñ ç ß", "İstanbul ıi", "ΑΒΓ αβγ Σίσυφος ΣΑΣ",
    "Привет, мир! ЁЖ", "שלום עולם", "مرحبا بالعالم", "हिन्दी में", "ภาษาไทย", "한국어 텍스트", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "日本語のプロンプト", "一只猫的照片", "半角ｶﾀｶﾅ 全角ＡＢＣ１２３", "猫cat猫 cat猫cat", "mixed Смешанный 混合 مختلط",
    "😀", "a 🐱 cat", "👨‍👩‍👧‍👦 family", "👍🏽 🇩🇪 🏳️‍🌈", "❤️❤ ☃", "🐱🐱🐱🐶", "zero\u200bwidth \u200c\u200d joiner\ufeff",
    "nbsp\u00a0here\u2003em\u3000wide", "soft\u00adhyphen", "\u0000\u0001\u001f\u007f control", "next\u0085line\u2028sep\u2029par",
    "bell\u0007 back\u0008space \u001b[0m", "rtl \u202eoverride\u202c", "a\u0300\u0301\u0302\u0303 stacked", "\u0301lone mark",
    "½ ¼ ² ³ ₁ Ⅷ ⅷ ① ㊿", "٣٤٥ ९८७ 四五", "™ © ® ° ± × ÷ ¿ ¡ § ¶", "“quotes” ‘single’ «guillemets» „low“", "– — … • · ‰",
    "∀x∈ℝ: x²≥0 ∑∏∫√∞", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝓜𝓪𝓽𝓱 𝟘𝟙𝟚", "ﬁ ﬂ ﬃ ligatures", "ſ long s, ẞ", "Ǆ ǅ ǆ", "\ud7ff \ue000 \ufffd \uffff", "\U0010ffff \U000e0001",
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis", "x" * 300, "ab" * 200,
    "🐱" * 60, "日" * 100, "7" * 90, "! " * 80, ", ".join(["a very detailed painting of a castle"] * 20),
    " ".join(["word"] * 75), " ".join(["word"] * 76), " ".join(["word"] * 74) + " naïveté 🐈‍⬛ tail",
]


def random_prompts(count):
    """Strings over alphabets that meet every branch of the splitter."""
    rng = random.Random(0)
    alphabets = [
        "abcdefghij ", "aA1 .,'!-", "'stremvld ", "éÉe\u0301ïßİıΣσς ", "日本한국ไทยक्षि ",
        "🐱👨\u200d👩\ufe0f🏽 a", "\t\n\u00a0\u200b\u3000\u0085 x", "<|>startofend ",
    ]
    everything = "".join(alphabets)
    return ["".join(rng.choices(rng.choice([*alphabets, everything]), k=rng.randint(1, 60))) for _ in range(count)]


def clip_vocabulary(merges):
    """The vocabulary that follows from the merges, see crates/hypersd-models/data/README.md."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges] + [BOS, EOS]
    return {token: id for id, token in enumerate(tokens)}


def token(content, normalized=True, **more):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, **more}


def write(folder, vocab, merges, **files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2))
    return folder


def encode(tokenizer, text):
    ids = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True)["input_ids"]
    whole = tokenizer(text, return_offsets_mapping=True)
    cut = len(whole["input_ids"]) > LENGTH
    # The first token that does not fit stands where the cut text has its end token.
    truncated = text[whole["offset_mapping"][LENGTH - 1][0]:] if cut else None
    end = max((i for i, id in enumerate(ids) if id != tokenizer.pad_token_id), default=-1) + 1
    return {"ids": ids[:end], "truncated": truncated}


def tokenizers(temporary):
    """Folders as they are published, by the name of the test that reads them."""
    merges = [line for line in MERGES.read_text(encoding="utf-8").splitlines()[1:] if line]
    vocab = clip_vocabulary(merges)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    config["errors"] = "replace"
    # stable-diffusion-v1-5/tokenizer: no decoder, a map with objects and a string.
    map_l = {"bos_token": token(BOS), "eos_token": token(EOS), "pad_token": EOS, "unk_token": token(EOS)}
    named = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS}
    objects = {key: {"__type": "AddedToken", **token(content)} for key, content in named.items()}
    config_l = config | objects | {"pad_token": EOS}
    # stable-diffusion-xl-base-1.0/tokenizer_2: a decoder, in which the padding "!" is a special token.
    decoder = {
        "0": token("!", False, special=True),
        "49406": token(BOS, special=True),
        "49407": token(EOS, False, special=True),
    }
    config_g = config | named | {"pad_token": "!", "added_tokens_decoder": decoder}
    map_g = {"bos_token": token(BOS), "eos_token": token(EOS), "pad_token": "!", "unk_token": token(EOS)}
    # A small table: all bytes and the first merges, as the tiny pipelines of the tests have.
    few = merges[:200]
    tiny_vocab = clip_vocabulary(few)
    # A table that lacks most bytes: unknown symbols become the end of text.
    letters = "l o w e r s t i d n</w> lo l</w> w</w> r</w> t</w> low</w> er</w> lowest</w> newer</w> wider <unk>".split()
    letters_vocab = {t: i for i, t in enumerate([*letters, BOS, EOS])}
    return {
        "clip_l": write(temporary / "clip_l", vocab, merges, tokenizer_config=config_l, special_tokens_map=map_l),
        "open_clip": write(temporary / "open_clip", vocab, merges, tokenizer_config=config_g, special_tokens_map=map_g),
        "bare": write(temporary / "bare", vocab, merges),
        "tiny": write(OUT / "tiny", tiny_vocab, few, tokenizer_config=config | named, special_tokens_map={"pad_token": token("#", False)}),
        "letters": write(OUT / "letters", letters_vocab, ["l o", "e r</w>"], tokenizer_config=config | named),
    }


def make_prompts(temporary):
    prompts = PROMPTS + random_prompts(200)
    folders = tokenizers(temporary)
    loaded = {name: CLIPTokenizer.from_pretrained(folder) for name, folder in folders.items()}
    # transformers >= 5 saves one tokenizer.json; read it back, so that the reference is of that file.
    loaded["tiny"].save_pretrained(OUT / "tiny_v5")
    loaded["tiny_v5"] = CLIPTokenizer.from_pretrained(OUT / "tiny_v5")
    fixture = {
        "prompts": prompts,
        "files": {
            name: {file.stem: file.read_text() for file in sorted(folders[name].glob("*_*.json"))}
            for name in ("clip_l", "open_clip")
        },
        "tokenizers": {
            name: {"pad": tokenizer.pad_token_id, "encoded": [encode(tokenizer, text) for text in prompts]}
            for name, tokenizer in loaded.items()
        },
    }
    (OUT / "prompts.json").write_text(json.dumps(fixture, separators=(",", ":")))


@torch.no_grad()
def make_encoder(name, model, ids, seed):
    folder = OUT / name
    draws = Draws(OUT.parent, f"clip-{name}", seed)
    draws.file(f"clip/{name}/model.safetensors")
    for parameter_name, parameter in model.eval().named_parameters():
        matrix = parameter.ndim == 2 and "embedding" not in parameter_name
        scale = 1.5 * parameter.shape[-1] ** -0.5 if matrix else 0.3
        shift = 1.0 if "norm" in parameter_name and parameter_name.endswith("weight") else 0.0
        parameter.copy_(draws.draw(parameter_name, parameter.shape, scale, shift))
    model.save_pretrained(folder)
    draws.write()
    out = model(ids, output_hidden_states=True)
    states = {f"hidden_states.{i}": state for i, state in enumerate(out.hidden_states)}
    states |= {"ids": ids.int(), "last_hidden_state": out.last_hidden_state}
    text_model = getattr(model, "text_model", model)
    # diffusers' clip_skip (StableDiffusionPipeline.encode_prompt)
    states |= {f"clip_skip.{skip}": text_model.final_layer_norm(out.hidden_states[-(skip + 1)]) for skip in (0, 1, 2)}
    if hasattr(model, "text_projection"):
        states["pooled"] = out.text_embeds
        # The same weights under the other rule for the position.
        text_model.eos_token_id = int(ids[0, 2])
        states["pooled_at_third"] = model(ids).text_embeds
    save(folder / "states.safetensors", states)


def make_encoders():
    generator = torch.Generator().manual_seed(1)
    vocab = 96
    ids = torch.randint(0, vocab - 2, (2, LENGTH), generator=generator)
    ids[:, 0] = vocab - 2
    ids[1, 2] = ids[0, 2]
    ids[:, 1] = (ids[0, 2] + 1) % (vocab - 2)
    common = dict(vocab_size=vocab, bos_token_id=vocab - 2, pad_token_id=0, eos_token_id=2)
    small_l = CLIPTextConfig(
        hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, projection_dim=32,
        hidden_act="quick_gelu", **common,
    )
    small_g = CLIPTextConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=4, num_attention_heads=3, projection_dim=40,
        hidden_act="gelu", **common,
    )
    padded = ids.clone()
    padded[0, 9:], padded[1, 30:] = vocab - 1, vocab - 1  # L pads with its end of text
    make_encoder("small_l", CLIPTextModel(small_l), padded, seed=2)
    padded = ids.clone()
    padded[0, 9], padded[0, 10:] = vocab - 1, 0  # bigG with token 0
    padded[1, 76] = vocab - 1
    make_encoder("small_g", CLIPTextModelWithProjection(small_g), padded, seed=3)


if __name__ == "__main__":
    torch.set_num_threads(2)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        make_prompts(Path(temporary))
    make_encoders()
