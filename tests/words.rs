//! Prompts against diffusers and against the formula: weights, windows, clip skip, textual inversion, embeddings.
//!
//! `reference/words.py` wrote the files and says what is in them.

#[path = "common/parity.rs"]
mod parity;

use std::{collections::BTreeMap, path::PathBuf};

use hypersd::{Error, Pipeline, PipelineBuilder, Prompt, PromptEmbeds, Request, Steps, Tensor};
use hypersd_core::{HostTensor, save_safetensors};
use hypersd_testing::{
    Array, assert_close, device, dtype, fixture, pipeline_tolerance, relative_l2, weights,
};
use parity::fixtures;
use serde::Deserialize;

const PICTURES: &str = "words/pictures";

/// Relative L2 distance of states from those of transformers in f32; 3e-7 is usual. Another factor for one token starts at
/// 1e-3.
const STATES: f64 = 2e-6;

/// The mean of random states is small beside them, and the factor that restores it is as wrong as the mean is: up to 5e-9 of
/// the states' deviation (2e-7 of each of 4928) over the mean. Where that quotient is larger than this, the factor of a
/// window is compared by itself, and less closely.
const AMPLIFIED: f64 = 200.0;
const FACTOR: f64 = 1e-8;

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    family: String,
    how: String,
    prompt_2: Option<String>,
    negative_2: Option<String>,
    clip_skip: usize,
    embeddings: Vec<(String, String)>,
}

impl Case {
    fn request(&self) -> Request {
        let prompt =
            self.prompt(&self.common.prompt, self.prompt_2.as_deref()).with_clip_skip(self.clip_skip);
        let negative =
            self.common.negative.as_ref().map(|text| self.prompt(text, self.negative_2.as_deref()));
        Request { prompt, negative, ..self.common.request() }
    }

    fn prompt(&self, text: &str, second: Option<&str>) -> Prompt {
        let prompt = match self.how.as_str() {
            "weighted" => Prompt::weighted(text),
            "long" => Prompt::plain(text).long(),
            _ => Prompt::plain(text),
        };
        match second {
            Some(second) => prompt.with_second(second),
            None => prompt,
        }
    }

    fn embeddings(&self) -> Vec<(PathBuf, Option<&str>)> {
        self.embeddings.iter().map(|(file, word)| (embedding(file), Some(word.as_str()))).collect()
    }
}

#[derive(Debug, Deserialize)]
struct States {
    columns: BTreeMap<String, Vec<usize>>,
    /// How much the mean that is restored amplifies what rounding does to the states, by family and prompt.
    amplified: BTreeMap<String, Vec<f64>>,
    prompts: Vec<String>,
    compel: Vec<String>,
}

fn embedding(file: &str) -> PathBuf {
    fixtures().join("words").join(format!("{file}.safetensors"))
}

fn open(family: &str) -> PipelineBuilder {
    Pipeline::open(weights("").join(format!("tiny-{family}"))).expect("the tiny model").dtype(dtype())
}

fn load(family: &str) -> Pipeline {
    open(family).load(&device()).expect("the pipeline")
}

fn cases() -> Vec<Case> {
    parity::cases(PICTURES)
}

/// One step in a small size.
fn request(prompt: impl Into<Prompt>) -> Request {
    Request {
        prompt: prompt.into(),
        width: Some(64),
        height: Some(64),
        steps: Steps::Count(1),
        ..Request::default()
    }
}

fn latents(pipeline: &Pipeline, request: &Request) -> Vec<f32> {
    pipeline.latents(request).expect("latents").into_data().try_into_vec_as().expect("f32")
}

/// Exchanges the words of one loaded pipeline from case to case.
#[test]
fn pictures_are_diffusers() {
    let mut pipelines = BTreeMap::new();
    for case in cases() {
        let pipeline = pipelines.entry(case.family.clone()).or_insert_with(|| load(&case.family));
        pipeline.set_embeddings(&case.embeddings()).expect("the embeddings");
        parity::assert_is_diffusers(PICTURES, &case.common.name, &case.request(), pipeline);
    }
}

/// The words are there from the start.
#[test]
fn words_of_the_builder_are_those_of_the_pipeline() {
    for name in ["sd15-embedding-vectors", "sdxl-embedding-xl"] {
        let case = cases().into_iter().find(|case| case.common.name == name).expect("the case");
        let mut builder = open(&case.family).low_memory();
        for (file, word) in case.embeddings() {
            builder = builder.embedding(file, word).expect("an embedding");
        }
        builder.check(&case.request()).expect("a request");
        let pipeline = builder.load(&device()).expect("the pipeline");
        parity::assert_is_diffusers(PICTURES, name, &case.request(), &pipeline);
    }
}

