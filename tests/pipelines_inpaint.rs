//! Whole pipelines that paint a part of a picture anew, or change one, against diffusers' (`reference/pipelines_inpaint.py`),
//! and what must hold of them whatever the model.

#[path = "common/parity.rs"]
mod parity;
#[path = "common/whole.rs"]
mod whole;
#[path = "common/wide.rs"]
mod wide;

use hypersd::{
    Algorithm, Control, Error, Image, Mask, Pipeline, PredictionType, Request, Spacing, Start, StartStrength,
    Steps, Strength,
};
use hypersd_testing::{device, dtype, weights, write_single_file};
use serde::Deserialize;
use whole::{Whole, numbers, picture};
use wide::wide_model;

const FOLDER: &str = "pipelines-inpaint";

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    family: String,
    vae: String,
    channels: usize,
    images: Vec<String>,
    strength: f64,
    mask: Option<String>,
    mask_blur: f32,
    mask_crop: Option<usize>,
    image_guidance: Option<f64>,
    masked_control: bool,
    controlnets: Vec<String>,
    control_images: Vec<String>,
    control_scales: Vec<f32>,
    guidance_rescale: f64,
    zero_snr: bool,
    prediction: Option<String>,
}

impl Case {
    fn start(&self) -> Start {
        let images: Vec<Image> = self.images.iter().map(|name| picture(name)).collect();
        let strength = StartStrength::Share(self.strength);
        match (&self.mask, self.image_guidance) {
            (Some(mask), _) => {
                let mask = Mask { blur: self.mask_blur, crop: self.mask_crop, ..Mask::new(picture(mask)) };
                Start::Masked { images, mask, strength }
            }
            (None, Some(image_guidance)) => Start::Change { images, image_guidance },
            (None, None) => Start::Noise,
        }
    }
}

impl Whole for Case {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn networks(&self) -> String {
        format!("{} {} {:?}", self.channels, self.vae, self.controlnets)
    }

    fn request(&self) -> Request {
        let controls = self.control_images.iter().zip(&self.control_scales).map(|(image, &scale)| Control {
            strength: Strength { scale, ..Strength::default() },
            masked: self.masked_control,
            ..Control::new(picture(image))
        });
        let velocity = self.prediction.as_deref() == Some("v_prediction");
        Request {
            start: self.start(),
            controls: controls.collect(),
            guidance_rescale: self.guidance_rescale,
            zero_snr: self.zero_snr.then_some(true),
            prediction: velocity.then_some(PredictionType::VPrediction),
            ..self.common.request()
        }
    }

    fn load(&self) -> Pipeline {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let model = match self.channels {
            4 => weights("").join(format!("tiny-{}", self.family)),
            channels => wide_model(&self.family, channels, scratch.path()),
        };
        let mut builder = Pipeline::open(model).expect("the tiny model").dtype(dtype());
        if self.vae == "taesd" {
            builder = builder.vae(weights("").join("tiny-taesd")).expect("the TAESD");
        }
        for controlnet in &self.controlnets {
            builder = builder.controlnet(weights("").join(controlnet)).expect("the ControlNet");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

fn cases() -> Vec<Case> {
    parity::cases(FOLDER)
}

/// Runs every case of a family.
fn run(family: &str) {
    whole::assert_are_diffusers(FOLDER, cases().into_iter().filter(|case| case.family == family));
}

#[test]
fn sd15_inpainting_is_diffusers() {
    run("sd15");
}

#[test]
fn sdxl_inpainting_is_diffusers() {
    run("sdxl");
}

/// A single file says by its shapes how many channels its UNet takes.
#[test]
fn a_painting_unet_in_one_file_is_diffusers() {
    for name in ["sd15-nine-tcd-4-1.0", "sdxl-nine-tcd-4-1.0", "sd15-change"] {
        let case = cases().into_iter().find(|case| case.common.name == name).expect("the case");
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let folder = wide_model(&case.family, case.channels, scratch.path());
        let file = write_single_file(&folder, scratch.path());
        let pipeline =
            Pipeline::open(file).expect("the file").dtype(dtype()).load(&device()).expect("the pipeline");
        parity::assert_is_diffusers(FOLDER, name, &case.request(), &pipeline);
    }
}

fn sd15() -> Pipeline {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").dtype(dtype());
    builder.load(&device()).expect("the pipeline")
}

fn even(width: usize, height: usize, byte: u8) -> Image {
    Image::from_rgb8(width, height, vec![byte; 3 * width * height]).expect("a picture")
}

fn request(start: Start) -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Ddim),
        spacing: Some(Spacing::Trailing),
        steps: Steps::Count(4),
        width: Some(96),
        height: Some(64),
        seed: 3,
        start,
        ..Request::default()
    }
}

fn masked(mask: Image, share: f64) -> Start {
    let images = vec![picture("control/photo-square.png")];
    Start::Masked { images, mask: Mask::new(mask), strength: StartStrength::Share(share) }
}

#[test]
fn a_mask_of_all_black_gives_back_the_picture_and_one_of_all_white_is_image_to_image() {
    let pipeline = sd15();
    let image = picture("control/photo-square.png");
    let seeds = [3_u64, 8];
    let mut kept = Vec::new();
    for share in [0.5, 0.8, 1.0] {
        let black = request(masked(even(10, 10, 0), share));
        kept.push(numbers(pipeline.latents(&black).expect("latents")));
    }
    // What is kept is the encoder's draw, whatever is drawn around it.
    assert!(kept.windows(2).all(|pair| pair[0] == pair[1]));
    for seed in seeds {
        for share in [0.5, 0.8] {
            let white = Request { seed, ..request(masked(even(7, 9, 255), share)) };
            let plain = Start::picture(image.clone(), StartStrength::Share(share));
            let plain = Request { seed, ..request(plain) };
            let [white, plain] =
                [white, plain].map(|request| numbers(pipeline.latents(&request).expect("latents")));
            assert_eq!(white, plain, "seed {seed}, strength {share}");
        }
    }
}

