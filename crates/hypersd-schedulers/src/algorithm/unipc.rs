//! UniPC, a multistep predictor (UniP) whose result the model's next output corrects (UniC):
//! [arXiv:2302.04867](https://arxiv.org/abs/2302.04867), in its form for predictions of the clean image.
//!
//! Predictor and corrector are one formula. Both go from one level to the next, exactly in the linear part, with a
//! polynomial through x0 at levels that are known. The corrector goes the way again that the step before has gone, with
//! one x0 more: that at its end, which the model has said by now. The corrected latent costs no evaluation of its own,
//! and x0 is not found again from it.
//!
//! Coefficients are computed in f64 throughout: with more than one node they divide what is left of e^−h by powers of h.
//! diffusers does so in f32 and is off by its roundings, another way on every processor: by 1e-5 of a latent in 50 steps.

use crate::{
    Algorithm, Error, FinalSigma, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    refuse,
    sigmas::{self, Curve, Precise},
    spacing::without_the_last,
    trained::Trained,
};

#[derive(Debug)]
pub(crate) struct UniPc {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    curve: Option<Curve>,
    final_sigma: FinalSigma,
    order: usize,
    b: B,
    lower_order_final: bool,
    /// The steps whose result is not corrected.
    disable_corrector: Vec<usize>,
}

/// The paper's B(h), a function that is h to first order.
#[derive(Debug, Clone, Copy)]
enum B {
    /// h.
    H1,
    /// e^h − 1.
    H2,
}

/// Timesteps, and the sigmas at them with the one that the last step leads to.
struct Grid {
    timesteps: Vec<usize>,
    sigmas: Vec<f32>,
}

/// A sigma, and what is known there.
type At<T> = (f32, T);

impl Method for UniPc {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        refuse::switches(algorithm, &[("use_flow_sigmas", config.use_flow_sigmas)], "set it to false")?;
        refuse::others(algorithm, "predict_x0", config.predict_x0.as_ref(), &[true], "set it to true")?;
        // diffusers reads the types of DPM-Solver++ and DEIS as bh2.
        let (kind, known) = (config.solver_type.as_deref(), ["bh1", "bh2", "midpoint", "heun", "logrho"]);
        refuse::others(algorithm, "solver_type", kind.as_ref(), &known, "set it to bh2 or bh1")?;
        let order = config.solver_order;
        refuse::others(algorithm, "solver_order", order.as_ref(), &[1, 2, 3], "set it to 1, 2 or 3")?;
        Ok(Self {
            trained: Trained::in_sigmas(algorithm, config)?,
            spacing: config.timestep_spacing.unwrap_or(Spacing::Linspace),
            steps_offset: config.steps_offset.unwrap_or(0),
            curve: Curve::new(config)?,
            final_sigma: config.final_sigmas_type.unwrap_or(FinalSigma::Zero),
            order: order.unwrap_or(2),
            b: if kind == Some("bh1") { B::H1 } else { B::H2 },
            lower_order_final: config.lower_order_final.unwrap_or(true),
            disable_corrector: config.disable_corrector.clone().unwrap_or_default(),
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let count = self.trained.count_of(steps)?;
        let grid = self.grid(count)?;
        Schedule::multistep(count, |i, known| self.step(&grid, i, known))?.tail(strength)
    }
}

impl UniPc {
    fn grid(&self, count: usize) -> Result<Grid, Error> {
        self.trained.check_count_in_training(count)?;
        let table = sigmas::table(&self.trained.alphas);
        let (timesteps, mut sigmas) = match self.curve {
            Some(curve) => Self::curved(curve, &table, count),
            None => {
                let train_steps = self.trained.steps();
                let timesteps =
                    without_the_last(self.spacing, train_steps, train_steps, self.steps_offset, count);
                self.trained.check_timesteps(&timesteps)?;
                let sigmas = timesteps.iter().map(|&t| table[t]).collect();
                (timesteps, sigmas)
            }
        };
        sigmas.push(match (self.final_sigma, self.curve) {
            // diffusers stays at the last sigma of the curve, which is not that of timestep 0 where sigma_min is set.
            (FinalSigma::SigmaMin, Some(_)) => sigmas[count - 1],
            (end, _) => sigmas::last(end, &table),
        });
        Ok(Grid { timesteps, sigmas })
    }

    /// The sigmas of a curve over the whole table, at the nearest timesteps (which may repeat), or those below where it is
    /// not that of Karras et al.
    fn curved(curve: Curve, table: &[f32], count: usize) -> (Vec<usize>, Vec<f32>) {
        let sigmas = curve.sigmas_of(table, count);
        let whole = |t: f64| if curve.is_karras() { t.round_ties_even() as usize } else { t as usize };
        let timesteps = sigmas::timesteps(table, &sigmas).into_iter().map(whole).collect();
        (timesteps, sigmas.into_iter().map(|sigma| sigma as f32).collect())
    }

    /// The step at index `i` after `known` others.
    fn step(&self, grid: &Grid, i: usize, known: usize) -> Step {
        let count = grid.timesteps.len();
        let level = Level::preserving(grid.sigmas[i]);
        let (x0, _) = level.split(self.trained.prediction);
        let corrects = known > 0 && !self.disable_corrector.contains(&(i - 1));
        let corrected = corrects.then(|| self.corrector(grid, i, self.order_of(i - 1, count, known - 1)));
        let next = self.predictor(grid, i, self.order_of(i, count, known));
        Step { corrected, ..Step::new(grid.timesteps[i] as f32, level, x0, next) }
    }

