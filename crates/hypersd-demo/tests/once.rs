//! A program has the model in it once: a table that is a `const` is copied to wherever it is used.
#![cfg(not(target_family = "wasm"))]

use std::{
    env, fs,
    io::{Read, Seek, SeekFrom},
};

/// Bytes that are as good as unique, of weights.
const PIECE: usize = 64;

#[test]
fn the_weights_are_in_a_program_once() {
    let weights = hypersd_demo::model().join("unet/diffusion_pytorch_model.safetensors");
    let mut weights = weights.reader().expect("the weights");
    let end = weights.seek(SeekFrom::End(0)).expect("a length");
    weights.seek(SeekFrom::Start(end / 2)).expect("the middle");
    let mut piece = [0; PIECE];
    weights.read_exact(&mut piece).expect("bytes");

    let program = fs::read(env::current_exe().expect("this program")).expect("its file");
    let times = program.windows(PIECE).filter(|window| *window == piece).count();
    assert_eq!(times, 1, "the middle of the UNet's weights");
}
