//! Whole pipelines that start from a picture, against diffusers' (`reference/pipelines_start.py`), and what must hold of
//! them whatever the model.

#[path = "common/parity.rs"]
mod parity;
#[path = "common/whole.rs"]
mod whole;

use hypersd::{
    Algorithm, Control, Error, Hires, Image, Pipeline, PredictionType, Request, Start, StartStrength, Steps,
    Strength,
};
use hypersd_testing::{device, dtype, weights};
use serde::Deserialize;
use whole::{Whole, numbers, picture};

const FOLDER: &str = "pipelines-start";

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    family: String,
    lora: Option<f32>,
    vae: String,
    images: Vec<String>,
    strength: Option<f64>,
    noise_level: Option<f64>,
    controlnets: Vec<String>,
    control_images: Vec<String>,
    control_scales: Vec<f32>,
}

impl Whole for Case {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn networks(&self) -> String {
        format!("{:?} {} {:?}", self.lora, self.vae, self.controlnets)
    }

    fn request(&self) -> Request {
        let images = self.images.iter().map(|name| picture(name)).collect();
        let strength = match (self.strength, self.noise_level) {
            (Some(share), None) => StartStrength::Share(share),
            (None, Some(level)) => StartStrength::Level(level),
            _ => panic!("{}: one of two", self.common.name),
        };
        let controls = self.control_images.iter().zip(&self.control_scales).map(|(image, &scale)| Control {
            strength: Strength { scale, ..Strength::default() },
            ..Control::new(picture(image))
        });
        Request {
            start: Start::Picture { images, strength },
            controls: controls.collect(),
            ..self.common.request()
        }
    }

    fn load(&self) -> Pipeline {
        let model = format!("tiny-{}", self.family);
        let mut builder = Pipeline::open(weights("").join(&model)).expect("the tiny model").dtype(dtype());
        if let Some(weight) = self.lora {
            builder = builder
                .lora(weights("").join(format!("{model}-lora.safetensors")), weight)
                .expect("the LoRA");
        }
        if self.vae == "taesd" {
            builder = builder.vae(weights("").join("tiny-taesd")).expect("the TAESD");
        }
        for controlnet in &self.controlnets {
            builder = builder.controlnet(weights("").join(controlnet)).expect("the ControlNet");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

/// Runs every case of a family.
fn run(family: &str) {
    let cases = parity::cases::<Case>(FOLDER).into_iter().filter(|case| case.family == family);
    whole::assert_are_diffusers(FOLDER, cases);
}

#[test]
fn sd15_from_a_picture_is_diffusers() {
    run("sd15");
}

#[test]
fn sdxl_from_a_picture_is_diffusers() {
    run("sdxl");
}

fn sd15() -> Pipeline {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").dtype(dtype());
    builder.load(&device()).expect("the pipeline")
}

fn request(strength: StartStrength, steps: usize) -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Ddim),
        spacing: Some(hypersd::Spacing::Trailing),
        steps: Steps::Count(steps),
        width: Some(96),
        height: Some(64),
        start: Start::picture(picture("control/photo-square.png"), strength),
        ..Request::default()
    }
}

/// Of four trailing steps the last two are at 499 and 249, which are also two steps from half of the schedule; DDIM
/// takes no explicit timesteps in diffusers, so that there is no other reference.
#[test]
fn a_level_is_a_share_of_more_steps() {
    let pipeline = sd15();
    let share = pipeline.latents(&request(StartStrength::Share(0.5), 4)).expect("latents");
    let level = pipeline.latents(&request(StartStrength::Level(0.5), 2)).expect("latents");
    assert_eq!(numbers(share), numbers(level));
    let all = pipeline.latents(&request(StartStrength::Share(1.0), 2)).expect("latents");
    let top = pipeline.latents(&request(StartStrength::Level(1.0), 2)).expect("latents");
    assert_eq!(numbers(all), numbers(top));
}

