//! The name that was probably meant by one that does not exist.

use strsim::levenshtein;

/// The name most like `written`, if any is like it at all.
pub(super) fn nearest(
    written: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let lower = written.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}
