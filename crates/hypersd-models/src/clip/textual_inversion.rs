//! Files of textual inversion (Gal et al. 2022, arXiv:2208.01618): embeddings that stand for a word.
//!
//! | writer | tensors |
//! |---|---|
//! | AUTOMATIC1111's web UI, kohya's scripts | `emb_params` `[N, D]` |
//! | the same in `.pt` and `.bin` files | `string_to_param.*` `[N, D]`, and `string_to_token.*`, a number |
//! | the same for SDXL | `clip_l` `[N, 768]` and `clip_g` `[N, 1280]` |
//! | diffusers (`learned_embeds.safetensors`, `.bin`) | one, `[D]` or `[N, D]`, under the word: `<cat-toy>` |

use hypersd_core::{Family, Location, Renamed, TensorSource, View, WeightFile};

use crate::{Error, Profile};

/// Most vectors of a word: more than any file has, and few enough to hold.
const MOST_VECTORS: usize = 1024;
/// What begins the name of the embeddings in the files that say which token they were trained as.
const PARAMETER: &str = "string_to_param.";
/// The name of embeddings that are the only ones of a file.
const ALONE: &str = "emb_params";

/// The embeddings of a word, as a file has them.
#[derive(Debug, Clone, PartialEq)]
pub struct TextualInversion {
    origin: String,
    word: Option<String>,
    tensors: Vec<Embeddings>,
}

/// The vectors for one encoder.
#[derive(Debug, Clone, PartialEq)]
struct Embeddings {
    name: String,
    /// N, D
    shape: [usize; 2],
    data: Vec<f32>,
}

/// The vectors of a word for one text encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Vectors<'a> {
    /// Their number.
    pub count: usize,
    /// All of them, one after the other: `count` times the encoder's width.
    pub data: &'a [f32],
}

impl TextualInversion {
    /// Reads a [weight file](WeightFile): `.safetensors`, `.pt` or `.bin`.
    ///
    /// # Errors
    /// What opening a weight file meets, and [`hypersd_core::Error::Format`] for tensors that are no embeddings: of another rank than 1 or 2, without elements or
    /// with some that are not finite.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let file = WeightFile::open(location)?;
        Self::from_source(&file)
    }

    /// Takes the embeddings from any source.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_source(source: &dyn TensorSource) -> Result<Self, Error> {
        let mut names = source.names();
        names.sort_unstable();
        let parameters: Vec<_> = names.iter().filter(|name| name.starts_with(PARAMETER)).collect();
        match parameters[..] {
            [] => {}
            [only] => return Self::from_source(&Renamed::select(source, [(ALONE, only, View::Whole)])?),
            _ => {
                return Err(format_error(
                    source,
                    "",
                    "the embeddings of one word",
                    parameters.len().to_string(),
                ));
            }
        }
        if names.is_empty() {
            return Err(format_error(source, "", "at least one tensor", "none".into()));
        }
        // Names that no encoder goes by are the word itself.
        let known = Profile::all().flat_map(|profile| profile.text_encoders);
        let known: Vec<&str> = known.map(|traits| traits.embeddings).collect();
        let word = match &names[..] {
            [name] if !known.contains(&name.as_str()) => Some(name.clone()),
            _ => None,
        };
        let tensors = names.iter().map(|name| Embeddings::read(source, name)).collect::<Result<_, _>>()?;
        Ok(Self { origin: source.origin(), word, tensors })
    }

    /// The name of the file in messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The word that the file says it is for: diffusers' files do, the others are known by their names.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// The vectors for each text encoder of a family, of which the widths are given in the family's order.
    ///
    /// # Errors
    /// [`Error::TextualInversion`] for a file that does not have what the encoders take, naming the family that it looks
    /// made for.
    pub fn vectors(&self, profile: &Profile, widths: &[usize]) -> Result<Vec<Vectors<'_>>, Error> {
        let wanted: Vec<_> =
            profile.text_encoders.iter().map(|traits| traits.embeddings).zip(widths).collect();
        let found = wanted.iter().map(|&(name, &width)| {
            // One alone needs no name.
            let alone = wanted.len() == 1 && self.word.is_some();
            self.tensors.iter().find(|tensor| (alone || tensor.name == name) && tensor.shape[1] == width)
        });
        match found.collect::<Option<Vec<_>>>() {
            // A refiner reads but one of those that a file for its base has.
            Some(found) if found.len() == self.tensors.len() || profile.refines => {
                Ok(found.into_iter().map(Embeddings::vectors).collect())
            }
            _ => Err(self.misfit(profile, &wanted)),
        }
    }

    fn misfit(&self, profile: &Profile, wanted: &[(&str, &usize)]) -> Error {
        let list = |items: Vec<String>| items.join(" and ");
        let wanted = wanted.iter().map(|(name, width)| format!("width {width} ({name})")).collect();
        let found = self.tensors.iter().map(|tensor| format!("{} {:?}", tensor.name, tensor.shape)).collect();
        let family = self.family().filter(|&family| family != profile.family);
        Error::TextualInversion {
            origin: self.origin.clone(),
            expected: list(wanted),
            found: list(found),
            made_for: family
                .map(|family| format!("; it looks made for {family}, the model is {}", profile.family)),
        }
    }

    /// The family that the file looks made for: by its tensors' names, else by the published encoders' widths.
    fn family(&self) -> Option<Family> {
        const WIDTHS: [(usize, Family); 3] = [(768, Family::Sd1), (1024, Family::Sd2), (1280, Family::Sdxl)];
        let named = |profile: &&'static Profile| {
            let names = || profile.text_encoders.iter().map(|traits| traits.embeddings);
            names().count() > 1 && names().any(|name| self.tensors.iter().any(|tensor| tensor.name == name))
        };
        let by_name = Profile::all().find(named).map(|profile| profile.family);
        let width = self.tensors.first()?.shape[1];
        by_name.or_else(|| WIDTHS.iter().find(|(known, _)| *known == width).map(|(_, family)| *family))
    }
}