fn states() -> (States, BTreeMap<String, Array>) {
    let path = fixtures().join("words/states.json");
    let text = std::fs::read_to_string(path).expect("states.json");
    (serde_json::from_str(&text).expect("states.json"), fixture(fixtures().join("words/states.safetensors")))
}

/// These columns of the states `[1, T, D]`.
fn columns_of(embeds: &PromptEmbeds, columns: &[usize]) -> Tensor<2> {
    let rows: Tensor<2> = embeds.context().squeeze_dim(0);
    Tensor::cat(columns.iter().map(|&column| rows.clone().narrow(1, column, 1)).collect(), 1)
}

/// Asserts that these columns are `want`, `[T, columns]`.
fn assert_columns(name: &str, embeds: &PromptEmbeds, columns: &[usize], want: &Array) {
    assert_close(name, columns_of(embeds, columns), want, pipeline_tolerance(STATES));
}

/// The same window by window and encoder by encoder, but for a factor that may be off by so much.
fn assert_windows(name: &str, embeds: &PromptEmbeds, columns: &[usize], want: &Array, factor: f64) {
    let got: Vec<f32> = columns_of(embeds, columns).into_data().try_into_vec_as().expect("f32");
    assert_eq!(got.len(), want.data.len(), "{name}");
    for column in 0..columns.len() {
        let pick =
            |data: &[f32]| data.iter().skip(column).step_by(columns.len()).copied().collect::<Vec<_>>();
        for (got, want) in pick(&got).chunks(77).zip(pick(&want.data).chunks(77)) {
            let dot = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            let scale = dot(got, want) / dot(want, want);
            assert!((scale - 1.0).abs() <= pipeline_tolerance(factor), "{name}: a factor of {scale}");
            let want: Vec<f32> = want.iter().map(|&x| (f64::from(x) * scale) as f32).collect();
            let error = relative_l2(got, &want);
            assert!(error <= pipeline_tolerance(STATES), "{name}: relative L2 error {error:.3e}");
        }
    }
}

#[test]
fn states_are_those_of_the_formula() {
    let (file, want) = states();
    for (family, columns) in &file.columns {
        let pipeline = load(family);
        let mut compared = 0;
        for (i, prompt) in file.prompts.iter().enumerate() {
            let embeds = pipeline.encode_prompt(&Prompt::weighted(prompt)).expect("a prompt");
            let name = format!("{family}.{i}");
            let amplified = file.amplified[family][i];
            let called = format!("{name}: {prompt:?}");
            if amplified < AMPLIFIED {
                assert_columns(&called, &embeds, columns, &want[&name]);
                compared += 1;
            } else {
                assert_windows(&called, &embeds, columns, &want[&name], FACTOR * amplified);
            }
            let pooled = want.get(&format!("{name}.pooled"));
            assert_eq!(pooled.is_some(), embeds.pooled().is_some(), "{name}");
            if let (Some(want), Some(pooled)) = (pooled, embeds.pooled()) {
                assert_close(&name, pooled, want, pipeline_tolerance(STATES));
            }
        }
        assert!(compared >= 60, "{family}: {compared} prompts are compared as they are");
    }
}

/// Long prompts, each filled to the length of the longest.
#[test]
fn states_are_compels() {
    let (file, want) = states();
    for (family, columns) in &file.columns {
        let pipeline = load(family);
        let longest = Prompt::plain(file.compel.last().expect("prompts")).long();
        for (i, prompt) in file.compel.iter().enumerate() {
            let embeds = pipeline.encode_prompt(&Prompt::plain(prompt).long()).expect("a prompt");
            let want = &want[&format!("compel.{family}.{i}")];
            let own = embeds.context().dims()[1];
            let rows = want.data[..own * columns.len()].to_vec();
            let want = Array { shape: vec![own, columns.len()], data: rows };
            assert_columns(&format!("compel.{family}.{i}"), &embeds, columns, &want);
        }
        assert_eq!(
            pipeline.encode_prompt(&longest).expect("a prompt").context().dims()[1],
            want[&format!("compel.{family}.0")].shape[0]
        );
    }
}

#[test]
fn weight_1_everywhere_is_plain_bit_for_bit() {
    for family in ["sd15", "sdxl"] {
        let pipeline = load(family);
        let guided = |prompt: Prompt, negative: Prompt| Request {
            negative: Some(negative),
            guidance: 4.0,
            ..request(prompt)
        };
        let plain = guided("a photo (1) of a cat".into(), "blurry".into());
        for same in
            [r"a photo \(1\) of a cat", r"(a photo \(1\):1.0) of a cat", r"((a photo \(1\) of:0.5):2) a cat"]
        {
            let weighted = guided(Prompt::weighted(same), Prompt::plain("blurry").long());
            assert_eq!(latents(&pipeline, &weighted), latents(&pipeline, &plain), "{family}: {same}");
        }
        let heavier = guided(Prompt::weighted(r"a photo \(1\) of a (cat)"), "blurry".into());
        assert_ne!(latents(&pipeline, &heavier), latents(&pipeline, &plain), "{family}");
    }
}

