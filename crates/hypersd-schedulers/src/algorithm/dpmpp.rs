//! The multistep DPM-Solver++ of first to third order, with midpoint steps in the second: algorithm 2 of
//! [arXiv:2211.01095](https://arxiv.org/abs/2211.01095).

use crate::{
    Algorithm, BetaSchedule, Error, FinalSigma, Level, Linear, Schedule, SchedulerConfig, Spacing, Step,
    Steps,
    algorithm::Method,
    refuse,
    sigmas::{self, Curve, Precise},
    spacing::without_the_last,
    trained::Trained,
};

/// Below this many steps the last ones are of lower order (`lower_order_final`).
const FEW_STEPS: usize = 15;

#[derive(Debug)]
pub(crate) struct Dpmpp {
    /// Whether it solves the reverse SDE instead of the ODE of the same marginals.
    is_stochastic: bool,
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    curve: Option<Curve>,
    /// diffusers rounds the timesteps of Karras sigmas, but not with the cosine betas, where it cuts them off, as it does
    /// those of other curves.
    rounds_curve: bool,
    final_sigma: FinalSigma,
    order: usize,
    lower_order_final: bool,
    euler_at_final: bool,
    lambda_min: f64,
}

/// Timesteps, and the sigmas at them with the one that the last step leads to.
struct Grid {
    timesteps: Vec<usize>,
    sigmas: Vec<f32>,
}

impl Method for Dpmpp {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let switches =
            [("use_lu_lambdas", config.use_lu_lambdas), ("use_flow_sigmas", config.use_flow_sigmas)];
        refuse::switches(algorithm, &switches, "set it to false")?;
        // diffusers reads what it writes for DEIS and UniPC as the first of each. Which of the two that are here it is has
        // been said by the algorithm.
        let (kind, known) = (config.algorithm_type.as_ref(), ["dpmsolver++", "sde-dpmsolver++", "deis"]);
        refuse::others(
            algorithm,
            "algorithm_type",
            kind,
            &known,
            "set it to dpmsolver++ or sde-dpmsolver++",
        )?;
        let (kind, known) = (config.solver_type.as_ref(), ["midpoint", "logrho", "bh1", "bh2"]);
        refuse::others(algorithm, "solver_type", kind, &known, "set it to midpoint")?;
        let variance = "models that predict a variance are not supported";
        refuse::others(algorithm, "variance_type", config.variance_type.as_ref(), &[""; 0], variance)?;
        let order = config.solver_order;
        refuse::others(algorithm, "solver_order", order.as_ref(), &[1, 2, 3], "set it to 1, 2 or 3")?;
        let curve = Curve::new(config)?;
        Ok(Self {
            is_stochastic: algorithm == Algorithm::Dpmpp2mSde,
            trained: Trained::in_sigmas(algorithm, config)?,
            spacing: config.timestep_spacing.unwrap_or(Spacing::Linspace),
            steps_offset: config.steps_offset.unwrap_or(0),
            rounds_curve: curve.is_some_and(Curve::is_karras)
                && config.beta_schedule != Some(BetaSchedule::SquaredCosCapV2),
            curve,
            final_sigma: config.final_sigmas_type.unwrap_or(FinalSigma::Zero),
            order: order.unwrap_or(2),
            lower_order_final: config.lower_order_final.unwrap_or(true),
            euler_at_final: config.euler_at_final.unwrap_or(false),
            lambda_min: config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY),
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let grid = match (steps, self.curve) {
            (Steps::Count(count), _) => self.grid_of_count(*count)?,
            (Steps::Timesteps(_), Some(curve)) => {
                return Err(self.trained.refuse_timesteps(curve.reason()));
            }
            (Steps::Timesteps(timesteps), None) => self.grid_of_timesteps(timesteps.clone())?,
            (Steps::Sigmas(_), _) => return Err(self.trained.refuse_sigmas()),
        };
        Schedule::multistep(grid.timesteps.len(), |i, known| self.step(&grid, i, known))?.tail(strength)
    }
}

impl Dpmpp {
    fn grid_of_count(&self, count: usize) -> Result<Grid, Error> {
        self.trained.check_count_in_training(count)?;
        if let Some(curve) = self.curve {
            return Ok(self.curved_grid(curve, count));
        }
        let train_steps = self.trained.steps();
        let end = train_steps - self.clipped();
        self.grid_of_timesteps(without_the_last(self.spacing, end, train_steps, self.steps_offset, count))
    }

    fn grid_of_timesteps(&self, timesteps: Vec<usize>) -> Result<Grid, Error> {
        self.trained.check_timesteps(&timesteps)?;
        let table = sigmas::table(&self.trained.alphas);
        let sigmas = timesteps.iter().map(|&t| table[t]).collect();
        Ok(self.grid(timesteps, sigmas, &table))
    }

    /// The sigmas of a curve over the whole table, at the nearest timesteps or those below (which may repeat).
    fn curved_grid(&self, curve: Curve, count: usize) -> Grid {
        let table = sigmas::table(&self.trained.alphas);
        let sigmas = curve.sigmas_of(&table, count);
        let whole = |t: f64| if self.rounds_curve { t.round_ties_even() as usize } else { t as usize };
        let timesteps = sigmas::timesteps(&table, &sigmas).into_iter().map(whole).collect();
        self.grid(timesteps, sigmas.into_iter().map(|sigma| sigma as f32).collect(), &table)
    }

