//! Textual inversion: embeddings that stand for words of one's own, given to a model or taken from it again.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use hypersd_core::Location;
use hypersd_lora::LoraFile;
use hypersd_models::{
    Profile,
    clip::{ClipTextConfig, TextualInversion, Tokenizer},
};

use crate::{
    Error, Pipeline,
    draw::{Model, PromptEncoder},
    open::locate,
};

/// A file with the word that it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    word: String,
    file: Arc<TextualInversion>,
}

/// The words that were added to a text encoder. The network's own weights are not touched.
#[derive(Debug)]
pub(crate) struct Words {
    /// The model's tokenizer, which knows them.
    pub(crate) tokenizer: Tokenizer,
    /// Their embeddings, `[N, D]`: the ids from the end of the vocabulary on.
    pub(crate) vectors: Tensor<2>,
}

impl Embedding {
    /// Reads a file. Without a word it stands for the one that it says, else for its name.
    pub(crate) fn open(location: &Location, word: Option<&str>) -> Result<Self, Error> {
        let file = TextualInversion::open(location)?;
        let word = match word.or(file.word()) {
            Some(word) => word.to_string(),
            None => {
                let name = location.file_name().unwrap_or_default();
                let end = [".safetensors", ".pt", ".bin"].iter().find_map(|end| name.strip_suffix(end));
                end.unwrap_or(&name).to_string()
            }
        };
        Ok(Self { word, file: Arc::new(file) })
    }

    /// A word that a LoRA file brings along.
    pub(crate) fn of_lora(file: &LoraFile, word: &str) -> Result<Self, Error> {
        let source = file.word(word)?;
        Ok(Self { word: word.to_string(), file: Arc::new(TextualInversion::from_source(&source)?) })
    }
}

/// A text encoder that words are for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) vocab_size: usize,
    /// Width of its embeddings.
    pub(crate) width: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, config: &ClipTextConfig) -> Self {
        Self { tokenizer, vocab_size: config.vocab_size, width: config.hidden_size }
    }
}

/// Makes sure that every file is for the text encoders of a model, and every word one that their tokenizers can be given.
pub(crate) fn check(
    profile: &Profile,
    readers: &[Reader<'_>],
    embeddings: &[Embedding],
) -> Result<(), Error> {
    let widths: Vec<usize> = readers.iter().map(|reader| reader.width).collect();
    let mut names = Vec::with_capacity(embeddings.len());
    for embedding in embeddings {
        embedding.file.vectors(profile, &widths)?;
        names.push((embedding.word.clone(), 1));
    }
    for reader in readers {
        reader.tokenizer.with_words(0, &names)?;
    }
    Ok(())
}

/// The words for each text encoder of a model, in the family's order; `None` without any.
pub(crate) fn words(
    profile: &Profile,
    readers: &[Reader<'_>],
    embeddings: &[Embedding],
    device: &Device,
) -> Result<Vec<Option<Words>>, Error> {
    if embeddings.is_empty() {
        return Ok(readers.iter().map(|_| None).collect());
    }
    let widths: Vec<usize> = readers.iter().map(|reader| reader.width).collect();
    let mut vectors = Vec::with_capacity(embeddings.len());
    for embedding in embeddings {
        vectors.push(embedding.file.vectors(profile, &widths)?);
    }
    let of_reader = |(place, reader): (usize, &Reader<'_>)| {
        let vectors: Vec<_> = vectors.iter().map(|of_file| of_file[place]).collect();
        let names = embeddings.iter().zip(&vectors).map(|(it, vectors)| (it.word.clone(), vectors.count));
        let first_id = u32::try_from(reader.vocab_size).unwrap_or(u32::MAX);
        let tokenizer = reader.tokenizer.with_words(first_id, &names.collect::<Vec<_>>())?;
        let rows = vectors.iter().map(|vectors| vectors.count).sum::<usize>();
        let data = vectors.iter().flat_map(|vectors| vectors.data).copied().collect::<Vec<f32>>();
        let vectors = Tensor::from_data(TensorData::new(data, [rows, reader.width]), device);
        Ok(Some(Words { tokenizer, vectors }))
    };
    readers.iter().enumerate().map(of_reader).collect()
}

impl Pipeline {
    /// Exchanges all words of one's own (textual inversion): afterwards the pipeline is what loading it with these would
    /// have made. With none it is as if there had never been any, bit for bit. Each file stands for a word, as
    /// [`PipelineBuilder::embedding`](crate::PipelineBuilder::embedding) has it.
    ///
    /// ```no_run
    /// # fn example(pipeline: &mut hypersd::Pipeline) -> Result<(), hypersd::Error> {
    /// pipeline.set_embeddings(&[("easynegative.safetensors", None), ("toy.safetensors", Some("<cat-toy>"))])?;
    /// pipeline.set_embeddings::<&str>(&[])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for files that cannot be read or are for other text encoders, and for words
    /// that the tokenizer cannot be given; the pipeline is then as it was before.
    pub fn set_embeddings<L>(&mut self, embeddings: &[(L, Option<&str>)]) -> Result<(), Error>
    where
        L: Clone + Into<Location>,
    {
        let mut opened = Vec::with_capacity(embeddings.len());
        for (location, word) in embeddings {
            opened.push(Embedding::open(&locate(location.clone())?, *word)?);
        }
        self.model.set_words(&opened)
    }
}

impl Model {
    /// Exchanges the words of all encoders, the refiner's too.
    pub(crate) fn set_words(&mut self, embeddings: &[Embedding]) -> Result<(), Error> {
        let own = self.text.words(embeddings, &self.device)?;
        if let Some(refiner) = &mut self.refiner {
            let words = refiner.text.words(embeddings, &self.device)?;
            refiner.text.set_words(words);
        }
        self.text.set_words(own);
        Ok(())
    }
}

impl PromptEncoder {
    /// The words as its encoders know them.
    fn words(&self, embeddings: &[Embedding], device: &Device) -> Result<Vec<Option<Words>>, Error> {
        let readers = self.encoders.iter().map(|encoder| {
            let config = encoder.network.blank().config();
            Reader::new(&encoder.tokenizer, config)
        });
        words(self.profile, &readers.collect::<Vec<_>>(), embeddings, device)
    }

    fn set_words(&mut self, words: Vec<Option<Words>>) {
        for (encoder, words) in self.encoders.iter_mut().zip(words) {
            encoder.words = words;
        }
    }
}
