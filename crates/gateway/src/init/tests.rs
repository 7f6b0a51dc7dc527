//! What `stiver init` writes is read again, with its examples and without.

use super::*;

fn written() -> String {
    config_text(&NewGateway {
        upstream: "http://127.0.0.1:3000".to_owned(),
        listen: "127.0.0.1:8402".to_owned(),
        realm: "it's ours".to_owned(),
        price: "0.01 USD".to_owned(),
    })
}

fn parse(text: &str) -> Config {
    let parsed = Config::parse(text, Path::new("stiver.toml"), Path::new("/srv"));
    parsed.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_commented_example_can_be_used_as_it_stands() {
    let text = written();
    let mut examples = 0;
    let used: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.is_empty() && !example.starts_with(' ') => {
                examples += 1;
                example
            }
            _ => line,
        })
        .collect();
    assert!(examples > 30, "{examples}");
    let (plain, used) = (parse(&text), parse(&used.join("\n")));
    assert_eq!((plain.routes.len(), used.routes.len()), (2, 3));
    assert_eq!((plain.listeners.len(), used.listeners.len()), (1, 2));
    assert!(used.shadow && used.metrics.is_some() && used.tracing.is_some());
    assert_eq!(used.routes[1].upstream, "models");
}

#[test]
fn every_example_is_of_a_key_that_has_a_default() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(example) = line.strip_prefix('#') else {
            continue;
        };
        // Tables are used as a whole, by the other test.
        let stands_alone = index < lines.iter().position(|line| line.contains("[[")).unwrap();
        if example.starts_with(' ') || !stands_alone {
            continue;
        }
        let mut one = lines.clone();
        one[index] = example;
        parse(&one.join("\n"));
    }
}