#[test]
fn at_full_strength_a_masked_picture_starts_from_pure_noise() {
    let pipeline = sd15();
    let white = request(masked(even(8, 8, 255), 1.0));
    let mut noise = hypersd_core::Noise::new(white.rng, white.seed);
    let _encoders = noise.normal(&[1, 4, 8, 12]);
    let noise = noise.normal(&[1, 4, 8, 12]).to_f32().into_owned();
    let first = pipeline.denoise(&white).expect("a request").next().expect("a step").expect("latents");
    // DDIM's x' is a combination of x and the prediction; from x0 and x' the start is found again.
    let scheduler = hypersd_schedulers::Scheduler::new(
        Algorithm::Ddim,
        &hypersd_schedulers::SchedulerConfig::stable_diffusion(),
    );
    let alphas = scheduler.expect("valid").alphas_cumprod().to_vec();
    let [a, b] = [alphas[999], alphas[749]].map(f64::from);
    for ((x, x0), noise) in numbers(first.x).iter().zip(numbers(first.x0)).zip(noise) {
        let eps = (f64::from(*x) - b.sqrt() * f64::from(x0)) / (1.0 - b).sqrt();
        let start = a.sqrt() * f64::from(x0) + (1.0 - a).sqrt() * eps;
        assert!((start - f64::from(noise)).abs() < 2e-4, "{start} for {noise}");
    }
}

#[test]
fn what_a_crop_does_not_paint_keeps_its_pixels() {
    let pipeline = sd15();
    let (photo, mask) = (picture("control/photo.png"), picture("pipelines-inpaint/mask.png"));
    let start = Start::Masked {
        images: vec![photo.clone()],
        mask: Mask { blur: 2.0, crop: Some(4), ..Mask::new(mask.clone()) },
        strength: StartStrength::Share(1.0),
    };
    let [drawn] = pipeline.generate(&request(start)).expect("a picture").try_into().expect("one");
    assert_eq!((drawn.width(), drawn.height()), (150, 102), "the picture's own size");
    let soft = mask.blur(2.0).expect("a blur").luma();
    let pixels = drawn.rgb8().as_chunks::<3>().0.iter().zip(photo.rgb8().as_chunks::<3>().0);
    let mut changed = 0;
    for ((drawn, own), mask) in pixels.zip(soft) {
        assert!(mask > 0 || drawn == own);
        changed += usize::from(drawn != own);
    }
    assert!(changed > 500, "{changed} pixels are new");
}

#[test]
fn low_memory_paints_the_same() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").dtype(dtype());
    let low = builder.low_memory().load(&device()).expect("the pipeline");
    let request = request(masked(picture("pipelines-inpaint/mask.png"), 0.5));
    assert_eq!(low.generate(&request).expect("a picture"), sd15().generate(&request).expect("a picture"));
}

#[test]
fn unets_and_starts_that_do_not_belong_together_are_refused_by_name() {
    let refused = |channels, start| {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let model = match channels {
            4 => weights("").join("tiny-sd15"),
            channels => wide_model("sd15", channels, scratch.path()),
        };
        let builder = Pipeline::open(model).expect("a model");
        match builder.check(&request(start)) {
            Err(error @ Error::FurtherInput { .. }) => error.to_string(),
            other => panic!("expected a refusal, found {other:?}"),
        }
    };
    let photo = || picture("control/photo.png");
    let plain = || Start::picture(photo(), StartStrength::default());
    let change = || Start::Change { images: vec![photo()], image_guidance: 1.5 };
    for start in [Start::Noise, plain(), change()] {
        assert!(refused(9, start).contains("a mask and a picture"));
    }
    for start in [Start::Noise, plain(), masked(photo(), 0.5)] {
        assert!(refused(8, start).contains("a picture to change"));
    }
    assert!(refused(4, change()).contains("not made to change"));
}

#[test]
fn masks_that_cannot_be_right_are_refused_by_name() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    let refused = |mask: Mask, images: Vec<Image>| {
        let start = Start::Masked { images, mask, strength: StartStrength::default() };
        match builder.check(&request(start)) {
            Err(Error::Request { option, .. }) => option,
            other => panic!("expected a refusal, found {other:?}"),
        }
    };
    let photo = || picture("control/photo.png");
    let white = || Mask::new(even(8, 8, 255));
    assert_eq!(refused(white(), vec![]), "start pictures");
    for blur in [-1.0, f32::NAN, 1e9] {
        assert_eq!(refused(Mask { blur, ..white() }, vec![photo()]), "mask blur");
    }
    assert_eq!(refused(Mask { crop: Some(3), ..Mask::new(even(8, 8, 0)) }, vec![photo()]), "mask");
    let two = vec![photo(), picture("control/photo-square.png")];
    let start = Start::Masked {
        images: two,
        mask: Mask { crop: Some(3), ..white() },
        strength: StartStrength::default(),
    };
    let request = Request { batch: 2, ..request(start) };
    assert!(matches!(builder.check(&request), Err(Error::Request { option: "start pictures", .. })));
}
