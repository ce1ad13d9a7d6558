//! A1111's names of samplers.

use axum::Json;
use hypersd::Algorithm;
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// A1111's names, and ours.
const SAMPLERS: [(&str, &str); 10] = [
    ("TCD", "tcd"),
    ("DDIM", "ddim"),
    ("LCM", "lcm"),
    ("Euler", "euler"),
    ("Euler a", "euler-a"),
    ("Heun", "heun"),
    ("DPM++ 2M", "dpmpp-2m"),
    ("DPM++ 2M SDE", "dpmpp-2m-sde"),
    ("DPM++ SDE", "dpmpp-sde"),
    ("UniPC", "unipc"),
];

/// The algorithm of a name of A1111's, or of ours. `Karras` behind it is how sigmas are spaced, which the model says.
pub(crate) fn algorithm(name: &str) -> Result<Algorithm, Refusal> {
    let plain = name.strip_suffix(" Karras").unwrap_or(name);
    let own =
        SAMPLERS.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(plain)).map_or(plain, |(_, own)| own);
    own.parse().map_err(|error| Refusal::of("sampler_name", "a sampler of /sdapi/v1/samplers", error))
}

/// A1111's name of an algorithm.
pub(crate) fn name(own: &str) -> &str {
    SAMPLERS.iter().find(|(_, name)| *name == own).map_or(own, |(theirs, _)| theirs)
}

/// `GET /sdapi/v1/samplers`
pub(crate) async fn samplers() -> Json<Value> {
    SAMPLERS
        .iter()
        .map(|(name, own)| json!({ "name": name, "aliases": [own], "options": {} }))
        .collect::<Value>()
        .into()
}
