//! Tests of the log as its users see it, on a simulated and a real disk.

mod crash;
mod damage;
mod engine;
mod history;
mod tally;
