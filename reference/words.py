"""Writes tests/fixtures/words/: what weights, windows, clip skip and textual inversion make of prompts.

- `pictures` (`cases.py` describes the files): diffusers' pipelines with `clip_skip`, `load_textual_inversion` and
  `prompt_embeds`. Beside its fields a case has `family`; `how` a prompt is read ("plain", "long", "weighted"), the latter
  two given to diffusers as the `prompt_embeds` that this script computes; `prompt_2`, `negative_2`; `clip_skip`; and
  `embeddings`, pairs of a file here and its word.
- `states.json` and `states.safetensors`: states of many prompts, by family, of which a few columns are kept (`columns`);
  `<family>.<i>` is [77 * windows, columns], `<family>.<i>.pooled` is whole.
- `compel.<family>.<i>` are those of `compel`, the package: what it and this define alike, long prompts cut wherever 75
  tokens are full, and prompts of unequal length filled with empty windows.

The formula is written here once more, over transformers' own tokenizers and encoders: A1111's grammar by spans of
brackets, its emphasis in f64. Nothing of it is taken from the code under test.

compel and pyparsing are for this script alone; `requirements.txt` has their versions.
"""

import copy
import functools
import json
import math
import random
import re
import shutil

import cases
import torch
from common import save
from compel import Compel, ReturnedEmbeddingsType, SplitLongTextMode
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny import FIXTURES, made

OUT = FIXTURES / "words"
PICTURES = OUT / "pictures"
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
COLUMNS = {"sd15": [5, 29, 61], "sdxl": [7, 40, 70, 190]}  # of 64, and of 64 + 128
BREAK = object()
AMPLIFIED = 200  # above it a mean is near zero: see `amplification`

EMBEDDINGS = {
    "a1111": {"emb_params": (3, 64)},
    "learned_embeds": {"<cat-toy>": (64,)},
    "two": {"<two>": (2, 64)},
    "xl": {"clip_l": (2, 64), "clip_g": (2, 128)},
}
DEFAULTS = (
    cases.PROMPTS
    | cases.SCHEDULE
    | cases.REQUEST
    | dict(scheduler="tcd", steps=1, width=96, height=64)
    | dict(how="plain", prompt_2=None, negative_2=None, clip_skip=0, embeddings=[])
)
CFG = dict(scheduler="ddim", steps=2, spacing="trailing", guidance=5.0)
LONG = ", ".join(f"{a} {b}" for a in ("a red", "an old", "one glowing") for b in ("cat", "dog", "tree", "river", "tower"))
WEIGHTED = "a ((photo)) of a [cat] on a (windowsill:1.4), (golden hour:0.6) BREAK soft light"
ALIKE = {
    # clip skip
    **{f"clip-skip-{n}": dict(clip_skip=n) for n in (1,)},
    "clip-skip-cfg": dict(CFG, clip_skip=1, negative="blurry, low quality"),
    # weights and windows
    "weighted": dict(how="weighted", prompt=WEIGHTED),
    "weighted-cfg": dict(CFG, how="weighted", prompt=WEIGHTED, negative="(grainy ugly:1.3) BREAK [grainy flat] BREAK dark low"),
    "weighted-skip": dict(how="weighted", prompt=WEIGHTED, clip_skip=1),
    "long": dict(how="long", prompt=LONG + ", " + LONG),
    "long-cfg": dict(CFG, how="long", prompt=LONG, negative="blurry"),
    "long-cfg-none": dict(CFG, how="long", prompt=LONG),
}
OF_SD15 = {
    "clip-skip-2": dict(clip_skip=2),
    "embedding": dict(prompt="a photo of a <cat-toy> on a table", embeddings=[["learned_embeds", "<cat-toy>"]]),
    "embedding-vectors": dict(prompt="a photo of easyword, <two> and a cat", embeddings=[["a1111", "easyword"], ["two", "<two>"]]),
    # in other letters, for which diffusers knows a word's first vector alone
    "embedding-case": dict(prompt="a photo of a CATTOY", embeddings=[["learned_embeds", "CatToy"]]),
    "embedding-negative": dict(CFG, negative="easyword", embeddings=[["a1111", "easyword"]]),
    "embedding-weighted": dict(how="weighted", prompt="a (photo of easyword:1.3) cat", embeddings=[["a1111", "easyword"]]),
    # 73 words of one token each, then three vectors that must not be torn apart
    "embedding-boundary": dict(how="long", prompt="a " * 73 + "easyword a", embeddings=[["a1111", "easyword"]]),
}
OF_SDXL = {
    "prompt-2": dict(prompt_2="an oil painting of a dog"),
    "prompt-2-cfg": dict(CFG, prompt_2="an oil painting", negative="blurry", negative_2="dark, noisy"),
    "prompt-2-weighted": dict(how="weighted", prompt=WEIGHTED, prompt_2="an (oil:1.2) painting"),
    "embedding-xl": dict(prompt="a photo of toyword on a table", embeddings=[["xl", "toyword"]]),
    "embedding-xl-cfg": dict(CFG, negative="toyword, dark", embeddings=[["xl", "toyword"]]),
}
CASES = {
    **{f"sd15-{name}": DEFAULTS | dict(family="sd15") | case for name, case in (ALIKE | OF_SD15).items()},
    **{f"sdxl-{name}": DEFAULTS | dict(family="sdxl") | case for name, case in (ALIKE | OF_SDXL).items()},
}

