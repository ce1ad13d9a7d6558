//! From f32 to int8: weights once, inputs as they come.

use rayon::prelude::*;

use crate::panel::PANEL;

/// The largest magnitude of a weight. There is no -128, so that weights are symmetric.
const LARGEST: f32 = 127.0;

/// The steps between the least and the greatest input, one less than the 254 that [`Range8`] reaches.
const STEPS: f32 = 253.0;

/// The least range of inputs that have a scale. Below it they count as zeros, and the scale's inverse would overflow.
const LEAST_RANGE: f32 = 1e-35;

/// Words in front of a panel: 16 scales, as f32, and 16 sums of the weights of an output, as i32.
const PANEL_HEADER: usize = 2 * PANEL;

/// Words in front of a row: the scale and the sum of its weights.
const ROW_HEADER: usize = 2;

/// The most products of int8 that are summed in 32 bits: 255 · 127 · 2^16 is below 2^31.
pub const INT8_TERMS: usize = 1 << 16;

/// Words of [`int8_panels`].
pub(crate) fn int8_panels_len([outputs, inputs]: [usize; 2]) -> usize {
    outputs / PANEL * panel_len(inputs)
}

fn panel_len(inputs: usize) -> usize {
    PANEL_HEADER + inputs.div_ceil(4) * PANEL
}

/// Words of [`int8_rows`].
pub(crate) fn int8_rows_len([outputs, inputs, taps]: [usize; 3]) -> usize {
    outputs * row_len([inputs, taps])
}

fn row_len([inputs, taps]: [usize; 2]) -> usize {
    ROW_HEADER + taps * inputs.div_ceil(4)
}

/// The weights of a linear layer in int8, each output with a scale of its own, for
/// [`LayerWeights::Int8`](crate::LayerWeights::Int8).
///
/// `read` writes the weights of an output, of which there are `inputs`, to a slice. Outputs with a weight that is not
/// finite are NaN.
///
/// # Panics
/// If the outputs fill no whole panels of 16, or the inputs are more than 65536.
#[must_use]
pub fn int8_panels([outputs, inputs]: [usize; 2], read: impl Fn(usize, &mut [f32]) + Sync) -> Vec<u32> {
    assert!(outputs.is_multiple_of(PANEL), "{outputs} outputs are no panels of {PANEL}");
    assert!(inputs <= INT8_TERMS, "{inputs} inputs are more than int8 products are summed of");
    let mut words = vec![0; int8_panels_len([outputs, inputs])];
    words.par_chunks_exact_mut(panel_len(inputs)).enumerate().for_each(|(panel, words)| {
        let mut row = vec![0.0; inputs.next_multiple_of(4)];
        let (header, words) = words.split_at_mut(PANEL_HEADER);
        for column in 0..PANEL {
            read(panel * PANEL + column, &mut row[..inputs]);
            let Quantizer { scale, inverse } = Quantizer::of(&row[..inputs]);
            let mut sum = 0;
            for (four, words) in row.as_chunks::<4>().0.iter().zip(words.chunks_exact_mut(PANEL)) {
                let bytes = four.map(|x| quantized(x, inverse));
                sum += bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
                words[column] = u32::from_le_bytes(bytes.map(i8::cast_unsigned));
            }
            header[column] = scale.to_bits();
            header[PANEL + column] = sum.cast_unsigned();
        }
    });
    words
}

/// The weights of a convolution in int8, each output with a scale of its own, for
/// [`LayerWeights::Int8`](crate::LayerWeights::Int8).
///
/// `read` writes the weights of an output, `[inputs, taps]`, to a slice; taps are the places of a kernel. Outputs with a
/// weight that is not finite are NaN.
///
/// # Panics
/// If the inputs times the taps are more than 65536.
#[must_use]
pub fn int8_rows(shape: [usize; 3], read: impl Fn(usize, &mut [f32]) + Sync) -> Vec<u32> {
    let [_, inputs, taps] = shape;
    assert!(
        inputs * taps <= INT8_TERMS,
        "{inputs} inputs of {taps} taps are more than int8 products are summed of"
    );
    let mut words = vec![0; int8_rows_len(shape)];
    let width = inputs.div_ceil(4);
    words.par_chunks_exact_mut(row_len([inputs, taps])).enumerate().for_each(|(output, words)| {
        let mut row = vec![0.0; inputs * taps];
        read(output, &mut row);
        let Quantizer { scale, inverse } = Quantizer::of(&row);
        let (header, words) = words.split_at_mut(ROW_HEADER);
        let mut sum = 0;
        for (i, word) in words.iter_mut().enumerate() {
            let (tap, first) = (i / width, i % width * 4);
            let mut bytes = [0; 4];
            for (input, byte) in (first..inputs).zip(&mut bytes) {
                *byte = quantized(row[input * taps + tap], inverse);
                sum += i32::from(*byte);
            }
            *word = u32::from_le_bytes(bytes.map(i8::cast_unsigned));
        }
        header[0] = scale.to_bits();
        header[1] = sum.cast_unsigned();
    });
    words
}

