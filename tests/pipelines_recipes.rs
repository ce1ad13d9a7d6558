//! Whole pictures by the settings of every recipe, against what those that the publishers give make of the same models in
//! diffusers (`reference/pipelines_recipes.py`).

use std::collections::{BTreeMap, BTreeSet};

use hypersd::{Family, Pipeline, Recipe, Request, Steps};
use hypersd_testing::{assert_close, device, dtype, fixture, fixtures, pipeline_tolerance, weights};
use serde::Deserialize;

/// As of the other whole pipelines (`tests/common/parity.rs`).
const LATENTS: f64 = 2e-4;
const PROMPT: &str = "a photo of a cat sitting on a windowsill, golden hour";

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    /// The recipes that say so.
    recipes: Vec<String>,
    /// The number of steps, where these are not given timesteps.
    steps: Option<usize>,
}

impl Case {
    /// The recipe's own request, in as many steps as the case has.
    fn request(&self, recipe: &Recipe) -> Request {
        let request = recipe.request(PROMPT);
        let steps = self.steps.map_or(request.steps.clone(), Steps::Count);
        let request = Request { steps, width: Some(96), height: Some(64), ..request };
        recipe.check(&request).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        request
    }
}

/// The tiny model of a family. What a recipe for Stable Diffusion 2 sets is the scheduler's, which 1's can tell as well.
fn load(family: Family) -> Pipeline {
    let model = if family == Family::Sdxl { "tiny-sdxl" } else { "tiny-sd15" };
    let builder = Pipeline::open(weights("").join(model)).expect("the tiny model").dtype(dtype());
    builder.load(&device()).expect("the pipeline")
}

#[test]
fn every_recipe_draws_what_its_publisher_would() {
    let folder = fixtures("").join("pipelines-recipes");
    let cases = std::fs::read_to_string(folder.join("cases.json")).expect("the cases");
    let cases: Vec<Case> = serde_json::from_str(&cases).expect("cases.json");
    let want = fixture(folder.join("latents.safetensors"));
    let mut pipelines = BTreeMap::new();
    let mut drawn = BTreeSet::new();
    for case in &cases {
        for name in &case.recipes {
            let recipe: Recipe = name.parse().expect("a recipe");
            let is_sdxl = recipe.family == Family::Sdxl;
            let pipeline = pipelines.entry(is_sdxl).or_insert_with(|| load(recipe.family));
            let x = pipeline.latents(&case.request(&recipe)).expect("latents");
            let what = format!("{name}, as {}", case.name);
            assert_close(&what, x, &want[&case.name], pipeline_tolerance(LATENTS));
            drawn.insert(recipe.name);
        }
    }
    assert_eq!(drawn, Recipe::ALL.iter().map(|recipe| recipe.name).collect());
}
