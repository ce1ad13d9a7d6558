//! Whole pipelines in which a refiner takes over, against diffusers' (`reference/pipelines_refiner.py`), and what must hold of
//! them whatever the model.

#[path = "common/parity.rs"]
mod parity;
#[path = "common/whole.rs"]
mod whole;

use std::path::PathBuf;

use hypersd::{
    Algorithm, Control, Error, Image, Mask, Pipeline, PipelineBuilder, PromptEmbeds, Refine, Request,
    Spacing, Start, StartStrength, Steps,
};
use hypersd_testing::{device, dtype, weights, write_single_file};
use serde::Deserialize;
use whole::{Whole, numbers, picture};

const FOLDER: &str = "pipelines-refiner";

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    lora: Option<f32>,
    switch_at: Option<f64>,
    images: Vec<String>,
    strength: Option<f64>,
}

impl Whole for Case {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn networks(&self) -> String {
        format!("{:?} {}", self.lora, self.switch_at.is_some())
    }

    fn request(&self) -> Request {
        let start = match self.strength {
            Some(share) => Start::Picture {
                images: self.images.iter().map(|name| picture(name)).collect(),
                strength: StartStrength::Share(share),
            },
            None => Start::Noise,
        };
        let refine = self.switch_at.map(|switch_at| Refine { switch_at, ..Refine::default() });
        Request { start, refine, ..self.common.request() }
    }

    fn load(&self) -> Pipeline {
        let mut builder = match self.switch_at {
            Some(_) => open(base()).refiner(refiner()).expect("the refiner"),
            None => open(refiner()),
        };
        if let Some(weight) = self.lora {
            builder = builder.lora(weights("").join("tiny-sdxl-lora.safetensors"), weight).expect("the LoRA");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

fn base() -> PathBuf {
    weights("").join("tiny-sdxl")
}

fn refiner() -> PathBuf {
    weights("").join("tiny-sdxl-refiner")
}

fn open(model: PathBuf) -> PipelineBuilder {
    Pipeline::open(model).expect("the tiny model").dtype(dtype())
}

fn refined() -> Pipeline {
    open(base()).refiner(refiner()).expect("the refiner").load(&device()).expect("the pipeline")
}

fn cases() -> Vec<Case> {
    parity::cases(FOLDER)
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.common.name == name).expect("the case")
}

#[test]
fn a_refiner_after_its_base_and_alone_is_diffusers() {
    whole::assert_are_diffusers(FOLDER, cases());
}

/// A single file says by its names and shapes that it is a refiner; in low memory the networks take turns.
#[test]
fn a_refiner_in_one_file_and_in_low_memory_is_diffusers() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let file = write_single_file(&refiner(), scratch.path());
    for builder in [open(base()), open(base()).low_memory()] {
        let pipeline =
            builder.refiner(file.clone()).expect("the file").load(&device()).expect("the pipeline");
        for name in ["ddim-cfg", "ddim-cfg-none"] {
            parity::assert_is_diffusers(FOLDER, name, &case(name).request(), &pipeline);
        }
    }
}

fn request() -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Ddim),
        spacing: Some(Spacing::Trailing),
        steps: Steps::Count(5),
        width: Some(64),
        height: Some(64),
        ..Request::default()
    }
}

fn at(switch_at: f64) -> Option<Refine> {
    Some(Refine { switch_at, ..Refine::default() })
}

/// Schedulers that do not look back do not know who is asked: a model that refines itself draws what it draws alone, with a
/// mask too.
#[test]
fn a_model_after_itself_is_the_model() {
    let alone = open(base()).load(&device()).expect("the pipeline");
    let twice = open(base()).refiner(base()).expect("itself").load(&device()).expect("the pipeline");
    let mask = Image::from_rgb8(2, 1, vec![0, 0, 0, 255, 255, 255]).expect("a mask");
    let masked = Start::Masked {
        images: vec![picture("control/photo-square.png")],
        mask: Mask::new(mask),
        strength: StartStrength::Share(1.0),
    };
    for start in [Start::Noise, masked] {
        for (algorithm, switch_at) in
            [(Algorithm::Ddim, 0.8), (Algorithm::Ddim, 0.2), (Algorithm::EulerAncestral, 0.5)]
        {
            let request = Request { scheduler: Some(algorithm), start: start.clone(), ..request() };
            let refined = Request { refine: at(switch_at), ..request.clone() };
            let got = numbers(twice.latents(&refined).expect("latents"));
            assert_eq!(got, numbers(alone.latents(&request).expect("latents")), "{algorithm} at {switch_at}");
        }
    }
}

