//! PeRFlow, piecewise rectified flow: the time from noise to image is cut into windows, in each of which the latent goes
//! straight. [arXiv:2405.07510](https://arxiv.org/abs/2405.07510), and the publisher's
//! [scheduler](https://github.com/magic-research/piecewise-rectified-flow), for diffusers has none.
//!
//! In a window from the time s down to e the latent at c is (c − e)/(s − e)·x_s + (s − c)/(s − e)·x_e. The model says an
//! eps with which x_e = λ·x_s + η·eps. Of both, x_e follows from the latent at c, and the way leads towards it:
//!
//! - `ddim_eps` (SDXL): DDIM's step from s to e. λ = √(a_e/a_s), η = √(1 − a_e) − λ·√(1 − a_s).
//! - `diff_eps` (SD 1.5): the noise that takes x_e to x_s. With γ = √(a_s/a_e): λ = 1/γ, η = −√(1 − γ²)/γ.
//!
//! Times are T·s − 1 as timesteps, but the model is told T·c, which is T at the start.

use crate::{
    Algorithm, Error, Level, Linear, PredictionType, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    config::check,
    refuse,
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct PeRFlow {
    trained: Trained,
    windows: usize,
}

/// A window from the time `start` down to `end`.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: f64,
    end: f64,
}

impl Method for PeRFlow {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let prediction = config.prediction_type.unwrap_or(PredictionType::DdimEps);
        let known = [PredictionType::DdimEps, PredictionType::DiffEps];
        let instead = "set it to ddim_eps, as PeRFlow's SDXL has it, or to diff_eps, as its SD 1.5 has it";
        refuse::others(algorithm, "prediction_type", Some(&prediction), &known, instead)?;
        let trained = Trained { prediction, ..Trained::as_it_stands(algorithm, config, Betas::SCALED)? };
        let windows = config.num_time_windows.unwrap_or(4);
        let fits = windows >= 1 && trained.steps().is_multiple_of(windows);
        check(windows, fits, "num_time_windows", "a divisor of num_train_timesteps")?;
        Ok(Self { trained, windows })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let count = self.trained.count_of(steps)?;
        // The publisher takes as many steps as there are windows instead of fewer.
        self.trained.check_count(count, self.windows..=self.trained.steps(), "num_time_windows")?;
        let times = self.times(count);
        if let Some(pair) = times.windows(2).find(|pair| pair[1].0 >= pair[0].0) {
            return Err(Error::NotDescending { given: pair[1].0, previous: pair[0].0 });
        }
        let ends = times.iter().skip(1).map(|(t, _)| *t).chain([0]);
        let steps =
            times.iter().zip(ends).map(|(&(t, window), t_next)| self.step(t, t_next, window)).collect();
        Schedule::new(1.0, steps)?.tail(strength)
    }
}

impl PeRFlow {
    /// T·c of every step, with its window: steps spread evenly over the windows, the first of which have one more where
    /// they do not come out even.
    fn times(&self, count: usize) -> Vec<(usize, Window)> {
        let scale = self.trained.steps() as f64;
        let bound = |i: usize| (self.windows - i) as f64 / self.windows as f64;
        let steps_of = |i: usize| count / self.windows + usize::from(i < count % self.windows);
        let in_window = |i: usize| {
            let (window, steps) = (Window { start: bound(i), end: bound(i + 1) }, steps_of(i));
            let step = (window.end - window.start) / steps as f64;
            (0..steps).map(move |k| (((k as f64 * step + window.start) * scale) as usize, window))
        };
        (0..self.windows).flat_map(in_window).collect()
    }

    /// From T·c to T·c', both of one window, straight towards its end.
    fn step(&self, t: usize, t_next: usize, window: Window) -> Step {
        let scale = self.trained.steps() as f64;
        let Window { start, end } = window;
        let time = t as f64 / scale;
        let (x_end, x0) = self.predictions(time, window);
        // v = (x_e − x)/(e − c), and x' = x + (c' − c)·v.
        let share = (t_next as f64 / scale - time) / (end - time);
        let next = Linear::X + share * (x_end - Linear::X);
        debug_assert!(start >= time && time > end);
        Step::new(t as f32, Level::of_alpha(self.trained.alphas[t - 1]), x0, next)
    }

    /// `(x_e, x0)`: the latent at the end of the window, and the clean one. `diff_eps` says nothing of what is beyond the
    /// window; the latent at its end then stands for the clean one.
    fn predictions(&self, time: f64, Window { start, end }: Window) -> (Linear, Linear) {
        let alpha = |time: f64| {
            let t = (time * self.trained.steps() as f64) as usize;
            f64::from(self.trained.alphas[t.saturating_sub(1)])
        };
        let (a_start, a_end) = (alpha(start), alpha(end));
        let is_ddim = self.trained.prediction == PredictionType::DdimEps;
        let lambda = (a_end / a_start).sqrt();
        let eta = if is_ddim {
            (1.0 - a_end).sqrt() - lambda * (1.0 - a_start).sqrt()
        } else {
            -lambda * (1.0 - a_start / a_end).sqrt()
        };
        let whole = lambda * (time - start) + (end - time);
        let x_end =
            (lambda * (end - start) / whole) * Linear::X + (eta * (end - time) / whole) * Linear::OUTPUT;
        let x0 = if is_ddim {
            1.0 / a_end.sqrt() * (x_end - (1.0 - a_end).sqrt() * Linear::OUTPUT)
        } else {
            x_end
        };
        (x_end, x0)
    }
}
