//! A photograph's edges, and a picture that follows them in one step.
//!
//! ```sh
//! cargo run --release --example controlnet -- stable-diffusion-v1-5 Hyper-SD15-1step-lora.safetensors \
//!     control_v11p_sd15_canny photo.png "a watercolour of a bird"
//! ```
//!
//! Writes `edges.png` and `controlled.png`.

use hypersd::{Algorithm, Canny, Control, Device, Error, Image, Pipeline, Request, Steps, Strength};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name| arguments.next().unwrap_or_else(|| panic!("expected {name}"));
    let (model, lora) = (argument("a model"), argument("a LoRA"));
    let (controlnet, photo) = (argument("a ControlNet"), argument("a photograph"));
    let prompt = argument("a prompt");

    // What the ControlNet was trained on is not the photograph but its edges.
    let edges = Canny { low: 100.0, high: 200.0, ..Canny::default() }.edges(&Image::open(photo)?)?;
    edges.save("edges.png")?;

    let pipeline = Pipeline::open(model)?.lora(lora, 1.0)?.controlnet(controlnet)?.load(&Device::flex())?;
    // Without a width and height the picture takes the size of the edge map.
    let images = pipeline.generate(&Request {
        prompt: prompt.into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(1),
        eta: Some(1.0),
        controls: vec![Control {
            strength: Strength { scale: 0.8, ..Strength::default() },
            ..Control::new(edges)
        }],
        ..Request::default()
    })?;
    images[0].save("controlled.png")?;
    Ok(())
}
