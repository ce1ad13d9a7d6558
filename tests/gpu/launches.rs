//! The number of kernels that a device is asked for: what a step costs beside its arithmetic.
//!
//! Counted in the whole process, so these tests are run on one thread, as all of this program on a device.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use hypersd::{Pipeline, Request, Steps};
use hypersd_testing::{device, dtype, on_cpu, weights};

#[derive(Default)]
struct Counter(AtomicUsize);

impl LaunchObserver for Counter {
    fn launched(&self, _: &'static str) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The launches until everything is computed that `work` asks for.
fn launches<T>(work: impl FnOnce() -> T) -> (usize, T) {
    device().sync().expect("a device that works");
    let counter = Arc::new(Counter::default());
    let observation = LaunchObservation::new(counter.clone());
    let made = work();
    device().sync().expect("a device that works");
    drop(observation);
    (counter.0.load(Relaxed), made)
}

/// A network of 60 layers, two thirds of which are those of a published one. What is allowed is what was counted with Burn
/// 0.22.1 and a tenth more: another version may fuse otherwise.
#[test]
fn a_step_and_a_picture_take_few_launches() {
    if on_cpu() {
        return; // where nothing is launched
    }
    for (model, of_a_step, of_a_decode) in [("tiny-sd15", 1050, 200), ("tiny-sdxl", 810, 200)] {
        let pipeline = Pipeline::open(weights("").join(model)).expect("the model").dtype(dtype());
        let pipeline = pipeline.load(&device()).expect("the pipeline");
        let request = Request { steps: Steps::Count(2), ..Request::default() };
        pipeline.generate(&request).expect("a picture"); // kernels are compiled and chosen
        let mut steps = pipeline.denoise(&request).expect("a request that can be right");
        let (first, _) = launches(|| steps.next());
        let (second, x) = launches(|| steps.next());
        let x = x.expect("a second step").expect("a step").x;
        let (decode, _) = launches(|| pipeline.decode(x));
        let counted = format!("{model}: {first} and {second} launches of a step, {decode} of decoding");
        assert!(second <= of_a_step && decode <= of_a_decode, "{counted}");
    }
}
