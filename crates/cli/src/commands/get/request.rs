//! The request, from the command line. What is wrong with it is found before anything is sent.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use serde::de::IgnoredAny;
use stiver_env::Env;

use super::{
    multipart,
    source::{Source, joined},
};
use crate::{
    args::get::{Get, Request as Asked},
    failure::{Failure, UsageContext},
};

/// How the payer names itself.
const USER_AGENT: &str = concat!("stiver/", env!("CARGO_PKG_VERSION"));

/// The codings that `--compressed` asks for.
const ACCEPT_ENCODING: &str = "gzip, deflate, br";

/// What the connection sets by itself, and what would contradict it.
const OWN_FIELDS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// A body and its type.
struct Body {
    bytes: Bytes,
    content_type: Option<String>,
}

/// Builds the request.
pub(super) fn build(args: &Get, env: &Env) -> Result<Request<Bytes>, Failure> {
    let asked = &args.request;
    let mut url = args.url.clone().unwrap_or_default();
    let mut source = Source::new(env);
    let mut headers = Headers::read(asked, &mut source)?;
    let mut body = body(asked, &mut source, env)?;
    if asked.get
        && let Some(query) = body.take()
    {
        add_query(&mut url, &query.bytes)?;
    }
    let method = method(asked, body.is_some())?;
    let body = body.unwrap_or(Body {
        bytes: Bytes::new(),
        content_type: None,
    });
    if let Some(content_type) = &body.content_type {
        headers.or_insert(header::CONTENT_TYPE, content_type)?;
    }
    let mut request = Request::builder()
        .method(method)
        .uri(&url)
        .body(body.bytes)
        .usage(format!("the URL {url:?}"))?;
    *request.headers_mut() = headers.map;
    Ok(request)
}

fn method(asked: &Asked, has_body: bool) -> Result<Method, Failure> {
    match &asked.request {
        Some(method) => Method::from_bytes(method.as_bytes())
            .usage(format!("--request {method:?}: this is no HTTP method")),
        None if asked.head && has_body => Err(Failure::usage(
            "--head asks for the head only and sends no body: leave out --data, or add --get",
        )),
        None if asked.head => Ok(Method::HEAD),
        None if has_body => Ok(Method::POST),
        None => Ok(Method::GET),
    }
}

/// Puts data behind the URL's query.
fn add_query(url: &mut String, data: &Bytes) -> Result<(), Failure> {
    let text = std::str::from_utf8(data).usage("--get: the data is no text")?;
    if let Some(fragment) = url.find('#') {
        url.truncate(fragment);
    }
    if !text.is_empty() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(text);
    }
    Ok(())
}

fn body(asked: &Asked, source: &mut Source<'_>, env: &Env) -> Result<Option<Body>, Failure> {
    if !asked.form.is_empty() {
        let (bytes, boundary) = multipart::encode(&asked.form, source, env)?;
        return Ok(Some(Body {
            bytes,
            content_type: Some(format!("multipart/form-data; boundary={boundary}")),
        }));
    }
    if let Some(data) = &asked.data_json {
        let bytes = source.value(data, "--data-json")?;
        serde_json::from_slice::<IgnoredAny>(&bytes)
            .usage("--data-json: this is no JSON, and nothing was sent")?;
        return Ok(Some(Body {
            bytes: bytes.into(),
            content_type: Some("application/json".to_owned()),
        }));
    }
    if asked.data.0.is_empty() {
        return Ok(None);
    }
    Ok(Some(Body {
        bytes: joined(&asked.data.0, source)?.into(),
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
    }))
}

/// The header fields: those given, then those that are not given and not wished away.
struct Headers {
    map: HeaderMap,
    unwanted: Vec<HeaderName>,
}

impl Headers {
    fn read(asked: &Asked, source: &mut Source<'_>) -> Result<Self, Failure> {
        let mut headers = Self {
            map: HeaderMap::new(),
            unwanted: Vec::new(),
        };
        for line in &asked.header {
            match line.strip_prefix('@') {
                Some(_) => {
                    let text = source.value(line, "--header")?;
                    let text = String::from_utf8(text).usage(format!("--header {line}"))?;
                    for line in text.lines().filter(|line| !line.trim().is_empty()) {
                        headers.add(line)?;
                    }
                }
                None => headers.add(line)?,
            }
        }
        headers.authorise(asked)?;
        if let Some(name) = &asked.user_agent {
            headers.set(header::USER_AGENT, name, "--user-agent")?;
        }
        if let Some(url) = &asked.referer {
            headers.set(header::REFERER, url, "--referer")?;
        }
        if asked.data_json.is_some() {
            headers.or_insert(header::ACCEPT, "application/json")?;
        }
        if asked.compressed {
            headers.or_insert(header::ACCEPT_ENCODING, ACCEPT_ENCODING)?;
        }
        headers.or_insert(header::ACCEPT, "*/*")?;
        headers.or_insert(header::USER_AGENT, USER_AGENT)?;
        Ok(headers)
    }

    /// A line: `Name: value`; `Name:` sends no such field, `Name;` an empty one.
    fn add(&mut self, line: &str) -> Result<(), Failure> {
        let (name, value) = match (line.split_once(':'), line.strip_suffix(';')) {
            (Some((name, value)), _) => (name, Some(value.trim())),
            (None, Some(name)) => (name, None),
            (None, None) => {
                return Err(Failure::usage(format!(
                    "--header {}: write `Name: value`",
                    shown(line)
                )));
            }
        };
        let name: HeaderName = name
            .trim()
            .parse()
            .usage(format!("--header {}: the name", shown(line)))?;
        if OWN_FIELDS.contains(&name) {
            return Err(Failure::usage(format!(
                "--header: {name} follows from the body: leave it out"
            )));
        }
        let value = match value {
            Some("") => {
                self.unwanted.push(name);
                return Ok(());
            }
            value => value.unwrap_or_default(),
        };
        let mut value: HeaderValue = value.parse().usage(format!("--header {name}: the value"))?;
        value.set_sensitive(super::watch::is_secret(name.as_str()));
        self.map.append(name, value);
        Ok(())
    }

    fn authorise(&mut self, asked: &Asked) -> Result<(), Failure> {
        let (value, option) = match (&asked.user, &asked.bearer) {
            (Some(user), _) if !user.contains(':') => {
                return Err(Failure::usage("--user: write USER:PASSWORD"));
            }
            (Some(user), _) => (format!("Basic {}", BASE64_STANDARD.encode(user)), "--user"),
            (None, Some(token)) => (format!("Bearer {token}"), "--bearer"),
            (None, None) => return Ok(()),
        };
        if self.map.contains_key(header::AUTHORIZATION) {
            return Err(Failure::usage(format!(
                "{option} and --header Authorization say two things: give one of them"
            )));
        }
        let mut value: HeaderValue = value.parse().usage(option)?;
        value.set_sensitive(true);
        self.map.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn set(&mut self, name: HeaderName, value: &str, option: &'static str) -> Result<(), Failure> {
        self.map.insert(name, value.parse().usage(option)?);
        Ok(())
    }

    fn or_insert(&mut self, name: HeaderName, value: &str) -> Result<(), Failure> {
        if !self.unwanted.contains(&name) && !self.map.contains_key(&name) {
            self.map.insert(name, value.parse()?);
        }
        Ok(())
    }
}

/// A line as it may be shown: without its value.
fn shown(line: &str) -> String {
    match line.split_once(':') {
        Some((name, _)) => format!("{:?}", format!("{name}: ...")),
        None => format!("{line:?}"),
    }
}
