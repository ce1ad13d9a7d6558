//! The library in one screen: a model folder, a Hyper-SD LoRA, one step, a picture.
//!
//! ```sh
//! cargo run --release --example one_step -- stable-diffusion-v1-5 Hyper-SD15-1step-lora.safetensors
//! ```

use hypersd::{Algorithm, Device, Error, Pipeline, Request, Steps};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().expect("the first argument is a model folder");
    let lora = arguments.next().expect("the second argument is a LoRA file");

    // The LoRA is merged while the weights are loaded: it costs nothing afterwards.
    let pipeline = Pipeline::open(model)?.lora(lora, 1.0)?.load(&Device::flex())?;

    // The settings of the unified Hyper-SD LoRA: TCD at eta 1, and no guidance.
    let images = pipeline.generate(&Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(1),
        eta: Some(1.0),
        seed: 7,
        ..Request::default()
    })?;
    images[0].save("cat.png")?;
    Ok(())
}
