//! Exchanging the LoRAs of a loaded pipeline.

use std::sync::Arc;

use hypersd_core::Location;
use hypersd_lora::{LoraReport, Merged, Weights, merge};

use crate::{
    Error, Notice, Pipeline,
    open::{locate, open_lora, tell_of_loras},
};

impl Pipeline {
    /// Exchanges all LoRAs: afterwards the pipeline is what loading it with these would have made, bit for bit. With
    /// none it is the base model again.
    ///
    /// Only the weights that the old or the new LoRAs touch are read again, from the base model's files, which must
    /// still be there. A weight is a number, or [`Weights`] for one in each network.
    ///
    /// ```no_run
    /// # fn example(pipeline: &mut hypersd::Pipeline) -> Result<(), hypersd::Error> {
    /// pipeline.set_loras(&[("Hyper-SD15-1step-lora.safetensors", 1.0), ("pixel-art.safetensors", 0.8)])?;
    /// for report in pipeline.lora_reports() {
    ///     println!("{report}");
    /// }
    /// pipeline.set_loras::<&str, f32>(&[])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Lora`] for files that cannot be read or do not fit, and [`Error::Weights`] for what reading meets; the
    /// pipeline is then as it was before. If even that cannot be read again, every later call says [`Error::Unloaded`]. In
    /// [low memory](crate::PipelineBuilder::low_memory) nothing is read yet: what only reading finds, a factor that is
    /// not finite above all, is found when a picture is drawn.
    pub fn set_loras<L, W>(&mut self, loras: &[(L, W)]) -> Result<(), Error>
    where
        L: Clone + Into<Location>,
        W: Copy + Into<Weights>,
    {
        let mut opened = Vec::with_capacity(loras.len());
        for (location, weight) in loras {
            opened.push(open_lora(&locate(location.clone())?, *weight)?);
        }
        for file in opened.iter().map(|lora| &lora.file) {
            for word in file.words() {
                let (file, word) = (file.origin(), word.to_string());
                let reason = "words of a loaded pipeline are exchanged by set_embeddings".into();
                self.notices.give(Notice::LoraWord { file, word, reason });
            }
        }
        let merged = merge(&self.lora_bases.bases, &opened, self.lora_bases.strictness)?;

        let before = self.merged_sources();
        for (network, source) in merged.sources.into_iter().enumerate() {
            if let Err(error) = self.exchange(network, source) {
                for (network, source) in before.into_iter().enumerate().take(network) {
                    self.exchange(network, source)?;
                }
                return Err(error);
            }
        }
        self.lora_reports = merged.reports;
        tell_of_loras(&self.lora_reports, &self.notices);
        Ok(())
    }

    /// The account of each LoRA file, in the order they were given.
    #[must_use]
    pub fn lora_reports(&self) -> &[LoraReport] {
        &self.lora_reports
    }

    /// The source that each network was read from, in the order of the bases.
    fn merged_sources(&self) -> Vec<Arc<Merged>> {
        let encoders = self.model.text.encoders.iter().map(|encoder| encoder.network.source().clone());
        std::iter::once(self.model.denoiser.source().clone()).chain(encoders).collect()
    }

    /// Exchanges the source of one network, by its place among the bases.
    fn exchange(&mut self, network: usize, source: Arc<Merged>) -> Result<(), Error> {
        match network.checked_sub(1) {
            None => self.model.denoiser.exchange(source),
            Some(encoder) => match self.model.text.encoders.get_mut(encoder) {
                Some(encoder) => encoder.network.exchange(source),
                None => Ok(()),
            },
        }
    }
}
