//! How much memory there is to be had.

use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// Bytes that this process can still take: of the machine's memory what is free or can be freed, and its swap, within what
/// the process's control group (a container's limit) and its address space (`ulimit -v`) leave. `None` where the system
/// does not say, as in a browser.
#[must_use]
pub fn available_memory() -> Option<u64> {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return None;
    }
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::everything());
    let machine = system.available_memory().checked_add(system.free_swap()).filter(|bytes| *bytes > 0)?;
    let pid = get_current_pid().ok()?;
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing().with_memory(),
    );
    let Some(process) = system.process(pid) else { return Some(machine) };
    // What the group has of files can be freed; what its processes have made is what counts.
    let group = process.cgroup_limits().filter(|group| group.total_memory < system.total_memory());
    let group = group.map_or(u64::MAX, |group| {
        group.total_memory.saturating_sub(group.rss).saturating_add(group.free_swap)
    });
    let space = address_space().saturating_sub(process.virtual_memory());
    Some(machine.min(group).min(space))
}

/// The bytes of address space that a process may take.
#[cfg(unix)]
fn address_space() -> u64 {
    rlimit::Resource::AS.get_soft().unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn address_space() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_limited_address_space_is_all_there_is() {
        // In a process of its own: a limit is for all threads, and tests share one.
        const LIMITED: &str = "HYPERSD_TEST_LIMITED";
        if std::env::var_os(LIMITED).is_some() {
            let available = available_memory().expect("a system that says");
            assert!((1 << 20..=1 << 30).contains(&available), "{available}");
            return;
        }
        let program = std::env::current_exe().expect("this test");
        let command = format!(
            "ulimit -v $((1024 * 1024)) && exec '{}' available::tests --exact --test-threads 1 \
             available::tests::a_limited_address_space_is_all_there_is",
            program.display()
        );
        let run = std::process::Command::new("sh").args(["-c", &command]).env(LIMITED, "1").output();
        let run = run.expect("a shell");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
    }

    #[test]
    fn there_is_some_memory_and_not_more_than_an_address_space() {
        let available = available_memory().expect("a system that says");
        assert!((1 << 20..1 << 56).contains(&available), "{available}");
    }
}
