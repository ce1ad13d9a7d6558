//! The text that AUTOMATIC1111's web UI writes into pictures, and that it and others read settings from.
//!
//! Its shape is fixed by `create_infotext` in `modules/processing.py` and read by `parse_generation_parameters` in
//! `modules/infotext_utils.py` (version 1.10): the prompt; `Negative prompt: ` and the negative prompt; one line of
//! `key: value` pairs, where a value with a comma, a colon or a line break is a JSON string.

use std::fmt::Display;

use super::{HiresRecord, Provenance, StartRecord, WeightPart};
use crate::Algorithm;

impl Provenance {
    /// The settings as AUTOMATIC1111's web UI writes them.
    #[must_use]
    pub fn parameters(&self) -> String {
        let negative = match self.negative.as_deref() {
            None | Some("") => String::new(),
            Some(negative) => format!("\nNegative prompt: {negative}"),
        };
        let pairs = self.pairs();
        let line: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
        format!("{}{negative}\n{}", self.prompt, line.join(", ")).trim().to_string()
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        let mut add = |key, value: &dyn Display| pairs.push((key, value.to_string()));
        // Of a start with a strength, the steps that it is the share of.
        let named =
            self.start.as_ref().and_then(|start| start.steps.or(start.timesteps.as_ref().map(Vec::len)));
        add("Steps", &named.or(self.steps).unwrap_or(self.timesteps.len()));
        add("Sampler", &sampler(&self.scheduler));
        if self.karras {
            add("Schedule type", &"Karras");
        }
        add("CFG scale", &self.guidance);
        add("Seed", &self.seed);
        add("Size", &format_args!("{}x{}", self.width, self.height));
        let part = |part| self.weights.iter().find(|file| file.part == part);
        // The UNet's file stands for a model in a folder, and for a model whose UNet was replaced.
        if let Some(model) = part(WeightPart::UNet).or(part(WeightPart::Model)) {
            add("Model hash", &model.sha256);
            add("Model", &model.name);
        }
        if let Some(vae) = part(WeightPart::Vae) {
            add("VAE hash", &vae.sha256);
            add("VAE", &vae.name);
        }
        if let Some(refiner) = part(WeightPart::Refiner) {
            add("Refiner", &format_args!("{} [{}]", refiner.name, refiner.sha256));
        }
        if let Some(share) = self.refine.as_ref().and_then(|refine| refine.switch_at) {
            add("Refiner switch at", &share);
        }
        if self.batch > 1 {
            add("Batch size", &self.batch);
            add("Batch pos", &self.index);
        }
        let start = self.start.iter().flat_map(StartRecord::pairs);
        let hires = self.hires.iter().flat_map(HiresRecord::pairs);
        let own_strength = self.start.as_ref().is_some_and(|start| start.strength.is_some());
        for (key, value) in start {
            add(key, &value);
        }
        for (key, value) in hires {
            // The web UI's key is the start's where both have a strength.
            let taken = own_strength && key == "Denoising strength";
            add(if taken { "Hires denoising strength" } else { key }, &value);
        }
        if self.guidance_rescale != 0.0 {
            add("CFG Rescale phi", &self.guidance_rescale);
        }
        if self.zero_snr {
            add("Noise Schedule", &"Zero Terminal SNR");
        }
        if self.clip_skip > 0 {
            add("Clip skip", &(self.clip_skip + 1)); // which counts the last layer too
        }
        let embeddings = || self.weights.iter().filter(|file| file.part == WeightPart::Embedding);
        if embeddings().next().is_some() {
            add("TI hashes", &list(embeddings().map(|file| format!("{}: {}", file.name, file.sha256))));
        }
        if self.eta != 0.0 {
            add("Eta", &self.eta);
        }
        if self.rng == "torch-cpu" {
            add("RNG", &"CPU"); // absent, it is the GPU's
        }
        let loras = || self.weights.iter().filter(|file| file.part == WeightPart::Lora);
        if loras().next().is_some() {
            add("Lora hashes", &list(loras().map(|lora| format!("{}: {}", lora.name, lora.lora_hash()))));
            add(
                "Lora weights",
                &list(loras().map(|lora| format!("{}: {}", lora.name, lora.weight.unwrap_or(1.0)))),
            );
        }
        if let Some(recipe) = &self.recipe {
            add("Recipe", recipe);
        }
        add("Timesteps", &list(self.timesteps.iter().map(f32::to_string)));
        add("Version", &self.version);
        pairs
    }
}

/// What the web UI calls a scheduler.
fn sampler(scheduler: &str) -> &str {
    match scheduler.parse() {
        Ok(Algorithm::Ddim) => "DDIM",
        Ok(Algorithm::Tcd) => "TCD",
        Ok(Algorithm::Lcm) => "LCM",
        Ok(Algorithm::Euler) => "Euler",
        Ok(Algorithm::EulerAncestral) => "Euler a",
        Ok(Algorithm::Dpmpp2m) => "DPM++ 2M",
        Ok(Algorithm::Dpmpp2mSde) => "DPM++ 2M SDE",
        Ok(Algorithm::DpmppSde) => "DPM++ SDE",
        Ok(Algorithm::UniPc) => "UniPC",
        Ok(Algorithm::Heun) => "Heun",
        Ok(Algorithm::Pndm) => "PLMS",
        _ => scheduler,
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// A value that would end early, or run into the next line, is a JSON string.
fn quoted(value: &str) -> String {
    match value.contains([',', ':', '\n']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.to_string(),
    }
}