#[test]
fn embeddings_of_a_prompt_are_the_prompt_bit_for_bit() {
    for family in ["sd15", "sdxl"] {
        let pipeline = open(family).low_memory().load(&device()).expect("the pipeline");
        let (prompt, negative) = (Prompt::weighted("a (cat) BREAK a dog"), Prompt::plain("blurry"));
        let text = Request { negative: Some(negative.clone()), guidance: 4.0, ..request(prompt.clone()) };
        let encoded = |prompt| Prompt::from(pipeline.encode_prompt(prompt).expect("a prompt"));
        let (cat, blurry) = (encoded(&prompt), encoded(&negative));
        // The negative prompt is filled up with an empty window in each of them.
        for (prompt, negative) in [(&cat, &blurry), (&prompt, &blurry), (&cat, &negative)] {
            let request =
                Request { prompt: prompt.clone(), negative: Some(negative.clone()), ..text.clone() };
            assert_eq!(latents(&pipeline, &request), latents(&pipeline, &text), "{family}");
        }
    }
}

#[test]
fn embeddings_are_interpolated() {
    let pipeline = load("sdxl");
    let encode = |text: &str| pipeline.encode_prompt(&text.into()).expect("a prompt");
    let (cat, dog) = (encode("a cat"), encode("a dog"));
    let between = cat.lerp(&dog, 0.25).expect("of one shape");
    let want = cat.context().mul_scalar(0.75) + dog.context().mul_scalar(0.25);
    assert_eq!(between.context().into_data(), want.into_data());
    assert_ne!(latents(&pipeline, &request(between)), latents(&pipeline, &request(cat.clone())));
    let long = pipeline.encode_prompt(&Prompt::weighted("a BREAK b")).expect("a prompt");
    assert!(cat.lerp(&long, 0.5).expect_err("of other shapes").is_request());
    let odd = PromptEmbeds::new(cat.context().narrow(1, 0, 50), cat.pooled()).expect("embeddings");
    let guided = Request { negative: Some("dark".into()), guidance: 2.0, ..request(odd) };
    let error = pipeline.denoise(&guided).err().expect("lengths that do not fit");
    assert!(error.to_string().contains("windows of 77"), "{error}");
    assert!(PromptEmbeds::new(cat.context().repeat_dim(0, 2), None).expect_err("two prompts").is_request());
}

/// Words are taken away exactly, and one that fails changes nothing.
#[test]
fn words_are_taken_away_exactly() {
    let mut pipeline = load("sd15");
    let word = request("a photo of easyword");
    let before = latents(&pipeline, &word);
    pipeline.set_embeddings(&[(embedding("a1111"), Some("easyword"))]).expect("an embedding");
    let with = latents(&pipeline, &word);
    assert_ne!(with, before);
    assert_eq!(latents(&pipeline, &request("a photo of EasyWord")), with, "in any case");
    pipeline.set_embeddings(&[(embedding("xl"), None)]).expect_err("for another family");
    assert_eq!(latents(&pipeline, &word), with);
    pipeline.set_embeddings::<PathBuf>(&[]).expect("none");
    assert_eq!(latents(&pipeline, &word), before);
}

/// diffusers' files name their word, the others are known by theirs.
#[test]
fn a_file_stands_for_its_word_or_its_name() {
    let mut pipeline = load("sd15");
    let tokens = |pipeline: &Pipeline, text: &str| pipeline.tokens(&text.into()).expect("tokens")[0].tokens;
    pipeline
        .set_embeddings(&[(embedding("learned_embeds"), None), (embedding("a1111"), None)])
        .expect("words");
    assert_eq!(tokens(&pipeline, "<cat-toy>"), 1);
    assert_eq!(tokens(&pipeline, "a1111"), 3);
}

