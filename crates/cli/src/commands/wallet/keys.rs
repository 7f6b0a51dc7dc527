//! Making, moving, importing and exporting keys.

use std::{
    io::{self, Read, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::json;
use stiver_env::Env;
use stiver_ledger::id::AccountId;
use stiver_method::key::{Ed25519Key, KEY_FILE_BYTES_MAX};
use stiver_wallet::{Home, Keep, Kept, Wallet, WalletName, keyfile::KeyFile, sealed::SealedKey};
use zeroize::Zeroizing;

use crate::{
    args::{Export, HomeChoice, Import, KeepChoice, MoveKey, Named, Passwd},
    failure::{Failure, UsageContext},
    output::{DIM, Output, STRONG},
    passphrase::{Asked, KEY_VARIABLE},
    payer::{environment_key, key_of, open_home, wallet_failure},
};

impl KeepChoice {
    fn keep(self) -> Keep {
        match (self.encrypt, self.keyring) {
            (true, _) => Keep::EncryptedFile,
            (false, true) => Keep::Keyring,
            (false, false) => Keep::PlainFile,
        }
    }
}

/// Asks nothing while a task waits: passphrases and the keyring may keep this thread waiting.
fn blocking<T>(
    future: impl Future<Output = Result<T, stiver_wallet::WalletError>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(future)).map_err(wallet_failure)
}

fn name_of(wallet: &Named) -> Result<WalletName, Failure> {
    WalletName::new(&wallet.name).usage(format!("the name {:?}", wallet.name))
}

/// Keys are made and moved in the folder: a key of the environment would hide them at once.
fn no_environment_key(doing: &str) -> Result<(), Failure> {
    match environment_key()? {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!(
            "{KEY_VARIABLE} is set, and every command would use its key: unset it to {doing}"
        ))),
    }
}

fn home_of(choice: &HomeChoice, env: &Env) -> Result<Home, Failure> {
    open_home(choice, Asked::new(choice), env)
}

/// `stiver wallet new`
pub(super) async fn new(
    args: &Named,
    keep: KeepChoice,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let name = name_of(args)?;
    no_environment_key("make a wallet")?;
    let home = home_of(&args.home, env)?;
    let wallet = blocking(home.create(&name, keep.keep()))?;
    tell(&format!("made the wallet {name}"), &home, &wallet, output)?;
    output.line("next: `stiver wallet join URL`, and have an issuer fund the key")?;
    Ok(())
}

/// `stiver wallet import`
pub(super) async fn import(args: &Import, env: &Env, output: Output) -> Result<(), Failure> {
    let name = name_of(&args.wallet)?;
    no_environment_key("import a wallet")?;
    let home = home_of(&args.wallet.home, env)?;
    let text = read_key_text(&args.from)?;
    let wallet = match KeyFile::from_text(&text) {
        Ok(KeyFile::Plain(key)) => blocking(home.import(&name, *key, args.keep.keep()))?,
        Ok(KeyFile::Sealed(sealed)) => import_sealed(args, &home, &name, &sealed)?,
        Ok(KeyFile::Keyring(_)) => {
            return Err(Failure::usage(
                "this file names an item of a keyring and holds no key: \
                 run `stiver wallet export` where the keyring is",
            ));
        }
        Err(error) => match Ed25519Key::from_secret_text(text.trim()) {
            Ok(key) => blocking(home.import(&name, key, args.keep.keep()))?,
            Err(_) => return Err(error).usage(format!("{}", args.from.display())),
        },
    };
    drop(text);
    tell(
        &format!("imported the wallet {name}"),
        &home,
        &wallet,
        output,
    )?;
    output.note(
        "warning: whoever has another copy of this key can spend the same money; two machines \
         that pay with it keep two histories",
    )?;
    Ok(())
}

/// What is encrypted stays so, under the same passphrase, unless another place is named.
fn import_sealed(
    args: &Import,
    home: &Home,
    name: &WalletName,
    sealed: &SealedKey,
) -> Result<Wallet, Failure> {
    let asked = Asked::new(&args.wallet.home);
    let passphrase =
        tokio::task::block_in_place(|| stiver_wallet::Passphrases::existing(&asked, name))
            .usage("importing")?;
    match args.keep.keep() {
        Keep::PlainFile => blocking(home.import_sealed(name, sealed, &passphrase)),
        keep @ (Keep::EncryptedFile | Keep::Keyring) => {
            let key = tokio::task::block_in_place(|| sealed.open(&passphrase));
            let key = key.context("the key to import").usage("importing")?;
            blocking(home.import(name, key, keep))
        }
    }
}

fn read_key_text(from: &Path) -> Result<Zeroizing<String>, Failure> {
    let doing = format!("reading {}", from.display());
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    let limit = KEY_FILE_BYTES_MAX + 1;
    let read = if from == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(from).usage(doing.clone())?;
        file.take(limit).read_to_end(&mut bytes)
    };
    read.usage(doing.clone())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > KEY_FILE_BYTES_MAX) {
        let message = format!("{doing}: a key file has at most {KEY_FILE_BYTES_MAX} bytes");
        return Err(Failure::usage(message));
    }
    let text = std::str::from_utf8(&bytes).usage(doing)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// `stiver wallet export`