/// Writes what the weights of an output stand for in [`int8_panels`] of so many inputs.
///
/// # Panics
/// If there is no such output, or `row` is not as long as there are inputs.
pub fn int8_panels_read(panels: &[u32], inputs: usize, output: usize, row: &mut [f32]) {
    assert_eq!(row.len(), inputs, "a row of the inputs");
    let (panel, column) = (output / PANEL, output % PANEL);
    let scale = f32::from_bits(Int8Panel::new(panels, panel, inputs).scales[column]);
    let (words, _) = Int8Panel::words(panels, panel, inputs);
    for (i, x) in row.iter_mut().enumerate() {
        *x = scale * f32::from(words[i / 4 * PANEL + column].to_le_bytes()[i % 4].cast_signed());
    }
}

/// Writes what the weights `[inputs, taps]` of an output stand for in [`int8_rows`] of so many inputs and taps.
///
/// # Panics
/// If there is no such output, or `row` is not as long as there are weights.
pub fn int8_rows_read(rows: &[u32], [inputs, taps]: [usize; 2], output: usize, row: &mut [f32]) {
    assert_eq!(row.len(), inputs * taps, "a row of the inputs and taps");
    let Int8Row { scale, .. } = Int8Row::new(rows, output, [inputs, taps]);
    let (words, _) = Int8Row::words(rows, output, [inputs, taps]);
    for (i, x) in row.iter_mut().enumerate() {
        let (input, tap) = (i / taps, i % taps);
        let word = words[tap * inputs.div_ceil(4) + input / 4];
        *x = scale * f32::from(word.to_le_bytes()[input % 4].cast_signed());
    }
}

/// The scale of some weights.
struct Quantizer {
    scale: f32,
    inverse: f32,
}

impl Quantizer {
    fn of(weights: &[f32]) -> Self {
        let finite = weights.iter().all(|weight| weight.is_finite());
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        if !finite {
            Self { scale: f32::NAN, inverse: 0.0 }
        } else if largest < LEAST_RANGE {
            Self { scale: 0.0, inverse: 0.0 }
        } else {
            Self { scale: largest / LARGEST, inverse: LARGEST / largest }
        }
    }
}

/// The nearest of the 255 numbers.
fn quantized(weight: f32, inverse: f32) -> i8 {
    (weight * inverse).round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

/// What stands in front of a panel of [`int8_panels`].
#[derive(Clone, Copy)]
pub(crate) struct Int8Panel<'a> {
    /// The scale of each output, as f32.
    pub(crate) scales: &'a [u32],
    /// The sum of the weights of each output, as i32.
    pub(crate) sums: &'a [u32],
}

impl<'a> Int8Panel<'a> {
    /// That of a panel of so many inputs.
    #[inline(always)]
    pub(crate) fn new(panels: &'a [u32], panel: usize, inputs: usize) -> Self {
        let (scales, sums) = panels[panel * panel_len(inputs)..][..PANEL_HEADER].split_at(PANEL);
        Self { scales, sums }
    }

    /// The words of the panels from `panel` on, and how many there are from one to the next.
    pub(crate) fn words(panels: &'a [u32], panel: usize, inputs: usize) -> (&'a [u32], usize) {
        (&panels[panel * panel_len(inputs) + PANEL_HEADER..], panel_len(inputs))
    }
}

/// What stands in front of a row of [`int8_rows`].
#[derive(Clone, Copy)]
pub(crate) struct Int8Row {
    pub(crate) scale: f32,
    /// The sum of the weights.
    pub(crate) sum: i32,
}

impl Int8Row {
    /// That of an output.
    #[inline(always)]
    pub(crate) fn new(rows: &[u32], output: usize, shape: [usize; 2]) -> Self {
        let header = &rows[output * row_len(shape)..];
        Self { scale: f32::from_bits(header[0]), sum: header[1].cast_signed() }
    }

