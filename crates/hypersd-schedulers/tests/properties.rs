//! What holds for every step count, eta, prediction type and latent.

use hypersd_schedulers::{
    Algorithm, Linear, PredictionType, Schedule, Scheduler, SchedulerConfig, Spacing, Step, Steps,
};
use proptest::prelude::*;

/// f32 rounding of a handful of operations on numbers of size 1 to 30, absolute.
const CLOSE: f32 = 2e-5;

fn algorithm() -> impl Strategy<Value = Algorithm> {
    proptest::sample::select(Algorithm::ALL.to_vec())
}

fn spacing() -> impl Strategy<Value = Spacing> {
    proptest::sample::select(vec![Spacing::Leading, Spacing::Trailing, Spacing::Linspace])
}

fn prediction() -> impl Strategy<Value = PredictionType> {
    use PredictionType::{Epsilon, Sample, VPrediction};
    proptest::sample::select(vec![Epsilon, VPrediction, Sample])
}

fn latent() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-3.0_f32..3.0, 4)
}

/// As many steps as the algorithm allows, and fewer.
fn count(algorithm: Algorithm) -> std::ops::RangeInclusive<usize> {
    match algorithm {
        Algorithm::Tcd | Algorithm::Lcm => 1..=50,
        // Above, leading timesteps reach 1000 with the offset of 1: the multistep solvers count N + 1.
        Algorithm::Dpmpp2m | Algorithm::Dpmpp2mSde | Algorithm::UniPc => 1..=998,
        // A step or more in each of four windows.
        Algorithm::PeRFlow => 4..=400, // with more, two of them may be rounded to one timestep
        _ => 1..=999,
    }
}

/// How often the model is evaluated in so many steps.
fn evaluations(algorithm: Algorithm, count: usize) -> usize {
    match algorithm {
        Algorithm::Heun | Algorithm::DpmppSde => 2 * count - 1,
        Algorithm::Pndm => count + usize::from(count > 1),
        _ => count,
    }
}

prop_compose! {
    fn plan()(algorithm in algorithm())(
        algorithm in Just(algorithm),
        spacing in spacing(),
        prediction in prediction(),
        count in prop_oneof![count(algorithm), *count(algorithm).start()..=12_usize],
        order in 1..=3_usize,
        eta in prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0],
    ) -> (Algorithm, SchedulerConfig, usize, f64) {
        // What PeRFlow's models say is a kind of their own.
        let own = algorithm == Algorithm::PeRFlow;
        let prediction = if own { PredictionType::DdimEps } else { prediction };
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing),
            prediction_type: Some(prediction),
            solver_order: Some(order),
            ..SchedulerConfig::stable_diffusion()
        };
        (algorithm, config, count, eta)
    }
}

fn make(algorithm: Algorithm, config: &SchedulerConfig, count: usize, eta: f64) -> Schedule {
    Scheduler::new(algorithm, config)
        .and_then(|scheduler| scheduler.schedule(&Steps::Count(count), eta, None))
        .expect("a valid schedule")
}

