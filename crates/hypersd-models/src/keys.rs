//! The names under which other dialects store the networks.
//!
//! The networks' own names are diffusers' (transformers' for text encoders). Each module here writes one dialect down
//! as a [`KeyTable`]: pairs of module paths that mean the same, made for a network's numbers of levels and layers.
//! After loading nobody sees another name.
//!
//! | module | dialects |
//! |---|---|
//! | [`unet`] | LDM's and SGM's numbering of the blocks (SD1.x, SD2.x, SDXL and its refiner) |
//! | [`controlnet`] | the same for the ControlNets of that time |
//! | [`vae`] | LDM's, and diffusers' own before 2023 |
//! | [`tiny_vae`] | the original TAESD's, in two files |
//! | [`clip`] | transformers' with and without `text_model.` |
//! | [`open_clip`] | OpenCLIP's, with its fused and transposed matrices |

use std::collections::BTreeMap;

use hypersd_core::{Renamed, SharedSource, View};

use crate::Error;

pub mod clip;
pub mod controlnet;
pub mod open_clip;
pub mod tiny_vae;
pub mod unet;
pub mod vae;

/// Which path of a dialect is which of the network, in both directions.
///
/// A path stands for everything below it; where several fit a name, the longest does. The empty path stands for all
/// names.
///
/// ```
/// use hypersd_models::{keys, unet::UNetConfig};
///
/// let layout = keys::unet::Layout::of(&UNetConfig::sdxl()).expect("as many resnets in each level");
/// let table = keys::unet::ldm(&layout);
/// let (ldm, _) = table.stored("up_blocks.1.resnets.2.conv_shortcut.weight").expect("a UNet's parameter");
/// assert_eq!(ldm, "output_blocks.5.0.skip_connection.weight");
/// ```
#[derive(Debug, Clone)]
pub struct KeyTable {
    /// The network's path to the dialect's.
    stored: BTreeMap<String, (String, View)>,
    /// The dialect's path to the network's: several, where a stored tensor is several of the network's.
    canonical: BTreeMap<String, Vec<(String, View)>>,
}

impl KeyTable {
    /// Makes a table of rows (the network's path, the dialect's path, how the one lies in the other).
    pub(crate) fn new(rows: impl IntoIterator<Item = (String, String, View)>) -> Self {
        let mut table = Self { stored: BTreeMap::new(), canonical: BTreeMap::new() };
        for (canonical, stored, view) in rows {
            table.canonical.entry(stored.clone()).or_default().push((canonical.clone(), view));
            table.stored.insert(canonical, (stored, view));
        }
        table
    }

    /// The dialect's name of a parameter of the network, and how the parameter lies in it.
    #[must_use]
    pub fn stored(&self, canonical: &str) -> Option<(String, View)> {
        let ((path, view), rest) = longest(&self.stored, canonical)?;
        Some((join(path, rest), *view))
    }

    /// The network's parameters that a stored tensor holds; none, where the network has no use for it.
    #[must_use]
    pub fn canonical(&self, stored: &str) -> Vec<(String, View)> {
        let Some((paths, rest)) = longest(&self.canonical, stored) else { return Vec::new() };
        paths.iter().map(|(path, view)| (join(path, rest), *view)).collect()
    }

    /// The tensors called `names` under the network's names. `prefix` stands before the dialect's own names.
    ///
    /// Names that mean nothing in the dialect stay as they are, so that strict loading reports them.
    ///
    /// # Errors
    /// [`Error::Core`] where two tensors would get one name, or a shape cannot be that of the dialect.
    pub fn apply(
        &self,
        source: &SharedSource,
        prefix: &str,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Renamed<SharedSource>, Error> {
        let mut rows = Vec::new();
        for name in names {
            let known = name.strip_prefix(prefix).map(|own| self.canonical(own)).unwrap_or_default();
            match known.is_empty() {
                true => rows.push((name.clone(), name, View::Whole)),
                false => rows.extend(known.into_iter().map(|(new, view)| (new, name.clone(), view))),
            }
        }
        Ok(Renamed::select(source.clone(), rows)?)
    }
}

/// The networks' own names.
pub(crate) fn own() -> KeyTable {
    KeyTable::new([row("", "")])
}

/// The longest path of a table that `name` is or lies below, and what follows it.
fn longest<'t, 'n, V>(table: &'t BTreeMap<String, V>, name: &'n str) -> Option<(&'t V, &'n str)> {
    let mut end = name.len();
    loop {
        if let Some(found) = table.get(&name[..end]) {
            return Some((found, &name[end..]));
        }
        end = match name[..end].rfind('.') {
            Some(dot) => dot,
            None if end > 0 => 0,
            None => return None,
        };
    }
}

fn join(path: &str, rest: &str) -> String {
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    match (path, rest) {
        ("", name) | (name, "") => name.to_string(),
        _ => format!("{path}.{rest}"),
    }
}

/// A row whose tensors are stored as they are.
fn row(canonical: impl Into<String>, stored: impl Into<String>) -> (String, String, View) {
    (canonical.into(), stored.into(), View::Whole)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hypersd_core::{HostTensor, MemorySource, SharedSource, TensorSource, View};

    use super::{KeyTable, row};

    #[test]
    fn the_longest_path_wins_and_the_empty_one_takes_the_rest() {
        let table = KeyTable::new([row("", ""), row("a.b", "x"), row("a.b.c", "x.y.z")]);
        let stored = |name: &str| table.stored(name).unwrap().0;
        assert_eq!(stored("a.b.weight"), "x.weight");
        assert_eq!(stored("a.b.c.weight"), "x.y.z.weight");
        assert_eq!(stored("a.bc.weight"), "a.bc.weight", "a path ends at a dot");
        assert_eq!(stored(""), "");
        assert_eq!(table.canonical("x.y.z"), [("a.b.c".to_string(), View::Whole)]);
        assert!(KeyTable::new([row("a", "x")]).canonical("b.weight").is_empty());
    }

    #[test]
    fn names_without_a_meaning_keep_their_own_and_collisions_are_errors() {
        let names = ["m.x.weight", "m.odd", "a.weight"];
        let tensors = names.map(|name| (name.to_string(), HostTensor::from_f32([1], vec![0.0])));
        let source: SharedSource = Arc::new(MemorySource::from_iter(tensors));
        let table = KeyTable::new([row("a", "x")]);
        let apply = |names: &[&str]| table.apply(&source, "m.", names.iter().map(|name| name.to_string()));
        assert_eq!(apply(&names[..2]).unwrap().names(), ["a.weight", "m.odd"]);
        let error = apply(&names).unwrap_err().to_string();
        assert!(error.contains("one tensor to be named \"a.weight\""), "{error}");
    }
}