WORDS = "cat dog red blue old tower river light Katze 猫 naïve photo of in the a 8k golden hour glowing windowsill".split()
TYPED = [
    "", "a photo of a cat", "(cat)", "[cat]", "((cat))", "[[cat]]", "(cat:1.5)", "(cat:0.5)", "(cat:0)", "(cat:-0.5)", "(a (cat:1.3):0.8)",
    "(unclosed cat, dog", "unopened) cat", "a]b", "[unclosed", r"\(literal\) \[cat\] \\ back\slash", "(a:b)", "a:1.2", "(a: 1.2 )", "(a:+1.2)",
    "(a [b) c]", "(((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "a (cat) (dog:1.2) tree", "(unnecessary)(brackets)", "un(believ)able",
    "BREAK", "a BREAK b", "a BREAK BREAK b", "a cat BREAK", "(a cat BREAK a dog:1.3) tower", "BREAKfast aBREAK", "a,BREAK\n b",
    "!!! (wow!:1.3) !", "(é猫:1.4) 日本 🐈‍⬛", "  (  spaces  : 1.1 )  ", "A (CAT:1.2) In Capitals", "<cat> <b:c> a|b (a|b)", "...(.:1.2)...",
    LONG, f"({LONG}:1.2)", LONG + ", " + LONG, f"({LONG}:0.7), {LONG}, ([{LONG}])", "cat " * 75, "cat " * 76, "(cat:1.1) " * 80, LONG + " BREAK (cat:1.3)",
]  # fmt: skip
COMPEL = ["a photo of a cat", LONG.replace(",", ""), (LONG + " " + LONG).replace(",", ""), "cat " * 75, "cat " * 76]


def main():
    torch.set_num_threads(1)
    torch.manual_seed(23)
    shutil.rmtree(OUT, ignore_errors=True)
    for name, tensors in EMBEDDINGS.items():
        save(OUT / f"{name}.safetensors", {key: 0.5 * torch.randn(shape) for key, shape in tensors.items()})
    cases.write(PICTURES, CASES, run)
    write_states()


# Grammar and formula


def pieces(prompt):
    """A1111's grammar: [(text, weight)], with BREAK between windows. Each bracket becomes a span of characters with a
    factor, and a character weighs the product of the spans that it is in."""
    token = re.compile(
        r"\\(?P<escaped>[()\[\]\\])|\\|(?P<open>[(\[])|(?P<weight>:\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*\))"
        r"|(?P<close>[)\]])|(?P<text>[^\\()\[\]:]+|:)"
    )
    characters, spans, opened = [], [], {"(": [], "[": []}
    for match in token.finditer(prompt):
        kind, here = match.lastgroup if match.lastgroup != "number" else "weight", len(characters)
        if kind == "open":
            opened[match[0]].append(here)
        elif kind == "weight" and opened["("]:
            spans.append((opened["("].pop(), here, float(match["number"])))
        elif kind == "close" and opened["(" if match[0] == ")" else "["]:
            bracket = "(" if match[0] == ")" else "["
            spans.append((opened[bracket].pop(), here, FACTOR[bracket]))
        elif kind == "escaped":
            characters.append(match["escaped"])
        elif kind is not None:
            for i, text in enumerate(re.split(r"\s*\bBREAK\b\s*", match[0])):
                characters += ([BREAK] if i else []) + list(text)
    spans += [(begin, len(characters), FACTOR[bracket]) for bracket, begins in opened.items() for begin in begins]
    result = []
    for i, character in enumerate(characters):
        if character is BREAK:
            result.append(BREAK)
            continue
        weight = math.prod(factor for begin, end, factor in spans if begin <= i < end)
        if result and result[-1] is not BREAK and math.isclose(result[-1][1], weight, rel_tol=1e-12, abs_tol=1e-12):
            result[-1] = (result[-1][0] + character, weight)
        else:
            result.append((character, weight))
    return result


