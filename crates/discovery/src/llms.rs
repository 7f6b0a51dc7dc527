//! `llms.txt`: what the API sells, for readers of text.

use crate::{Offer, Operation, Price, Service};

const HOW_TO_PAY: &str = "\
Ask as if it were free. The answer is `402 Payment Required` with a challenge in
`WWW-Authenticate: Payment`; it alone says what is asked, this page only what to expect. Pay it by a
method it names, send the same request with `Authorization: Payment <credential>`, and keep the
`Payment-Receipt` of the answer. Sending one credential again never costs twice.
";

pub(crate) fn text(service: &Service, operations: &[Operation]) -> String {
    let mut text = format!("# {}\n\n", one_line(&service.title));
    if let Some(description) = &service.description {
        text.push_str(&format!("> {}\n\n", one_line(description)));
    }
    text.push_str("## Paying\n\n");
    text.push_str(HOW_TO_PAY);
    text.push_str("\n## Priced requests\n\n");
    let base = service.public_url.as_deref().unwrap_or_default();
    for operation in operations {
        text.push_str(&line(base, operation));
    }
    text.push_str(&format!(
        "\n## Details\n\n- [OpenAPI]({base}/openapi.json): every priced operation, for programs\n"
    ));
    text
}

fn line(base: &str, operation: &Operation) -> String {
    let Operation { method, path, .. } = operation;
    let mut line = format!("- `{method} {base}{path}`: ");
    let offers: Vec<String> = operation.offers.iter().map(offer).collect();
    line.push_str(&offers.join(", or "));
    if let Some(description) = &operation.description {
        line.push_str(". ");
        line.push_str(&one_line(description));
    }
    line.push('\n');
    line
}

fn offer(offer: &Offer) -> String {
    let price = match &offer.price {
        Price::Fixed(amount) => amount.to_string(),
        Price::Dynamic {
            cap: Some(amount), ..
        } => format!("by request, at most {amount}"),
        Price::Dynamic { currency, .. } => {
            format!("by request, in {}", currency.to_ascii_uppercase())
        }
    };
    format!("{price} ({} by {})", offer.intent, offer.method)
}

/// A text that cannot begin a line of its own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