    fn grid(&self, timesteps: Vec<usize>, mut sigmas: Vec<f32>, table: &[f32]) -> Grid {
        sigmas.push(sigmas::last(self.final_sigma, table));
        Grid { timesteps, sigmas }
    }

    /// The number of timesteps at the end that have less than `lambda_min_clipped`.
    fn clipped(&self) -> usize {
        let below = |a: &&f32| f64::from(Level::of_alpha(**a).lambda()) < self.lambda_min;
        self.trained.alphas.iter().rev().take_while(below).count()
    }

    /// The step at index `i` after `known` others.
    fn step(&self, grid: &Grid, i: usize, known: usize) -> Step {
        let level = |i: usize| Level::preserving(grid.sigmas[i]);
        let precise = |i: usize| Precise::new(grid.sigmas[i]);
        let (x0, _) = level(i).split(self.trained.prediction);
        let next = match self.order_of(i, grid.timesteps.len()).min(known + 1) {
            1 => self.first_order(level(i), level(i + 1)),
            2 => self.second_order([level(i - 1), level(i)], level(i + 1)),
            _ => self.third_order([precise(i - 2), precise(i - 1), precise(i)], precise(i + 1)),
        };
        let draws_noise = self.is_stochastic;
        Step { draws_noise, ..Step::new(grid.timesteps[i] as f32, level(i), x0, next) }
    }

    /// The order of the step at index `i` of `count`, were there enough before it.
    fn order_of(&self, i: usize, count: usize) -> usize {
        let few = self.lower_order_final && count < FEW_STEPS;
        let most = match count - i {
            1 if few || self.euler_at_final || self.final_sigma == FinalSigma::Zero => 1,
            2 if few => 2,
            _ => 3,
        };
        self.order.min(most)
    }

    /// From one level to another: exact in the linear part, with x0 constant.
    fn first_order(&self, from: Level, to: Level) -> Linear {
        let h = to.lambda() - from.lambda();
        if self.is_stochastic {
            let kept = to.sigma / from.sigma * (-h).exp();
            kept * Linear::X - to.signal * decay(2.0 * h) * Linear::X0 + noise(h, to) * Linear::NOISE
        } else {
            (to.sigma / from.sigma) * Linear::X - to.signal * decay(h) * Linear::X0
        }
    }

    /// With x0 linear in lambda through the level before.
    fn second_order(&self, [before, from]: [Level; 2], to: Level) -> Linear {
        let h = to.lambda() - from.lambda();
        let r = (from.lambda() - before.lambda()) / h;
        let change = 0.5 * (to.signal * decay(self.pace() * h)) * (1.0 / r);
        self.first_order(from, to) - change * (Linear::X0 - Linear::earlier_x0(1))
    }

    /// With x0 quadratic in lambda through the two levels before.
    ///
    /// In f64, for what is left of e^−h is divided by h². diffusers does so in f32 and is off by its roundings, another way
    /// on every processor: by 1e-5 of a latent in 50 steps.
    fn third_order(&self, [oldest, before, from]: [Precise; 3], to: Precise) -> Linear {
        let h = to.lambda - from.lambda;
        let r0 = (from.lambda - before.lambda) / h;
        let r1 = (before.lambda - oldest.lambda) / h;
        let last = 1.0 / r0 * (Linear::X0 - Linear::earlier_x0(1));
        let earlier = 1.0 / r1 * (Linear::earlier_x0(1) - Linear::earlier_x0(2));
        let slope = last + r0 / (r0 + r1) * (last - earlier);
        let curvature = 1.0 / (r0 + r1) * (last - earlier);
        let paced = f64::from(self.pace()) * h;
        let decay = (-paced).exp_m1();
        let (kept, half, noise) = if self.is_stochastic {
            // The half has the sign that it has in diffusers. With the other, as in the ODE, the term would vanish with h.
            (to.sigma / from.sigma * (-h).exp(), -0.5, to.sigma * (-decay).sqrt())
        } else {
            (to.sigma / from.sigma, 0.5, 0.0)
        };
        kept * Linear::X - to.signal * decay * Linear::X0 + to.signal * (decay / paced + 1.0) * slope
            - to.signal * ((decay + paced) / (paced * paced) - half) * curvature
            + noise * Linear::NOISE
    }

    /// How much faster than the ODE's the SDE's latent forgets.
    fn pace(&self) -> f32 {
        if self.is_stochastic { 2.0 } else { 1.0 }
    }
}

/// exp(−h) − 1, of which `expm1` would keep more digits for small h. diffusers computes it so, with whose numbers in
/// f32 the first and second order are compared.
fn decay(h: f32) -> f32 {
    (-h).exp() - 1.0
}

/// The noise of a step of `h` in lambda that solves the SDE.
fn noise(h: f32, to: Level) -> f32 {
    to.sigma * (-decay(2.0 * h)).sqrt()
}
