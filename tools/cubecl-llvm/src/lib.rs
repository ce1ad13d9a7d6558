//! The names that `cubecl-cuda` takes from `cubecl-llvm`, with no compiler behind them.
//!
//! `cubecl-cuda` 0.11 has two compilers, LLVM and NVRTC, and links both; LLVM is downloaded while it is built. With its
//! feature `cpp` it only ever asks NVRTC. This crate takes LLVM's place for such a build, and refuses to compile
//! anything for a build that lacks the feature.

use std::ffi::c_char;

use cubecl_core::{
    CompilationError,
    environment::backtrace::BackTrace,
    ir::{amd::GfxArch, attributes::BufferIOAttr, nvidia::SmArch},
    prelude::KernelDefinition,
};

/// What whoever ends up here has to do.
const REFUSAL: &str = "this program was built with a stand-in for LLVM, which compiles nothing: build it with hypersd's \
                       feature `cuda-nvrtc`, or without the stand-in";

/// What to compile for.
#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    /// NVIDIA's PTX.
    Nvptx,
}

/// A compiler that refuses.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// Not read.
    pub target: LlvmTarget,
}

/// What the compiler is told; not read.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<GfxArch>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
}

/// A compiled kernel; there is none.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<c_char>,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

/// What compiling gives; nothing makes one.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
}

impl PlironCompiler {
    /// # Errors
    /// Always.
    pub fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic { reason: REFUSAL.into(), backtrace: BackTrace::capture() })
    }

    /// The language of kernels that are given as text.
    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

pub mod nvptx {
    pub mod ptx_version {
        use std::fmt;

        /// The version of PTX to emit; there is no value of it, since nothing is emitted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// Leaves the version to the compiler, whatever the driver.
            pub fn for_driver(_: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

pub mod shared {
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The device whose features are asked about.
        #[derive(Clone, Copy, Debug)]
        pub enum GpuTarget {
            Nvptx,
        }

        /// `cubecl-cuda` calls this when it starts a device for LLVM, and never for NVRTC: the earliest place to say no.
        ///
        /// # Panics
        /// Always.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {
            panic!("{}", crate::REFUSAL);
        }
    }
}