impl Embeddings {
    fn read(source: &dyn TensorSource, name: &str) -> Result<Self, Error> {
        let tensor = source.tensor(name)?;
        let shape = match tensor.shape[..] {
            [d] if d > 0 => [1, d],
            [n, d] if (1..=MOST_VECTORS).contains(&n) && d > 0 => [n, d],
            _ => {
                let expected = format!("the shape [D] or [N, D] of embeddings, N at most {MOST_VECTORS}");
                return Err(format_error(source, name, &expected, format!("{:?}", tensor.shape)));
            }
        };
        let data = tensor.to_f32().into_owned();
        if let Some(x) = data.iter().find(|x| !x.is_finite()) {
            return Err(format_error(source, name, "finite numbers", x.to_string()));
        }
        Ok(Self { name: name.into(), shape, data })
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors { count: self.shape[0], data: &self.data }
    }
}

fn format_error(source: &dyn TensorSource, name: &str, expected: &str, found: String) -> Error {
    let origin = match name {
        "" => source.origin(),
        name => format!("{}: {name}", source.origin()),
    };
    hypersd_core::Error::Format { origin, expected: expected.into(), found }.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hypersd_core::{Family, SafetensorsFile, TensorSource};

    use super::TextualInversion;
    use crate::Profile;

    /// As torch writes them: `reference/files.py`.
    #[test]
    fn words_that_torch_saved_are_read_as_torch_reads_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hypersd-core/tests/fixtures/files");
        let expected = SafetensorsFile::open(folder.join("expected.safetensors")).expect("a fixture");
        let profile = Profile::of(Family::Sd1).expect("a family that is loaded");
        for name in ["word.pt", "word_old.pt"] {
            let file = TextualInversion::open(folder.join(name)).expect(name);
            assert_eq!(file.word(), None, "{name}");
            let vectors = file.vectors(profile, &[8]).expect(name);
            let want = expected.tensor(&format!("{name}: string_to_param.*")).expect("a fixture");
            assert_eq!((vectors[0].count, vectors[0].data), (2, &*want.to_f32()), "{name}");
            let wide = file.vectors(profile, &[768]).expect_err("another width").to_string();
            assert!(wide.contains("width 768") && wide.contains(name), "{wide}");
        }
    }
}
