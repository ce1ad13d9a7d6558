//! What TCD and LCM share: models that were distilled to few steps, and the timesteps that these steps are of.

use crate::{
    Algorithm, Error, SchedulerConfig, Steps,
    config::check,
    trained::{Betas, Trained},
};

/// A distilled model.
#[derive(Debug, Clone)]
pub(crate) struct Distilled {
    pub(crate) trained: Trained,
    /// The number of timesteps that it was distilled on.
    original_steps: usize,
}

impl Distilled {
    pub(crate) fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let trained = Trained::new(algorithm, config, Betas::SCALED)?;
        let original_steps = config.original_inference_steps.unwrap_or(50);
        let fits = (1..=trained.steps()).contains(&original_steps);
        check(original_steps, fits, "original_inference_steps", "1 to num_train_timesteps")?;
        Ok(Self { trained, original_steps })
    }

    /// The timesteps of `steps`, and the strength that is left to cut the schedule by: a count of steps is chosen from
    /// the part that the strength leaves, a list is taken whole.
    pub(crate) fn timesteps(&self, steps: &Steps, strength: f64) -> Result<(Vec<usize>, f64), Error> {
        let (timesteps, left) = match steps {
            Steps::Count(count) => (self.spaced(*count, strength)?, 1.0),
            Steps::Timesteps(timesteps) => {
                self.trained.check_timesteps(timesteps)?;
                (timesteps.clone(), strength)
            }
            Steps::Sigmas(_) => return Err(self.trained.refuse_sigmas()),
        };
        self.trained.check_signal(&timesteps)?;
        Ok((timesteps, left))
    }

    /// `count` of the timesteps that the model was distilled on, 19, 39, …, 999 for 50 steps, evenly spaced by index
    /// from the last. `strength` cuts the list to its first part.
    fn spaced(&self, count: usize, strength: f64) -> Result<Vec<usize>, Error> {
        let skip = self.trained.steps() / self.original_steps;
        let origin = (self.original_steps as f64 * strength) as usize;
        if origin == 0 {
            return Err(Error::Strength { given: strength });
        }
        self.trained.check_count(count, 1..=origin, "original_inference_steps x strength")?;
        let step = origin as f64 / count as f64;
        Ok((0..count).map(|i| skip * (origin - (i as f64 * step) as usize) - 1).collect())
    }
}

/// Each timestep with the one after it, which the last has not.
pub(crate) fn with_following(timesteps: &[usize]) -> impl Iterator<Item = (usize, Option<usize>)> {
    let following = timesteps.iter().skip(1).copied().map(Some).chain([None]);
    timesteps.iter().copied().zip(following)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distilled_models_have_their_own() {
        let model = Distilled::new(Algorithm::Tcd, &SchedulerConfig::default()).expect("defaults");
        for (count, strength, want) in [
            (1, 1.0, vec![999]),
            (4, 1.0, vec![999, 759, 499, 259]),
            (12, 1.0, vec![999, 919, 839, 759, 679, 599, 499, 419, 339, 259, 179, 99]),
            (4, 0.75, vec![739, 559, 379, 199]),
            (4, 0.3, vec![299, 239, 159, 79]),
        ] {
            assert_eq!(model.spaced(count, strength).expect("enough"), want);
        }
    }
}
