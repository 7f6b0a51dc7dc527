//! The `stiver` command.
fn main() {}