/// Every coefficient of a step.
fn coefficients(step: &Step) -> Vec<f64> {
    let forms = [Some(step.x0), step.corrected, Some(step.next)].into_iter().flatten();
    forms
        .flat_map(|f| {
            [f.x, f.output, f.x0, f.noise]
                .into_iter()
                .chain(f.earlier_x0)
                .chain(f.earlier_x)
                .chain(f.earlier_output)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What a perfect model says where the latent is x = signal·x0 + sigma·eps. The v-prediction is that of the
/// model's input, which has variance 1.
fn perfect_output(step: &Step, prediction: PredictionType, x0: &[f32], eps: &[f32]) -> Vec<f32> {
    let (signal, sigma) = (step.level.signal * step.input_scale(), step.level.sigma * step.input_scale());
    match prediction {
        PredictionType::Epsilon | PredictionType::DdimEps => eps.to_vec(),
        PredictionType::Sample => x0.to_vec(),
        PredictionType::VPrediction => {
            x0.iter().zip(eps).map(|(x0, eps)| signal * eps - sigma * x0).collect()
        }
        other => unreachable!("{other:?} is not drawn"),
    }
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

proptest! {
    #[test]
    fn a_schedule_has_n_descending_timesteps_and_finite_coefficients((algorithm, config, count, eta) in plan()) {
        let schedule = make(algorithm, &config, count, eta);
        prop_assert_eq!(schedule.steps.len(), evaluations(algorithm, count));
        let again = evaluations(algorithm, 2) > 2;
        prop_assert!(schedule.steps.windows(2).all(|pair| pair[1].t < pair[0].t || again && pair[1].t == pair[0].t));
        // PeRFlow's models are told T at the start.
        let end = if algorithm == Algorithm::PeRFlow { 1000.5 } else { 1000.0 };
        prop_assert!(schedule.steps.iter().all(|step| (0.0..end).contains(&step.t)));
        prop_assert!(schedule.steps.iter().flat_map(coefficients).all(f64::is_finite));
        let in_sigmas = [Algorithm::Euler, Algorithm::EulerAncestral, Algorithm::Heun, Algorithm::DpmppSde];
        prop_assert!(schedule.init_noise_sigma >= 1.0 || in_sigmas.contains(&algorithm));
    }

    #[test]
    fn noise_is_drawn_where_diffusers_draws_it((algorithm, config, count, eta) in plan()) {
        let schedule = make(algorithm, &config, count, eta);
        for (i, step) in schedule.steps.iter().enumerate() {
            let last = i == schedule.steps.len() - 1;
            let draws = match algorithm {
                Algorithm::Ddim => eta > 0.0,
                Algorithm::Tcd => eta > 0.0 && !last,
                Algorithm::Lcm => !last,
                Algorithm::EulerAncestral | Algorithm::Dpmpp2mSde => true,
                Algorithm::DpmppSde => !last,
                Algorithm::Ddpm => step.t > 0.0,
                _ => false,
            };
            prop_assert_eq!(step.noisy(), draws, "step {}", i);
            prop_assert!(draws || step.next.noise == 0.0);
            let (order, left) = (config.solver_order.unwrap(), schedule.steps.len() - i);
            let looks_back = match algorithm {
                Algorithm::Dpmpp2m | Algorithm::Dpmpp2mSde if last => 0,
                Algorithm::Dpmpp2m | Algorithm::Dpmpp2mSde if left == 2 && count < 15 => (order - 1).min(1).min(i),
                Algorithm::Dpmpp2m | Algorithm::Dpmpp2mSde => (order - 1).min(i),
                // The second of two evaluations.
                Algorithm::Heun | Algorithm::DpmppSde => i % 2,
                // From timestep 0 to the noise of timestep 0 nothing happens, whatever the model says.
                Algorithm::Pndm if step.t == 0.0 && i != 1 => 0,
                // As far as the fourth order, and over the evaluation that is left out.
                Algorithm::Pndm => [0, 1, 2, 3, 4].get(i).copied().unwrap_or(3),
                // The corrector of the step before, which looks back on as many as that had for its own order.
                Algorithm::UniPc => order.min(left + 1).min(i),
                _ => 0,
            };
            prop_assert_eq!(step.looks_back(), looks_back, "step {}", i);
        }
    }

    /// From x = signal·x0 + sigma·eps and a perfect model, x0 is found, and a deterministic step leads to the same
    /// x0 and eps at the next level.
    #[test]
    fn a_perfect_model_is_followed(
        (algorithm, config, count, _) in plan(), x0 in latent(), eps in latent(), at in any::<proptest::sample::Index>(),
    ) {
        // Four steps of PeRFlow begin where its windows do; within one, the latent is on a line between two levels.
        let count = if algorithm == PeRFlow { 4 } else { count.min(50) };
        let schedule = make(algorithm, &config, count, 0.0);
        let i = at.index(schedule.steps.len());
        let step = &schedule.steps[i];
        let x = step.add_noise(&x0, &eps).unwrap();
        let output = perfect_output(step, config.prediction_type.unwrap(), &x0, &eps);
        let mut history = schedule.history();
        for earlier in &schedule.steps[..i] {
            let output = perfect_output(earlier, config.prediction_type.unwrap(), &x0, &eps);
            history.push(&earlier.add_noise(&x0, &eps).unwrap(), &x0, &output);
        }
        let advanced = step.advance(&x, &output, Some(&eps), &mut history).unwrap();
        // x0 = (x − sigma·eps)/signal enlarges the rounding of x.
        let tolerance = CLOSE * (1.0 + step.level.sigma / step.level.signal);
        prop_assert!(close(&advanced.x0, &x0, tolerance), "{:?} for {:?}", advanced.x0, x0);

        // DDIM and PNDM lead to t − T/N, and Euler ancestral, the stochastic solvers and DDPM split their noise into old
        // and new. LCM's noise is all new: here the same eps. PNDM mixes what was said of v at other levels.
        use Algorithm::{Ddim, Ddpm, Dpmpp2mSde, DpmppSde, EulerAncestral, Lcm, PeRFlow, Pndm, Tcd};
        let leads_to_next = ![Ddim, Pndm, EulerAncestral, Dpmpp2mSde, DpmppSde, Ddpm].contains(&algorithm);
        if let Some(next) = schedule.steps.get(i + 1).filter(|_| leads_to_next) {
            let want = next.add_noise(&x0, &eps).unwrap();
            prop_assert!(close(&advanced.x, &want, tolerance), "{:?} for {:?}", advanced.x, want);
        } else if i == schedule.steps.len() - 1 && ![Ddim, Pndm, Tcd, PeRFlow].contains(&algorithm) {
            prop_assert!(close(&advanced.x, &x0, tolerance.max(1e-2 * f32::from(algorithm == Lcm))));
        }
    }

    /// Fresh noise replaces what it takes away: with x0 and eps uncorrelated and of variance 1, the next latent has
    /// the variance of its level, for every eta.
    #[test]
    fn variance_is_preserved(eta in 0.0..=1.0, count in 1..=50_usize, algorithm in prop_oneof![
        Just(Algorithm::Ddim), Just(Algorithm::Tcd)
    ]) {
        let config = SchedulerConfig { timestep_spacing: Some(Spacing::Trailing), ..SchedulerConfig::stable_diffusion() };
        for step in make(algorithm, &config, count, eta).steps {
            // The model says eps: x' = next.x0·x0 + next.output·eps + next.noise·noise.
            let variance = step.next.x0.powi(2) + step.next.output.powi(2) + step.next.noise.powi(2);
            prop_assert!((variance - 1.0).abs() < 1e-6, "t = {}: {}", step.t, variance);
        }
    }

    #[test]
    fn a_step_is_linear(
        (algorithm, config, count, eta) in plan(), a in latent(), b in latent(), c in latent(), d in latent(),
        factor in -2.0_f32..2.0, at in any::<proptest::sample::Index>(),
    ) {
        let schedule = make(algorithm, &config, count.clamp(4, 20), eta);
        let step = &schedule.steps[at.index(schedule.steps.len())];
        let times = |x: &Vec<f32>| x.iter().map(|x| factor * x).collect::<Vec<f32>>();
        let history = |a: &Vec<f32>, d: &Vec<f32>| {
            let mut history = schedule.history();
            (0..Linear::REACH).for_each(|_| history.push(a, d, d));
            history
        };
        let once = step.advance(&a, &b, Some(&c), &mut history(&a, &d)).unwrap();
        let (x, past) = (times(&a), &mut history(&times(&a), &times(&d)));
        let scaled = step.advance(&x, &times(&b), Some(&times(&c)), past).unwrap();
        let size = coefficients(step).iter().map(|c| c.abs()).fold(1.0, f64::max) as f32;
        prop_assert!(close(&scaled.x, &times(&once.x), CLOSE * size * size));
    }

    /// Where t − T/N is the next timestep, TCD without noise is DDIM.
    #[test]
    fn tcd_without_noise_is_ddim(
        count in proptest::sample::select(vec![1_usize, 2, 5, 10, 25, 50]), prediction in prediction(),
        x in latent(), output in latent(),
    ) {
        let config = SchedulerConfig {
            timestep_spacing: Some(Spacing::Trailing),
            prediction_type: Some(prediction),
            ..SchedulerConfig::stable_diffusion()
        };
        let (tcd, ddim) = (make(Algorithm::Tcd, &config, count, 0.0), make(Algorithm::Ddim, &config, count, 0.0));
        let nothing = tcd.history();
        for (tcd, ddim) in tcd.steps.iter().zip(&ddim.steps) {
            prop_assert_eq!(tcd.t, ddim.t);
            let advance = |step: &Step| step.advance(&x, &output, None, &mut nothing.clone()).unwrap().x;
            prop_assert_eq!(advance(tcd), advance(ddim));
        }
    }

    /// With eta 1, every TCD step goes through the clean end of the trajectory.
    #[test]
    fn tcd_at_eta_one_forgets(count in 2..=50_usize) {
        let schedule = make(Algorithm::Tcd, &SchedulerConfig::stable_diffusion(), count, 1.0);
        let a_0 = 0.999_15_f64; // 1 − beta_start
        for pair in schedule.steps.windows(2) {
            // Only the residue of timestep 0 carries eps on.
            let carried = pair[0].next.output / f64::from(pair[1].level.signal);
            prop_assert!((carried - ((1.0 - a_0) / a_0).sqrt()).abs() < 1e-4, "{}", carried);
        }
    }

    #[test]
    fn the_tail_is_the_end_of_the_schedule((algorithm, config, count, eta) in plan(), strength in 0.001..=1.0) {
        let whole = make(algorithm, &config, count, eta);
        let kept = (count as f64 * strength) as usize;
        let per_step = if [Algorithm::Heun, Algorithm::DpmppSde].contains(&algorithm) { 2 } else { 1 };
        match whole.clone().tail(strength) {
            Ok(tail) => {
                let left_out = (count - kept) * per_step;
                prop_assert_eq!(tail.steps.len(), whole.steps.len() - left_out);
                // The first steps look back on no more than there is.
                for (known, step) in tail.steps.iter().enumerate() {
                    prop_assert!(step.looks_back() <= known);
                }
                let same = tail.steps.len().min(Linear::REACH + 1);
                prop_assert_eq!(&tail.steps[same..], &whole.steps[left_out + same..]);
            }
            Err(error) => prop_assert!(kept == 0, "{}", error),
        }
    }

    #[test]
    fn no_request_panics(
        algorithm in algorithm(), spacing in spacing(), count in any::<usize>(), eta in any::<f64>(),
        strength in proptest::option::of(any::<f64>()), timesteps in proptest::collection::vec(0..1200_usize, 0..6),
        karras in any::<bool>(), beta in any::<bool>(), sigmas in proptest::collection::vec(any::<f32>(), 0..4), zero_snr in any::<bool>(), offset in any::<usize>(), train in any::<usize>(),
    ) {
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing),
            use_karras_sigmas: Some(karras),
            use_beta_sigmas: Some(beta),
            skip_prk_steps: Some(true),
            shifted_timestep: Some(count % 1500),
            rescale_betas_zero_snr: Some(zero_snr),
            steps_offset: Some(offset % 1500),
            num_train_timesteps: Some(train % 1500),
            ..SchedulerConfig::default()
        };
        if let Ok(scheduler) = Scheduler::new(algorithm, &config) {
            for steps in [Steps::Count(count), Steps::Count(count % 1100), Steps::Timesteps(timesteps), Steps::Sigmas(sigmas)] {
                for (eta, strength) in [(eta, strength), (0.5, None), (1.0, Some(0.5))] {
                    if let Ok(schedule) = scheduler.schedule(&steps, eta, strength) {
                        prop_assert!(!schedule.steps.is_empty());
                        prop_assert!(schedule.steps.iter().flat_map(coefficients).all(f64::is_finite));
                    }
                }
            }
        }
    }

    #[test]
    fn no_configuration_panics(text in any::<String>(), numbers in any::<[f64; 4]>(), count in any::<usize>()) {
        let _ = SchedulerConfig::from_json(&text);
        let [beta_start, beta_end, timestep_scaling, sigma_max] = numbers.map(Some);
        let config = SchedulerConfig {
            beta_start, beta_end, timestep_scaling, sigma_max,
            use_karras_sigmas: Some(true),
            num_time_windows: Some(count % 9),
            num_train_timesteps: Some(count % 2000),
            ..SchedulerConfig::default()
        };
        for &algorithm in Algorithm::ALL {
            if let Ok(scheduler) = Scheduler::new(algorithm, &config) {
                let _ = scheduler.schedule(&Steps::Count(4), 0.5, None);
            }
        }
    }
}

#[test]
fn spacing_tells_where_an_algorithm_says_so() {
    for &algorithm in Algorithm::ALL {
        let timesteps = |spacing| -> Vec<f32> {
            let own = algorithm == Algorithm::PeRFlow;
            let config = SchedulerConfig {
                timestep_spacing: Some(spacing),
                prediction_type: own.then_some(PredictionType::DdimEps),
                ..SchedulerConfig::stable_diffusion()
            };
            let scheduler = Scheduler::new(algorithm, &config).unwrap();
            let schedule = scheduler.schedule(&Steps::Count(8), 0.0, None).unwrap();
            schedule.steps.iter().map(|step| step.t).collect()
        };
        let differ = timesteps(Spacing::Leading) != timesteps(Spacing::Trailing);
        assert_eq!(differ, algorithm.has_spacing(), "{algorithm}");
    }
}
