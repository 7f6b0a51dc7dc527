//! `-d` and its kin: pieces of one body, in the order they were typed.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::Error};

/// What one option gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--data`: `@FILE` is read, without its line ends.
    Text,
    /// `--data-raw`: as it is.
    Raw,
    /// `--data-binary`: `@FILE` is read as it is.
    Binary,
    /// `--data-urlencode`
    UrlEncode,
}

const KINDS: [(&str, &str, Kind, &str); 4] = [
    (
        "data",
        "data",
        Kind::Text,
        "Data for the body, joined with `&` when given several times; `@FILE` reads it from a \
         file without line ends, `@-` from standard input. A body is held in memory, at most 16 \
         MiB of it: it is sent again when payment is asked for",
    ),
    (
        "data_raw",
        "data-raw",
        Kind::Raw,
        "As --data, but `@` has no meaning",
    ),
    (
        "data_binary",
        "data-binary",
        Kind::Binary,
        "As --data, but a file is sent as it is",
    ),
    (
        "data_urlencode",
        "data-urlencode",
        Kind::UrlEncode,
        "As --data, percent-encoded: `content`, `=content`, `name=content`, `@FILE`, `name@FILE`",
    ),
];

/// All pieces in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data(pub(crate) Vec<(Kind, String)>);

impl Args for Data {
    fn augment_args(command: Command) -> Command {
        KINDS
            .iter()
            .fold(command, |command, (id, long, kind, help)| {
                let arg = Arg::new(*id)
                    .long(*long)
                    .value_name("DATA")
                    .action(ArgAction::Append)
                    .help(*help);
                let arg = match kind {
                    Kind::Text => arg.short('d'),
                    _ => arg,
                };
                command.arg(arg)
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Data {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        for (id, _, kind, _) in KINDS {
            let places = matches.indices_of(id).into_iter().flatten();
            let texts = matches.get_many::<String>(id).into_iter().flatten();
            pieces.extend(places.zip(texts).map(|(place, text)| (place, kind, text)));
        }
        pieces.sort_by_key(|(place, ..)| *place);
        let pieces = pieces.into_iter();
        Ok(Self(
            pieces.map(|(_, kind, text)| (kind, text.clone())).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
