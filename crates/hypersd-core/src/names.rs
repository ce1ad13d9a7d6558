//! Tensor names: which one was meant, and which match a pattern.

/// The names most like `name`, best first: at most two, and only such as a reader would take for the same thing.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    const SHOWN: usize = 2;
    const ALIKE: f64 = 0.6;
    let mut alike: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|other| (strsim::normalized_levenshtein(name, other), other))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    alike.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    alike.into_iter().take(SHOWN).map(|(_, other)| other.to_string()).collect()
}

/// True where a tensor's name fits a `pattern`, in which each `*` stands for any run of characters, dots included.
///
/// ```
/// assert!(hypersd_core::name_matches("*.position_ids", "text_model.embeddings.position_ids"));
/// assert!(!hypersd_core::name_matches("betas", "betas.0"));
/// ```
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return name.ends_with(piece);
        }
        // The leftmost fit of a piece leaves the most for the pieces after it.
        let Some(at) = name.find(piece) else { return false };
        name = &name[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{matches, nearest};

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name) in [
            ("*.position_ids", "text_model.embeddings.position_ids"),
            ("model_ema.*", "model_ema.decay"),
            ("a*c*e", "abcde"),
            ("a*c*e", "ace"),
            ("a*bc*bc", "abcbc"),
            ("*", ""),
            ("**", "x"),
            ("betas", "betas"),
        ] {
            assert!(matches(pattern, name), "{pattern} should match {name}");
        }
        for (pattern, name) in [
            ("*.position_ids", "position_ids"),
            ("betas", "betas.0"),
            ("a*c*e", "abcd"),
            ("a*bc*bc", "abc"),
            ("ab*ba", "aba"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, name), "{pattern} should not match {name}");
        }
    }

    #[test]
    fn near_names_come_best_first_and_far_ones_not_at_all() {
        let names =
            ["down_blocks.0.to_q.weight", "down_blocks.0.to_k.weight", "conv_in.bias", "up.to_q.weight"];
        let near = nearest("down_blocks.1.to_q.weight", names);
        assert_eq!(near, ["down_blocks.0.to_q.weight", "down_blocks.0.to_k.weight"]);
        assert!(nearest("betas", names).is_empty());
    }
}
