//! AUTOMATIC1111's interface, as far as other programs use it: <https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API>.

mod progress;
mod samplers;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{ConnectInfo, State},
};
use hypersd::Mask;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    body::Body,
    draw::{Checked, Draw, Given},
    openai::blocking,
    pictures::{from_base64, from_file, to_base64},
    refusal::Refusal,
    seeds::{drawn_seed, seeds},
    server::{Server, user},
};
pub(crate) use progress::{Progress, interrupt, progress};
use samplers::algorithm;
pub(crate) use samplers::samplers;

/// What both kinds of request have, of what has any effect here.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Asked {
    prompt: String,
    negative_prompt: String,
    seed: i64,
    steps: Option<usize>,
    cfg_scale: Option<f64>,
    eta: Option<f64>,
    width: Option<usize>,
    height: Option<usize>,
    batch_size: usize,
    n_iter: usize,
    sampler_name: Option<String>,
    sampler_index: Option<String>,
    /// Of image to image.
    #[serde(skip_serializing)]
    init_images: Vec<String>,
    #[serde(skip_serializing)]
    mask: Option<String>,
    mask_blur: Option<f32>,
    denoising_strength: Option<f64>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            seed: -1,
            steps: None,
            cfg_scale: None,
            eta: None,
            width: None,
            height: None,
            batch_size: 1,
            n_iter: 1,
            sampler_name: None,
            sampler_index: None,
            init_images: Vec::new(),
            mask: None,
            mask_blur: None,
            denoising_strength: None,
        }
    }
}

