//! Wrong input: every error is typed, and says what was given, what was expected and what to do.

use hypersd_schedulers::{
    Algorithm, BetaSchedule, Error, FinalSigma, PredictionType, Schedule, Scheduler, SchedulerConfig,
    Spacing,
    Steps::{self, Count, Timesteps},
};

fn schedule(algorithm: Algorithm, config: &SchedulerConfig, steps: Steps) -> Result<Schedule, Error> {
    Scheduler::new(algorithm, config)?.schedule(&steps, 0.0, None)
}

fn sd() -> SchedulerConfig {
    SchedulerConfig::stable_diffusion()
}

#[track_caller]
fn assert_says(error: Error, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn names() {
    for &algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse::<Algorithm>().unwrap(), algorithm);
        let config = SchedulerConfig {
            class_name: Some(algorithm.class_name().to_owned()),
            algorithm_type: (algorithm == Algorithm::Dpmpp2mSde).then(|| "sde-dpmsolver++".to_owned()),
            ..sd()
        };
        assert_eq!(Algorithm::of(&config).unwrap(), algorithm);
    }
    let error = "lms".parse::<Algorithm>().unwrap_err();
    assert!(matches!(error, Error::UnknownAlgorithm { .. }));
    assert_says(
        error,
        &[
            "lms",
            "ddim, tcd, lcm, euler, euler-a, dpmpp-2m, dpmpp-2m-sde, dpmpp-sde, unipc, heun, perflow, pndm, ddpm",
        ],
    );
    let error = "Trailing".parse::<Spacing>().unwrap_err();
    assert!(matches!(error, Error::UnknownSpacing { .. }));
    assert_says(error, &["Trailing", "leading, trailing or linspace"]);
}

