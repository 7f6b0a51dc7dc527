//! `[discovery]`: what the gateway tells of itself before anybody asks.

use toml::Spanned;

use super::{ConfigError, source::Source, wire};

/// Most categories.
pub const CATEGORIES_MAX: usize = 5;

/// What `/openapi.json` and `/llms.txt` say beside the priced routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Whether the two are served at all.
    pub enabled: bool,
    /// Their title.
    pub title: String,
    /// The version of the API.
    pub version: String,
    /// What the API is for.
    pub description: Option<String>,
    /// Words it is found by: lower case, with hyphens.
    pub categories: Vec<String>,
}

pub(super) fn resolve(
    source: &Source<'_>,
    wire: &wire::Discovery,
    realm: &str,
) -> Result<Discovery, ConfigError> {
    let or = |given: &Option<String>, other: &str| given.clone().unwrap_or_else(|| other.into());
    Ok(Discovery {
        enabled: wire.enabled.unwrap_or(true),
        title: or(&wire.title, realm),
        version: or(&wire.version, "1"),
        description: wire.description.clone(),
        categories: categories(source, wire.categories.as_ref())?,
    })
}

fn categories(
    source: &Source<'_>,
    list: Option<&Spanned<Vec<Spanned<String>>>>,
) -> Result<Vec<String>, ConfigError> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let words = list.get_ref();
    source.at_most("categories", words.len(), CATEGORIES_MAX, list.span().start)?;
    let word = |word: &Spanned<String>| {
        let text = word.get_ref();
        let is_of = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.is_empty() && text.bytes().all(is_of) {
            return Ok(text.clone());
        }
        let problem = format!("category {text:?} is no lower-case word: write machine-data");
        Err(source.at(word, problem))
    };
    words.iter().map(word).collect()
}
