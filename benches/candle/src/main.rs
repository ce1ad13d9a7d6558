//! candle-transformers' Stable Diffusion, stage by stage, as a peer of `benches/stages`.
//!
//! The networks are those of candle's example, loaded as it loads them; `--dtype f16` computes in f16 too. There is no
//! TAESD, no ControlNet and no LoRA. The SDXL UNet lacks the embedding of sizes and pooled prompt, which is next to no
//! arithmetic. Threads are those of `RAYON_NUM_THREADS`.

use std::{
    error::Error,
    fs,
    io::{self, BufRead, Write},
    path::PathBuf,
    time::Instant,
};

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::{
    StableDiffusionConfig, unet_2d::UNet2DConditionModel, vae::AutoEncoderKL,
};
use clap::Parser;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the driver says to every peer; candle has no use for some of it.
#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    serve: bool,
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    lora: Option<PathBuf>,
    #[arg(long)]
    taesd: Option<PathBuf>,
    #[arg(long)]
    controlnet: Option<PathBuf>,
    #[arg(long, default_value_t = 512)]
    size: usize,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value = "f32")]
    dtype: String,
    #[arg(long)]
    threads: Option<usize>,
}

struct Bench {
    options: Options,
    config: StableDiffusionConfig,
    /// Width of the prompt's embedding.
    context: usize,
    dtype: DType,
    unet: Option<UNet2DConditionModel>,
    vae: Option<AutoEncoderKL>,
}

fn main() -> Result<()> {
    let mut bench = Bench::new(Options::parse())?;
    println!("ready unet vae");
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "memory" => println!("{}", peak_memory()?),
            "unet" => println!("{}", bench.unet()?),
            "vae" => println!("{}", bench.vae()?),
            other => return Err(format!("{other}: candle has no such stage").into()),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

impl Bench {
    fn new(options: Options) -> Result<Self> {
        let sdxl = options.model.join("text_encoder_2").exists();
        let side = Some(options.size);
        let (config, context) = match sdxl {
            true => (StableDiffusionConfig::sdxl(None, side, side), 2048),
            false => (StableDiffusionConfig::v1_5(None, side, side), 768),
        };
        let dtype = match options.dtype.as_str() {
            "f32" => DType::F32,
            "f16" => DType::F16,
            other => return Err(format!("--dtype {other}: expected f32 or f16").into()),
        };
        Ok(Self { options, config, context, dtype, unet: None, vae: None })
    }

    /// Seconds of one call.
    fn unet(&mut self) -> Result<f64> {
        if self.unet.is_none() {
            self.unet =
                Some(self.config.build_unet(self.weights("unet"), &Device::Cpu, 4, false, self.dtype)?);
        }
        let unet = self.unet.as_ref().expect("just loaded");
        let (latents, context) = (self.latents()?, self.normal((self.options.batch, 77, self.context))?);
        let start = Instant::now();
        unet.forward(&latents, 999.0, &context)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of one decoding.
    fn vae(&mut self) -> Result<f64> {
        if self.vae.is_none() {
            self.vae = Some(self.config.build_vae(self.weights("vae"), &Device::Cpu, self.dtype)?);
        }
        let vae = self.vae.as_ref().expect("just loaded");
        let latents = self.latents()?;
        let start = Instant::now();
        vae.decode(&latents)?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn weights(&self, network: &str) -> PathBuf {
        self.options.model.join(network).join("diffusion_pytorch_model.safetensors")
    }

    fn latents(&self) -> Result<Tensor> {
        let side = self.options.size / 8;
        self.normal((self.options.batch, 4, side, side))
    }

    fn normal(&self, shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        Ok(Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?.to_dtype(self.dtype)?)
    }
}

/// `VmHWM`: the most memory that this process has had in use, in bytes.
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
