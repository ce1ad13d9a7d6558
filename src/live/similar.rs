//! Whether a picture would be as the one before.

use hypersd_core::Image;

use crate::{Request, Start};

/// True for requests that are equal but for the numbers in their pictures, which differ by less than `levels` of 255 in the
/// mean.
pub(super) fn are_similar(drawn: &Request, request: &Request, levels: f32) -> bool {
    let (before, now) = (pictures(drawn), pictures(request));
    let sizes = |images: &[&Image]| images.iter().map(|i| [i.width(), i.height()]).collect::<Vec<_>>();
    let close = sizes(&before) == sizes(&now) && mean_difference(&before, &now) < f64::from(levels);
    if !close {
        return false;
    }
    let mut other = request.clone();
    for (image, of_drawn) in pictures_mut(&mut other).into_iter().zip(before) {
        image.clone_from(of_drawn);
    }
    other == *drawn
}

/// 0 where there is no picture.
fn mean_difference(before: &[&Image], now: &[&Image]) -> f64 {
    let bytes = |images: &[&Image]| images.iter().map(|image| image.rgb8().len()).sum::<usize>();
    let differences = before.iter().zip(now).flat_map(|(a, b)| a.rgb8().iter().zip(b.rgb8()));
    let sum: u64 = differences.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / bytes(before).max(1) as f64
}

/// All pictures of a request.
fn pictures(request: &Request) -> Vec<&Image> {
    let mask = match &request.start {
        Start::Masked { mask, .. } => Some(&mask.image),
        _ => None,
    };
    let controls = request.controls.iter().map(|control| &control.image);
    request.start.images().iter().chain(mask).chain(controls).collect()
}

/// The same, in the same order.
fn pictures_mut(request: &mut Request) -> Vec<&mut Image> {
    let (images, mask): (&mut [Image], _) = match &mut request.start {
        Start::Noise => (&mut [], None),
        Start::Picture { images, .. } | Start::Change { images, .. } => (images, None),
        Start::Masked { images, mask, .. } => (images, Some(&mut mask.image)),
    };
    let controls = request.controls.iter_mut().map(|control| &mut control.image);
    images.iter_mut().chain(mask).chain(controls).collect()
}
