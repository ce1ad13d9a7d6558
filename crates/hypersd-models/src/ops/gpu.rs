//! Kernels of our own for GPUs, in CubeCL: one source for CUDA, Vulkan, Metal and WebGPU.
//!
//! They are what Burn has no single kernel for. Each computes in f32 whatever the type of its tensors, reads them by their
//! strides, and holds nothing between its input and its output but a few numbers for each group.
//!
//! Every function here has the signature and the meaning of the function of [`super`] that calls it, for tensors of which
//! [`takes`] says yes.

use burn::{
    backend::{Backend, Dispatch, DispatchDevice, backend_extension, tensor::FloatTensor},
    module::Param,
    nn::GroupNorm,
    tensor::{DType, Tensor},
};
use burn_cubecl::CubeBackend;
use cubecl::ir::{ElemType, FloatKind};

mod attention;
mod gated;
mod norm;

/// The operations, from which Burn makes what the backends with and without fusion call.
#[backend_extension(Cube, Fusion)]
pub(crate) trait GpuOps: Backend {
    /// See [`group_norm`]; `silu` comes after it.
    #[fusion(dtype = x, shape = x)]
    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        epsilon: f32,
        silu: bool,
    ) -> FloatTensor<Self>;

    /// See [`gated`].
    #[fusion(dtype = x, shape = gated::shape(x))]
    fn gated_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`attention`].
    #[fusion(dtype = q, shape = q)]
    fn tiled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        causal: bool,
    ) -> FloatTensor<Self>;
}

impl GpuOps for CubeBackend {
    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        epsilon: f32,
        silu: bool,
    ) -> FloatTensor<Self> {
        norm::group_norm(x, gamma, beta, norm::Settings { groups, epsilon, silu })
    }

    fn gated_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gated::gated_gelu(x)
    }

    fn tiled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        causal: bool,
    ) -> FloatTensor<Self> {
        attention::attention(q, k, v, heads, causal)
    }
}

/// CubeCL's name for a type that networks compute in.
fn element(dtype: DType) -> ElemType {
    ElemType::Float(match dtype {
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        DType::F32 => FloatKind::F32,
        other => unreachable!("networks are loaded in f32, f16 or bf16, not {other:?}"),
    })
}

/// True where a tensor lives on a device that CubeCL has.
pub(super) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.device().as_dispatch(), DispatchDevice::Cube(_))
}

pub(super) fn group_norm(x: Tensor<4>, layer: &GroupNorm, silu: bool) -> Tensor<4> {
    let parameter = |parameter: &Option<Param<Tensor<1>>>| {
        parameter.as_ref().expect("a group norm with gamma and beta").val().into_dispatch()
    };
    let (gamma, beta) = (parameter(&layer.gamma), parameter(&layer.beta));
    let (groups, epsilon) = (layer.num_groups, layer.epsilon as f32);
    Tensor::from_dispatch(Dispatch::group_norm(x.into_dispatch(), gamma, beta, groups, epsilon, silu))
}

/// `value · GELU(gate)`, of a tensor whose last dimension has the values and then the gates.
///
/// # Shapes
/// - x `[B, S, 2·d]` → `[B, S, d]`
pub(super) fn gated(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::gated_gelu(x.into_dispatch()))
}

pub(super) fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize, causal: bool) -> Tensor<3> {
    let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::tiled_attention(q, k, v, heads, causal))
}
