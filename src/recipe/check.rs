//! Checks of a request against what the recipe's files were distilled for.

use hypersd_core::Family;
use hypersd_schedulers::Steps;

use super::{Recipe, RecipeError};
use crate::{Error, Request};

impl Recipe {
    /// Checks that a request holds to the recipe: `steps`, `eta` and `guidance` in its ranges, `scheduler` and
    /// `spacing` as it has them. What it has no say in (prompts, seed, size, batch) may be anything.
    ///
    /// # Errors
    /// The first of the [`contradictions`](Self::contradictions).
    pub fn check(&self, request: &Request) -> Result<(), Error> {
        match self.contradictions(request).into_iter().next() {
            Some(contradiction) => Err(contradiction.into()),
            None => Ok(()),
        }
    }

    /// Everything in a request that contradicts the recipe, for whoever runs it anyway.
    #[must_use]
    pub fn contradictions(&self, request: &Request) -> Vec<RecipeError> {
        let found = [
            self.scheduler_contradiction(request),
            self.spacing_contradiction(request),
            self.steps_contradiction(request),
            self.setting("original steps", self.original_steps, request.original_steps),
            self.setting("timestep shift", self.timestep_shift, request.timestep_shift),
            self.setting("Karras sigmas", self.karras, request.karras),
            self.setting("prediction", self.prediction, request.prediction),
            self.guidance_contradiction(request),
            self.eta_contradiction(request),
        ];
        found.into_iter().flatten().collect()
    }

    /// Checks that a model is of the family that the recipe's files were distilled from.
    ///
    /// # Errors
    /// [`RecipeError::Family`].
    pub fn check_family(&self, model: Family) -> Result<(), Error> {
        if model == self.family {
            return Ok(());
        }
        let twin = |other: &&Self| {
            let Self { name, family, files, source, licence, .. } = **other;
            family == model && Self { name, family, files, source, licence, ..*self } == **other
        };
        Err(RecipeError::Family {
            recipe: self.name,
            expected: self.family,
            found: model,
            twin: Self::ALL.iter().find(twin).map(|twin| twin.name),
        }
        .into())
    }

    /// Checks the weight that a LoRA is merged with.
    ///
    /// # Errors
    /// [`RecipeError::Setting`].
    pub fn check_lora_weight(&self, weight: f64) -> Result<(), Error> {
        match self.lora_weight {
            Some(expected) if !expected.contains(weight) => Err(RecipeError::Setting {
                recipe: self.name,
                setting: "LoRA weight",
                expected: expected.to_string(),
                found: weight.to_string(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// A setting of one value, where the recipe has it.
    fn setting<T: PartialEq + ToString>(
        &self,
        setting: &'static str,
        expected: Option<T>,
        found: Option<T>,
    ) -> Option<RecipeError> {
        let expected = expected?;
        (found.as_ref() != Some(&expected)).then(|| RecipeError::Setting {
            recipe: self.name,
            setting,
            expected: expected.to_string(),
            found: found.map_or_else(|| "the model's own".into(), |found| found.to_string()),
        })
    }

    fn scheduler_contradiction(&self, request: &Request) -> Option<RecipeError> {
        (request.scheduler != Some(self.scheduler)).then_some(RecipeError::Scheduler {
            recipe: self.name,
            expected: self.scheduler,
            found: request.scheduler,
        })
    }

    fn spacing_contradiction(&self, request: &Request) -> Option<RecipeError> {
        let expected = self.spacing?;
        (request.spacing != Some(expected)).then_some(RecipeError::Spacing {
            recipe: self.name,
            expected,
            found: request.spacing,
        })
    }

    fn steps_contradiction(&self, request: &Request) -> Option<RecipeError> {
        let count = match (self.timesteps, &request.steps) {
            (Some(expected), Steps::Timesteps(found)) if found == expected => return None,
            (Some(expected), found) => {
                let found = found.clone();
                return Some(RecipeError::Timesteps { recipe: self.name, expected, found });
            }
            (None, Steps::Count(count)) => *count,
            (None, found) => {
                let found = found.clone();
                return Some(RecipeError::NoTimesteps { recipe: self.name, expected: self.steps, found });
            }
        };
        (!self.steps.contains(count)).then(|| RecipeError::Steps {
            recipe: self.name,
            expected: self.steps,
            found: count,
            others: self.siblings(|other| {
                other.timesteps.is_none()
                    && other.steps.contains(count)
                    && other.guidance.contains(self.guidance.default)
            }),
        })
    }

    fn guidance_contradiction(&self, request: &Request) -> Option<RecipeError> {
        let scale = if request.is_guided() { request.guidance } else { 0.0 };
        (!self.guidance.contains(scale)).then(|| RecipeError::Guidance {
            recipe: self.name,
            expected: self.guidance,
            found: request.guidance,
            others: self.siblings(|other| other.timesteps.is_none() && other.guidance.contains(scale)),
        })
    }

    fn eta_contradiction(&self, request: &Request) -> Option<RecipeError> {
        let expected = self.eta?;
        let eta = request.eta.unwrap_or(0.0);
        (!expected.contains(eta)).then(|| RecipeError::Eta {
            recipe: self.name,
            expected,
            found: eta,
            others: self.siblings(|other| other.eta.is_some_and(|allowed| allowed.contains(eta))),
        })
    }
}
