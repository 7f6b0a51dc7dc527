//! Where the command gets a passphrase: a file, another command, the environment, the terminal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use stiver_wallet::{PassphraseError, Passphrases, WalletName, sealed::PASSPHRASE_BYTES_MAX};
use zeroize::Zeroizing;

use crate::args::HomeChoice;

/// How often a person may mistype.
const TRIES: u32 = 3;
/// The variable that holds a passphrase.
pub(crate) const PASSPHRASE_VARIABLE: &str = "STIVER_PASSPHRASE";
/// The variable that holds the new passphrase of `stiver wallet passwd`.
pub(crate) const NEW_PASSPHRASE_VARIABLE: &str = "STIVER_NEW_PASSPHRASE";
/// The variable that holds a key.
pub(crate) const KEY_VARIABLE: &str = "STIVER_KEY";
/// Variables that no command we start gets to see.
pub(crate) const SECRET_VARIABLES: [&str; 3] =
    [PASSPHRASE_VARIABLE, NEW_PASSPHRASE_VARIABLE, KEY_VARIABLE];

/// One place to ask.
#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Command(String),
    Variable(&'static str),
    Terminal,
}

/// Asks where the command line and the environment say.
pub(crate) struct Asked {
    existing: Source,
    fresh: Source,
}

impl Asked {
    /// From the command line: what is named there goes before the environment, the environment
    /// before the terminal.
    pub(crate) fn new(choice: &HomeChoice) -> Self {
        let existing = match (&choice.passphrase_file, &choice.passphrase_command) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(command)) => Source::Command(command.clone()),
            (None, None) => variable_or_terminal(PASSPHRASE_VARIABLE),
        };
        Self {
            fresh: existing.clone(),
            existing,
        }
    }

    /// Takes new passphrases from elsewhere than the existing one.
    pub(crate) fn with_new(mut self, file: Option<&PathBuf>) -> Self {
        self.fresh = match file {
            Some(file) => Source::File(file.clone()),
            None => variable_or_terminal(NEW_PASSPHRASE_VARIABLE),
        };
        self
    }
}

fn variable_or_terminal(name: &'static str) -> Source {
    match std::env::var_os(name) {
        Some(_) => Source::Variable(name),
        None => Source::Terminal,
    }
}

impl Passphrases for Asked {
    fn existing(&self, wallet: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        self.existing
            .read(&format!("passphrase of the wallet {wallet}: "))
    }

    fn fresh(&self, wallet: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        let first = self
            .fresh
            .read(&format!("new passphrase for the wallet {wallet}: "))?;
        if matches!(self.fresh, Source::Terminal) {
            let again = self.fresh.read("the same once more: ")?;
            if *first != *again {
                return Err(PassphraseError::Differ);
            }
        }
        Ok(first)
    }

    fn tries(&self) -> u32 {
        match self.existing {
            Source::Terminal => TRIES,
            Source::File(_) | Source::Command(_) | Source::Variable(_) => 1,
        }
    }
}

impl Source {
    fn read(&self, prompt: &str) -> Result<Zeroizing<String>, PassphraseError> {
        let (from, read) = match self {
            Self::File(file) => (file.display().to_string(), from_file(file)),
            Self::Command(command) => {
                let from = "the passphrase command".to_owned();
                (from, from_command(command))
            }
            Self::Variable(name) => ((*name).to_owned(), from_variable(name)),
            Self::Terminal => match Terminal::open() {
                Ok(terminal) => ("the terminal".to_owned(), terminal.ask(prompt)),
                Err(_) => return Err(PassphraseError::NotGiven),
            },
        };
        read.map_err(|source| PassphraseError::Failed { from, source })
    }
}

fn from_file(path: &Path) -> io::Result<Zeroizing<String>> {
    first_line(File::open(path)?)
}

fn from_variable(name: &str) -> io::Result<Zeroizing<String>> {
    let value = std::env::var(name).map_err(|_| not_text())?;
    Ok(Zeroizing::new(value))
}

