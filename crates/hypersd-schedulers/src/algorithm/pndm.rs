//! PNDM, which is the scheduler that Stable Diffusion 1.x ships: equations 9, 12 and 13 of
//! [arXiv:2202.09778](https://arxiv.org/abs/2202.09778).
//!
//! The linear multistep method looks back on what the model said at three timesteps before. Without Runge-Kutta steps
//! ("PLMS", `skip_prk_steps`, which is how Stable Diffusion has it) the first step, that knows of none, is taken twice: to the
//! second timestep as DDIM, and again with the mean of what the model says at both ends. So there is one evaluation more than
//! there are steps, at the second timestep, and it is not remembered.
//!
//! With them the first three steps are of four evaluations, at their begin, twice at their middle, and at their end, and go
//! on from their begin with the mean that Simpson's rule makes of the four. What the model said at the three begins is what
//! the multistep method looks back on.
//!
//! With a strength that leaves out steps at the start, diffusers drops as many evaluations and begins as above with those
//! that are left, of which one (or nine) have been counted beside the steps: its evaluations then are not always where those
//! before have led. So it is here, for the picture is to be the same.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    spacing::{leading, linspace, rounded, trailing},
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct Pndm {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    /// True for Runge-Kutta steps at the start.
    runge_kutta: bool,
    /// a where the last step leads.
    end: f32,
}

/// The evaluations of the three Runge-Kutta steps.
const RUNGE_KUTTA: usize = 12;

impl Method for Pndm {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let trained = Trained::as_it_stands(algorithm, config, Betas::LINEAR)?;
        Ok(Self {
            spacing: config.timestep_spacing.unwrap_or(Spacing::Leading),
            steps_offset: config.steps_offset.unwrap_or(0),
            runge_kutta: !config.skip_prk_steps.unwrap_or(false),
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
        let schedule = if self.runge_kutta {
            // Three evaluations after these steps they are the same as ever.
            Schedule::multistep_over(RUNGE_KUTTA + 2, timesteps.len(), |i, known| {
                match known.checked_sub(RUNGE_KUTTA) {
                    None => self.runge_kutta(&timesteps, i, stride, known),
                    Some(after) => self.multistep(timesteps[i], stride, after_runge_kutta(after)),
                }
            })
        } else {
            Schedule::multistep(timesteps.len(), |i, known| self.evaluation(timesteps[i], stride, known))
        };
        schedule?.counted(count).tail(strength)
    }
}

impl Pndm {
    /// The timesteps of the evaluations: the second of the steps twice, or those of the Runge-Kutta steps.
    fn timesteps(&self, count: usize) -> Result<Vec<usize>, Error> {
        // The Runge-Kutta steps end at the fourth timestep.
        let least = if self.runge_kutta { 4 } else { 1 };
        self.trained.check_count(count, least..=self.trained.steps(), "skip_prk_steps")?;
        let train_steps = self.trained.steps();
        let mut timesteps = match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => rounded(&linspace(train_steps - 1, count)),
        };
        self.trained.check_timesteps(&timesteps)?;
        if self.runge_kutta {
            let half = train_steps / count / 2;
            let (begins, rest) = (&timesteps[..4], &timesteps[3..]);
            let steps = begins.windows(2).flat_map(|pair| {
                // The middle is half of the way from the end, which is where spacing puts it.
                let middle = pair[1] + half;
                [pair[0], middle, middle, pair[1]]
            });
            return Ok(steps.chain(rest.iter().copied()).collect());
        }
        if let Some(&second) = timesteps.get(1) {
            timesteps.insert(1, second);
        }
        Ok(timesteps)
    }

    /// One of the four evaluations of a Runge-Kutta step, after `known` others. The first and the third lead half of a step
    /// down from their own timestep, the others to it, all of them from where the step began.
    fn runge_kutta(&self, timesteps: &[usize], i: usize, stride: usize, known: usize) -> Step {
        let (t, part) = (timesteps[i], known % 4);
        let level = Level::of_alpha(self.trained.alphas[t]);
        let (x0, _) = level.split(self.trained.prediction);
        let said = Linear::earlier_output;
        let output = match part {
            3 => 1.0 / 6.0 * (Linear::OUTPUT + 2.0 * said(1) + 2.0 * said(2) + said(3)),
            _ => Linear::OUTPUT,
        };
        let x = if part == 0 { Linear::X } else { Linear::earlier_x(part) };
        let to = if part % 2 == 0 { t.checked_sub(stride / 2) } else { Some(t) };
        Step::new(t as f32, level, x0, self.transfer(timesteps[known - part], to, x, output))
    }

    /// An evaluation of the multistep method, which knows what the model said at three timesteps before.
    fn multistep(&self, t: usize, stride: usize, said: [usize; 3]) -> Step {
        let level = Level::of_alpha(self.trained.alphas[t]);
        let (x0, _) = level.split(self.trained.prediction);
        let [before, earlier, oldest] = said.map(Linear::earlier_output);
        let output = adams_bashforth(before, earlier, oldest);
        Step::new(t as f32, level, x0, self.transfer(t, t.checked_sub(stride), Linear::X, output))
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

/// How many evaluations before one that is so many after the Runge-Kutta steps the model was asked at the three timesteps
/// before: at the begins of these steps, as long as they are needed.
fn after_runge_kutta(after: usize) -> [usize; 3] {
    match after {
        0 => [4, 8, 12],
        1 => [1, 5, 9],
        2 => [1, 2, 6],
        _ => [1, 2, 3],
    }
}

/// The fourth order, with what the model said three timesteps before.
fn adams_bashforth(before: Linear, earlier: Linear, oldest: Linear) -> Linear {
    1.0 / 24.0 * (55.0 * Linear::OUTPUT - 59.0 * before + 37.0 * earlier - 9.0 * oldest)
}