    /// The order of the step at index `i` of `count` after `known` others. The last steps are of lower order whatever
    /// their number: diffusers' documentation speaks of less than 15 steps, its code does not.
    fn order_of(&self, i: usize, count: usize, known: usize) -> usize {
        let most = if self.lower_order_final { count - i } else { self.order };
        self.order.min(most).min(known + 1)
    }

    /// UniP: from the sigma of step `i` to the next, through x0 there and at `order − 1` sigmas before.
    fn predictor(&self, grid: &Grid, i: usize, order: usize) -> Linear {
        let (from, to) = (grid.sigmas[i], grid.sigmas[i + 1]);
        let known: Vec<At<Linear>> =
            (1..order).map(|back| (grid.sigmas[i - back], Linear::earlier_x0(back))).collect();
        self.update((from, [Linear::X, Linear::X0]), to, &known)
    }

    /// UniC: from the sigma of the step before `i`, which was of that `order`, to that of `i` again, through x0 there,
    /// at `order − 1` sigmas before, and at its end.
    fn corrector(&self, grid: &Grid, i: usize, order: usize) -> Linear {
        let (from, to) = (grid.sigmas[i - 1], grid.sigmas[i]);
        let known = (1..order).map(|back| (grid.sigmas[i - 1 - back], Linear::earlier_x0(1 + back)));
        let known: Vec<At<Linear>> = known.chain([(to, Linear::X0)]).collect();
        self.update((from, [Linear::earlier_x(1), Linear::earlier_x0(1)]), to, &known)
    }

    /// From a sigma, with the latent and x0 there, `to` another, through x0 at further sigmas.
    fn update(&self, (from, [x, x0]): At<[Linear; 2]>, to: f32, known: &[At<Linear>]) -> Linear {
        let (from, to) = (Precise::new(from), Precise::new(to));
        let h = to.lambda - from.lambda;
        let phi_1 = (-h).exp_m1();
        let first_order = (to.sigma / from.sigma) * x - to.signal * phi_1 * x0;
        if known.is_empty() {
            // Where h is infinite, diffusers' bh1 is NaN: infinity times no differences.
            return first_order;
        }
        let b_h = match self.b {
            B::H1 => -h,
            B::H2 => phi_1,
        };
        // Where the sigmas lie, in units of h: behind `from`, or at `to` itself, which is 1.
        let node = |&(sigma, _): &At<Linear>| (Precise::new(sigma).lambda - from.lambda) / h;
        let nodes: Vec<f64> = known.iter().map(node).collect();
        let slope = weights(h, b_h, &nodes)
            .into_iter()
            .zip(nodes.iter().zip(known))
            .fold(Linear::default(), |sum, (weight, (node, &(_, form)))| sum + weight / node * (form - x0));
        first_order - to.signal * b_h * slope
    }
}

/// The weights ρ of the differences, of the paper's (and diffusers') R·ρ = b: Σ_k ρ_k·r_k^j = b_{j+1}, which matches as
/// many orders of h as there are nodes r. With one node it is ½ to the order that counts.
fn weights(h: f64, b_h: f64, nodes: &[f64]) -> Vec<f64> {
    if nodes.len() == 1 {
        return vec![0.5];
    }
    // b_k = k!·ψ_k/B(h), with ψ_k = ψ_{k−1}/−h − 1/k! and ψ_0 = e^−h − 1: what e^−h is beyond its series, over (−h)^k.
    let mut psi = (-h).exp_m1();
    let mut factorial = 1.0;
    let mut b = Vec::new();
    for k in 1..=nodes.len() {
        factorial *= k as f64;
        psi = psi / -h - 1.0 / factorial;
        b.push(factorial * psi / b_h);
    }
    (0..nodes.len()).map(|k| lagrange(nodes, k, &b)).collect()
}

/// ρ_k: the Lagrange polynomial of node `k` with every power r^j replaced by b_{j+1}.
fn lagrange(nodes: &[f64], k: usize, b: &[f64]) -> f64 {
    // Coefficients of Π (r − other), the constant first.
    let mut polynomial = vec![1.0];
    let mut at_node = 1.0;
    for (_, other) in nodes.iter().enumerate().filter(|(other, _)| *other != k) {
        let shifted = [0.0].into_iter().chain(polynomial.iter().copied());
        let scaled = polynomial.iter().map(|c| -other * c).chain([0.0]);
        polynomial = shifted.zip(scaled).map(|(a, b)| a + b).collect();
        at_node *= nodes[k] - other;
    }
    polynomial.iter().zip(b).map(|(c, b)| c * b).sum::<f64>() / at_node
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The equations that the weights are to solve, with e^−h beyond its series summed term by term:
    /// ψ_k = Σ_{n≥1} (−h)^n/(n + k)!.
    #[test]
    fn weights_solve_their_equations() {
        let h = 0.3_f64;
        let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
        let psi = |k: usize| (1..20).map(|n| (-h).powi(n as i32) / factorial(n + k)).sum::<f64>();
        for nodes in [vec![-0.8, 1.0], vec![-0.8, -1.9], vec![-0.8, -1.9, 1.0]] {
            let rho = weights(h, -h, &nodes);
            for j in 0..nodes.len() {
                let left: f64 = rho.iter().zip(&nodes).map(|(rho, node)| rho * node.powi(j as i32)).sum();
                let right = factorial(j + 1) * psi(j + 1) / -h;
                assert!((left - right).abs() < 1e-12, "{nodes:?}, power {j}: {left} for {right}");
            }
        }
    }
}