#[test]
fn every_scheduler_starts_from_a_picture() {
    let pipeline = sd15();
    for &algorithm in Algorithm::ALL {
        let prediction = (algorithm == Algorithm::PeRFlow).then_some(PredictionType::DdimEps);
        let with =
            |strength, steps| Request { scheduler: Some(algorithm), prediction, ..request(strength, steps) };
        let share = with(StartStrength::Share(0.5), 4);
        let mut steps = pipeline.denoise(&share).expect("a request");
        // Half of 4, where some evaluate the network more than once for a step: twice but for the last, and PNDM's
        // second timestep.
        let evaluations = match algorithm {
            Algorithm::Heun | Algorithm::DpmppSde | Algorithm::Pndm => 3,
            _ => 2,
        };
        assert_eq!(steps.len(), evaluations, "{algorithm}");
        assert!(
            steps.all(|step| numbers(step.expect("a step").x).iter().all(|x| x.is_finite())),
            "{algorithm}"
        );

        let level = with(StartStrength::Level(0.4), 1);
        match pipeline.denoise(&level) {
            Ok(mut steps) => assert_eq!(steps.next().expect("one").expect("a step").t, 399.0, "{algorithm}"),
            Err(Error::Request { option: "noise level", found, .. }) => {
                let own = [Algorithm::UniPc, Algorithm::Pndm, Algorithm::DpmppSde, Algorithm::PeRFlow];
                assert!(own.contains(&algorithm), "{algorithm}");
                assert!(found.contains(algorithm.name()), "{found}");
            }
            Err(other) => panic!("{algorithm}: {other}"),
        }
    }
}

#[test]
fn low_memory_draws_the_same_from_a_picture() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").dtype(dtype());
    let low = builder.low_memory().load(&device()).expect("the pipeline");
    let request = request(StartStrength::Share(0.5), 2);
    assert_eq!(low.generate(&request).expect("a picture"), sd15().generate(&request).expect("a picture"));
}

#[test]
fn hires_is_checked_before_anything_is_drawn() {
    let pipeline = sd15();
    let request = Request { start: Start::Noise, ..request(StartStrength::default(), 2) };
    let hires = Hires::new(1.5);
    let drawn = pipeline.generate_hires(&request, &hires).expect("a picture");
    assert_eq!((drawn[0].width(), drawn[0].height()), (144, 96));
    let second = hires.request(&request, pipeline.generate(&request).expect("a picture")).expect("a request");
    assert_eq!(pipeline.generate(&second).expect("a picture"), drawn);
    let one = Hires { steps: Some(Steps::Count(1)), ..hires };
    assert!(
        pipeline.generate_hires(&request, &one).expect_err("no step").to_string().contains("2 steps with")
    );
}

#[test]
fn what_leaves_no_step_names_what_would_draw() {
    let pipeline = sd15();
    let refused = |request: &Request| match pipeline.denoise(request) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{request:?} draws"),
    };
    let message = refused(&request(StartStrength::Share(0.3), 2));
    assert!(message.contains("0.5 with 2 steps") && message.contains("4 steps with"), "{message}");
    let message = refused(&request(StartStrength::Level(0.001), 2));
    assert!(message.contains("noise level") && message.contains("2 steps"), "{message}");
    let listed = Request {
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Timesteps(vec![800]),
        ..request(StartStrength::Level(0.5), 1)
    };
    assert!(refused(&listed).contains("the timesteps 800"));
}

#[test]
fn the_picture_says_the_size() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    let start = |width, height| {
        let image = Image::from_rgb8(width, height, vec![9; 3 * width * height]).expect("a picture");
        Request { start: Start::picture(image, StartStrength::default()), ..Request::default() }
    };
    builder.check(&start(150, 102)).expect("144x96");
    let error = builder.check(&start(7, 64)).expect_err("no latent").to_string();
    assert!(error.contains("7x64"), "{error}");
    let images = vec![picture("control/photo.png"); 2];
    let two = Request {
        start: Start::Picture { images, strength: StartStrength::default() },
        ..Request::default()
    };
    assert!(matches!(builder.check(&two), Err(Error::Request { option: "start pictures", .. })));
}