pub(super) fn export(args: &Export, env: &Env, output: Output) -> Result<(), Failure> {
    let name = name_of(&args.wallet)?;
    let home = home_of(&args.wallet.home, env)?;
    let wallet = home.wallet(&name).map_err(wallet_failure)?;
    let text = if args.plain {
        let secret = key_of(&wallet)?.to_secret_text();
        // With room for all of it: a text that grows leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(secret.len() + 1));
        text.push_str(&secret);
        text.push('\n');
        text
    } else if wallet.kept() == Kept::In(Keep::EncryptedFile) {
        // As it is: nobody needs to type the passphrase for a backup.
        read_key_text(&home.key_path(&name))?
    } else {
        let key = key_of(&wallet)?;
        let sealed = tokio::task::block_in_place(|| home.seal(&name, &key));
        Zeroizing::new(sealed.map_err(wallet_failure)?.to_file_text())
    };
    let format = if args.plain { "secret" } else { "encrypted" };
    let file = args.output.as_ref().map(|file| file.display().to_string());
    if let Some(path) = &args.output {
        write_new(path, text.as_bytes())?;
        output.line(&format!("wrote {}", path.display()))?;
    } else if !output.is_json() {
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    if args.plain {
        output.note("warning: whoever reads this can spend the money of the wallet")?;
    }
    let shown = match file {
        Some(_) => None,
        None => Some(text.trim_end()),
    };
    output.object(&json!({
        "ok": true,
        "name": name.as_str(),
        "key": wallet.did().to_string(),
        "format": format,
        "output": file,
        "text": shown,
    }))?;
    Ok(())
}

/// Writes a file that is not there yet and that only its owner can read.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let doing = format!("writing {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).usage(doing.clone())?;
    file.write_all(bytes).context(doing.clone())?;
    file.sync_all().context(doing)?;
    Ok(())
}

/// `stiver wallet move`
pub(super) async fn move_key(args: &MoveKey, env: &Env, output: Output) -> Result<(), Failure> {
    let name = name_of(&args.wallet)?;
    no_environment_key("move a key")?;
    let keep = args.keep.keep();
    if keep == Keep::PlainFile && !args.plain {
        return Err(Failure::usage(
            "say where to keep the key: --encrypt, --keyring or --plain",
        ));
    }
    let home = home_of(&args.wallet.home, env)?;
    no_link(&home, &name)?;
    let before = home.wallet(&name).map_err(wallet_failure)?.kept();
    if before == Kept::In(keep) {
        let hint = match keep {
            Keep::EncryptedFile => ": `stiver wallet passwd` changes its passphrase",
            Keep::PlainFile | Keep::Keyring => "",
        };
        return Err(Failure::usage(format!(
            "the key of the wallet {name} is kept there already ({before}){hint}"
        )));
    }
    let moved = blocking(home.keep(&name, keep))?;
    tell(
        &format!("moved the key of the wallet {name}"),
        &home,
        &moved.wallet,
        output,
    )?;
    if let Some(left) = moved.left {
        output.note(&format!(
            "warning: {left} ({}): remove it yourself",
            left.source
        ))?;
    }
    if before == Kept::In(Keep::PlainFile) {
        output.note(
            "note: a disk, a snapshot or a backup may still hold the plain key file; if somebody \
             may have read it, make a new wallet and move the money",
        )?;
    }
    Ok(())
}

/// A link would be replaced, and the key stay where it leads, as it was.
fn no_link(home: &Home, name: &WalletName) -> Result<(), Failure> {
    let path = home.key_path(name);
    match std::fs::read_link(&path) {
        Err(_) => Ok(()),
        Ok(to) => Err(Failure::usage(format!(
            "{} is a symbolic link to {}: the key would stay there; put the file itself in the \
             place of the link first",
            path.display(),
            to.display()
        ))),
    }
}

/// `stiver wallet passwd`
pub(super) async fn passwd(args: &Passwd, env: &Env, output: Output) -> Result<(), Failure> {
    let name = name_of(&args.wallet)?;
    no_environment_key("change a passphrase")?;
    let choice = &args.wallet.home;
    let asked = Asked::new(choice).with_new(args.new_passphrase_file.as_ref());
    let home = open_home(choice, asked, env)?;
    no_link(&home, &name)?;
    let kept = home.wallet(&name).map_err(wallet_failure)?.kept();
    if kept != Kept::In(Keep::EncryptedFile) {
        return Err(Failure::usage(format!(
            "the key of the wallet {name} is under no passphrase ({kept}): \
             `stiver wallet move {name} --encrypt` puts it under one"
        )));
    }
    let wallet = blocking(home.keep(&name, Keep::EncryptedFile))?.wallet;
    tell(
        &format!("changed the passphrase of the wallet {name}"),
        &home,
        &wallet,
        output,
    )?;
    output.note("note: copies and backups of the file still open with the old one")?;
    Ok(())
}

/// Says what was done, and where the key is.
fn tell(done: &str, home: &Home, wallet: &Wallet, output: Output) -> Result<(), Failure> {
    let name = wallet.name();
    let key = wallet.did().to_string();
    let account = AccountId::of_first_key(&wallet.did()).to_string();
    let file = home.key_path(name).display().to_string();
    let whereabouts = match wallet.kept() {
        Kept::In(Keep::PlainFile) => {
            format!("its secret is in {file}: whoever can read that can spend the money")
        }
        Kept::In(Keep::EncryptedFile) => {
            format!("its secret is in {file}, encrypted: without the passphrase it is lost")
        }
        Kept::In(Keep::Keyring) => {
            format!("its secret is in the keyring, as the item of `stiver` that {file} names")
        }
        Kept::Environment => "its secret is in the environment".to_owned(),
    };
    output.line(&output.paint(STRONG, done))?;
    output.line(&format!("{} {key}", output.paint(DIM, "key    ")))?;
    output.line(&format!("{} {account}", output.paint(DIM, "account")))?;
    output.line(&whereabouts)?;
    output.object(&json!({
        "ok": true,
        "name": name.as_str(),
        "key": key,
        "account": account,
        "keptIn": wallet.kept().as_str(),
    }))?;
    Ok(())
}
