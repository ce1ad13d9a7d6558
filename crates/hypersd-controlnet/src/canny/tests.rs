//! What must hold for any image. That the edges are OpenCV's is tested in `tests/canny.rs`.

use proptest::prelude::*;

use super::Canny;

/// Any small gray image: width, height, pixels. Few gray levels, so that plateaus and ties are common.
fn images() -> impl Strategy<Value = (usize, usize, Vec<u8>)> {
    let levels = prop_oneof![Just(1_u8), Just(60), Just(85)];
    (1..40_usize, 1..20_usize, levels).prop_flat_map(|(width, height, step)| {
        let pixel = any::<u8>().prop_map(move |p| p / step * step);
        prop::collection::vec(pixel, width * height).prop_map(move |pixels| (width, height, pixels))
    })
}

fn detectors() -> impl Strategy<Value = Canny> {
    let threshold = || prop_oneof![-10.0..2100.0_f64, Just(f64::INFINITY), Just(f64::MIN), Just(0.0)];
    (threshold(), threshold(), any::<bool>()).prop_map(|(low, high, l2_gradient)| Canny {
        low,
        high,
        l2_gradient,
    })
}

/// The definition, pixel by pixel and with a search instead of a stack.
fn slow(canny: &Canny, pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let (w, h) = (width as i64, height as i64);
    let pixel = |x: i64, y: i64| i64::from(pixels[(y.clamp(0, h - 1) * w + x.clamp(0, w - 1)) as usize]);
    let gradient = |x: i64, y: i64| {
        let across = |d: i64| pixel(x + d, y - 1) + 2 * pixel(x + d, y) + pixel(x + d, y + 1);
        let along = |d: i64| pixel(x - 1, y + d) + 2 * pixel(x, y + d) + pixel(x + 1, y + d);
        (across(1) - across(-1), along(1) - along(-1))
    };
    let magnitude = |x: i64, y: i64| {
        if !(0..w).contains(&x) || !(0..h).contains(&y) {
            return 0.0;
        }
        let (dx, dy) = gradient(x, y);
        if canny.l2_gradient { (dx * dx + dy * dy) as f64 } else { (dx.abs() + dy.abs()) as f64 }
    };
    let threshold = |t: f64| {
        let t = if canny.l2_gradient && t > 0.0 { t.min(32767.0).powi(2) } else { t };
        t.floor()
    };
    let (low, high) = (threshold(canny.low.min(canny.high)), threshold(canny.low.max(canny.high)));
    let candidate = |x: i64, y: i64| {
        let (dx, dy) = gradient(x, y);
        let (ax, ay) = (dx.abs(), dy.abs() << 15);
        let slope = ax * 13573;
        let ((bx, by), strict) = if ay < slope {
            ((-1, 0), false)
        } else if ay > slope + (ax << 16) {
            ((0, -1), false)
        } else {
            ((if (dx ^ dy) < 0 { 1 } else { -1 }, -1), true)
        };
        let (m, before, behind) = (magnitude(x, y), magnitude(x + bx, y + by), magnitude(x - bx, y - by));
        m > low && m > before && (if strict { m > behind } else { m >= behind })
    };
    let at = |x: i64, y: i64| (y * w + x) as usize;
    let all = || (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
    let candidates: Vec<bool> = all().map(|(x, y)| candidate(x, y)).collect();
    let mut edges: Vec<bool> = all().map(|(x, y)| candidates[at(x, y)] && magnitude(x, y) > high).collect();
    loop {
        let touches = |x: i64, y: i64| {
            let near = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy)));
            near.into_iter().any(|(x, y)| (0..w).contains(&x) && (0..h).contains(&y) && edges[at(x, y)])
        };
        let grown: Vec<bool> =
            all().map(|(x, y)| edges[at(x, y)] || (candidates[at(x, y)] && touches(x, y))).collect();
        if grown == edges {
            return edges.into_iter().map(|edge| if edge { 255 } else { 0 }).collect();
        }
        edges = grown;
    }
}

proptest! {
    #[test]
    fn any_image_has_the_edges_of_the_definition((width, height, pixels) in images(), canny in detectors()) {
        let edges = canny.edges_of_gray(&pixels, width, height).unwrap();
        prop_assert_eq!(edges, slow(&canny, &pixels, width, height));
    }

    #[test]
    fn a_flat_image_has_no_edges(level: u8, width in 1..70_usize, height in 1..20_usize, canny in detectors()) {
        let edges = canny.edges_of_gray(&vec![level; width * height], width, height).unwrap();
        prop_assert!(edges.iter().all(|&edge| edge == 0));
    }

    /// Only differences count.
    #[test]
    fn brightness_does_not_matter((width, height, pixels) in images(), canny in detectors()) {
        let halved: Vec<u8> = pixels.iter().map(|p| p / 2).collect();
        let brighter: Vec<u8> = halved.iter().map(|p| p + 100).collect();
        let edges = |pixels: &[u8]| canny.edges_of_gray(pixels, width, height).unwrap();
        prop_assert_eq!(edges(&halved), edges(&brighter));
    }

    /// Black and white exchanged: both derivatives change their signs, which no rule looks at alone.
    #[test]
    fn a_negative_has_the_same_edges((width, height, pixels) in images(), canny in detectors()) {
        let negative: Vec<u8> = pixels.iter().map(|p| 255 - p).collect();
        let edges = |pixels: &[u8]| canny.edges_of_gray(pixels, width, height).unwrap();
        prop_assert_eq!(edges(&pixels), edges(&negative));
    }

    /// Rows for columns: left is to right as up is to down. Not so where a gradient lies within 1/32768 of the line
    /// between two directions, whose slopes 0.41421 and 2.41421 are no exact inverses in fixed point; integer
    /// derivatives to 1020 do not come that near.
    #[test]
    fn a_transposed_image_has_transposed_edges((width, height, pixels) in images(), canny in detectors()) {
        let transpose = |pixels: &[u8], width: usize, height: usize| -> Vec<u8> {
            (0..width * height).map(|i| pixels[i % height * width + i / height]).collect()
        };
        let edges = canny.edges_of_gray(&pixels, width, height).unwrap();
        let turned = canny.edges_of_gray(&transpose(&pixels, width, height), height, width).unwrap();
        prop_assert_eq!(turned, transpose(&edges, width, height));
    }
}

#[test]
fn thresholds_that_are_not_numbers_are_refused() {
    let refusal = |canny: Canny| canny.edges_of_gray(&[0; 6], 3, 2).unwrap_err().to_string();
    let low = Canny { low: f64::NAN, ..Canny::default() };
    assert_eq!(refusal(low), "Canny thresholds: expected numbers, found NaN and 200");
    let high = Canny { high: f64::NAN, ..Canny::default() };
    assert_eq!(refusal(high), "Canny thresholds: expected numbers, found 100 and NaN");
}

#[test]
fn sizes_that_are_not_the_images_are_refused() {
    let refusal = |bytes: usize, width, height| {
        Canny::default().edges_of_gray(&vec![0; bytes], width, height).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(5, 3, 2),
        "gray: expected width · height bytes, sides from 1 to 16384, found 5 for 3x2"
    );
    for (bytes, width, height) in [(0, 0, 0), (0, 0, 7), (0, usize::MAX, 2), (16385, 16385, 1), (6, 2, 2)] {
        assert!(refusal(bytes, width, height).starts_with("gray: expected"), "{bytes} {width} {height}");
    }
}
