//! `multipart/form-data` (RFC 7578). Made once: the same bytes are sent again after payment.

use bytes::Bytes;
use stiver_core::base64url;
use stiver_env::Env;

use super::source::{Source, fits};
use crate::failure::Failure;

/// A part as it is typed.
struct Part<'a> {
    name: &'a str,
    content: Content<'a>,
    media_type: Option<&'a str>,
    file_name: Option<&'a str>,
}

enum Content<'a> {
    Text(&'a str),
    /// `@FILE`: with its name.
    File(&'a str),
    /// `<FILE`: its content only.
    FromFile(&'a str),
}

/// Encodes the parts; the body and its boundary.
pub(super) fn encode(
    parts: &[String],
    source: &mut Source<'_>,
    env: &Env,
) -> Result<(Bytes, String), Failure> {
    let boundary = format!("stiver-{}", base64url::encode(&env.random::<16>()));
    let mut body = Vec::new();
    for part in parts {
        let part = Part::parse(part)?;
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        part.write(source, &mut body)?;
        fits(&body, "the body")?;
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((body.into(), boundary))
}

impl<'a> Part<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let (name, rest) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "--form {text:?}: write `name=value` or `name=@FILE`"
            ))
        })?;
        let mut pieces = rest.split(';');
        let mut end = pieces.next().unwrap_or_default().len();
        let (mut media_type, mut file_name) = (None, None);
        for piece in pieces {
            let option = piece.trim_start();
            if let Some(given) = option.strip_prefix("type=") {
                media_type = Some(given.trim());
            } else if let Some(given) = option.strip_prefix("filename=") {
                file_name = Some(given.trim().trim_matches('"'));
            } else if media_type.is_none() && file_name.is_none() {
                // A semicolon of the value itself.
                end = end.saturating_add(1).saturating_add(piece.len());
            } else {
                return Err(Failure::usage(format!(
                    "--form {name}: only `;type=` and `;filename=` are known"
                )));
            }
        }
        let value = rest.get(..end).unwrap_or(rest);
        let content = match (value.strip_prefix('@'), value.strip_prefix('<')) {
            (Some(file), _) => Content::File(file),
            (None, Some(file)) => Content::FromFile(file),
            (None, None) => Content::Text(value),
        };
        let part = Self {
            name,
            content,
            media_type,
            file_name,
        };
        if part.media_type.is_some_and(|given| !is_printable(given)) {
            return Err(Failure::usage(format!("--form {name}: the type")));
        }
        Ok(part)
    }

    fn write(&self, source: &mut Source<'_>, body: &mut Vec<u8>) -> Result<(), Failure> {
        let (content, file_name) = match self.content {
            Content::Text(text) => (text.as_bytes().to_vec(), None),
            Content::FromFile(file) => (source.file(file, "--form")?, None),
            Content::File(file) => (source.file(file, "--form")?, Some(last_part(file))),
        };
        let file_name = self.file_name.or(file_name);
        let guessed = file_name.map(media_type_of);
        let mut head = format!(
            "Content-Disposition: form-data; name=\"{}\"",
            quoted(self.name)
        );
        if let Some(file_name) = file_name {
            head.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
        }
        if let Some(media_type) = self.media_type.or(guessed) {
            head.push_str(&format!("\r\nContent-Type: {media_type}"));
        }
        head.push_str("\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend(content);
        body.extend_from_slice(b"\r\n");
        Ok(())
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// As browsers write names: what would end the quotes or the line is percent-encoded.
fn quoted(text: &str) -> String {
    text.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The type of a file by the end of its name.
fn media_type_of(name: &str) -> &'static str {
    let end = name.rsplit('.').next().unwrap_or_default();
    match end.to_ascii_lowercase().as_str() {
        "csv" => "text/csv",
        "gif" => "image/gif",
        "htm" | "html" => "text/html",
        "jpg" | "jpeg" => "image/jpeg",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "webp" => "image/webp",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[&str]) -> Result<String, Failure> {
        let env = stiver_env::native::env();
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let (body, boundary) = encode(&parts, &mut Source::new(&env), &env)?;
        let text = String::from_utf8(body.to_vec()).unwrap();
        Ok(text.replace(&boundary, "B"))
    }

    #[test]
    fn parts_are_written_as_typed() {
        let told = text(&["a=1;2", "b=x;type=text/plain", "q\"\r\nX: y=v"]).unwrap();
        assert_eq!(
            told,
            "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1;2\r\n\
             --B\r\nContent-Disposition: form-data; name=\"b\"\r\nContent-Type: text/plain\r\n\
             \r\nx\r\n\
             --B\r\nContent-Disposition: form-data; name=\"q%22%0D%0AX: y\"\r\n\r\nv\r\n\
             --B--\r\n"
        );
    }

    #[test]
    fn files_have_a_name_and_a_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.png");
        std::fs::write(&path, "png").unwrap();
        let path = path.display();
        let told = text(&[&format!("f=@{path}")]).unwrap();
        let head = "name=\"f\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\npng\r\n";
        assert!(told.contains(head), "{told}");
        let told = text(&[&format!("f=@{path};type=a/b;filename=\"n\"")]).unwrap();
        let head = "name=\"f\"; filename=\"n\"\r\nContent-Type: a/b\r\n\r\npng\r\n";
        assert!(told.contains(head), "{told}");
        let told = text(&[&format!("f=<{path}")]).unwrap();
        assert!(told.contains("name=\"f\"\r\n\r\npng\r\n"), "{told}");
    }

    #[test]
    fn what_makes_no_part_is_refused() {
        for part in [
            "a",
            "a=@/nowhere",
            "a=b;type=x;colour=red",
            "a=b;type=x\r\ny: z",
        ] {
            assert!(text(&[part]).is_err(), "{part:?}");
        }
    }
}
