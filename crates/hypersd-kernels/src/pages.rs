//! Large pages for large outputs.
//!
//! Fresh memory costs a fault for every page at its first write. With pages of 4 KiB, that takes longer than many an
//! operation; with pages of 2 MiB, little more than setting them to zero.

#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "advises the system on memory of the caller"))]

/// Asks the system for pages of 2 MiB for the whole pages among `len` values. A refusal only means small pages.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_huge(start: *mut f32, len: usize) {
    const HUGE: usize = 2 << 20;
    let end = (start as usize + len * size_of::<f32>()) / HUGE * HUGE;
    let start = start.map_addr(|start| start.next_multiple_of(HUGE));
    if end > start as usize {
        // SAFETY: the pages lie inside an allocation of the caller; the advice changes none of their contents.
        unsafe { libc::madvise(start.cast(), end - start as usize, libc::MADV_HUGEPAGE) };
    }
}

/// Other systems choose for themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_huge(_: *mut f32, _: usize) {}
