//! A small network that says what is in a picture.

use std::{collections::HashMap, error::Error, fmt::Display, fs, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData, activation::relu, module, ops::ConvOptions};
use safetensors::SafeTensors;

use crate::{Array, array};

/// Channels of the picture, and of what each 3x3 convolution makes of it.
const CHANNELS: [usize; 6] = [3, 24, 48, 96, 128, 128];
const STRIDES: [usize; 5] = [2, 2, 2, 2, 1];
/// The mean and the greatest value of every channel.
const FEATURES: usize = 2 * CHANNELS[5];

/// Sees one thing of one colour in a picture. It was trained on drawings alone, never on what the model paints.
#[derive(Debug)]
pub struct Judge {
    layers: Vec<(Tensor<4>, Tensor<1>)>,
    things: Answers,
    colours: Answers,
    device: Device,
}

/// A linear layer, one row for each possible answer.
#[derive(Debug)]
struct Answers {
    labels: Vec<String>,
    weight: Tensor<2>,
    bias: Tensor<1>,
}

/// What the judge sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict<'a> {
    /// The thing.
    pub thing: &'a str,
    /// The probability that the judge gives it.
    pub sure: f32,
    /// Its colour.
    pub colour: &'a str,
}

impl Judge {
    /// Reads `conv0` to `conv4`, `things` and `colours`, and the labels, with commas between, from the metadata.
    ///
    /// # Errors
    /// For a file that cannot be read, lacks one of them, or has it in another shape; naming the file.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Box<dyn Error>> {
        let path = path.as_ref();
        let named = |error: &dyn Display| format!("{}: {error}", path.display());
        let bytes = fs::read(path).map_err(|error| named(&error))?;
        Self::read(&bytes, device).map_err(|error| named(&error).into())
    }

    fn read(bytes: &[u8], device: &Device) -> Result<Self, Box<dyn Error>> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes)?;
        let layer = |i: usize| {
            let name = format!("conv{i}");
            let weight =
                tensor(&file, &format!("{name}.weight"), [CHANNELS[i + 1], CHANNELS[i], 3, 3], device)?;
            Ok::<_, Box<dyn Error>>((
                weight,
                tensor(&file, &format!("{name}.bias"), [CHANNELS[i + 1]], device)?,
            ))
        };
        Ok(Self {
            layers: (0..STRIDES.len()).map(layer).collect::<Result<_, _>>()?,
            things: Answers::read(&file, &metadata, "things", device)?,
            colours: Answers::read(&file, &metadata, "colours", device)?,
            device: device.clone(),
        })
    }

    /// Looks at a picture in RGB8 of 128x128 pixels.
    ///
    /// # Panics
    /// For another number of bytes.
    #[must_use]
    pub fn verdict(&self, rgb8: &[u8]) -> Verdict<'_> {
        const SIDE: usize = 128;
        assert_eq!(rgb8.len(), SIDE * SIDE * CHANNELS[0], "bytes of a picture of {SIDE}x{SIDE}");
        self.look(rgb8, SIDE)
    }

    /// Looks at a picture, or a part of one, in RGB8 with rows of `width` pixels.
    ///
    /// # Panics
    /// If the bytes are not whole rows.
    #[must_use]
    pub fn look(&self, rgb8: &[u8], width: usize) -> Verdict<'_> {
        let pixels: Vec<f32> = rgb8.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
        let pixels = TensorData::new(pixels, [1, rgb8.len() / (width * CHANNELS[0]), width, CHANNELS[0]]);
        let x = Tensor::<4>::from_data(pixels, (&self.device, DType::F32)).permute([0, 3, 1, 2]);
        let x = self.layers.iter().zip(STRIDES).fold(x, |x, ((weight, bias), stride)| {
            let options = ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
            relu(module::conv2d(x, weight.clone(), Some(bias.clone()), options))
        });
        let channels = x.flatten::<3>(2, 3);
        let features = Tensor::cat(vec![channels.clone().mean_dim(2), channels.max_dim(2)], 1);
        let features = features.reshape([FEATURES, 1]);
        let (thing, sure) = self.things.best(&features);
        let (colour, _) = self.colours.best(&features);
        Verdict { thing, sure, colour }
    }
}

impl Answers {
    fn read(
        file: &SafeTensors<'_>,
        metadata: &HashMap<String, String>,
        name: &str,
        device: &Device,
    ) -> Result<Self, Box<dyn Error>> {
        let labels = metadata.get(name).ok_or_else(|| format!("no {name} in the metadata"))?;
        let labels: Vec<String> = labels.split(',').map(String::from).collect();
        let weight = tensor(file, &format!("{name}.weight"), [labels.len(), FEATURES], device)?;
        let bias = tensor(file, &format!("{name}.bias"), [labels.len()], device)?;
        Ok(Self { labels, weight, bias })
    }

    /// The answer with the greatest logit, of features `[256, 1]`, and its probability.
    fn best(&self, features: &Tensor<2>) -> (&str, f32) {
        let logits = self.weight.clone().matmul(features.clone()).squeeze_dim::<1>(1) + self.bias.clone();
        let logits: Vec<f32> = logits.into_data().try_into_vec_as().expect("f32 data");
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let best = best.expect("splitting gives at least one label");
        let sum: f32 = logits.iter().map(|logit| (logit - logits[best]).exp()).sum();
        (&self.labels[best], 1.0 / sum)
    }
}

/// A tensor of a file, in f32.
fn tensor<const D: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    shape: [usize; D],
    device: &Device,
) -> Result<Tensor<D>, Box<dyn Error>> {
    let Array { shape: found, data } = array(&file.tensor(name)?);
    if found != shape {
        return Err(format!("{name}: expected the shape {shape:?}, found {found:?}").into());
    }
    Ok(Tensor::from_data(TensorData::new(data, shape), (device, DType::F32)))
}

#[cfg(test)]
mod tests {
    use safetensors::{Dtype, serialize, tensor::TensorView};

    use super::*;

    #[test]
    fn what_is_no_judge_is_an_error() {
        let message = |bytes: &[u8]| Judge::read(bytes, &Device::flex()).map(drop).unwrap_err().to_string();
        assert!(message(b"no file").contains("eader"));
        let file = |name, shape: Vec<usize>| {
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            serialize([(name, TensorView::new(Dtype::F32, shape, &bytes).unwrap())], None).unwrap()
        };
        assert!(message(&file("conv1.weight", vec![1])).contains("conv0.weight"));
        let other = message(&file("conv0.weight", vec![24, 3, 1, 1]));
        assert_eq!(other, "conv0.weight: expected the shape [24, 3, 3, 3], found [24, 3, 1, 1]");
    }
}
