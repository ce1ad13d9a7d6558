//! The table against what the publishers say, and what must hold for every row.

use std::collections::BTreeSet;

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, PredictionType, Scheduler, SchedulerConfig, Spacing, Steps};

use super::{Recipe, RecipeError};
use crate::{Error, Request};

/// What a request must say: name, family, scheduler, spacing, steps, eta, guidance. Transcribed from the model
/// cards, not from the table.
type Row = (&'static str, Family, Algorithm, Option<Spacing>, [usize; 3], Option<[f64; 3]>, [f64; 3]);

/// Least, most, default.
const ONE_TO_EIGHT: [usize; 3] = [1, 8, 1];
const NONE: [f64; 3] = [0.0, 0.0, 0.0];
const ZERO: Option<[f64; 3]> = Some(NONE);
const CFG: [f64; 3] = [5.0, 8.0, 5.0];
const TRAILING: Option<Spacing> = Some(Spacing::Trailing);

#[rustfmt::skip]
const PUBLISHED: [Row; 52] = {
    use Algorithm::{Ddim, DpmppSde, Euler, EulerAncestral, Lcm, PeRFlow, Tcd};
    use Family::{Sd1, Sd2, Sdxl};
    [
        ("hyper-sd15-2steps",      Sd1,  Ddim,  TRAILING, [2; 3],       ZERO,                  NONE),
        ("hyper-sd15-4steps",      Sd1,  Ddim,  TRAILING, [4; 3],       ZERO,                  NONE),
        ("hyper-sd15-8steps",      Sd1,  Ddim,  TRAILING, [8; 3],       ZERO,                  NONE),
        ("hyper-sd15-8steps-cfg",  Sd1,  Ddim,  TRAILING, [8; 3],       ZERO,                  CFG),
        ("hyper-sd15-12steps-cfg", Sd1,  Ddim,  TRAILING, [12; 3],      ZERO,                  CFG),
        ("hyper-sd15-unified",     Sd1,  Tcd,   None,     ONE_TO_EIGHT, Some([0.0, 1.0, 1.0]), NONE),
        ("hyper-sdxl-2steps",      Sdxl, Ddim,  TRAILING, [2; 3],       ZERO,                  NONE),
        ("hyper-sdxl-4steps",      Sdxl, Ddim,  TRAILING, [4; 3],       ZERO,                  NONE),
        ("hyper-sdxl-8steps",      Sdxl, Ddim,  TRAILING, [8; 3],       ZERO,                  NONE),
        ("hyper-sdxl-8steps-cfg",  Sdxl, Ddim,  TRAILING, [8; 3],       ZERO,                  CFG),
        ("hyper-sdxl-12steps-cfg", Sdxl, Ddim,  TRAILING, [12; 3],      ZERO,                  CFG),
        ("hyper-sdxl-unified",     Sdxl, Tcd,   None,     ONE_TO_EIGHT, Some([0.0, 1.0, 1.0]), NONE),
        ("hyper-sdxl-1step-unet",  Sdxl, Lcm,   None,     [1; 3],       None,                  NONE),
        ("lcm-lora-sd15",          Sd1,  Lcm,   None,     [2, 8, 4],    None,                  [0.0, 2.0, 0.0]),
        ("lcm-lora-sdxl",          Sdxl, Lcm,   None,     [2, 8, 4],    None,                  [0.0, 2.0, 0.0]),
        ("sdxl-lightning-2steps",  Sdxl, Euler, TRAILING, [2; 3],       None,                  NONE),
        ("sdxl-lightning-4steps",  Sdxl, Euler, TRAILING, [4; 3],       None,                  NONE),
        ("sdxl-lightning-8steps",  Sdxl, Euler, TRAILING, [8; 3],       None,                  NONE),
        ("sdxl-turbo",             Sdxl, EulerAncestral, TRAILING, [1, 4, 1], None,            NONE),
        ("sd-turbo",               Sd2,  Euler, TRAILING, [1, 4, 1],    None,                  NONE),
        ("dmd2-sdxl-4steps", Sdxl, Lcm, None, [4; 3], None, NONE),
        ("dmd2-sdxl-1step-unet", Sdxl, Lcm, None, [1; 3], None, NONE),
        ("tcd-lora-sd15", Sd1, Tcd, None, [4, 8, 4], Some([0.0, 1.0, 0.3]), NONE),
        ("tcd-lora-sd21-base", Sd2, Tcd, None, [4, 8, 4], Some([0.0, 1.0, 0.3]), NONE),
        ("tcd-lora-sdxl", Sdxl, Tcd, None, [4, 8, 4], Some([0.0, 1.0, 0.3]), NONE),
        ("nitrosd-realism", Sdxl, Lcm, None, [1, 4, 1], None, NONE),
        ("nitrosd-vibrant", Sdxl, Lcm, None, [1, 4, 1], None, NONE),
        ("pcm-sd15-2steps", Sd1, Tcd, None, [2; 3], ZERO, NONE),
        ("pcm-sd15-4steps", Sd1, Tcd, None, [4; 3], ZERO, NONE),
        ("pcm-sd15-8steps", Sd1, Tcd, None, [8; 3], ZERO, NONE),
        ("pcm-sd15-16steps", Sd1, Tcd, None, [16; 3], ZERO, NONE),
        ("pcm-sd15-4steps-cfg", Sd1, Tcd, None, [4; 3], ZERO, [7.5; 3]),
        ("pcm-sd15-8steps-cfg", Sd1, Tcd, None, [8; 3], ZERO, [7.5; 3]),
        ("pcm-sd15-16steps-cfg", Sd1, Tcd, None, [16; 3], ZERO, [7.5; 3]),
        ("pcm-sd15-lcmlike", Sd1, Lcm, None, [1, 20, 4], None, NONE),
        ("pcm-sdxl-2steps", Sdxl, Tcd, None, [2; 3], ZERO, NONE),
        ("pcm-sdxl-4steps", Sdxl, Tcd, None, [4; 3], ZERO, NONE),
        ("pcm-sdxl-8steps", Sdxl, Tcd, None, [8; 3], ZERO, NONE),
        ("pcm-sdxl-16steps", Sdxl, Tcd, None, [16; 3], ZERO, NONE),
        ("pcm-sdxl-4steps-cfg", Sdxl, Tcd, None, [4; 3], ZERO, [7.5; 3]),
        ("pcm-sdxl-8steps-cfg", Sdxl, Tcd, None, [8; 3], ZERO, [7.5; 3]),
        ("pcm-sdxl-16steps-cfg", Sdxl, Tcd, None, [16; 3], ZERO, [7.5; 3]),
        ("pcm-sdxl-lcmlike", Sdxl, Lcm, None, [1, 20, 4], None, NONE),
        ("perflow-sd15", Sd1, PeRFlow, None, [4, 8, 8], None, [4.5, 7.5, 7.5]),
        ("perflow-sdxl", Sdxl, PeRFlow, None, [4, 50, 6], None, [1.5, 2.5, 2.0]),
        ("flash-sd15", Sd1, Lcm, None, [4; 3], None, NONE),
        ("flash-sdxl", Sdxl, Lcm, None, [4; 3], None, NONE),
        ("slam-lora-sdxl", Sdxl, Lcm, None, [2, 4, 4], None, NONE),
        ("yoso-sd15", Sd1, Lcm, None, [2; 3], None, [1.5; 3]),
        ("sdxl-merge-lcm", Sdxl, Lcm, None, [4, 8, 4], None, [0.0, 2.0, 0.0]),
        ("sdxl-merge-dmd2", Sdxl, Lcm, None, [4, 8, 4], None, [0.0, 1.8, 0.0]),
        ("sdxl-merge-dpmpp-sde", Sdxl, DpmppSde, None, [4, 8, 6], None, [1.5, 2.0, 2.0]),
    ]
};

/// What some say beside: original steps, shift, timesteps. Transcribed as well.
type Beside = (&'static str, Option<usize>, Option<usize>, Option<&'static [usize]>);

const PUBLISHED_BESIDE: [Beside; 5] = [
    ("hyper-sdxl-1step-unet", None, None, Some(&[800])),
    ("dmd2-sdxl-4steps", None, None, Some(&[999, 749, 499, 249])),
    ("dmd2-sdxl-1step-unet", None, None, Some(&[399])),
    ("nitrosd-realism", Some(4), Some(250), None),
    ("nitrosd-vibrant", Some(4), Some(500), None),
];

/// The timesteps of a request under Stable Diffusion's scheduler configuration, whose own spacing is leading.
fn timesteps(request: &Request) -> Vec<f32> {
    let config = SchedulerConfig {
        timestep_spacing: request.spacing.or(Some(Spacing::Leading)),
        use_karras_sigmas: request.karras,
        prediction_type: request.prediction,
        original_inference_steps: request.original_steps,
        shifted_timestep: request.timestep_shift,
        ..SchedulerConfig::stable_diffusion()
    };
    let scheduler =
        Scheduler::new(request.scheduler.expect("a scheduler"), &config).expect("a configuration");
    let schedule = scheduler.schedule(&request.steps, request.eta.unwrap_or(0.0), None).expect("a schedule");
    schedule.steps.iter().map(|step| step.t).collect()
}

fn refused(recipe: Recipe, request: &Request) -> RecipeError {
    match recipe.check(request) {
        Err(error @ Error::Recipe(_)) if !error.is_request() => panic!("{error} is the request's fault"),
        Err(Error::Recipe(error)) => error,
        other => panic!("{recipe}: expected a refusal, found {other:?}"),
    }
}

#[test]
fn the_table_is_what_the_publishers_say() {
    assert!(Recipe::ALL.iter().map(|recipe| recipe.name).eq(PUBLISHED.map(|row| row.0)));
    for (name, family, scheduler, spacing, steps, eta, guidance) in PUBLISHED {
        let recipe: Recipe = name.parse().expect("its own name");
        let request = recipe.request("a cat");
        assert_eq!(recipe.family, family, "{name}");
        assert_eq!((request.scheduler, request.spacing), (Some(scheduler), spacing), "{name}");
        assert_eq!([recipe.steps.least, recipe.steps.most, recipe.steps.default], steps, "{name}");
        assert_eq!(recipe.eta.map(|eta| [eta.least, eta.most, eta.default]), eta, "{name}");
        assert_eq!(request.eta, eta.map(|[_, _, default]| default), "{name}");
        let range = recipe.guidance;
        assert_eq!([range.least, range.most, range.default], guidance, "{name}");
        assert_eq!((request.guidance, request.prompt.text()), (guidance[2], "a cat"), "{name}");
    }
}

#[test]
fn the_table_is_what_the_publishers_say_beside() {
    for &recipe in Recipe::ALL {
        let published = PUBLISHED_BESIDE.iter().find(|(name, ..)| *name == recipe.name);
        let (_, original, shift, timesteps) = *published.unwrap_or(&(recipe.name, None, None, None));
        let request = recipe.request("a cat");
        assert_eq!((request.original_steps, request.timestep_shift), (original, shift), "{recipe}");
        assert_eq!(recipe.timesteps, timesteps, "{recipe}");
        let perflow = match recipe.name {
            "perflow-sd15" => Some(PredictionType::DiffEps),
            "perflow-sdxl" => Some(PredictionType::DdimEps),
            _ => None,
        };
        assert_eq!(request.prediction, perflow, "{recipe}");
        assert_eq!(request.karras, (recipe.name == "sdxl-merge-dpmpp-sde").then_some(true), "{recipe}");
    }
}

#[test]
fn what_is_said_beside_is_not_to_be_changed() {
    let recipe = Recipe::NITROSD_REALISM;
    let shift = Request { timestep_shift: Some(500), ..recipe.request("a cat") };
    let original = Request { original_steps: None, ..recipe.request("a cat") };
    for (request, words) in [
        (shift, "expected timestep shift 250, found 500"),
        (original, "expected original steps 4, found the model's own"),
    ] {
        let error = refused(recipe, &request).to_string();
        assert!(error.contains(words), "{error}");
    }
    let merge = Recipe::SDXL_MERGE_DPMPP_SDE;
    let error = refused(merge, &Request { karras: Some(false), ..merge.request("a cat") }).to_string();
    assert!(error.contains("expected Karras sigmas true, found false"), "{error}");
    let error = refused(
        Recipe::PERFLOW_SD15,
        &Request { prediction: Some(PredictionType::DdimEps), ..Recipe::PERFLOW_SD15.request("a cat") },
    );
    assert!(error.to_string().contains("expected prediction diff_eps, found ddim_eps"), "{error}");
}

#[test]
fn a_loras_weight_is_in_its_range() {
    for &recipe in Recipe::ALL.iter().filter(|recipe| recipe.lora_weight.is_none()) {
        recipe.check_lora_weight(-3.0).unwrap_or_else(|e| panic!("{e}"));
    }
    let recipe = Recipe::SDXL_MERGE_DMD2;
    recipe.check_lora_weight(0.7).expect("the least");
    for weight in [0.5, 1.1, f64::NAN] {
        let error = recipe.check_lora_weight(weight).expect_err("beyond").to_string();
        assert!(error.contains("expected LoRA weight 0.7 to 1, found"), "{error}");
    }
}

#[test]
fn negative_prompts_need_guidance() {
    for &recipe in Recipe::ALL {
        let guided = recipe.guidance.most > 0.0;
        assert_eq!(recipe.heeds_negative(), guided, "{recipe}");
    }
}

#[test]
fn a_merge_has_no_files_and_takes_any() {
    let merges: Vec<_> = Recipe::ALL.iter().filter(|recipe| recipe.files.is_empty()).collect();
    assert_eq!(merges.len(), 3);
    for merge in merges {
        merge.check_file("dmd2_sdxl_4step_lora_fp16.safetensors").expect("a merge of it, perhaps");
    }
}

#[test]
fn every_use_that_a_recipe_allows_passes_and_has_a_schedule() {
    for &recipe in Recipe::ALL {
        for count in recipe.steps.least..=recipe.steps.most {
            let mut request = recipe.request("a cat");
            if recipe.timesteps.is_none() {
                request.steps = Steps::Count(count);
            }
            for tenths in 0..=10 {
                let part = f64::from(tenths) / 10.0;
                request.guidance =
                    recipe.guidance.least + part * (recipe.guidance.most - recipe.guidance.least);
                request.eta = recipe.eta.map(|eta| eta.least + part * (eta.most - eta.least));
                recipe.check(&request).unwrap_or_else(|e| panic!("{e}"));
            }
            let timesteps = timesteps(&request);
            let twice = recipe.scheduler == Algorithm::DpmppSde;
            assert_eq!(timesteps.len(), if twice { 2 * count - 1 } else { count }, "{recipe}");
            // From the noisiest timestep, but for those that start later by design; PeRFlow counts from 1.
            let first = match (recipe.timesteps, recipe.timestep_shift) {
                (Some(timesteps), _) => timesteps[0] as f32,
                (None, Some(shift)) => (shift - 1) as f32,
                (None, None) if recipe.scheduler == Algorithm::PeRFlow => 1000.0,
                (None, None) => 999.0,
            };
            // Merges leave the spacing to the model.
            assert!(timesteps[0] == first || recipe.files.is_empty(), "{recipe}: {timesteps:?}");
        }
    }
}

#[test]
fn what_no_recipe_has_a_say_in_may_be_anything() {
    for &recipe in Recipe::ALL {
        let request = Request {
            negative: Some("blurry".into()),
            seed: 7,
            width: Some(768),
            height: Some(512),
            batch: 4,
            ..recipe.request("a cat")
        };
        recipe.check(&request).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn no_other_step_count_passes() {
    for &recipe in Recipe::ALL {
        for count in (0..=60).filter(|&count| !recipe.steps.contains(count)) {
            let error = refused(recipe, &Request { steps: Steps::Count(count), ..recipe.request("a cat") });
            match error {
                RecipeError::Steps { found, others, .. } => {
                    assert_eq!(found, count, "{recipe}");
                    for other in others {
                        let other: Recipe = other.parse().expect("a name of the table");
                        assert_eq!(other.family, recipe.family);
                        let advised = Request { steps: Steps::Count(count), ..other.request("a cat") };
                        other
                            .check(&advised)
                            .unwrap_or_else(|e| panic!("{recipe} advises what is wrong: {e}"));
                    }
                }
                RecipeError::Timesteps { .. } => assert!(recipe.timesteps.is_some(), "{recipe}"),
                other => panic!("{recipe}, {count} steps: {other}"),
            }
        }
    }
}

#[test]
fn no_other_scheduler_or_spacing_passes() {
    for &recipe in Recipe::ALL {
        for scheduler in Algorithm::ALL.iter().copied().map(Some).chain([None]) {
            let request = Request { scheduler, ..recipe.request("a cat") };
            if scheduler == Some(recipe.scheduler) {
                recipe.check(&request).unwrap_or_else(|e| panic!("{e}"));
            } else {
                assert!(matches!(refused(recipe, &request), RecipeError::Scheduler { .. }), "{recipe}");
            }
        }
        for spacing in [Some(Spacing::Leading), Some(Spacing::Linspace), None] {
            let request = Request { spacing, ..recipe.request("a cat") };
            if recipe.spacing.is_none() {
                recipe.check(&request).unwrap_or_else(|e| panic!("{e}"));
            } else {
                assert!(matches!(refused(recipe, &request), RecipeError::Spacing { .. }), "{recipe}");
            }
        }
    }
}

#[test]
fn guidance_of_one_and_below_is_none() {
    for scale in [-1.0, 0.0, 0.5, 1.0] {
        let recipe = Recipe::HYPER_SD15_2STEPS;
        recipe
            .check(&Request { guidance: scale, ..recipe.request("a cat") })
            .unwrap_or_else(|e| panic!("{e}"));
        let recipe = Recipe::HYPER_SDXL_8STEPS_CFG;
        let error = refused(recipe, &Request { guidance: scale, ..recipe.request("a cat") });
        assert!(matches!(error, RecipeError::Guidance { found, .. } if found == scale), "{error}");
    }
    for scale in [1.5, 7.0, f64::INFINITY] {
        let recipe = Recipe::HYPER_SDXL_1STEP_UNET;
        let error = refused(recipe, &Request { guidance: scale, ..recipe.request("a cat") });
        assert!(matches!(error, RecipeError::Guidance { found, .. } if found == scale), "{error}");
    }
}

#[test]
fn eta_beyond_the_recipe_is_refused() {
    let recipe = Recipe::HYPER_SD15_4STEPS;
    let error = refused(recipe, &Request { eta: Some(1.0), ..recipe.request("a cat") });
    let RecipeError::Eta { others, .. } = error else { panic!("{error}") };
    assert_eq!(others, ["hyper-sd15-unified"]);
    recipe.check(&Request { eta: None, ..recipe.request("a cat") }).expect("no eta is eta 0");
    let recipe = Recipe::HYPER_SD15_UNIFIED;
    for eta in [-0.1, 1.1, f64::NAN] {
        let error = refused(recipe, &Request { eta: Some(eta), ..recipe.request("a cat") });
        assert!(matches!(error, RecipeError::Eta { .. }), "{error}");
    }
}

#[test]
fn explicit_timesteps_are_for_the_recipe_that_has_them() {
    let recipe = Recipe::HYPER_SDXL_1STEP_UNET;
    for steps in [Steps::Timesteps(vec![999]), Steps::Timesteps(vec![]), Steps::Count(1)] {
        let error = refused(recipe, &Request { steps, ..recipe.request("a cat") });
        assert!(matches!(error, RecipeError::Timesteps { expected: [800], .. }), "{error}");
    }
    let recipe = Recipe::HYPER_SD15_UNIFIED;
    let error = refused(recipe, &Request { steps: Steps::Timesteps(vec![800]), ..recipe.request("a cat") });
    assert!(matches!(error, RecipeError::NoTimesteps { .. }), "{error}");
}

#[test]
fn all_contradictions_are_found() {
    let request = Request { guidance: 7.0, eta: Some(0.5), steps: Steps::Count(50), ..Request::default() };
    let found = Recipe::HYPER_SD15_4STEPS.contradictions(&request);
    assert!(
        matches!(
            &found[..],
            [
                RecipeError::Scheduler { .. },
                RecipeError::Spacing { .. },
                RecipeError::Steps { .. },
                RecipeError::Guidance { .. },
                RecipeError::Eta { .. },
            ]
        ),
        "{found:?}"
    );
}

#[test]
fn a_model_of_another_family_is_refused_with_its_twin() {
    for &recipe in Recipe::ALL {
        recipe.check_family(recipe.family).unwrap_or_else(|e| panic!("{e}"));
        let other = if recipe.family == Family::Sdxl { Family::Sd1 } else { Family::Sdxl };
        let Err(Error::Recipe(RecipeError::Family { twin, .. })) = recipe.check_family(other) else {
            panic!("{recipe} on {other}");
        };
        let want = match recipe.name {
            "lcm-lora-sd15" => Some("lcm-lora-sdxl".to_owned()),
            "lcm-lora-sdxl" => Some("lcm-lora-sd15".to_owned()),
            "hyper-sdxl-1step-unet" => None,
            name if name.contains("hyper-sd15") => Some(name.replace("sd15", "sdxl")),
            name if name.contains("hyper-sdxl") => Some(name.replace("sdxl", "sd15")),
            "tcd-lora-sd21-base" => Some("tcd-lora-sdxl".to_owned()),
            name if name.starts_with("pcm-") || name.starts_with("tcd-") || name.starts_with("flash-") => {
                let twin = name.replace("sdxl", "SD15").replace("sd15", "sdxl");
                Some(twin.to_lowercase())
            }
            _ => None,
        };
        assert_eq!(twin, want.as_deref(), "{recipe}");
    }
}

#[test]
fn published_files_are_recognised_in_any_folder_and_spelling() {
    for &recipe in Recipe::ALL {
        for file in recipe.files {
            let name = file.name;
            for path in [
                name.to_owned(),
                format!("{name}.safetensors"),
                format!("/models/other/{}.fp16.safetensors", name.to_uppercase()),
                format!("ByteDance/Hyper-SD/{}_v2.safetensors", name.replace('-', "_")),
                format!("{name}/pytorch_lora_weights.safetensors"),
                format!("models--owner--{name}/snapshots/0a1b/diffusion_pytorch_model.fp16.safetensors"),
            ] {
                assert_eq!(Recipe::of_file(&path), Some(recipe), "{path}");
            }
        }
    }
}

#[test]
fn files_of_other_names_are_not_recognised() {
    for path in [
        "",
        "/",
        "..",
        "style.safetensors",
        "lcm-lora-sdxl/style.safetensors",
        "pytorch_lora_weights.safetensors",
        "Hyper-SD3-8steps-CFG-lora.safetensors",
        "Hyper-FLUX.1-dev-8steps-lora.safetensors",
        "Hyper-SD15",
        "sdxl_lightning_1step_unet_x0.safetensors",
        "dreamshaperXL_sdxlTurbo.safetensors",
        "jasperai/flash-sd3/pytorch_lora_weights.safetensors",
    ] {
        assert_eq!(Recipe::of_file(path), None, "{path:?}");
    }
}

#[test]
fn a_file_of_another_recipe_is_refused() {
    let recipe = Recipe::HYPER_SD15_8STEPS;
    recipe.check_file("Hyper-SD15-8steps-lora.safetensors").expect("its own file");
    recipe.check_file("renamed.safetensors").expect("a file that nothing is known of");
    match recipe.check_file("Hyper-SD15-8steps-CFG-lora.safetensors") {
        Err(Error::Recipe(RecipeError::File { of, .. })) => assert_eq!(of, "hyper-sd15-8steps-cfg"),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn names_are_distinct_and_an_unknown_one_is_answered_with_the_nearest() {
    let names: BTreeSet<_> = Recipe::ALL.iter().map(|recipe| recipe.name).collect();
    assert_eq!(names.len(), Recipe::ALL.len());
    let message = "hyper-sd15-3steps".parse::<Recipe>().expect_err("no such recipe").to_string();
    assert!(message.contains("nearest: hyper-sd15-2steps, hyper-sd15-4steps"), "{message}");
    assert!(names.iter().all(|name| message.contains(name)), "{message}");
    let message = "x".parse::<Recipe>().expect_err("no such recipe").to_string();
    assert!(!message.contains("nearest"), "{message}");
}
