//! OpenAI's image interface, as its clients use it: <https://platform.openai.com/docs/api-reference/images>.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{ConnectInfo, Multipart, Path, State, multipart::Field},
};
use hypersd::{Image, Mask};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    body::Body,
    draw::{Checked, Draw, Given},
    job::User,
    pictures::{from_file, to_base64, transparency},
    refusal::Refusal,
    seeds::{drawn_seed, seeds},
    server::{Server, now, user},
};

/// The most fields of a form.
const FIELDS: usize = 64;

/// What both interfaces for pictures have, and beside it what is ours: `seed`, `steps`, `eta`, `guidance`, `control`, …
#[derive(Debug, Deserialize)]
struct Asked {
    n: Option<usize>,
    size: Option<String>,
    response_format: Option<String>,
    output_format: Option<String>,
    stream: Option<bool>,
    #[serde(flatten)]
    draw: Draw,
}

/// `POST /v1/images/generations`
pub(crate) async fn generations(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Refusal> {
    let asked = Asked::parse(body)?;
    let checking = server.clone();
    let (asked, checked) = blocking(move || {
        let checked = asked.draw.check(&checking.studio, &checking.limits, &[])?;
        Ok((asked, checked))
    })
    .await?;
    answer(&server, &user(address), &asked, checked).await
}

/// `POST /v1/images/edits`
pub(crate) async fn edits(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<Json<Value>, Refusal> {
    let form = form.map_err(Refusal::invalid)?;
    let Form { fields, image, mask } = Form::read(form, server.limits.body).await?;
    let asked = Asked::parse(Value::Object(fields))?;
    let checking = server.clone();
    let (asked, checked) = blocking(move || {
        let image = image.ok_or_else(|| Refusal::of("image", "a file", "none"))?;
        let given =
            Given { mask: painted(&image, mask.as_deref())?, image: Some(from_file("image", &image)?) };
        let checked = asked.draw.check_with(&checking.studio, &checking.limits, given, Vec::new())?;
        Ok((asked, checked))
    })
    .await?;
    answer(&server, &user(address), &asked, checked).await
}

/// `GET /v1/models`
pub(crate) async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [model(&server)] }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn one_model(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    if id == server.studio.about.model {
        return Ok(Json(model(&server)));
    }
    Err(Refusal::not_found(format_args!("the model here is {}", server.studio.about.model)))
}

fn model(server: &Server) -> Value {
    let id = &server.studio.about.model;
    json!({ "id": id, "object": "model", "created": server.began, "owned_by": "hypersd" })
}

/// Draws as many as were asked for, one after the other, so that others have their turns between.
async fn answer(
    server: &Arc<Server>,
    user: &User,
    asked: &Asked,
    mut checked: Checked,
) -> Result<Json<Value>, Refusal> {
    let mut data = Vec::new();
    for seed in seeds(checked.request.seed, asked.count(server)?) {
        checked.request.seed = seed;
        let picture = server.draw(user, &checked, false, |_, _, _| {}).await?;
        let png = to_base64(&server.png(picture, &checked).await?);
        data.push(match asked.response_format.as_deref() {
            Some("url") => json!({ "url": format!("data:image/png;base64,{png}"), "seed": seed }),
            _ => json!({ "b64_json": png, "seed": seed }),
        });
    }
    let size = format!("{}x{}", checked.settled.width, checked.settled.height);
    Ok(Json(json!({ "created": now(), "data": data, "output_format": "png", "size": size })))
}

impl Asked {
    fn parse(body: Value) -> Result<Self, Refusal> {
        let prompted = body.get("prompt").is_some_and(Value::is_string);
        if !prompted {
            return Err(Refusal::of("prompt", "text", "none"));
        }
        let mut asked: Self = serde_json::from_value(body).map_err(Refusal::invalid)?;
        let only = |name: &str, given: &Option<String>, known: &[&str]| match given.as_deref() {
            Some(other) if !known.contains(&other) => Err(Refusal::of(name, known.join(" or "), other)),
            _ => Ok(()),
        };
        only("response_format", &asked.response_format, &["b64_json", "url"])?;
        only("output_format", &asked.output_format, &["png"])?;
        if asked.stream == Some(true) {
            return Err(Refusal::of("stream", "false (for progress there is /v1/jobs)", "true"));
        }
        if let Some(size) = asked.size.as_deref().filter(|size| *size != "auto") {
            let sides = size.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
            let Some((Ok(width), Ok(height))) = sides else {
                return Err(Refusal::of("size", "auto, or such as 512x512", size));
            };
            (asked.draw.width, asked.draw.height) = (Some(width), Some(height));
        }
        asked.draw.seed = Some(asked.draw.seed.unwrap_or_else(drawn_seed));
        Ok(asked)
    }

    /// How many pictures.
    fn count(&self, server: &Server) -> Result<usize, Refusal> {
        let (n, most) = (self.n.unwrap_or(1), server.limits.batch);
        if (1..=most).contains(&n) { Ok(n) } else { Err(Refusal::of("n", format_args!("1 to {most}"), n)) }
    }
}

/// A form of an edit.
#[derive(Default)]
struct Form {
    /// What is no file.
    fields: Map<String, Value>,
    image: Option<Vec<u8>>,
    mask: Option<Vec<u8>>,
}

impl Form {
    async fn read(mut form: Multipart, most: usize) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for _ in 0..FIELDS {
            let Some(field) = form.next_field().await.map_err(|error| fault(&error, most))? else {
                return Ok(read);
            };
            read.take(field, most).await?;
        }
        Err(Refusal::invalid(format_args!("a form of more than {FIELDS} fields")))
    }

    async fn take(&mut self, field: Field<'_>, most: usize) -> Result<(), Refusal> {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| fault(&error, most))?.to_vec();
        match name.as_str() {
            "image" | "image[]" if self.image.is_some() => Err(Refusal::of("image", "one file", "several")),
            "image" | "image[]" => {
                self.image = Some(bytes);
                Ok(())
            }
            "mask" => {
                self.mask = Some(bytes);
                Ok(())
            }
            _ => {
                let text = String::from_utf8(bytes).map_err(|_| Refusal::of(&name, "text", "other bytes"))?;
                let is_text = matches!(
                    name.as_str(),
                    "prompt" | "negative_prompt" | "size" | "scheduler" | "response_format" | "output_format"
                );
                let value = match is_text {
                    true => Value::String(text),
                    false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
                };
                self.fields.insert(name, value);
                Ok(())
            }
        }
    }
}

fn fault(error: &axum::extract::multipart::MultipartError, most: usize) -> Refusal {
    match error.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large(most),
        _ => Refusal::invalid(error),
    }
}

/// What is to be painted: where the mask is transparent, or else the picture; a mask that nowhere is, is white where.
fn painted(image: &[u8], mask: Option<&[u8]>) -> Result<Option<Mask>, Refusal> {
    let white: Option<Image> = match mask {
        Some(mask) => match transparency("mask", mask)? {
            Some(white) => Some(white),
            None => Some(from_file("mask", mask)?),
        },
        None => transparency("image", image)?,
    };
    Ok(white.map(Mask::new))
}

/// Runs what takes a while, such as decoding pictures, elsewhere than where others wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::internal()))
}
