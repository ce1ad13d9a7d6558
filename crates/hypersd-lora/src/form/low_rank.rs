//! The original LoRA (arXiv:2106.09685, equation 3), and its convolution as kohya's scripts train it: the kernel
//! belongs to the down factor, the up factor is 1x1.

use hypersd_core::{HostTensor, TensorSource};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul};
use rayon::prelude::*;

use crate::{error::Error, finite::first_not_finite, grammar::Part};

/// A low-rank module: `ΔW = alpha / rank · up · down`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    rank: usize,
    alpha: Option<f32>,
    down: Factor,
    up: Factor,
}

#[derive(Debug, Clone, PartialEq)]
struct Factor {
    name: String,
    shape: Vec<usize>,
}

/// The keys of one module, as far as they were found.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<String>,
}

impl Parts {
    pub(crate) fn insert(&mut self, part: Part, key: &str) {
        let slot = match part {
            Part::Down => &mut self.down,
            Part::Up => &mut self.up,
            Part::Alpha => &mut self.alpha,
        };
        *slot = Some(key.to_owned());
    }
}

impl LowRank {
    /// Rows of the down factor.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The alpha stored in the file; where there is none, alpha is the rank and the factor 1.
    #[must_use]
    pub fn alpha(&self) -> Option<f32> {
        self.alpha
    }

    /// `alpha / rank`.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha.map_or(1.0, |alpha| f64::from(alpha) / self.rank as f64)
    }

    /// Checks what can be checked without the factors' values, and reads alpha.
    pub(crate) fn new(source: &dyn TensorSource, module: &str, parts: &Parts) -> Result<Self, Error> {
        let wrong = |expected: &str, found: String| Error::Module {
            file: source.origin(),
            module: module.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let factor = |key: &Option<String>, part: &str, expected: &str| {
            let name = key.clone().ok_or_else(|| wrong(part, "none".into()))?;
            let shape = source.info(&name).map(|info| info.shape).unwrap_or_default();
            let elements = shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
            match (shape.len(), elements) {
                (2 | 4, Some(1..)) => Ok(Factor { name, shape }),
                _ => Err(wrong(expected, format!("{shape:?}"))),
            }
        };
        let down =
            factor(&parts.down, "a lora_down.weight", "lora_down of shape [rank, in] or [rank, in, kh, kw]")?;
        let up = factor(&parts.up, "a lora_up.weight", "lora_up of shape [out, rank] or [out, rank, 1, 1]")?;
        let rank = down.shape[0];
        if up.shape[1] != rank || up.shape[2..].iter().any(|&k| k != 1) {
            let expected = format!("lora_up of shape [out, {rank}] for lora_down {:?}", down.shape);
            return Err(wrong(&expected, format!("{:?}", up.shape)));
        }
        let alpha = match &parts.alpha {
            Some(name) => {
                Some(scalar(source, name)?.map_err(|found| wrong("alpha to be one finite number", found))?)
            }
            None => None,
        };
        Ok(Self { rank, alpha, down, up })
    }

    /// `[out, in]` or `[out, in, kh, kw]`.
    pub(crate) fn shape(&self) -> Vec<usize> {
        [&self.up.shape[..1], &self.down.shape[1..]].concat()
    }

    /// 1x1 kernels come and go (`proj_in` is a convolution in SD1.5 and a linear in SDXL), others must agree
    /// unless the file flattened them.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        fn bare(tail: &[usize]) -> &[usize] {
            tail.strip_suffix(&[1, 1]).filter(|rest| rest.len() == 1).unwrap_or(tail)
        }
        let Some((&out, tail)) = shape.split_first() else { return false };
        let down = bare(&self.down.shape[1..]);
        let flat = || tail.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        let flattened = || self.down.shape.len() == 2 && flat() == Some(down[0]);
        out == self.up.shape[0] && (down == bare(tail) || flattened())
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &str> {
        [&self.down, &self.up].into_iter().map(|factor| factor.name.as_str())
    }

    /// `w += scale · up · down`, rows in parallel.
    pub(crate) fn apply(
        &self,
        file: &dyn TensorSource,
        scale: f32,
        mut w: ArrayViewMut2<'_, f32>,
    ) -> Result<(), hypersd_core::Error> {
        /// Enough rows that packing `down` once per block costs nothing beside the product.
        const ROWS: usize = 128;
        let (up, down) = (self.up.read(file)?, self.down.read(file)?);
        let (up, down) = (up.to_f32(), down.to_f32());
        // Factors are row-major with the contracted extents together, so a kernel is just more columns.
        let matrix =
            |x, rows, columns| ArrayView2::from_shape((rows, columns), x).expect("as many as `read` checked");
        let up = matrix(&up[..], self.up.shape[0], self.rank);
        let down = matrix(&down[..], self.rank, down.len() / self.rank);
        w.axis_chunks_iter_mut(Axis(0), ROWS)
            .into_par_iter()
            .zip(up.axis_chunks_iter(Axis(0), ROWS).into_par_iter())
            .for_each(|(mut w, up)| general_mat_mul(scale, &up, &down, 1.0, &mut w));
        Ok(())
    }
}

impl Factor {
    /// Reads the factor and checks that it is what the file's header promised, and finite throughout: one NaN
    /// would spread over the whole merged weight and, from there, over every image.
    fn read<'a>(&self, file: &'a dyn TensorSource) -> Result<HostTensor<'a>, hypersd_core::Error> {
        let tensor = file.tensor(&self.name)?;
        let wrong = |expected: String, found: String| hypersd_core::Error::Format {
            origin: format!("{}: {}", file.origin(), self.name),
            expected,
            found,
        };
        let x = tensor.to_f32();
        if tensor.shape != self.shape || x.len() != self.shape.iter().product::<usize>() {
            return Err(wrong(
                format!("shape {:?}", self.shape),
                format!("{:?}, {} elements", tensor.shape, x.len()),
            ));
        }
        if let Some(at) = first_not_finite(&x) {
            return Err(wrong("finite numbers".into(), format!("{} at element {at}", x[at])));
        }
        drop(x);
        Ok(tensor)
    }
}

/// One finite number, of shape `[]` or `[1]`; what else was found, in words.
fn scalar(source: &dyn TensorSource, name: &str) -> Result<Result<f32, String>, hypersd_core::Error> {
    let shape = source.info(name).map(|info| info.shape).unwrap_or_default();
    if !matches!(shape[..], [] | [1]) {
        return Ok(Err(format!("shape {shape:?}")));
    }
    let tensor = source.tensor(name)?;
    Ok(match tensor.to_f32()[..] {
        [alpha] if alpha.is_finite() => Ok(alpha),
        [alpha] => Err(alpha.to_string()),
        ref many => Err(format!("{} elements", many.len())),
    })
}
