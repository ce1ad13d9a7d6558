//! The gated unit of a feed-forward (Shazeer 2020, arXiv:2002.05202), with the exact GELU.

use burn::tensor::Shape;
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, ir::ElemType, prelude::*};

use super::element;

/// The shape of the result: half as wide.
pub(super) fn shape(x: &Shape) -> Shape {
    let mut shape = x.clone();
    let last = shape.num_dims() - 1;
    shape[last] /= 2;
    shape
}

/// `[B, S, 2·d]` → `[B, S, d]`
pub(super) fn gated_gelu(x: CubeTensor) -> CubeTensor {
    let shape = shape(x.meta.shape());
    let count = shape.num_elements();
    let (client, dtype) = (x.client.clone(), x.dtype);
    let out = empty_device_contiguous_dtype(client.clone(), x.device.clone(), shape, dtype);
    let cube_dim = CubeDim::new(&client, count);
    let cubes = calculate_cube_count_elemwise(&client, count, cube_dim);
    gated_gelu_kernel::launch(
        &client,
        cubes,
        cube_dim,
        x.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        element(dtype),
    );
    out
}

/// One unit for each value of `out`.
#[cube(launch)]
fn gated_gelu_kernel<F: Float>(x: &Tensor<F>, out: &mut Tensor<F>, #[define(F)] _dtype: ElemType) {
    let d = out.shape(2);
    if ABSOLUTE_POS >= out.shape(0) * out.shape(1) * d {
        terminate!();
    }
    let column = ABSOLUTE_POS % d;
    let row = ABSOLUTE_POS / d % out.shape(1);
    let batch = ABSOLUTE_POS / d / out.shape(1);
    let at = batch * x.stride(0) + row * x.stride(1) + column * x.stride(2);
    let value = f32::cast_from(x[at]);
    let gate = f32::cast_from(x[at + d * x.stride(2)]);
    let gelu = gate * 0.5 * (1.0 + Erf::erf(gate * core::f32::consts::FRAC_1_SQRT_2));
    out[ABSOLUTE_POS] = F::cast_from(value * gelu);
}