#[test]
fn embeddings_that_do_not_fit_are_refused_by_name() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, tensors: &[(&str, &[usize])]| {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(key, shape)| {
                (*key, HostTensor::from_f32(shape.to_vec(), vec![0.5; shape.iter().product()]))
            })
            .collect();
        let path = scratch.path().join(name);
        save_safetensors(&path, tensors.iter().map(|(key, tensor)| (*key, tensor))).expect("a file");
        path
    };
    let refused = |family: &str, path: &PathBuf, word: Option<&str>| {
        open(family).embedding(path.clone(), word).expect_err("a refusal").to_string()
    };
    let of_xl = refused("sd15", &embedding("xl"), None);
    assert!(of_xl.contains("made for Stable Diffusion XL") && of_xl.contains("width 64"), "{of_xl}");
    let sd1 = write("one.safetensors", &[("emb_params", &[2, 768])]);
    let error = refused("sdxl", &sd1, None);
    assert!(error.contains("made for Stable Diffusion 1.x") && error.contains("[2, 768]"), "{error}");
    let sd2 = write("two.safetensors", &[("<word>", &[1024])]);
    assert!(refused("sd15", &sd2, None).contains("made for Stable Diffusion 2.x"));
    let half = write("half.safetensors", &[("clip_g", &[1, 128])]);
    assert!(refused("sdxl", &half, None).contains("width 64 (clip_l)"));
    let odd = write("odd.safetensors", &[("emb_params", &[1, 2, 64])]);
    assert!(refused("sd15", &odd, None).contains("[N, D]"));

    let pickle = scratch.path().join("old.pt");
    std::fs::write(&pickle, b"PK\x03\x04\0\0\x08\x08\0\0 and so on").expect("a file");
    let error = refused("sd15", &pickle, None);
    assert!(
        error.contains("old.pt") && error.contains("zip archive") && error.contains("damaged"),
        "{error}"
    );

    let file = embedding("a1111");
    for (word, why) in [("in", "vocabulary"), ("two words", "white space"), ("", "at least one character")] {
        let error = refused("sd15", &file, Some(word));
        assert!(error.contains(why), "{error}");
    }
    let twice =
        open("sd15").embedding(file.clone(), Some("Word")).expect("once").embedding(file, Some("word"));
    assert!(twice.expect_err("twice").to_string().contains("two files"), "a word that comes twice");
}

#[test]
fn prompts_that_cannot_be_right_are_refused_before_loading() {
    let builder = open("sdxl");
    for prompt in ["[a:b:0.5]", "[a|b]", "a AND b", "<lora:x:0.8>"] {
        let error = builder.check(&request(Prompt::weighted(prompt))).expect_err(prompt);
        assert!(error.is_request() && matches!(error, Error::Prompt(_)), "{error}");
        builder.check(&request(prompt)).expect("text as it stands");
        let second = Prompt::weighted("a").with_second(prompt);
        assert!(matches!(builder.check(&request(second)), Err(Error::Prompt(_))));
        let negative = Request { negative: Some(Prompt::weighted(prompt)), ..request("a") };
        assert!(matches!(builder.check(&negative), Err(Error::Prompt(_))));
    }
    builder.check(&request(Prompt::plain("a").with_clip_skip(1))).expect("a layer that there is");
    let error = builder.check(&request(Prompt::plain("a").with_clip_skip(2))).expect_err("two of two layers");
    assert!(error.is_request() && error.to_string().contains("clip_skip: expected 0 to 1"), "{error}");
    open("sd15").check(&request(Prompt::plain("a").with_clip_skip(2))).expect("the embeddings themselves");

    let pipeline = load("sd15");
    let error =
        pipeline.denoise(&request(Prompt::plain("cat ".repeat(5000)).long())).err().expect("too long");
    assert!(error.to_string().contains("64 windows"), "{error}");
    let error =
        pipeline.denoise(&request(Prompt::plain("a").with_clip_skip(3))).err().expect("too many layers");
    assert!(error.to_string().contains("clip_skip"), "{error}");
}

/// The demo's vocabulary is that of its captions.
#[test]
fn a_small_vocabulary_says_what_it_does_not_know() {
    let pipeline =
        Pipeline::open(hypersd_demo::model()).expect("the demo").load(&device()).expect("a pipeline");
    let count = |prompt: &Prompt| {
        let mut counts = pipeline.tokens(prompt).expect("tokens");
        assert_eq!(counts.len(), 1);
        counts.remove(0)
    };
    let known = count(&hypersd_demo::PROMPT.into());
    assert!(known.unknown.is_empty() && known.truncated.is_none(), "{known}");
    assert_eq!((known.tokens, known.windows, known.room), (8, 1, 75), "{known}");
    let astronaut = count(&Prompt::weighted("a (red astronaut:1.2), a Red mushroom BREAK an astronaut"));
    assert_eq!((astronaut.unknown.as_slice(), astronaut.windows), (&["astronaut".to_string()][..], 2));
    assert!(astronaut.to_string().contains("I do not know: astronaut"), "{astronaut}");
    let cut = count(&"a red moon ".repeat(30).into());
    assert_eq!((cut.tokens, cut.windows, cut.truncated.is_some()), (75, 1, true), "{cut}");
    assert_eq!(count(&Prompt::plain("a red moon ".repeat(30)).long()).windows, 2);
    let embeds = pipeline.encode_prompt(&"a red moon".into()).expect("a prompt");
    assert!(pipeline.tokens(&embeds.into()).expect("nothing").is_empty());
}
