//! `--recipe` and `--list-recipes`: the table, and what to say about files that a recipe is known for.

use std::path::Path;

use hypersd::{Error, Family, Recipe, Request, Role};

use crate::{options::Options, say, source::Source};

/// Checks what can be checked of a recipe before a model is opened, and says what is odd.
///
/// With `--recipe`, its contradictions are errors, or notes under `--force-settings`. Without, a file that a recipe
/// is known for is only spoken of: settings never change silently.
pub(crate) fn check(options: &Options, request: &Request) -> Result<(), Error> {
    let Some(recipe) = options.recipe else { return Ok(()) };
    if options.force_settings {
        for contradiction in recipe.contradictions(request) {
            say::note(format_args!("{contradiction} (--force-settings)"));
        }
        return Ok(());
    }
    recipe.check(request)?;
    weight_files(options).try_for_each(|path| recipe.check_file(path))?;
    options.loras.iter().try_for_each(|lora| recipe.check_lora_weight(f64::from(lora.weight)))?;
    if !has_weights(options, &recipe) {
        let names: Vec<_> = recipe.files.iter().map(|file| format!("{} {}", file.role, file.name)).collect();
        say::note(format_args!(
            "the recipe {recipe} loads nothing by itself, and neither --lora nor --unet is given ({})",
            names.join(", ")
        ));
    }
    Ok(())
}

/// Checks the recipe against the model's family.
pub(crate) fn check_family(options: &Options, family: Family) -> Result<(), Error> {
    match options.recipe {
        Some(recipe) if !options.force_settings => recipe.check_family(family),
        _ => Ok(()),
    }
}

/// Without a recipe: names the recipe of each file that is known for one, where the settings contradict it. They are
/// those of the request with the model's own written out.
pub(crate) fn notice(options: &Options, request: &Request) {
    if options.recipe.is_some() {
        return;
    }
    for path in weight_files(options) {
        let Some(recipe) = Recipe::of_file(path) else { continue };
        for contradiction in recipe.contradictions(request) {
            let path = path.display();
            say::note(format_args!("{path}: {contradiction} (all at once: --recipe {recipe})"));
        }
    }
}

/// The files on disk that may be distilled. A folder has its own configuration, so that only a model's file counts.
fn weight_files(options: &Options) -> impl Iterator<Item = &Path> {
    let model = options.model().as_path().filter(|path| path.is_file());
    let added = options.loras.iter().chain(&options.difference).map(|lora| &lora.source);
    let parts = options.unet.iter().chain(added);
    model.into_iter().chain(parts.filter_map(Source::as_path))
}

/// Whether something is given that the recipe's weights may be in.
fn has_weights(options: &Options, recipe: &Recipe) -> bool {
    let given = |role: Role| match role {
        Role::Lora => !options.loras.is_empty(),
        Role::UNet => options.unet.is_some(),
        Role::Difference => options.difference.is_some(),
        // A whole model is always given; what a later version knows may be a part of it.
        _ => true,
    };
    // A merge is a model.
    recipe.files.is_empty() || recipe.files.iter().any(|file| given(file.role))
}

/// The table, aligned.
pub(crate) fn table() -> String {
    const HEAD: [&str; 8] = ["recipe", "model", "scheduler", "steps", "eta", "guidance", "file", "licence"];
    let rows: Vec<[String; 8]> =
        std::iter::once(HEAD.map(String::from)).chain(Recipe::ALL.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

fn row(recipe: &Recipe) -> [String; 8] {
    let beside = [
        recipe.spacing.map(|spacing| spacing.to_string()),
        recipe.karras.filter(|karras| *karras).map(|_| "Karras".into()),
        // As --prediction has it.
        recipe.prediction.map(|prediction| prediction.to_string().replace('_', "-")),
        recipe.original_steps.map(|steps| format!("of {steps}")),
        recipe.timestep_shift.map(|shift| format!("shift {shift}")),
    ];
    let scheduler: Vec<String> =
        std::iter::once(recipe.scheduler.to_string()).chain(beside.into_iter().flatten()).collect();
    let steps = match recipe.timesteps {
        Some(timesteps) => format!("{} at t = {}", recipe.steps, joined(timesteps)),
        None => recipe.steps.to_string(),
    };
    let eta = recipe.eta.map_or_else(|| "-".into(), |eta| eta.to_string());
    [
        recipe.name.into(),
        recipe.family.to_string(),
        scheduler.join(" "),
        steps,
        eta,
        recipe.guidance.to_string(),
        recipe.files.first().map_or("any merge", |file| file.name).into(),
        recipe.licence.map_or("see its page", |licence| licence.name).into(),
    ]
}

fn joined(timesteps: &[usize]) -> String {
    timesteps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