    /// The words of the rows from `output` on, and how many there are from one to the next.
    pub(crate) fn words(rows: &[u32], output: usize, shape: [usize; 2]) -> (&[u32], usize) {
        (&rows[output * row_len(shape) + ROW_HEADER..], row_len(shape))
    }
}

/// The scale and the zero of some inputs in bytes: x is `scale · (q - zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range8 {
    /// NaN if an input is not finite.
    pub(crate) scale: f32,
    /// Of the scale; zero if there is none.
    inverse: f32,
    /// An integer from 1 to 254.
    zero: f32,
}

impl Range8 {
    /// That of inputs between these two, which are finite if `finite`.
    ///
    /// Zero is among the numbers of every range. So the inputs of an activation function that is hardly ever negative
    /// have steps half as large as symmetric ones would be.
    pub(crate) fn of(least: f32, greatest: f32, finite: bool) -> Self {
        let (least, greatest) = (least.min(0.0), greatest.max(0.0));
        let range = greatest - least;
        if !finite || !range.is_finite() {
            return Self { scale: f32::NAN, inverse: 0.0, zero: 1.0 };
        }
        if range < LEAST_RANGE {
            return Self { scale: 0.0, inverse: 0.0, zero: 1.0 };
        }
        let inverse = STEPS / range;
        Self { scale: range / STEPS, inverse, zero: 1.0 + (-least * inverse).floor() }
    }

    /// The number that stands for 0.
    #[inline(always)]
    pub(crate) fn zero(self) -> i32 {
        self.zero as i32
    }

    /// The number that stands for an input of the range, in the lowest 8 bits.
    #[inline(always)]
    pub(crate) fn byte(self, x: f32) -> u32 {
        // The sum's last place is that of the integers: it is rounded to one, and is the lowest bits.
        const INTEGERS: f32 = 12_582_912.0; // 1.5 · 2^23
        // At least 0, for zero is more than what the least input is below it, and at most 254.
        (x * self.inverse + self.zero + INTEGERS).to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the range, its ends and zero are met, and nothing is further off than half a step.
    #[test]
    fn inputs_are_rounded_to_the_nearest_byte() {
        let ends = [0.0, 1e-34, 1e-3, 0.28, 1.0, 7.3, 126.5, 1e4, 1e37];
        for least in ends.map(|end: f32| -end) {
            for greatest in ends {
                let range = Range8::of(least, greatest, true);
                assert_eq!(range.byte(0.0) & 0xff, range.zero().cast_unsigned());
                for i in 0..=1000 {
                    let x = least + (greatest - least) * (i as f32 / 1000.0);
                    let x = x.clamp(least, greatest);
                    let byte = range.byte(x) & 0xff;
                    let back = f64::from(range.scale) * f64::from(byte.cast_signed() - range.zero());
                    let half = f64::from(range.scale) * 0.500_1;
                    assert!((back - f64::from(x)).abs() <= half, "{x} of {least} to {greatest} is {back}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_has_no_scale() {
        assert!(Range8::of(0.0, f32::INFINITY, true).scale.is_nan());
        assert!(Range8::of(f32::MIN, f32::MAX, true).scale.is_nan());
        assert!(Range8::of(0.0, 1.0, false).scale.is_nan());
        assert_eq!(Range8::of(0.0, 0.0, true).scale, 0.0);
    }

    #[test]
    fn weights_keep_their_signs_and_their_largest() {
        let weights = [[-2.0, 1.0, 0.0, 0.5, 2.0], [0.0; 5], [1e-3, 0.0, -1e-3, 0.0, 0.0]];
        let words = int8_rows([3, 5, 1], |output, row| row.copy_from_slice(&weights[output]));
        let bytes = |output: usize| -> Vec<i8> {
            let (words, _) = Int8Row::words(&words, output, [5, 1]);
            words[..2].iter().flat_map(|word| word.to_le_bytes()).map(u8::cast_signed).collect()
        };
        assert_eq!(bytes(0), [-127, 64, 0, 32, 127, 0, 0, 0]);
        assert_eq!(bytes(1), [0; 8]);
        assert_eq!(bytes(2), [127, 0, -127, 0, 0, 0, 0, 0]);
        assert_eq!(Int8Row::new(&words, 0, [5, 1]).sum, 96);
        assert_eq!(Int8Row::new(&words, 0, [5, 1]).scale, 2.0 / 127.0);
        assert_eq!(Int8Row::new(&words, 1, [5, 1]).scale, 0.0);
    }
}