/// Runs a command by the shell. It inherits the terminal, so that a password manager can ask.
fn from_command(command: &str) -> io::Result<Zeroizing<String>> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdout(Stdio::piped());
    for name in SECRET_VARIABLES {
        shell.env_remove(name);
    }
    let mut child = shell.spawn()?;
    let out = child.stdout.take();
    let line = out
        .ok_or_else(|| io::Error::other("it has no output"))
        .and_then(first_line);
    let status = child.wait()?;
    if status.success() {
        line
    } else {
        Err(io::Error::other(format!("it ended with {status}")))
    }
}

/// The first line, without its line break.
fn first_line(from: impl Read) -> io::Result<Zeroizing<String>> {
    let limit = PASSPHRASE_BYTES_MAX + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    from.take(limit).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| not_text())?;
    if text.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the first line is empty",
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")
}

/// The controlling terminal, whatever standard input and output are.
struct Terminal {
    device: File,
}

/// Puts the terminal back as it was.
struct Restore<'a> {
    device: &'a File,
    before: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // If this fails there is no terminal left to put right.
        let _ = tcsetattr(self.device, OptionalActions::Flush, &self.before);
    }
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        Ok(Self { device })
    }

    /// Asks one line. Nothing of it is shown; keys come one by one, so that Ctrl-C leaves the
    /// terminal as it was.
    fn ask(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        let before = tcgetattr(&self.device)?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _restore = Restore {
            device: &self.device,
            before,
        };
        tcsetattr(&self.device, OptionalActions::Flush, &quiet)?;
        let mut device = &self.device;
        device.write_all(prompt.as_bytes())?;
        let line = read_line(device);
        device.write_all(b"\n")?;
        line
    }
}

/// Reads keys up to Enter: Backspace, Ctrl-U, Ctrl-C and Ctrl-D do what they do elsewhere.
#[expect(
    clippy::unbuffered_bytes,
    reason = "a buffer would keep a copy of what was typed"
)]
fn read_line(from: impl Read) -> io::Result<Zeroizing<String>> {
    // Never grown, so that no copy of it is left behind.
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX));
    for byte in from.bytes() {
        match byte? {
            b'\r' | b'\n' => break,
            3 => return Err(io::ErrorKind::Interrupted.into()),
            4 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            4 => break,
            8 | 0x7f => erase(&mut line),
            0x15 => line.clear(),
            _ if line.len() == PASSPHRASE_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
            }
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| not_text())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Takes the last character away: all of its bytes.
fn erase(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        read_line(keys).ok().map(|line| line.to_string())
    }

    #[test]
    fn keys_edit_the_line_as_elsewhere() {
        for (keys, line) in [
            (&b"secret\r"[..], Some("secret")),
            (b"secret\nmore", Some("secret")),
            (b"secrex\x7ft\r", Some("secret")),
            (b"wrong\x15secret\r", Some("secret")),
            ("n\u{e9}\u{7f}o\r".as_bytes(), Some("no")),
            (b"\x7f\x08a\r", Some("a")),
            (b"secret\x04", Some("secret")),
            (b"\x04", None),
            (b"secret\x03", None),
            (b"\xff\r", None),
        ] {
            assert_eq!(typed(keys).as_deref(), line, "{keys:?}");
        }
        assert_eq!(typed(&vec![b'x'; PASSPHRASE_BYTES_MAX + 1]), None);
    }

    #[test]
    fn first_line_of_a_file_is_the_passphrase() {
        for (content, line) in [
            (&b"secret\n"[..], Some("secret")),
            (b"secret\r\nand more\n", Some("secret")),
            (b"secret", Some("secret")),
            (b" a b \n", Some(" a b ")),
            (b"", None),
            (b"\nsecret", None),
            (b"\xff\n", None),
        ] {
            let read = first_line(content).ok().map(|line| line.to_string());
            assert_eq!(read.as_deref(), line, "{content:?}");
        }
    }
}