/// A picture that is to be changed only a little is the refiner's altogether, and the steps are those of the whole.
#[test]
fn steps_are_counted_over_both() {
    let pipeline = refined();
    let steps: Vec<_> = pipeline
        .denoise(&Request { refine: at(0.6), ..request() })
        .expect("a request")
        .map(|step| step.expect("a step"))
        .collect();
    let counted: Vec<_> = steps.iter().map(|step| (step.index, step.steps, step.t)).collect();
    assert_eq!(counted, [(0, 5, 999.0), (1, 5, 799.0), (2, 5, 599.0), (3, 5, 399.0), (4, 5, 199.0)]);

    let start = Start::picture(picture("control/photo-square.png"), StartStrength::Share(0.4));
    let from_picture = Request { refine: at(0.5), start, ..request() };
    assert_eq!(pipeline.denoise(&from_picture).expect("a request").len(), 2);
}

#[test]
fn prompts_are_encoded_for_both() {
    let pipeline = refined();
    let request = Request { guidance: 3.0, negative: Some("blurry".into()), ..request() };
    let encode = |text: &str| pipeline.encode_prompt(&text.into()).expect("embeddings");
    let (cat, dog) = (encode("a photo of a cat"), encode("a dog"));
    let encoded =
        Request { prompt: cat.clone().into(), negative: Some(encode("blurry").into()), ..request.clone() };
    let drawn = numbers(pipeline.latents(&request).expect("latents"));
    assert_eq!(numbers(pipeline.latents(&encoded).expect("latents")), drawn);

    let between = Request { prompt: cat.lerp(&dog, 0.5).expect("between").into(), ..request.clone() };
    assert_ne!(numbers(pipeline.latents(&between).expect("latents")), drawn);
    let alone = PromptEmbeds::new(cat.context(), cat.pooled()).expect("embeddings");
    let error = pipeline.latents(&Request { prompt: alone.into(), ..request }).expect_err("half of it");
    assert!(error.to_string().contains("embeddings for the refiner too"), "{error}");
}

#[test]
fn scores_reach_the_refiner() {
    let pipeline = refined();
    let latents =
        |refine| numbers(pipeline.latents(&Request { guidance: 3.0, refine, ..request() }).expect("latents"));
    let usual = latents(None);
    assert_eq!(usual, latents(Some(Refine::default())));
    assert_ne!(usual, latents(Some(Refine { aesthetic_score: 2.0, ..Refine::default() })));
    assert_ne!(usual, latents(Some(Refine { negative_aesthetic_score: 6.0, ..Refine::default() })));
}

#[test]
fn warmup_runs_both() {
    let pipeline = refined();
    let before = pipeline.generate(&request()).expect("a picture");
    pipeline.warmup(&request()).expect("a warm pipeline");
    assert_eq!(pipeline.generate(&request()).expect("a picture"), before);
}

#[test]
fn the_account_names_the_refiner() {
    let builder = open(base()).refiner(refiner()).expect("the refiner");
    let hashing = builder.hash_weights().expect("files");
    let pipeline = builder.load(&device()).expect("the pipeline");
    let provenance = pipeline.provenance(&Request { refine: at(0.6), ..request() }).expect("an account");
    let provenance = provenance.with_weights(hashing.finish().expect("hashes"));
    assert_eq!(provenance.timesteps, [999.0, 799.0, 599.0, 399.0, 199.0]);
    let record = provenance.refine.as_ref().expect("a refiner");
    assert_eq!((record.switch_at, record.aesthetic_score), (Some(0.6), Some(6.0)));
    let parameters = provenance.parameters();
    assert!(parameters.contains("Refiner: tiny-sdxl-refiner ["), "{parameters}");
    assert!(parameters.contains("Refiner switch at: 0.6"), "{parameters}");
}

fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let Err(error) = result else { panic!("{words:?} were expected of an error") };
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
}

#[test]
fn what_cannot_refine_is_refused() {
    let sd15 = || open(weights("").join("tiny-sd15"));
    refused(sd15().refiner(refiner()), &["refiner", "Stable Diffusion 1.x is the model"]);
    refused(
        open(base()).refiner(weights("").join("tiny-sd15")),
        &["layers of Stable Diffusion 1.x", "refiner"],
    );
    refused(open(refiner()).refiner(base()), &["the Stable Diffusion XL refiner is the model"]);
    refused(open(base()).unet(refiner().join("unet")), &["layers of the Stable Diffusion XL refiner"]);

    let both = open(base()).refiner(refiner()).expect("the refiner");
    for share in [0.0, 1.0, -0.2, f64::NAN] {
        refused(
            both.check(&Request { refine: at(share), ..request() }),
            &["switch at", "above 0 and below 1"],
        );
    }
    refused(
        both.check(&Request { refine: at(0.85), ..request() }),
        &["switch at", "timestep 150", "5 steps"],
    );
    refused(both.check(&Request { steps: Steps::Count(1), ..request() }), &["switch at", "1 steps"]);
    refused(open(base()).check(&Request { refine: at(0.8), ..request() }), &["a pipeline with a refiner"]);
    refused(open(refiner()).check(&request()), &["start", "a picture", "found noise"]);
    let change = Start::Change { images: vec![picture("control/photo.png")], image_guidance: 1.5 };
    let change = both.check(&Request { start: change, ..request() });
    assert!(change.is_err(), "a UNet of four channels changes no picture");
}

/// A difference over the base's UNet counts so many times, and LoRAs go over the sum.
#[test]
fn a_difference_is_added() {
    let unet = || weights("").join("tiny-sdxl/unet");
    let latents = |builder: PipelineBuilder| {
        numbers(builder.load(&device()).expect("the pipeline").latents(&request()).expect("latents"))
    };
    let with = |weight| open(base()).difference(unet(), weight).expect("the UNet's own weights");
    let own = latents(open(base()));
    assert_eq!(latents(with(0.0)), own);
    assert_ne!(latents(with(1.0)), own);
    let lora = weights("").join("tiny-sdxl-lora.safetensors");
    let over = latents(with(-0.5).lora(lora.clone(), 1.0).expect("the LoRA"));
    let mut loaded = with(-0.5).load(&device()).expect("the pipeline");
    assert_ne!(numbers(loaded.latents(&request()).expect("latents")), over);
    loaded.set_loras(&[(lora, 1.0)]).expect("exchanged");
    assert_eq!(numbers(loaded.latents(&request()).expect("latents")), over);

    let of_sd15 = open(base()).difference(weights("").join("tiny-sd15/unet"), 1.0);
    refused(of_sd15, &["layers of Stable Diffusion 1.x"]);
    refused(open(base()).difference(unet(), f32::NAN), &["weight of a difference", "finite"]);
    assert!(open(base()).difference(weights("").join("tiny-sdxl/vae"), 1.0).is_err(), "no UNet's");
}

/// A ControlNet guides the base alone, in its own share of the base's steps.
#[test]
fn a_controlnet_guides_the_base() {
    let builder = open(base()).refiner(refiner()).expect("the refiner");
    let builder = builder.controlnet(weights("").join("tiny-controlnet-sdxl")).expect("the ControlNet");
    let pipeline = builder.load(&device()).expect("the pipeline");
    let request = Request { controls: vec![Control::new(picture("control/edges.png"))], ..request() };
    let steps: Result<Vec<_>, _> = pipeline.denoise(&request).expect("a request").collect();
    assert_eq!(steps.expect("steps").len(), 5);
    pipeline.warmup(&request).expect("both");
}
