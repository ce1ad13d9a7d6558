//! Counting what becomes of the modules of a file.

use std::{cmp::Ordering, collections::BTreeMap};

use hypersd_core::Family;

use crate::{
    family::MadeFor,
    file::LoraFile,
    form::Form,
    report::{Applied, LoraReport},
};

impl LoraReport {
    /// The account of a file of which nothing is applied yet.
    pub(crate) fn new(file: &LoraFile, base: Option<Family>) -> Self {
        Self {
            file: file.origin(),
            modules: file.modules().len() + file.foreign.len(),
            applied: 0,
            groups: Vec::new(),
            unmatched: Vec::new(),
            made_for: MadeFor::of(&*file.source),
            base,
        }
    }

    /// Counts a module by the form of its weight, or of its bias where it changes no weight.
    pub(crate) fn count(&mut self, network: &'static str, weight: f32, form: Option<&Form>) {
        let Some(form) = form else { return };
        self.applied += 1;
        let same = |group: &Applied| group.network == network && group.form == form.name();
        let at = self.groups.iter().position(same).unwrap_or_else(|| {
            let group = Applied {
                network,
                form: form.name(),
                weight,
                modules: 0,
                ranks: BTreeMap::new(),
                alphas: Vec::new(),
                scales: Vec::new(),
            };
            self.groups.push(group);
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.modules += 1;
        tally(&mut group.scales, (f64::from(weight) * form.scale()) as f32, f32::total_cmp);
        if let Some(rank) = form.rank() {
            *group.ranks.entry(rank).or_default() += 1;
            let sort = |alpha: &Option<f32>| alpha.unwrap_or(f32::NEG_INFINITY);
            tally(&mut group.alphas, form.alpha(), |a, b| sort(a).total_cmp(&sort(b)));
        }
    }
}

fn tally<T>(counts: &mut Vec<(T, usize)>, value: T, order: impl Fn(&T, &T) -> Ordering) {
    match counts.binary_search_by(|(known, _)| order(known, &value)) {
        Ok(at) => counts[at].1 += 1,
        Err(at) => counts.insert(at, (value, 1)),
    }
}
