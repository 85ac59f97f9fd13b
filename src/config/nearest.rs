//! The name that was probably meant.

/// The candidate nearest to `name`, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: far enough for `bootstrap.server`, near enough not to be silly.
    let limit = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&name.to_lowercase(), c), c))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest candidate, else all of them.
pub fn hint<'a>(
    name: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let all: Vec<String> = candidates.into_iter().map(|c| format!("`{c}`")).collect();
            if all.is_empty() {
                format!("there are no {what}")
            } else {
                format!("{what}: {}", all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let jobs = ["roman-numerals", "orders"];
        assert_eq!(nearest("roman-numeral", jobs), Some("roman-numerals"));
        assert_eq!(nearest("Orders", jobs), Some("orders"));
        assert_eq!(nearest("payments", jobs), None);
        assert_eq!(
            hint("payments", "jobs", jobs),
            "jobs: `roman-numerals`, `orders`"
        );
    }
}