#[test]
fn foreign_classes_are_read_but_not_guessed() {
    let config =
        SchedulerConfig::from_json(r#"{"_class_name": "LMSDiscreteScheduler", "steps_offset": 1}"#).unwrap();
    let error = Algorithm::of(&config).unwrap_err();
    assert!(matches!(&error, Error::UnknownClass { class: Some(class) } if class == "LMSDiscreteScheduler"));
    assert_says(error, &["LMSDiscreteScheduler", "ddim, tcd, lcm"]);
    assert_says(Algorithm::of(&SchedulerConfig::default()).unwrap_err(), &["absent"]);
    assert_eq!(schedule(Algorithm::Ddim, &config, Count(4)).unwrap().steps.len(), 4);
}

#[test]
fn defaults_are_those_of_the_class_that_is_built() {
    let timesteps = |algorithm| -> Vec<f32> {
        let schedule = schedule(algorithm, &sd(), Count(2)).unwrap();
        schedule.steps.iter().map(|step| step.t).collect()
    };
    assert_eq!(timesteps(Algorithm::Ddim), [501.0, 1.0]);
    assert_eq!(timesteps(Algorithm::Euler), [999.0, 0.0]);
    assert_eq!(timesteps(Algorithm::Tcd), [999.0, 499.0]);
}

#[test]
fn json_as_python_writes_it() {
    let text = r#"{
        "_class_name": "DPMSolverMultistepScheduler", "note": "NaN \"Infinity\"", "lambda_min_clipped": -Infinity,
        "final_sigmas_type": "sigma_min", "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": null,
        "prediction_type": "v_prediction", "trained_betas": null, "solver_type": "midpoint", "variance_type": null
    }"#;
    let config = SchedulerConfig::from_json(text).unwrap();
    assert_eq!(
        config,
        SchedulerConfig {
            class_name: Some("DPMSolverMultistepScheduler".to_owned()),
            final_sigmas_type: Some(FinalSigma::SigmaMin),
            beta_schedule: Some(BetaSchedule::SquaredCosCapV2),
            prediction_type: Some(PredictionType::VPrediction),
            solver_type: Some("midpoint".to_owned()),
            ..SchedulerConfig::default()
        }
    );
    let config = SchedulerConfig::from_json(r#"{"_class_name": "NaN\\", "beta_end": NaN}"#).unwrap();
    assert_eq!((config.class_name.as_deref(), config.beta_end), (Some("NaN\\"), None));
}

#[test]
fn hostile_json() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"",
        "{\"",
        "{\"_class_name\": \"\\",
        "{\"_class_name\": 1}",
        r#"{"num_train_timesteps": -1}"#,
        r#"{"num_train_timesteps": 1e300}"#,
        r#"{"beta_start": "0.1"}"#,
        r#"{"beta_end": 1e999}"#,
        r#"{"steps_offset": -1}"#,
        r#"{"trained_betas": {"0": 1}}"#,
        r#"{"clip_sample": 1}"#,
    ] {
        assert!(matches!(SchedulerConfig::from_json(text), Err(Error::Json(_))), "{text:?}");
    }
    for (text, words) in [
        (r#"{"beta_schedule": "sigmoid"}"#, ["sigmoid", "squaredcos_cap_v2"]),
        (r#"{"prediction_type": "flow_prediction"}"#, ["flow_prediction", "v_prediction"]),
        (r#"{"timestep_spacing": "even"}"#, ["even", "trailing"]),
    ] {
        assert_says(SchedulerConfig::from_json(text).unwrap_err(), &words);
    }
    let deep = "[".repeat(100_000);
    assert!(SchedulerConfig::from_json(&deep).is_err());
}

#[test]
fn configurations_that_cannot_be_right() {
    for (text, field) in [
        (r#"{"num_train_timesteps": 0}"#, "num_train_timesteps"),
        (r#"{"num_train_timesteps": 1}"#, "num_train_timesteps"),
        (r#"{"num_train_timesteps": 1000000000000}"#, "num_train_timesteps"),
        (r#"{"beta_end": 5}"#, "betas"),
        (r#"{"beta_end": 0.9999}"#, "betas"),
        (r#"{"beta_start": -0.1}"#, "betas"),
        (r#"{"beta_start": -0.1, "beta_schedule": "scaled_linear"}"#, "betas"),
        (r#"{"beta_start": 1e-12, "beta_end": 1e-12}"#, "betas"),
        (r#"{"trained_betas": [0.1, 0.2]}"#, "trained_betas"),
        (r#"{"steps_offset": 1000}"#, "steps_offset"),
        (r#"{"num_train_timesteps": 30}"#, "original_inference_steps"), // 50 unless given
        (r#"{"original_inference_steps": 0}"#, "original_inference_steps"),
        (r#"{"original_inference_steps": 1001}"#, "original_inference_steps"),
        (r#"{"shifted_timestep": 0}"#, "shifted_timestep"),
        (r#"{"shifted_timestep": 1001}"#, "shifted_timestep"),
        (r#"{"timestep_scaling": 0}"#, "timestep_scaling"),
        (r#"{"clip_sample_range": -1}"#, "clip_sample_range"),
        (r#"{"sigma_min": 0}"#, "sigma_min"),
    ] {
        let config = SchedulerConfig::from_json(text).unwrap();
        let error =
            Scheduler::new(Algorithm::Lcm, &config).err().unwrap_or_else(|| panic!("{text} was accepted"));
        assert!(matches!(error, Error::Config { .. }), "{text}: {error}");
        assert_says(error, &[field, "expected"]);
    }
    let betas =
        SchedulerConfig { trained_betas: Some(vec![0.5, 0.25]), num_train_timesteps: Some(2), ..sd() };
    assert_eq!(Scheduler::new(Algorithm::Ddim, &betas).unwrap().alphas_cumprod(), [0.5, 0.375]);
}

#[test]
fn what_is_not_computed_is_refused_where_it_would_be_read() {
    use Algorithm::{Ddim, Ddpm, Dpmpp2m, Dpmpp2mSde, Euler, Heun, PeRFlow, Pndm, UniPc};
    for (algorithm, text) in [
        (Ddim, r#"{"thresholding": true}"#),
        (Euler, r#"{"interpolation_type": "log_linear"}"#),
        (Euler, r#"{"timestep_type": "continuous"}"#),
        (Dpmpp2m, r#"{"use_lu_lambdas": true}"#),
        (Dpmpp2m, r#"{"use_flow_sigmas": true}"#),
        (Dpmpp2m, r#"{"algorithm_type": "dpmsolver"}"#),
        (Dpmpp2mSde, r#"{"algorithm_type": "sde-dpmsolver"}"#),
        (Dpmpp2mSde, r#"{"solver_type": "heun"}"#),
        (Ddpm, r#"{"variance_type": "learned_range"}"#),
        (Ddpm, r#"{"variance_type": "fixed_large_log"}"#),
        (PeRFlow, r#"{"prediction_type": "epsilon"}"#),
        (PeRFlow, r#"{"prediction_type": "v_prediction"}"#),
        (Dpmpp2m, r#"{"solver_type": "heun"}"#),
        (Dpmpp2m, r#"{"solver_order": 4}"#),
        (Dpmpp2m, r#"{"variance_type": "learned_range"}"#),
        (UniPc, r#"{"use_flow_sigmas": true}"#),
        (UniPc, r#"{"predict_x0": false}"#),
        (UniPc, r#"{"solver_type": "bh3"}"#),
        (UniPc, r#"{"solver_order": 0}"#),
        (UniPc, r#"{"solver_order": 4}"#),
    ] {
        let config = SchedulerConfig::from_json(text).unwrap();
        let error = Scheduler::new(algorithm, &config).err().unwrap_or_else(|| panic!("{text} was accepted"));
        assert!(matches!(error, Error::Unsupported { .. }), "{text}: {error}");
        let field = text.split('"').nth(1).unwrap();
        assert_says(error, &[field, algorithm.name()]);
        if algorithm != Ddim {
            Scheduler::new(Algorithm::Tcd, &config).expect("TCD does not read it");
        }
    }
    for prediction in ["ddim_eps", "diff_eps"] {
        let config =
            SchedulerConfig::from_json(&format!(r#"{{"prediction_type": "{prediction}"}}"#)).unwrap();
        for &algorithm in
            Algorithm::ALL.iter().filter(|&&algorithm| algorithm != PeRFlow && algorithm != Pndm)
        {
            let error = Scheduler::new(algorithm, &config).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{algorithm}: {error}");
            assert_says(error, &[prediction, "perflow"]);
        }
    }
    for algorithm in [Euler, Heun, Dpmpp2m, Dpmpp2mSde, Algorithm::DpmppSde, UniPc] {
        let text = r#"{"use_exponential_sigmas": true, "use_beta_sigmas": true}"#;
        let error = Scheduler::new(algorithm, &SchedulerConfig::from_json(text).unwrap()).unwrap_err();
        assert_says(error, &["use_beta_sigmas is true", "at most one"]);
    }
    for (algorithm, foreign) in [
        (Dpmpp2m, r#"{"algorithm_type": "sde-dpmsolver++"}"#),
        (Dpmpp2mSde, r#"{"algorithm_type": "dpmsolver++"}"#),
        (Dpmpp2m, r#"{"solver_type": "bh2", "algorithm_type": "deis", "solver_order": 2}"#),
        (UniPc, r#"{"solver_type": "midpoint", "algorithm_type": "dpmsolver++", "use_lu_lambdas": true}"#),
    ] {
        Scheduler::new(algorithm, &SchedulerConfig::from_json(foreign).unwrap())
            .expect("diffusers reads these as its own, or not at all");
    }
}

#[test]
fn step_counts() {
    for &algorithm in Algorithm::ALL {
        for count in [0, 1001, usize::MAX] {
            let error = schedule(algorithm, &sd(), Count(count)).unwrap_err();
            assert!(matches!(error, Error::StepCount { given, .. } if given == count), "{error}");
            let range = if algorithm == Algorithm::PeRFlow { "4 to 1000" } else { "1 to" };
            assert_says(error, &[&count.to_string(), range]);
        }
        assert!(matches!(
            schedule(algorithm, &sd(), Timesteps(Vec::new())),
            Err(Error::NoTimesteps | Error::TimestepsRefused { .. })
        ));
    }
    for algorithm in [Algorithm::Tcd, Algorithm::Lcm] {
        let error = schedule(algorithm, &sd(), Count(51)).unwrap_err();
        assert_says(error, &["1 to 50", "original_inference_steps", "51"]);
        let scheduler = Scheduler::new(algorithm, &sd()).unwrap();
        let error = scheduler.schedule(&Count(26), 0.0, Some(0.5)).unwrap_err();
        assert_says(error, &["1 to 25", "26"]);
    }
}

#[test]
fn eta_and_strength() {
    for &algorithm in Algorithm::ALL {
        let scheduler = Scheduler::new(algorithm, &sd()).unwrap();
        for eta in [7.0, -0.1, f64::NAN, f64::INFINITY] {
            let error = scheduler.schedule(&Count(4), eta, None).unwrap_err();
            assert!(matches!(error, Error::Eta { .. }), "{error}");
            assert_says(error, &["eta", &eta.to_string(), "0", "1"]);
        }
        for strength in [0.0, 1.1, -1.0, f64::NAN, 0.001] {
            let error = scheduler.schedule(&Count(4), 0.0, Some(strength)).unwrap_err();
            assert!(matches!(error, Error::Strength { .. }), "{error}");
        }
    }
}

#[test]
fn explicit_timesteps() {
    use Algorithm::{Ddim, DpmppSde, EulerAncestral, PeRFlow, Pndm, UniPc};
    for algorithm in [Ddim, EulerAncestral, UniPc, DpmppSde, PeRFlow, Pndm] {
        let error = schedule(algorithm, &sd(), Timesteps(vec![999])).unwrap_err();
        assert!(matches!(error, Error::TimestepsRefused { .. }));
        assert_says(error, &[algorithm.name(), "number of steps"]);
    }
    let karras = SchedulerConfig { use_karras_sigmas: Some(true), ..sd() };
    for algorithm in [Algorithm::Euler, Algorithm::Dpmpp2m] {
        assert_says(schedule(algorithm, &karras, Timesteps(vec![999])).unwrap_err(), &["use_karras_sigmas"]);
    }
    for algorithm in [
        Algorithm::Tcd,
        Algorithm::Lcm,
        Algorithm::Euler,
        Algorithm::Dpmpp2m,
        Algorithm::Heun,
        Algorithm::Ddpm,
    ] {
        let error = schedule(algorithm, &sd(), Timesteps(vec![1000, 3])).unwrap_err();
        assert!(matches!(error, Error::TimestepRange { given: 1000, end: 1000 }));
        for timesteps in [vec![999, 999], vec![999, 10, 11]] {
            let error = schedule(algorithm, &sd(), Timesteps(timesteps)).unwrap_err();
            assert!(matches!(error, Error::NotDescending { .. }), "{error}");
        }
    }
}

#[test]
fn explicit_sigmas() {
    for &algorithm in Algorithm::ALL.iter().filter(|&&algorithm| algorithm != Algorithm::Euler) {
        let error = schedule(algorithm, &sd(), Steps::Sigmas(vec![14.0, 1.0, 0.0])).unwrap_err();
        assert!(matches!(error, Error::SigmasRefused { .. } | Error::TimestepsRefused { .. }), "{error}");
        assert_says(error, &[algorithm.name(), "number of steps"]);
    }
    for sigmas in [
        vec![],
        vec![14.0],
        vec![14.0, 14.0],
        vec![1.0, 14.0],
        vec![14.0, -1.0],
        vec![14.0, 0.0, 0.0],
        vec![f32::NAN, 0.0],
        vec![f32::INFINITY, 1.0],
    ] {
        let error = schedule(Algorithm::Euler, &sd(), Steps::Sigmas(sigmas)).unwrap_err();
        assert!(matches!(error, Error::Sigmas { .. }), "{error}");
        assert_says(error, &["two or more", "descend"]);
    }
}

#[test]
fn perflow_has_windows() {
    let config = SchedulerConfig { num_time_windows: Some(3), ..sd() };
    let error = Scheduler::new(Algorithm::PeRFlow, &config).unwrap_err();
    assert_says(error, &["num_time_windows is 3", "divisor"]);
    for count in [1, 3] {
        let error = schedule(Algorithm::PeRFlow, &sd(), Count(count)).unwrap_err();
        assert_says(error, &["perflow takes 4 to 1000 steps", "num_time_windows"]);
    }
}

#[test]
fn a_cut_list_ends_without_noise() {
    // diffusers counts the steps before it cuts, so that its LCM returns a latent full of noise here.
    for algorithm in [Algorithm::Tcd, Algorithm::Lcm] {
        let scheduler = Scheduler::new(algorithm, &sd()).unwrap();
        let schedule = scheduler.schedule(&Timesteps(vec![999, 749, 499, 249]), 0.3, Some(0.5)).unwrap();
        let steps: Vec<_> = schedule.steps.iter().map(|step| (step.t, step.noisy())).collect();
        assert_eq!(steps, [(499.0, true), (249.0, false)]);
    }
}

#[test]
fn epsilon_cannot_start_from_zero_signal() {
    let config = SchedulerConfig {
        rescale_betas_zero_snr: Some(true),
        timestep_spacing: Some(Spacing::Trailing),
        ..sd()
    };
    for algorithm in [Algorithm::Ddim, Algorithm::Tcd, Algorithm::Lcm] {
        let error = schedule(algorithm, &config, Count(4)).unwrap_err();
        assert!(matches!(error, Error::NoSignal { t: 999, .. }));
        // Advice that a distilled model's scheduler would not heed is none.
        assert_eq!(error.to_string().contains("leading spacing"), algorithm.has_spacing());
        assert_says(error, &["999", "v_prediction", "rescale_betas_zero_snr false"]);
        let v_prediction =
            SchedulerConfig { prediction_type: Some(PredictionType::VPrediction), ..config.clone() };
        assert_eq!(schedule(algorithm, &v_prediction, Count(4)).unwrap().steps[0].level.signal, 0.0);
    }
    assert!(schedule(Algorithm::Euler, &config, Count(4)).unwrap().init_noise_sigma > 4000.0);
}

#[test]
fn steps_without_finite_coefficients() {
    // One sigma for all steps: the second-order step has no interval to take a slope over.
    let config =
        SchedulerConfig { use_karras_sigmas: Some(true), sigma_min: Some(2.0), sigma_max: Some(2.0), ..sd() };
    let error = schedule(Algorithm::Dpmpp2m, &config, Count(4)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert_says(error, &["fewer steps", "sigmas"]);
}

#[test]
fn incomplete_steps() {
    let (x, output, short) = (vec![1.0; 4], vec![0.5; 4], vec![0.5; 3]);
    let lcm = schedule(Algorithm::Lcm, &sd(), Count(2)).unwrap();
    let (lcm, mut nothing) = (lcm.steps[0], lcm.history());
    let error = lcm.advance(&x, &output, None, &mut nothing).unwrap_err();
    assert!(matches!(error, Error::MissingNoise { t: 999.0 }));
    assert_says(error, &["999", "noisy"]);
    let dpmpp = schedule(Algorithm::Dpmpp2m, &sd(), Count(3)).unwrap();
    let mut with_short = dpmpp.history();
    with_short.push(&short, &short, &short);
    let mut fresh = dpmpp.history();
    let dpmpp = dpmpp.steps[1];
    let error = dpmpp.advance(&x, &output, None, &mut fresh).unwrap_err();
    assert!(matches!(error, Error::MissingHistory { expected: 1, .. }));
    assert_says(error, &["1 earlier", "tail"]);
    for (result, argument) in [
        (lcm.advance(&x, &short, Some(&x), &mut nothing), "output"),
        (lcm.advance(&x, &output, Some(&short), &mut nothing), "noise"),
        (dpmpp.advance(&x, &output, None, &mut with_short), "history"),
    ] {
        assert_says(result.unwrap_err(), &[argument, "[3]", "[4]"]);
    }
    assert!(matches!(lcm.add_noise(&x, &short), Err(Error::Shape { name: "noise", .. })));
}

#[test]
fn a_history_keeps_what_is_looked_back_on() {
    let config = |order| SchedulerConfig { solver_order: Some(order), ..sd() };
    // (algorithm, order, how many x0 are kept, how many x)
    for (algorithm, order, x0, x) in [
        (Algorithm::Euler, 3, 0, 0),
        (Algorithm::Dpmpp2m, 1, 0, 0),
        (Algorithm::Dpmpp2m, 2, 1, 0),
        (Algorithm::Dpmpp2m, 3, 2, 0),
        (Algorithm::UniPc, 1, 1, 1),
        (Algorithm::UniPc, 3, 3, 1),
    ] {
        let schedule = schedule(algorithm, &config(order), Count(8)).unwrap();
        let mut history = schedule.history();
        for i in 0..6 {
            history.push(&vec![i as f32], &vec![-(i as f32)], &vec![i as f32]);
        }
        let kept = |get: &dyn Fn(usize) -> Option<f32>| (1..10).map_while(get).collect::<Vec<f32>>();
        let x0_kept: Vec<f32> = kept(&|back| history.x0(back).map(|x0| x0[0]));
        let x_kept: Vec<f32> = kept(&|back| history.x(back).map(|x| x[0]));
        assert_eq!(x0_kept, [-5.0, -4.0, -3.0][..x0], "x0 of {algorithm}, order {order}");
        assert_eq!(x_kept, [5.0][..x], "x of {algorithm}, order {order}");
        assert!(history.x0(0).is_none() && history.x(0).is_none());
    }
}
