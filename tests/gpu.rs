//! Every network and every pipeline against diffusers, and every operation against the CPU, in one program that can be
//! carried to a machine with a GPU (`tools/gpu.sh` does): on the device of `HYPERSD_TEST_DEVICE`, in the type of
//! `HYPERSD_TEST_DTYPE`; see `hypersd-testing`. Where neither is set it runs on the CPU in f32, which proves the program.
//!
//! `cargo test` leaves it out, because it has all of these tests one by one.
#![allow(clippy::duplicate_mod, reason = "the tests share modules, and each is a program elsewhere")]

#[path = "../crates/hypersd-models/tests/clip_text_model.rs"]
mod clip_text_model;
#[path = "../crates/hypersd-controlnet/tests/control_images.rs"]
mod control_images;
#[path = "../crates/hypersd-models/tests/controlnet.rs"]
mod controlnet;
mod demo;
mod demo_start;
#[path = "gpu/kernels.rs"]
mod kernels;
#[cfg(feature = "_gpu")]
#[path = "gpu/launches.rs"]
mod launches;
#[cfg(feature = "_gpu")]
#[path = "gpu/memory.rs"]
mod memory;
#[path = "gpu/ops.rs"]
mod ops;
mod pipelines;
mod pipelines_inpaint;
mod pipelines_lora;
mod pipelines_start;
#[path = "../crates/hypersd-models/tests/unet.rs"]
mod unet;
#[path = "../crates/hypersd-models/tests/vae.rs"]
mod vae;