/// `POST /sdapi/v1/txt2img`
pub(crate) async fn txt2img(
    server: State<Arc<Server>>,
    address: ConnectInfo<SocketAddr>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Refusal> {
    let asked = Asked { init_images: Vec::new(), mask: None, ..asked };
    draw(server, address, asked).await
}

/// `POST /sdapi/v1/img2img`
pub(crate) async fn img2img(
    server: State<Arc<Server>>,
    address: ConnectInfo<SocketAddr>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Refusal> {
    if asked.init_images.is_empty() {
        return Err(Refusal::of("init_images", "a picture", "none"));
    }
    draw(server, address, asked).await
}

async fn draw(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let count = asked.count(&server)?;
    let checking = server.clone();
    let (asked, mut checked) = blocking(move || {
        let checked = asked.check(&checking)?;
        Ok((asked, checked))
    })
    .await?;
    let user = user(address);
    let all_seeds: Vec<u64> = seeds(checked.request.seed, count).collect();
    let running = server.progress.begin(&user, count);
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    for seed in &all_seeds {
        checked.request.seed = *seed;
        let drawing = server.draw(&user, &checked, false, |step, steps, _| running.step(step, steps));
        let picture = tokio::select! {
            picture = drawing => picture?,
            () = running.interrupted() => break,
        };
        running.picture();
        images.push(to_base64(&server.png(picture, &checked).await?));
        texts.push(infotext(&server, &checked)?);
    }
    let info = info(&asked, &checked, &all_seeds, &texts);
    Ok(Json(json!({ "images": images, "parameters": asked, "info": info.to_string() })))
}

impl Asked {
    fn count(&self, server: &Server) -> Result<usize, Refusal> {
        let (count, most) = (self.batch_size.saturating_mul(self.n_iter), server.limits.batch);
        if (1..=most).contains(&count) {
            return Ok(count);
        }
        Err(Refusal::of("batch_size", format_args!("1 to {most} pictures with n_iter"), count))
    }

    /// The request. What clients of this interface always send, whatever the model (20 steps, a scale of 7), is left out where the
    /// server's recipe does not allow it: `info` says what was taken.
    fn check(&self, server: &Server) -> Result<Checked, Refusal> {
        let recipe = server.studio.recipe;
        let named = self.sampler_name.as_deref().or(self.sampler_index.as_deref());
        let scheduler = match named.filter(|name| !name.is_empty() && recipe.is_none()) {
            Some(name) => Some(algorithm(name)?.to_string()),
            None => None,
        };
        let allowed = |steps: &usize| recipe.is_none_or(|recipe| recipe.steps.contains(*steps));
        let scale = |scale: &f64| recipe.is_none_or(|recipe| recipe.guidance.contains(*scale));
        let eta = |eta: &f64| recipe.is_none_or(|recipe| recipe.eta.is_some_and(|own| own.contains(*eta)));
        let side = |side: Option<usize>| side.filter(|side| *side > 0);
        let starts = !self.init_images.is_empty();
        let draw = Draw {
            prompt: self.prompt.clone(),
            negative_prompt: (!self.negative_prompt.is_empty()).then(|| self.negative_prompt.clone()),
            weighted: true,
            seed: Some(u64::try_from(self.seed).unwrap_or_else(|_| drawn_seed())),
            width: side(self.width),
            height: side(self.height),
            steps: self.steps.filter(allowed),
            eta: self.eta.filter(eta),
            guidance: self.cfg_scale.filter(scale),
            scheduler,
            // As a level, at which all steps are drawn: few steps leave no share of them.
            noise_level: starts.then(|| self.denoising_strength.unwrap_or(0.75)),
            ..Draw::default()
        };
        let picture = |what, text: &String| from_file(what, &from_base64(what, text)?);
        let image = self.init_images.first().map(|text| picture("init_images", text)).transpose()?;
        let mask = self.mask.as_ref().map(|text| picture("mask", text)).transpose()?;
        let mask = mask.map(|image| Mask { blur: self.mask_blur.unwrap_or(0.0), ..Mask::new(image) });
        draw.check_with(&server.studio, &server.limits, Given { image, mask }, Vec::new())
    }
}

/// A1111's line of what a picture was made of, which pictures have as `parameters`.
fn infotext(server: &Server, checked: &Checked) -> Result<String, Refusal> {
    let chunks = server.studio.text(&checked.request, checked.lora)?;
    let parameters = chunks.into_iter().find(|chunk| chunk.keyword == "parameters");
    Ok(parameters.map_or_else(String::new, |chunk| chunk.text))
}

/// What was drawn.
fn info(asked: &Asked, checked: &Checked, seeds: &[u64], texts: &[String]) -> Value {
    let settled = &checked.settled;
    let prompts = vec![asked.prompt.as_str(); seeds.len()];
    json!({
        "prompt": asked.prompt, "all_prompts": prompts,
        "negative_prompt": asked.negative_prompt,
        "all_negative_prompts": vec![asked.negative_prompt.as_str(); seeds.len()],
        "seed": seeds.first(), "all_seeds": seeds,
        "subseed": 0, "all_subseeds": vec![0; seeds.len()], "subseed_strength": 0,
        "width": settled.width, "height": settled.height,
        "sampler_name": samplers::name(&settled.scheduler), "cfg_scale": settled.guidance,
        "steps": settled.steps, "eta": settled.eta, "batch_size": 1,
        "denoising_strength": asked.denoising_strength,
        "index_of_first_image": 0, "infotexts": texts,
    })
}

/// `GET /sdapi/v1/options`
pub(crate) async fn options(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({
        "sd_model_checkpoint": server.studio.about.model, "samples_format": "png", "CLIP_stop_at_last_layers": 1,
    }))
}

/// `POST /sdapi/v1/options`: the model is the one that there is, and nothing else is anybody's to set.
pub(crate) async fn set_options(
    State(server): State<Arc<Server>>,
    Body(options): Body<Value>,
) -> Result<Json<Value>, Refusal> {
    let own = &server.studio.about.model;
    match options.get("sd_model_checkpoint").and_then(Value::as_str) {
        Some(other) if other != own => Err(Refusal::of("sd_model_checkpoint", own, other)),
        _ => Ok(Json(Value::Null)),
    }
}

/// `GET /sdapi/v1/sd-models`
pub(crate) async fn sd_models(State(server): State<Arc<Server>>) -> Json<Value> {
    let name = &server.studio.about.model;
    Json(
        json!([{ "title": name, "model_name": name, "hash": null, "sha256": null, "filename": name, "config": null }]),
    )
}

/// `GET /sdapi/v1/loras`: those that are merged, which every picture has.
pub(crate) async fn loras(State(server): State<Arc<Server>>) -> Json<Value> {
    let loras = &server.studio.about.loras;
    loras
        .iter()
        .map(|name| json!({ "name": name, "alias": name, "path": name, "metadata": {} }))
        .collect::<Value>()
        .into()
}

/// What is asked for and not here: upscalers, styles, embeddings.
pub(crate) async fn none() -> Json<Value> {
    Json(json!([]))
}
