//! The sums and means that diffusers' own tests of its schedulers know (`tests/schedulers/test_scheduler_*.py`): ten steps
//! of a model that says x·t/(t + 1), from a latent that is a ramp.

use hypersd_schedulers::{
    Algorithm, BetaSchedule, FinalSigma, PredictionType, Schedule, Scheduler, SchedulerConfig, Steps,
};

/// What those tests allow of a sum over all elements; of a mean, which has four digits, a tenth of it.
const SUM: f64 = 1e-2;
const MEAN: f64 = 1e-3;
/// Four pictures of three channels of 8 x 8.
const ELEMENTS: usize = 768;

/// The linear betas of those tests.
fn linear(num_train_timesteps: usize) -> SchedulerConfig {
    SchedulerConfig {
        num_train_timesteps: Some(num_train_timesteps),
        beta_start: Some(0.0001),
        beta_end: Some(0.02),
        beta_schedule: Some(BetaSchedule::Linear),
        ..SchedulerConfig::default()
    }
}

fn velocity(config: SchedulerConfig) -> SchedulerConfig {
    SchedulerConfig { prediction_type: Some(PredictionType::VPrediction), ..config }
}

fn ten_steps(algorithm: Algorithm, config: &SchedulerConfig) -> Schedule {
    Scheduler::new(algorithm, config)
        .and_then(|scheduler| scheduler.schedule(&Steps::Count(10), 0.0, None))
        .expect("a valid schedule")
}

/// The sum of what is left of `x`. Where the latent is scaled for the model, those tests go on from the scaled one.
fn full_loop(schedule: &Schedule, mut x: Vec<f32>) -> f64 {
    let mut history = schedule.history();
    for step in &schedule.steps {
        x.iter_mut().for_each(|x| *x *= step.input_scale());
        let output: Vec<f32> = x.iter().map(|x| x * step.t / (step.t + 1.0)).collect();
        x = step.advance(&x, &output, None, &mut history).expect("complete").x;
    }
    x.iter().map(|x| f64::from(x.abs())).sum()
}

fn ramp() -> Vec<f32> {
    (0..ELEMENTS).map(|i| i as f32 / ELEMENTS as f32).collect()
}

#[track_caller]
fn check(algorithm: Algorithm, config: SchedulerConfig, sum: Option<f64>, mean: f64) {
    let schedule = ten_steps(algorithm, &config);
    let start = ramp().into_iter().map(|x| x * schedule.init_noise_sigma).collect();
    let got = full_loop(&schedule, start);
    assert!(sum.is_none_or(|sum| (got - sum).abs() < SUM), "{algorithm}: {got} for the sum {sum:?}");
    let got = got / ELEMENTS as f64;
    assert!((got - mean).abs() < MEAN, "{algorithm}: {got} for the mean {mean}");
}

#[test]
fn ddim() {
    let config = SchedulerConfig { clip_sample: Some(true), ..linear(1000) };
    check(Algorithm::Ddim, config.clone(), Some(172.0067), 0.223_967);
    check(Algorithm::Ddim, velocity(config.clone()), Some(52.5302), 0.0684);
    for (to_one, sum, mean) in [(true, 149.8295, 0.1951), (false, 149.0784, 0.1941)] {
        let config =
            SchedulerConfig { set_alpha_to_one: Some(to_one), beta_start: Some(0.01), ..config.clone() };
        check(Algorithm::Ddim, config, Some(sum), mean);
    }
}

/// Image to image: the last two steps, from a ramp with the ramp the other way as noise.
#[track_caller]
fn check_with_noise(algorithm: Algorithm, config: &SchedulerConfig, sum: f64) {
    let schedule = ten_steps(algorithm, config).tail(0.2).expect("two steps");
    let noise = ramp().into_iter().rev().collect();
    let start = schedule.steps[0].add_noise(&ramp(), &noise).expect("one shape");
    let got = full_loop(&schedule, start);
    assert!((got - sum).abs() < SUM, "{algorithm}: {got} for the sum {sum}");
}

#[test]
fn with_noise() {
    let clipped = SchedulerConfig { clip_sample: Some(true), ..linear(1000) };
    check_with_noise(Algorithm::Ddim, &clipped, 354.5418);
    let unipc = SchedulerConfig { final_sigmas_type: Some(FinalSigma::SigmaMin), ..linear(1000) };
    check_with_noise(Algorithm::UniPc, &unipc, 315.5757);
}

#[test]
fn euler_and_heun() {
    let config = linear(1100);
    let karras = SchedulerConfig { use_karras_sigmas: Some(true), ..config.clone() };
    check(Algorithm::Euler, config.clone(), Some(10.0807), 0.0131);
    check(Algorithm::Euler, velocity(config.clone()), Some(0.0002), 2.2676e-6);
    check(Algorithm::Euler, karras.clone(), Some(124.522_995), 0.162_139);
    check(Algorithm::Heun, config.clone(), Some(0.1233), 0.0002);
    check(Algorithm::Heun, velocity(config), Some(4.6934e-7), 6.1112e-10);
    check(Algorithm::Heun, karras, Some(0.00015), 1.986_955e-7);
}

#[test]
fn dpmpp() {
    // With the end that the class had before it could be said.
    let config = SchedulerConfig {
        lower_order_final: Some(false),
        final_sigmas_type: Some(FinalSigma::SigmaMin),
        ..linear(1000)
    };
    check(Algorithm::Dpmpp2m, config.clone(), None, 0.3301);
    check(Algorithm::Dpmpp2m, velocity(config), None, 0.2251);
}

#[test]
fn unipc() {
    let config = SchedulerConfig { final_sigmas_type: Some(FinalSigma::SigmaMin), ..linear(1000) };
    let karras = SchedulerConfig { use_karras_sigmas: Some(true), ..config.clone() };
    check(Algorithm::UniPc, config.clone(), None, 0.2464);
    check(Algorithm::UniPc, velocity(config), None, 0.1014);
    check(Algorithm::UniPc, karras.clone(), None, 0.2925);
    check(Algorithm::UniPc, velocity(karras), None, 0.1966);
}

/// With the Runge-Kutta steps that the class takes unless told to skip them.
#[test]
fn pndm() {
    check(Algorithm::Pndm, linear(1000), Some(198.1318), 0.2580);
    check(Algorithm::Pndm, velocity(linear(1000)), Some(67.3986), 0.0878);
    for (to_one, sum, mean) in [(true, 230.0399, 0.2995), (false, 186.9482, 0.2434)] {
        let config =
            SchedulerConfig { set_alpha_to_one: Some(to_one), beta_start: Some(0.01), ..linear(1000) };
        check(Algorithm::Pndm, config, Some(sum), mean);
    }
}
