//! The threads that compute on the CPU.

use std::{error::Error, num::NonZero, thread};

use crate::say;

/// The variable in which Rayon, and with it all that computes here, is told how many threads to start.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Starts as many threads as are asked for, and no more than there are cores to run them: a thousand of them wait for each
/// other longer than they compute.
pub(crate) fn start() -> Result<(), Box<dyn Error>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let asked = std::env::var(VARIABLE).ok().and_then(|text| text.trim().parse::<usize>().ok());
    let threads = match asked {
        None | Some(0) => cores,
        Some(asked) => asked.min(cores),
    };
    if let Some(asked) = asked.filter(|asked| *asked > cores) {
        say::note(format_args!(
            "{VARIABLE} is {asked}, and {cores} cores are at hand; using {threads} threads"
        ));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|error| format!("{threads} threads to compute with cannot be started: {error}").into())
}
