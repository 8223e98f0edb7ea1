//! What the process and the machine have, as the operating system tells.

/// Peak resident memory of this process in bytes (VmHWM), or 0 where the system does not tell.
pub fn peak_bytes() -> u64 {
    status_kib("VmHWM:").map_or(0, |kib| kib * 1024)
}

/// Memory of the machine in bytes, or `None` where the system does not tell.
pub fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    kib(&text, "MemTotal:").map(|k| k * 1024)
}

fn status_kib(name: &str) -> Option<u64> {
    kib(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
