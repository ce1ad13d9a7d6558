//! What `generate` says on a machine without the GPU that it is asked for. The drivers of this machine are hidden from
//! it, so that a GPU does not matter.

#[path = "common/generate.rs"]
#[allow(dead_code, reason = "the program is all that these tests share with the others")]
mod common;

use common::Run;

/// Asserts one message and status 1, and no panic of Burn's.
fn refused(device: &str) {
    let run = Run::new();
    let mut command = run.command(&["--device", device]);
    let hidden = [
        ("CUDA_VISIBLE_DEVICES", ""),
        ("VK_DRIVER_FILES", "/dev/null"),
        ("VK_ICD_FILENAMES", "/dev/null"), // its name in older loaders
        ("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null"),
    ];
    let output = command.envs(hidden).env("XDG_CACHE_HOME", run.path("")).output().expect("the program runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    let start = format!("error: --device {device}: no device ");
    assert!(message.starts_with(&start) && message.contains("this machine has 0 of that kind"), "{message}");
    assert!(output.stdout.is_empty());
}

#[cfg(feature = "vulkan")]
#[test]
fn vulkan() {
    refused("vulkan");
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu() {
    refused("wgpu");
}

#[cfg(feature = "cuda")]
#[test]
fn cuda() {
    refused("cuda");
}
