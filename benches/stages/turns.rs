//! Programs take turns on one stage.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    Options,
    peer::{Peer, Process},
    table::Cell,
};

/// Between two turns: PyTorch's threads, for one, wait busily for 0.2 s after they have answered, on the processors of
/// whoever is next.
const PAUSE: Duration = Duration::from_millis(500);

/// What was measured of one program in one stage.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// What the untimed run took.
    first: f64,
    seconds: Vec<f64>,
    /// Of the process that took most.
    bytes: f64,
}

impl Figures {
    /// The median.
    pub(crate) fn seconds(&self) -> Cell {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let value = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Cell { value, rounds: Some(sorted.len()) }
    }

    pub(crate) fn gigabytes(&self) -> Cell {
        Cell { value: self.bytes * 1e-9, rounds: None }
    }
}

/// The figures of every program, in their order; none of one that does not have the stage, or fails in it.
pub(crate) fn measure(peers: &[Peer], stage: &str, options: &Options) -> Vec<Option<Figures>> {
    let mut all: Vec<_> = peers.iter().map(|peer| Turns::new(peer, stage, options)).collect();
    if !options.apart {
        all.iter_mut().for_each(Turns::prepare);
    }
    for _ in 0..options.rounds.max(1) {
        all.iter_mut().for_each(Turns::take);
    }
    all.into_iter().map(Turns::end).collect()
}

/// One program's turns.
struct Turns<'a> {
    peer: &'a Peer,
    stage: &'a str,
    options: &'a Options,
    process: Option<Process>,
    /// Until it turns out that the program cannot.
    figures: Option<Figures>,
}

impl<'a> Turns<'a> {
    fn new(peer: &'a Peer, stage: &'a str, options: &'a Options) -> Self {
        Self { peer, stage, options, process: None, figures: Some(Figures::default()) }
    }

    fn prepare(&mut self) {
        self.attempt(|turns, figures| {
            let start = Instant::now();
            let mut process = Process::start(turns.peer, &turns.options.task)?;
            if !process.has(turns.stage) {
                return Err("no such stage".into());
            }
            figures.first = process.ask(turns.stage)?;
            let Self { peer, stage, .. } = turns;
            let prepared = start.elapsed().as_secs_f64() - figures.first;
            eprintln!(
                "{stage}: {} prepared for {prepared:.1} s, then took {:.2} s",
                peer.name, figures.first
            );
            turns.process = Some(process);
            Ok(())
        });
    }

    fn take(&mut self) {
        let enough = |figures: &Figures| !figures.seconds.is_empty() && figures.first > self.options.limit;
        if self.figures.as_ref().is_none_or(enough) {
            return;
        }
        if self.process.is_none() {
            self.prepare();
        }
        thread::sleep(PAUSE);
        self.attempt(|turns, figures| {
            let process = turns.process.as_mut().expect("prepared");
            figures.seconds.push(process.ask(turns.stage)?);
            if turns.options.apart { turns.finish(figures) } else { Ok(()) }
        });
    }

    fn end(mut self) -> Option<Figures> {
        self.attempt(Self::finish);
        self.figures
    }

    /// Ends the process, if there is one.
    fn finish(&mut self, figures: &mut Figures) -> Result<(), String> {
        if let Some(mut process) = self.process.take() {
            figures.bytes = figures.bytes.max(process.ask("memory")?);
        }
        Ok(())
    }

    /// Does something unless the program is out already; with an error it is out.
    fn attempt(&mut self, act: impl FnOnce(&mut Self, &mut Figures) -> Result<(), String>) {
        let Some(mut figures) = self.figures.take() else { return };
        match act(self, &mut figures) {
            Ok(()) => self.figures = Some(figures),
            Err(error) => {
                eprintln!("{}: {}: {error}", self.stage, self.peer.name);
                self.process = None;
            }
        }
    }
}