FACTOR = {"(": 1.1, "[": 1 / 1.1}


def windows(parts, tokenizer, together):
    """[(77 ids, 77 weights)]; `together` says how many tokens a token begins that stay in one window."""
    filled, window = [], []
    for part in parts:
        if part is BREAK:
            filled.append(window)
            window = []
            continue
        text, weight = part
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        i = 0
        while i < len(ids):
            group = ids[i : i + together(ids[i])]
            i += len(group)
            if len(window) + len(group) > 75:
                filled.append(window)
                window = []
            window += [(token, weight) for token in group]
    if window or not filled:
        filled.append(window)
    return [full(window, tokenizer) for window in filled]


def full(window, tokenizer):
    padding = 75 - len(window)
    ids = [tokenizer.bos_token_id, *(token for token, _ in window), tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * padding, [1.0, *(weight for _, weight in window), 1.0] + [1.0] * padding


@torch.no_grad()
def states(window, encoder, last, clip_skip):
    """One window's weighted states [1, 77, D] and its pooled state."""
    ids, weights = window
    out = encoder(torch.tensor([ids]), output_hidden_states=True)
    if last:  # Stable Diffusion 1.x: after the final norm
        z = encoder.final_layer_norm(out.hidden_states[-1 - clip_skip])
    else:
        z = out.hidden_states[-2 - clip_skip]
    if any(weight != 1 for weight in weights):
        weighted = z.double() * torch.tensor(weights, dtype=torch.float64)[None, :, None]
        z = (weighted * (z.double().mean() / weighted.mean())).float()
    return z, getattr(out, "text_embeds", None)


def encoders(pipe):
    """(tokenizer, encoder) of each, and whether their last state is what counts."""
    if hasattr(pipe, "text_encoder_2"):
        return [(pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)], False
    return [(pipe.tokenizer, pipe.text_encoder)], True


def embed(pipe, prompts, how, clip_skip=0):
    """(states, pooled) for several prompts, each a text for every encoder, filled to one length with empty windows."""
    pairs, last = encoders(pipe)
    together = lambda tokenizer: lambda token: vectors(tokenizer, token)  # noqa: E731
    parts = (lambda text: pieces(text)) if how == "weighted" else (lambda text: [(text, 1.0)])
    by_encoder = [
        [windows(parts(pipe.maybe_convert_prompt(texts[i], tokenizer)), tokenizer, together(tokenizer)) for texts in prompts]
        for i, (tokenizer, _) in enumerate(pairs)
    ]
    longest = max(len(filled) for of_encoder in by_encoder for filled in of_encoder)
    result = []
    for k, skip in zip(range(len(prompts)), (clip_skip, 0)):  # diffusers leaves out no layers for the negative prompt
        sides, pooled = [], None
        for (tokenizer, encoder), of_encoder in zip(pairs, by_encoder):
            filled = of_encoder[k] + [full([], tokenizer)] * (longest - len(of_encoder[k]))
            made = [states(window, encoder, last, skip) for window in filled]
            sides.append(torch.cat([z for z, _ in made], 1))
            pooled = made[0][1]
        result.append((torch.cat(sides, 2), pooled))
    return result


def vectors(tokenizer, token):
    """How many vectors a word that was added begins with this token."""
    word = tokenizer.convert_ids_to_tokens(token)
    if word not in tokenizer.added_tokens_encoder or re.search(r"_\d+$", word):
        return 1
    count = 1
    while f"{word}_{count}" in tokenizer.added_tokens_encoder:
        count += 1
    return count


# Pictures


@functools.cache
def folder(family, embeddings=()):
    more = {"add_watermarker": False} if family == "sdxl" else {}
    pipe = PIPELINES[family].from_pretrained(made() / f"tiny-{family}", dtype=torch.float32, **more)
    pipe.set_progress_bar_config(disable=True)
    # diffusers 0.42 asks for a level that transformers 5 no longer has; not as a module, which would be in itself
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    for file, word in embeddings:
        path = OUT / f"{file}.safetensors"
        if family == "sd15":
            pipe.load_textual_inversion(str(path), token=word)
            continue
        from safetensors.torch import load_file

        tensors = load_file(path)
        for name, (tokenizer, encoder) in zip(("clip_l", "clip_g"), encoders(pipe)[0]):
            pipe.load_textual_inversion(tensors[name], token=word, tokenizer=tokenizer, text_encoder=encoder)
    return pipe


def run(case):
    pipe = folder(case["family"], tuple(map(tuple, case["embeddings"])))
    config = copy.deepcopy(pipe.scheduler.config)
    if case["how"] == "plain":
        more = {"clip_skip": case["clip_skip"] or None}
        if case["family"] == "sdxl":
            more |= {"prompt_2": case["prompt_2"], "negative_prompt_2": case["negative_2"]}
        return cases.run(pipe, config, case, **more)
    guided, texts = case["guidance"] > 1, [[case["prompt"], case["prompt_2"] or case["prompt"]]]
    zeros = case["family"] == "sdxl" and case["negative"] is None
    if guided and not zeros:
        negative = case["negative"] or ""
        texts.append([negative, case["negative_2"] or negative])
    if case["how"] == "weighted":  # else a mean near zero would make much of rounding
        assert all(amplification(pipe, text) < AMPLIFIED for pair in texts for text in pair), case
    made_of = embed(pipe, texts, case["how"], case["clip_skip"])
    if guided and zeros:
        made_of.append(tuple(map(torch.zeros_like, made_of[0])))
    more = {}
    for prefix, (context, pooled) in zip(("", "negative_"), made_of):
        more[prefix + "prompt_embeds"] = context
        if case["family"] == "sdxl":
            more[prefix + "pooled_prompt_embeds"] = pooled
    return cases.run(pipe, config, case | dict(prompt=None, negative=None), **more)


# States


def random_prompts(count):
    """Brackets at random places, some of which belong together; of prompts whose mean is not near zero."""
    rng = random.Random(23)

    def part(depth):
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
        if depth and rng.random() < 0.6:
            inner = part(depth - 1)
            text += rng.choice([" ", ", "]) + rng.choice([f"({inner})", f"[{inner}]", f"({inner}:{rng.uniform(0.2, 1.8):.2f})"])
        return text + rng.choice(["", "", ",", " BREAK", ")", " ("])

    prompts = []
    while len(prompts) < count:
        prompt = " ".join(part(3) for _ in range(rng.randint(1, 5)))
        if max(amplification(folder(family), prompt) for family in PIPELINES) < AMPLIFIED:
            prompts.append(prompt)
    return prompts


def write_states():
    prompts = TYPED + random_prompts(40)
    tensors, amplified = {}, {}
    for family, columns in COLUMNS.items():
        pipe = folder(family)
        amplified[family] = [round(amplification(pipe, prompt), 1) for prompt in prompts]
        for i, prompt in enumerate(prompts):
            [(context, pooled)] = embed(pipe, [[prompt, prompt]], "weighted")
            tensors[f"{family}.{i}"] = context[0][:, columns].contiguous()
            if pooled is not None:
                tensors[f"{family}.{i}.pooled"] = pooled
        for i, (context, own) in enumerate(zip(by_compel(pipe), COMPEL)):
            tensors[f"compel.{family}.{i}"] = context[:, columns].contiguous()
            [(mine, _), _] = embed(pipe, [[own] * 2, [COMPEL[-1]] * 2], "long")
            torch.testing.assert_close(mine[0], context, rtol=1e-6, atol=1e-6)
    save(OUT / "states.safetensors", tensors)
    fixture = {"columns": COLUMNS, "amplified": amplified, "prompts": prompts, "compel": COMPEL}
    (OUT / "states.json").write_text(json.dumps(fixture, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def amplification(pipe, prompt):
    """The largest deviation over mean, before and after the weights: by how much the factor that restores the mean makes
    more of the states' rounding. Random encoders have means near zero; trained ones have not."""
    pairs, last = encoders(pipe)
    most = 0.0
    for tokenizer, encoder in pairs:
        for ids, weights in windows(pieces(prompt), tokenizer, lambda token: 1):
            z = states((ids, [1.0] * 77), encoder, last, 0)[0].double()
            weighted = z * torch.tensor(weights, dtype=torch.float64)[None, :, None]
            if not torch.equal(z, weighted):
                most = max(most, *((x.std() / x.mean().abs()).item() for x in (z, weighted)))
    return most


def by_compel(pipe):
    """The states of COMPEL's prompts, each filled to the length of the longest."""
    pairs, last = encoders(pipe)
    kind = "LAST_HIDDEN_STATES_NORMALIZED" if last else "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED"
    sides = []
    for tokenizer, encoder in pairs:
        compel = Compel(
            tokenizer=tokenizer,
            text_encoder=encoder,
            truncate_long_prompts=False,
            returned_embeddings_type=ReturnedEmbeddingsType[kind],
            split_long_text_mode=SplitLongTextMode.BRUTAL,
        )
        sides.append(compel(COMPEL))
    return torch.cat(sides, 2).detach()


if __name__ == "__main__":
    main()
