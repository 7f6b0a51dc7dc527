//! A terminal with somebody at it.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// Runs a command at a terminal. Types the answer once the terminal shows the question. What the
/// terminal showed, and the exit code; standard output is not the terminal.
pub(crate) fn converse(command: &mut Command, question: &str, answer: &str) -> (i32, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(
        name.as_c_str(),
        OFlags::RDWR | OFlags::NOCTTY,
        Mode::empty(),
    )
    .unwrap();
    command
        .stdin(Stdio::from(theirs.try_clone().unwrap()))
        .stderr(Stdio::from(theirs))
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    // The command holds the only copies of the terminal's other side: it ends with the command.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut terminal = File::from(ours);
    let mut shown = Vec::new();
    let mut answered = false;
    let mut piece = [0; 1024];
    // Reading fails when the other side is closed.
    while let Ok(length @ 1..) = terminal.read(&mut piece) {
        shown.extend_from_slice(&piece[..length]);
        if !answered && String::from_utf8_lossy(&shown).contains(question) {
            terminal.write_all(answer.as_bytes()).unwrap();
            answered = true;
        }
    }
    let status = child.wait().unwrap();
    (
        status.code().expect("it was not killed"),
        String::from_utf8(shown).unwrap(),
    )
}
