//! What the numbers were measured on.

use std::fs;

/// One sentence on the machine: its CPUs, its kernel, and how busy it is.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown CPU", |(_, name)| name);
    let count = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "Measured on {count} CPUs ({}), Linux {},\nwith a load of {load} at the end.",
        name.trim(),
        kernel.trim(),
    )
}
