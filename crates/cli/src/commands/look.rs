//! `stiver serve --check` and `--print-config`: what a configuration comes to, without a gateway.

use std::io::Write;

use serde_json::{Value, json};
use stiver_env::Env;
use stiver_gateway::{
    check as look_at,
    config::{Access, Config, Priced, Route, pricing::Price, session::Session},
};

use crate::{
    args::Serve,
    config::read_config,
    failure::{Failure, FailureKind},
    output::{GOOD, Output, STRONG},
};

/// Looks at everything the configuration names, and says what would be served.
pub(crate) fn check(args: &Serve, env: &Env, output: Output) -> Result<(), Failure> {
    let config = read_config(&args.config, env)?;
    let problems = look_at(&config, env);
    if !problems.is_empty() {
        let error = anyhow::anyhow!("{}", problems.join("\n       "));
        return Err(Failure::new(FailureKind::Usage, error));
    }
    for listener in &config.listeners {
        let scheme = if listener.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}", listener.address);
        output.line(&format!("would listen on {}", output.paint(STRONG, &url)))?;
    }
    for (name, upstream) in &config.upstreams {
        output.line(&format!("upstream {name}: {}", upstream.url))?;
    }
    for route in &config.routes {
        let methods = match route.methods.as_slice() {
            [] => "*".to_owned(),
            named => named.join(","),
        };
        let line = format!("{methods} {}: {}", route.pattern, terms(route));
        output.line(&line)?;
    }
    let file = args.config.display().to_string();
    output.line(&output.paint(GOOD, &format!("{file} is good")))?;
    output.object(&told(&config, &file))?;
    Ok(())
}

/// Prints the configuration with every default.
pub(crate) fn print(args: &Serve, env: &Env, output: Output) -> Result<(), Failure> {
    // Paths are printed so that they hold from any folder.
    let file = std::path::absolute(&args.config)?;
    let config = read_config(&file, env)?;
    if output.is_json() {
        output.object(&config.to_json())?;
    } else {
        write!(std::io::stdout().lock(), "{}", config.to_toml())?;
    }
    Ok(())
}

fn told(config: &Config, file: &str) -> Value {
    let routes = config.routes.iter().map(|route| {
        json!({
            "path": route.pattern.to_string(),
            "methods": route.methods,
            "terms": terms(route),
            "upstream": route.upstream,
        })
    });
    let listeners = config.listeners.iter();
    json!({
        "ok": true,
        "config": file,
        "listeners": listeners.map(|row| row.address.to_string()).collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
    })
}

/// What a route asks, in words.
fn terms(route: &Route) -> String {
    match &route.access {
        Access::Free => format!("free, to {}", route.upstream),
        Access::Denied => "denied".to_owned(),
        Access::Priced(priced) => format!("{}, to {}", price(priced), route.upstream),
    }
}

fn price(priced: &Priced) -> String {
    let price = match &priced.price {
        Price::Fixed(amount) => amount.to_string(),
        Price::Computed(pricing) => format!("up to {}", pricing.cap),
        Price::Session => priced
            .session
            .as_ref()
            .map_or_else(String::new, Session::text),
    };
    match priced.shadow {
        true => format!("{price} in shadow, nobody pays"),
        false => price,
    }
}
