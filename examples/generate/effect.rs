//! Options that are given and change nothing: one note each, before anything is drawn.

use hypersd::Request;

use crate::{options::Options, say};

/// Says which options have no effect on a request, with what it leaves to the model written out.
pub(crate) fn notice(options: &Options, settled: &Request) {
    for (option, why) in without_effect(options, settled) {
        say::note(format_args!("{option} has no effect {why}"));
    }
}

/// Each option without effect, and why it has none.
fn without_effect(options: &Options, settled: &Request) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let guidance = settled.guidance;
    if guidance <= 1.0 {
        let why = format!("at guidance {guidance}, only above 1");
        let given = [
            ("--negative", settled.negative.is_some()),
            ("--guidance-rescale", settled.guidance_rescale != 0.0),
        ];
        found.extend(given.into_iter().filter(|(_, given)| *given).map(|(option, _)| (option, why.clone())));
    }
    if let Some(algorithm) = settled.scheduler {
        if options.eta.is_some_and(|eta| eta != 0.0) && !algorithm.has_eta() {
            found.push(("--eta", format!("with the scheduler {algorithm}")));
        }
        if options.spacing.is_some() && !algorithm.has_spacing() {
            found.push((
                "--spacing",
                format!("with the scheduler {algorithm}, which has timesteps of its own"),
            ));
        }
    }
    found.extend(options.control.without_effect().map(|option| (option, "without a --controlnet".into())));
    found
}
