//! Keys in the operating system's keyring: a session bus and a Secret Service of the test's own.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::Receiver,
    time::Duration,
};

use crate::common::{Done, Stage, command, finish, run};

/// How long the bus may take to say the next thing, while a test waits for one.
const HEARD_TIMEOUT: Duration = Duration::from_secs(60);

/// A private session bus with an unlocked keyring on it. All of it ends with the test.
struct Keyring {
    root: tempfile::TempDir,
    bus: String,
    children: Vec<Child>,
}

impl Keyring {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut bus = isolated("dbus-daemon", root.path(), "");
        bus.args(["--session", "--nofork", "--print-address=1"]);
        bus.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut bus = bus.spawn().expect("dbus-daemon is there (Debian: dbus)");
        let address = first_line(&mut bus, |line| !line.is_empty());
        let mut keyring = Self {
            bus: address.trim_end().to_owned(),
            children: vec![bus],
            root,
        };
        keyring.unlock();
        keyring
    }

    /// Starts the Secret Service, and waits until the bus says that it is there.
    fn unlock(&mut self) {
        let owner = "type='signal',member='NameOwnerChanged',arg0='org.freedesktop.secrets'";
        let mut monitor = isolated("dbus-monitor", self.root.path(), &self.bus);
        monitor.args(["--session", owner]).stdout(Stdio::piped());
        let monitor = monitor.spawn();
        let mut monitor = monitor.expect("dbus-monitor is there (Debian: dbus-bin)");
        let heard = lines_of(monitor.stdout.take().unwrap());
        self.children.push(monitor);
        let wait_for = |word: &str| {
            let next = || heard.recv_timeout(HEARD_TIMEOUT);
            let told = |error| panic!("the bus never said {word}: {error}");
            while !next().unwrap_or_else(told).contains(word) {}
        };
        wait_for("member=NameLost");
        let mut service = isolated("gnome-keyring-daemon", self.root.path(), &self.bus);
        service.args(["--unlock", "--foreground", "--components=secrets"]);
        service.stdin(Stdio::piped()).stdout(Stdio::null());
        let service = service.stderr(Stdio::null()).spawn();
        let mut service = service.expect("gnome-keyring-daemon is there (Debian: gnome-keyring)");
        let mut password = service.stdin.take().unwrap();
        self.children.push(service);
        password
            .write_all(b"password of the login keyring")
            .unwrap();
        drop(password);
        wait_for("member=NameOwnerChanged");
    }

    fn run(&self, home: &Path, args: &[&str]) -> Done {
        let mut stiver = command(home);
        finish(stiver.args(args).env("DBUS_SESSION_BUS_ADDRESS", &self.bus))
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The lines of a stream, as they come.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
fn lines_of(stream: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A command that sees no desktop but the test's.
fn isolated(program: &str, root: &Path, bus: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("DISPLAY")
        .env("HOME", root)
        .env("XDG_DATA_HOME", root)
        .env("XDG_RUNTIME_DIR", root)
        .env("DBUS_SESSION_BUS_ADDRESS", bus);
    command
}

fn first_line(child: &mut Child, wanted: impl Fn(&str) -> bool) -> String {
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = out.lines().map(Result::unwrap);
    lines.find(|line| wanted(line)).expect("it says something")
}

#[test]
fn key_in_the_keyring_signs_and_leaves_no_secret_in_the_folder() {
    let keyring = Keyring::start();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let made = keyring.run(home, &["--json", "wallet", "new", "--keyring"]);
    let made = made.ends_with(0).json();
    assert_eq!(made["keptIn"], "keyring");
    let file = home.join("keys/default.key");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("stiver-keyring-key 1 ed25519\n"), "{text}");
    let export = ["wallet", "export", "--plain", "--yes"];
    let secret = keyring.run(home, &export).ends_with(0).out;
    assert!(!text.contains(secret.trim()));
    // Another program finds it under the service and the key's name.
    let list = run(home, &["--json", "wallet", "list"]).ends_with(0).json();
    assert_eq!(list["wallets"][0]["keptIn"], "keyring");
    // Out of the keyring and back: it is the same key.
    keyring
        .run(home, &["wallet", "move", "--plain"])
        .ends_with(0);
    assert_eq!(run(home, &export).ends_with(0).out, secret);
    keyring
        .run(home, &["wallet", "move", "--keyring"])
        .ends_with(0);
    assert_eq!(keyring.run(home, &export).ends_with(0).out, secret);
    assert!(
        !std::fs::read_to_string(&file)
            .unwrap()
            .contains(secret.trim())
    );
}

#[test]
fn call_is_paid_with_a_key_in_the_keyring() {
    let keyring = Keyring::start();
    let stage = Stage::funded();
    keyring
        .run(&stage.home(), &["wallet", "move", "--keyring"])
        .ends_with(0);
    let url = stage.at("/v1/temperature");
    let get = ["get", "--max-amount", "0.01 USD", &url];
    let done = keyring.run(&stage.home(), &get).ends_with(0);
    assert_eq!(done.told("payment")["moneyMoved"], "yes");
    // Without the keyring nothing is signed, and nothing is paid.
    let done = stage.run(&get);
    assert_ne!(done.code, 0, "{done:?}");
    let balance = keyring.run(&stage.home(), &["--json", "wallet", "balance"]);
    let balance = balance.ends_with(0).json();
    assert_eq!(balance["balances"][0]["available"], "9999000");
}

#[test]
fn missing_keyring_is_told_with_the_package_that_helps() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let none = |args: &[&str]| {
        let mut stiver = command(home);
        stiver.args(args).env("XDG_RUNTIME_DIR", home);
        let bus = format!("unix:path={}", home.join("nobody").display());
        finish(stiver.env("DBUS_SESSION_BUS_ADDRESS", bus))
    };
    none(&["wallet", "new", "--keyring"]).fails(2, "gnome-keyring");
    assert!(!home.join("keys/default.key").exists());
    run(home, &["wallet", "new"]).ends_with(0);
    let before = std::fs::read(home.join("keys/default.key")).unwrap();
    none(&["wallet", "move", "--keyring"]).fails(2, "gnome-keyring");
    assert_eq!(
        std::fs::read(home.join("keys/default.key")).unwrap(),
        before
    );
}
