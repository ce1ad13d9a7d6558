//! The latents of a step can be replaced before the next one, by whoever draws.

use hypersd::{Algorithm, Denoised, Device, Error, FloatDType, Pipeline, Request, Spacing, Steps, Tensor};
use hypersd_schedulers::{Scheduler, SchedulerConfig};
use hypersd_testing::weights;

fn pipeline() -> Pipeline {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    builder.load(&Device::flex()).expect("the pipeline")
}

fn request() -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Ddim),
        spacing: Some(Spacing::Trailing),
        steps: Steps::Count(4),
        width: Some(64),
        height: Some(64),
        seed: 3,
        ..Request::default()
    }
}

fn numbers(x: Tensor<4>) -> Vec<f32> {
    x.into_data().try_into_vec_as().expect("f32")
}

fn steps(denoising: hypersd::Denoising<'_>) -> Vec<Denoised> {
    denoising.map(|step| step.expect("a step")).collect()
}

#[test]
fn an_edit_that_changes_nothing_changes_nothing() {
    let pipeline = pipeline();
    let plain = steps(pipeline.denoise(&request()).expect("a request"));
    let edited = pipeline.denoise(&request()).expect("a request").edit(|edited| Ok(edited.step().x.clone()));
    for (plain, edited) in plain.into_iter().zip(steps(edited)) {
        assert_eq!(plain.x.into_data(), edited.x.into_data());
    }
}

#[test]
fn steps_go_on_from_what_an_edit_made() {
    let pipeline = pipeline();
    let plain = steps(pipeline.denoise(&request()).expect("a request"));
    // What the second step starts from decides what it gives: the first step's own latents, given late.
    let first = plain[0].x.clone();
    let halved = pipeline.denoise(&request()).expect("a request");
    let halved = halved.edit(|edited| Ok(edited.step().x.clone() * 0.5));
    let restored = halved.edit(move |edited| match edited.step().index {
        0 => Ok(first.clone()),
        _ => Ok(edited.step().x.clone() * 2.0),
    });
    for (plain, restored) in plain.into_iter().zip(steps(restored)) {
        assert_eq!(plain.x.into_data(), restored.x.into_data(), "halving and doubling are exact");
    }
}

#[test]
fn clean_latents_get_the_noise_of_the_next_step_and_none_after_the_last() {
    let pipeline = pipeline();
    let shape = [1, 4, 8, 8];
    let known = Tensor::<4>::ones(shape, &Device::flex()) * 3.0;
    let noise = Tensor::<4>::ones(shape, &Device::flex()) * -2.0;
    let denoising = pipeline.denoise(&request()).expect("a request");
    let denoising = denoising.edit(move |edited| edited.noised(known.clone(), noise.clone()));

    // DDIM's trailing steps start at 999, 749, 499 and 249; x = √a·x0 + √(1 − a)·noise.
    let scheduler = Scheduler::new(Algorithm::Ddim, &SchedulerConfig::stable_diffusion()).expect("valid");
    let alpha = |t: usize| f64::from(scheduler.alphas_cumprod()[t]);
    let level = |a: f64| a.sqrt() * 3.0 + (1.0 - a).sqrt() * -2.0;
    let want = [level(alpha(749)), level(alpha(499)), level(alpha(249)), 3.0];
    for (step, want) in steps(denoising).into_iter().zip(want) {
        for x in numbers(step.x) {
            assert!((f64::from(x) - want).abs() < 1e-6, "{x} after step {}, for {want}", step.index);
        }
    }
}

#[test]
fn an_edit_of_another_shape_is_refused_and_an_error_of_its_own_is_given_out() {
    let pipeline = pipeline();
    let first = |edit: fn(hypersd::Edited<'_>) -> Result<Tensor<4>, Error>| {
        let mut denoising = pipeline.denoise(&request()).expect("a request").edit(edit);
        denoising.next().expect("four steps").expect_err("a refusal")
    };
    let error = first(|edited| Ok(edited.step().x.clone().narrow(3, 0, 4))).to_string();
    assert!(error.contains("[1, 4, 8, 8]") && error.contains("[1, 4, 8, 4]"), "{error}");
    let error =
        first(|edited| edited.noised(edited.step().x.clone().narrow(3, 0, 4), edited.step().x.clone()));
    assert!(matches!(error, Error::Scheduler(_)), "{error}");
    assert!(matches!(first(|_| Err(Error::Unloaded)), Error::Unloaded));
}

#[test]
fn an_error_ends_the_steps() {
    let pipeline = pipeline();
    let denoising = pipeline.denoise(&request()).expect("a request");
    let mut denoising = denoising.edit(|edited| match edited.step().index {
        1 => Err(Error::Unloaded),
        _ => Ok(edited.step().x.clone()),
    });
    assert_eq!(denoising.by_ref().map(|step| step.is_ok()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(denoising.len(), 0);
}

#[test]
fn an_edit_in_half_precision_goes_on_in_f32() {
    let pipeline = pipeline();
    let denoising = pipeline.denoise(&request()).expect("a request");
    let denoising = denoising.edit(|edited| {
        let half = edited.step().x.clone().cast(FloatDType::F16);
        edited.noised(half.clone(), edited.step().x.clone())?;
        Ok(half)
    });
    let last = steps(denoising).pop().expect("four steps");
    assert_eq!(FloatDType::from(last.x.dtype()), FloatDType::F32);
}
