//! The options of ControlNet: networks, their images, and how much they have to say.

use std::{error::Error, path::PathBuf, str::FromStr};

use clap::Args;
use hypersd::{Canny, Control, Image, Start, Strength};

use crate::source::Source;

/// The word for the picture that is painted in, whatever is on disk: a file that is called so is `./masked`.
const MASKED: &str = "masked";

/// What guides the picture beside the prompt.
#[derive(Debug, Args)]
pub(crate) struct ControlOptions {
    /// A ControlNet; repeatable
    #[arg(long = "controlnet", value_name = "DIR|FILE|ID|demo")]
    pub(crate) controlnets: Vec<Source>,
    /// Its image; one for each --controlnet, in order. The word masked, for a ControlNet of inpainting, stands for the --image
    /// without what is under the --mask
    #[arg(long = "control-image", value_name = "FILE|masked")]
    images: Vec<PathBuf>,
    /// Draws the edges of the control images first (OpenCV's Canny), 100,200 for instance; without this they are used
    /// as they are
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    canny: Option<Thresholds>,
    /// How strongly it guides; one for each --controlnet, in order [default: 1]
    #[arg(long = "control-scale", value_name = "X", allow_negative_numbers = true)]
    scales: Vec<f32>,
    /// Share of the steps that is over before ControlNet acts
    #[arg(long = "control-start", value_name = "F", default_value_t = 0.0, allow_negative_numbers = true)]
    start: f64,
    /// Share of the steps after which ControlNet acts no more
    #[arg(long = "control-end", value_name = "F", default_value_t = 1.0, allow_negative_numbers = true)]
    end: f64,
}

impl ControlOptions {
    /// Refuses numbers of options that do not belong together.
    pub(crate) fn check(&self) -> Result<(), hypersd::Error> {
        let nets = self.controlnets.len();
        let counts = |option, found: usize, may_be_none: bool| match found {
            0 if may_be_none => Ok(()),
            found if found == nets => Ok(()),
            found => Err(hypersd::Error::Request {
                option,
                expected: format!("{nets}, one for each --controlnet"),
                found: found.to_string(),
            }),
        };
        counts("--control-image", self.images.len(), false)?;
        counts("--control-scale", self.scales.len(), true)
    }

    /// The options that are given and say something of a ControlNet where there is none.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("--canny", self.canny.is_some()),
            ("--control-start", self.start != 0.0),
            ("--control-end", self.end != 1.0),
        ];
        let none = self.controlnets.is_empty();
        given.into_iter().filter(move |(_, given)| none && *given).map(|(option, _)| option)
    }

    /// Reads the images, and draws their edges where that is asked for.
    pub(crate) fn controls(&self, start: &Start) -> Result<Vec<Control>, Box<dyn Error>> {
        let scales = self.scales.iter().copied().chain(std::iter::repeat(1.0));
        let mut controls = Vec::new();
        for (path, scale) in self.images.iter().zip(scales) {
            let masked = path.as_os_str() == MASKED;
            let image = match start.images() {
                [image, ..] if masked => image.clone(),
                _ => Image::open(path)?,
            };
            let image = match self.canny {
                Some(Thresholds { low, high }) if !masked => {
                    Canny { low, high, ..Canny::default() }.edges(&image)?
                }
                _ => image,
            };
            let strength = Strength { scale, start: self.start, end: self.end, ..Strength::default() };
            controls.push(Control { strength, masked, ..Control::new(image) });
        }
        Ok(controls)
    }
}

/// `--canny`.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    low: f64,
    high: f64,
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
        match text.split_once(',').map(|(low, high)| (number(low), number(high))) {
            Some((Some(low), Some(high))) => Ok(Self { low, high }),
            _ => Err("expected two numbers, LOW,HIGH, such as 100,200".into()),
        }
    }
}
