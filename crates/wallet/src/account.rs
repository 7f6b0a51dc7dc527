//! Which account a wallet signs for.

use serde::{Deserialize, Serialize};
use stiver_core::Currency;

/// Version of the file.
const FILE_VERSION: u32 = 1;
/// Longest text of one field, bytes.
const FIELD_BYTES_MAX: usize = 2048;

/// A ledger account that a wallet's key may sign for, and where to ask about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The ledger's id, as it prints it.
    pub ledger: String,
    /// The account's id on it.
    pub account: String,
    /// The currencies it pays in, with their decimals: they are never guessed.
    pub currencies: Vec<Currency>,
    /// The URL of the ledger's query endpoint, when there is one.
    pub query_url: Option<String>,
    /// The key that signs the ledger's receipts, as a `did:key`, when it is known: receipts are
    /// checked against it.
    pub receipt_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountWire {
    version: u32,
    ledger: String,
    account: String,
    currencies: Vec<CurrencyWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurrencyWire {
    code: String,
    decimals: u8,
}

impl Account {
    /// The text of an account file.
    pub(crate) fn to_file(&self) -> String {
        let wire = AccountWire {
            version: FILE_VERSION,
            ledger: self.ledger.clone(),
            account: self.account.clone(),
            currencies: self.currencies.iter().map(CurrencyWire::from).collect(),
            query_url: self.query_url.clone(),
            receipt_key: self.receipt_key.clone(),
        };
        let mut text = serde_json::to_string_pretty(&wire)
            .expect("strings and integers serialise because no map key is involved");
        text.push('\n');
        text
    }

    /// Reads an account file.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<Self, AccountFileError> {
        let wire: AccountWire =
            serde_json::from_slice(bytes).map_err(|error| AccountFileError::Malformed {
                line: error.line(),
                why: error.to_string(),
            })?;
        if wire.version != FILE_VERSION {
            return Err(AccountFileError::Version(wire.version));
        }
        let texts = [
            Some(&wire.ledger),
            Some(&wire.account),
            wire.query_url.as_ref(),
            wire.receipt_key.as_ref(),
        ];
        for text in texts.into_iter().flatten() {
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            if text.is_empty() || text.len() > FIELD_BYTES_MAX || !visible {
                return Err(AccountFileError::Field);
            }
        }
        let currencies = wire.currencies.iter().map(Currency::try_from);
        Ok(Self {
            ledger: wire.ledger,
            account: wire.account,
            currencies: currencies.collect::<Result<_, _>>()?,
            query_url: wire.query_url,
            receipt_key: wire.receipt_key,
        })
    }
}

impl From<&Currency> for CurrencyWire {
    fn from(currency: &Currency) -> Self {
        Self {
            code: currency.code().to_owned(),
            decimals: currency.decimals(),
        }
    }
}

impl TryFrom<&CurrencyWire> for Currency {
    type Error = AccountFileError;

    fn try_from(wire: &CurrencyWire) -> Result<Self, AccountFileError> {
        Self::new(&wire.code, wire.decimals).map_err(AccountFileError::Currency)
    }
}

/// Why an account file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountFileError {
    /// Not the JSON it should be.
    #[error("line {line}: {why}")]
    Malformed {
        /// Where.
        line: usize,
        /// What.
        why: String,
    },
    /// Of a version this program does not know.
    #[error("version {0} is not {FILE_VERSION}: a newer program wrote it")]
    Version(u32),
    /// A field is empty, too long, or holds other than visible ASCII.
    #[error("each field must be 1 to {FIELD_BYTES_MAX} visible ASCII characters")]
    Field,
    /// A currency that cannot be.
    #[error("a currency is wrong")]
    Currency(#[source] stiver_core::amount::CurrencyError),
}
