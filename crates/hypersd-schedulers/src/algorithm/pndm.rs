//! PNDM without Runge-Kutta steps at the start ("PLMS"), which is the scheduler that Stable Diffusion 1.x ships: equations
//! 9 and 12 of [arXiv:2202.09778](https://arxiv.org/abs/2202.09778).
//!
//! The linear multistep method looks back on what the model said at three timesteps before. The first step, that knows of
//! none, is taken twice: to the second timestep as DDIM, and again with the mean of what the model says at both ends. So
//! there is one evaluation more than there are steps, at the second timestep, and it is not remembered.
//!
//! With a strength that leaves out steps at the start, diffusers drops as many evaluations and begins as above with those
//! that are left, of which one has been counted twice: its second evaluation then is not always where the first has led.
//! So it is here, for the picture is to be the same.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    refuse,
    spacing::{leading, linspace, rounded, trailing},
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct Pndm {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    /// a where the last step leads.
    end: f32,
}

impl Method for Pndm {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let skips = Some(config.skip_prk_steps.unwrap_or(false));
        refuse::others(
            algorithm,
            "skip_prk_steps",
            skips.as_ref(),
            &[true],
            "set it to true, as Stable Diffusion does",
        )?;
        let trained = Trained::as_it_stands(algorithm, config, Betas::LINEAR)?;
        Ok(Self {
            spacing: config.timestep_spacing.unwrap_or(Spacing::Leading),
            steps_offset: config.steps_offset.unwrap_or(0),
            end: if config.set_alpha_to_one == Some(true) { 1.0 } else { trained.alphas[0] },
            trained,
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let count = self.trained.count_of(steps)?;
        let timesteps = self.timesteps(count)?;
        let stride = self.trained.steps() / count;
        let evaluation = |i: usize, known: usize| self.evaluation(timesteps[i], stride, known);
        Schedule::multistep(timesteps.len(), evaluation)?.counted(count).tail(strength)
    }
}

impl Pndm {
    /// The timesteps of the evaluations: the second of the steps twice.
    fn timesteps(&self, count: usize) -> Result<Vec<usize>, Error> {
        self.trained.check_count_in_training(count)?;
        let train_steps = self.trained.steps();
        let mut timesteps = match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => rounded(&linspace(train_steps - 1, count)),
        };
        self.trained.check_timesteps(&timesteps)?;
        if let Some(&second) = timesteps.get(1) {
            timesteps.insert(1, second);
        }
        Ok(timesteps)
    }

    /// The evaluation at `t` after `known` others.
    fn evaluation(&self, t: usize, stride: usize, known: usize) -> Step {
        let alphas = &self.trained.alphas;
        let level = Level::of_alpha(alphas[t]);
        let (x0, _) = level.split(self.trained.prediction);
        let said = Linear::earlier_output;
        let output = match known {
            0 => Linear::OUTPUT,
            1 => 0.5 * (Linear::OUTPUT + said(1)),
            // The evaluation before the last is left out where it is the second one.
            2 => 0.5 * (3.0 * Linear::OUTPUT - said(2)),
            3 => 1.0 / 12.0 * (23.0 * Linear::OUTPUT - 16.0 * said(1) + 5.0 * said(3)),
            4 => adams_bashforth(said(1), said(2), said(4)),
            _ => adams_bashforth(said(1), said(2), said(3)),
        };
        let next = if known == 1 {
            // The first step again, from where it began.
            let from = (t + stride).min(self.trained.steps() - 1);
            self.transfer(from, Some(t), Linear::earlier_x(1), output)
        } else {
            self.transfer(t, t.checked_sub(stride), Linear::X, output)
        };
        Step::new(t as f32, level, x0, next)
    }

    /// Equation 9: from `x` at a timestep to that before it, or to the end, with the output of the model.
    ///
    /// In f64, for with a velocity both terms have parts that cancel.
    fn transfer(&self, t: usize, t_prev: Option<usize>, x: Linear, output: Linear) -> Linear {
        let alphas = &self.trained.alphas;
        let (a, a_prev) = (alphas[t], t_prev.map_or(self.end, |t_prev| alphas[t_prev]));
        let (_, eps) = Level::of_alpha(a).split(self.trained.prediction);
        let (a, a_prev) = (f64::from(a), f64::from(a_prev));
        let denominator = a * (1.0 - a_prev).sqrt() + (a * (1.0 - a) * a_prev).sqrt();
        (a_prev / a).sqrt() * x - ((a_prev - a) / denominator) * eps.of(x, output)
    }
}

/// The fourth order, with what the model said three timesteps before.
fn adams_bashforth(before: Linear, earlier: Linear, oldest: Linear) -> Linear {
    1.0 / 24.0 * (55.0 * Linear::OUTPUT - 59.0 * before + 37.0 * earlier - 9.0 * oldest)
}
