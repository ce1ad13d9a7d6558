//! Thinning: an edge is where the magnitude is a maximum across the edge, that is, along the gradient.

use super::{LANES, chunk, chunk_mut, gradient::Surroundings, magnitude::Magnitude, neighbours};

/// No edge.
pub(super) const NOTHING: u8 = 0;

/// tan 22.5° · 2^15, rounded: the slope that OpenCV parts the directions at.
const TAN_22_5: i32 = 13573;

/// Writes 0 for no edge, 1 for a weak one and 2 for a strong one.
pub(super) fn classify<M: Magnitude>(around: &Surroundings<'_, M>, low: M, high: M, classes: &mut [u8]) {
    for i in (0..around.dx.len()).step_by(LANES) {
        let magnitudes = chunk(around.magnitudes[1], i + 1);
        let any = magnitudes.iter().fold(false, |any, &m| any | (m > low));
        *chunk_mut(classes, i) = if any { classify_chunk(around, i, low, high) } else { [NOTHING; LANES] };
    }
}

/// A maximum is above the neighbour before it and not below the one behind it, so that of a plateau of two the first
/// is taken. Diagonally it is above both.
#[inline(always)]
fn classify_chunk<M: Magnitude>(around: &Surroundings<'_, M>, i: usize, low: M, high: M) -> [u8; LANES] {
    let [up, row, down] = around.magnitudes;
    let (up, row, down) = (neighbours(up, i), neighbours(row, i), neighbours(down, i));
    let (dx, dy) = (chunk(around.dx, i), chunk(around.dy, i));
    let mut classes = [NOTHING; LANES];
    for k in 0..LANES {
        let (x, y) = (dx[k].abs(), dy[k].abs());
        // x · tan 22.5° rounded down, and tan 67.5° = 2 + tan 22.5°: the comparisons of integers come out as in
        // fixed point. (x = y = 0 does not, but there is no maximum either.)
        let slope = ((2 * i32::from(x) * TAN_22_5) >> 16) as i16;
        let horizontal = -i16::from(y <= slope);
        let vertical = -i16::from(y > 2 * x + slope);
        let rising = (dx[k] ^ dy[k]) >> 15; // the signs differ: from bottom left to top right

        let before = M::select(rising, up[2][k], up[0][k]);
        let behind = M::select(rising, down[0][k], down[2][k]).next();
        let (before, behind) =
            (M::select(vertical, up[1][k], before), M::select(vertical, down[1][k], behind));
        let (before, behind) =
            (M::select(horizontal, row[0][k], before), M::select(horizontal, row[2][k], behind));

        let m = row[1][k];
        let edge = m.above(low.max(before)) & !behind.above(m);
        classes[k] = -(edge + (edge & m.above(high))) as u8;
    }
    classes
}
