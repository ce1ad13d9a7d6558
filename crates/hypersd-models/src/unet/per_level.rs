//! Numbers of a configuration that may differ from level to level, and from one attention site to the next.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

/// A number for every level of the network, or one for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum PerLevel {
    /// The same everywhere.
    All(usize),
    /// One for each level, the largest image first.
    Each(Vec<usize>),
    /// For each level one for each of its resnets' attention sites; of one number alone, all have it.
    EachSite(Vec<Vec<usize>>),
}

impl PerLevel {
    /// The number of a level, or of its first site.
    ///
    /// # Panics
    /// If there is no such level; [`UNetConfig::validate`](super::UNetConfig::validate) makes sure that there is.
    #[must_use]
    pub fn at(&self, level: usize) -> usize {
        self.at_site(level, 0)
    }

    /// The number of a site of a level.
    pub(crate) fn at_site(&self, level: usize, site: usize) -> usize {
        match self {
            Self::All(number) => *number,
            Self::Each(numbers) => numbers[level],
            Self::EachSite(sites) => match sites[level].as_slice() {
                [all] => *all,
                sites => sites[site],
            },
        }
    }

    /// True where sites of one level may differ.
    pub(crate) fn is_by_site(&self) -> bool {
        matches!(self, Self::EachSite(_))
    }

    /// True where there is an allowed number for each of so many levels, and the same for all sites of one.
    pub(crate) fn fits(&self, levels: usize, allowed: impl Fn(usize) -> bool) -> bool {
        match self {
            Self::All(number) => allowed(*number),
            Self::Each(numbers) => numbers.len() == levels && numbers.iter().all(|n| allowed(*n)),
            Self::EachSite(_) => false,
        }
    }

    /// True where there is an allowed number for each site of each of so many levels.
    pub(crate) fn fits_sites(
        &self,
        levels: usize,
        sites: impl Fn(usize) -> usize,
        allowed: impl Fn(usize) -> bool,
    ) -> bool {
        let Self::EachSite(numbers) = self else { return self.fits(levels, allowed) };
        let enough = |(level, numbers): (usize, &Vec<usize>)| {
            (numbers.len() == 1 || numbers.len() >= sites(level).max(1))
                && numbers.iter().all(|n| allowed(*n))
        };
        numbers.len() == levels && numbers.iter().enumerate().all(enough)
    }

    /// In the shortest form that says the same.
    pub(crate) fn compact(sites: Vec<Vec<usize>>) -> Self {
        let same = |numbers: &[usize]| numbers.windows(2).all(|pair| pair[0] == pair[1]);
        if !sites.iter().all(|numbers| same(numbers) && !numbers.is_empty()) {
            return Self::EachSite(sites);
        }
        let numbers: Vec<usize> = sites.iter().map(|numbers| numbers[0]).collect();
        match numbers.first() {
            Some(&first) if same(&numbers) => Self::All(first),
            _ => Self::Each(numbers),
        }
    }
}

impl<'de> Deserialize<'de> for PerLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let numbers =
            |value: &Value| -> Option<Vec<usize>> { value.as_array()?.iter().map(number).collect() };
        let site = |value: &Value| number(value).map(|all| vec![all]).or_else(|| numbers(value));
        let sites = || -> Option<Vec<Vec<usize>>> { value.as_array()?.iter().map(site).collect() };
        number(&value)
            .map(Self::All)
            .or_else(|| numbers(&value).map(Self::Each))
            .or_else(|| sites().map(Self::EachSite))
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "{value} is no whole number, and no list of such or of lists of such"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_published_files_have_is_read() {
        let read = |text: &str| serde_json::from_str::<PerLevel>(text).ok();
        assert_eq!(read("2"), Some(PerLevel::All(2)));
        assert_eq!(read("[1, 2]"), Some(PerLevel::Each(vec![1, 2])));
        let ssd = read("[[4, 4, 10], [2, 1, 1], 1]").expect("SSD-1B's");
        assert_eq!([ssd.at_site(0, 2), ssd.at_site(1, 1), ssd.at_site(2, 2)], [10, 1, 1]);
        for text in ["-1", "1.5", "[[[1]]]", "\"1\"", "null", "[1, -2]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
