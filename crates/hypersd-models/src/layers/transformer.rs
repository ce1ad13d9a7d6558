//! The attention site of a UNet: image features attend to themselves and to the prompt.

use burn::{
    nn::{GroupNorm, LayerNorm, LayerNormConfig},
    tensor::{Device, Tensor},
};
use hypersd_core::{SlotList, Slots, slots};

use crate::{
    layers::{Conv2d, Linear, attention::Attention, context::Context, conv1x1, group_norm},
    ops,
};

/// The shape of an attention site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransformerShape {
    pub(crate) channels: usize,
    pub(crate) context_width: usize,
    pub(crate) heads: usize,
    /// Number of transformer blocks; a site of depth 0 still normalises and projects.
    pub(crate) depth: usize,
    pub(crate) linear_projection: bool,
    pub(crate) norm_groups: usize,
}

/// diffusers' `Transformer2DModel` as UNets use it.
#[derive(Debug, Clone)]
pub(crate) struct Transformer {
    norm: GroupNorm,
    proj_in: Projection,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

slots!(Transformer { norm, proj_in, transformer_blocks, proj_out });

impl Transformer {
    pub(crate) fn new(shape: TransformerShape, device: &Device) -> Self {
        let TransformerShape { channels, norm_groups, depth, linear_projection, .. } = shape;
        Self {
            norm: group_norm(norm_groups, channels, 1e-6, device), // 1e-6 here, 1e-5 in the resnets
            proj_in: Projection::new(channels, linear_projection, device),
            transformer_blocks: (0..depth).map(|_| TransformerBlock::new(shape, device)).collect(),
            proj_out: Projection::new(channels, linear_projection, device),
        }
    }

    /// # Shapes
    /// - x `[B, C, H, W]` → `[B, C, H, W]`
    pub(crate) fn forward(&self, x: Tensor<4>, context: &Context) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let mut tokens = self.proj_in.tokens_from_image(ops::group_norm(x.clone(), &self.norm));
        for block in &self.transformer_blocks {
            tokens = block.forward(tokens, context);
        }
        self.proj_out.image_from_tokens(tokens, [h, w], x)
    }
}

/// The same map in its two spellings: a 1x1 convolution of the image, or a dense layer of the tokens.
#[derive(Debug, Clone)]
enum Projection {
    Conv(Conv2d),
    Linear(Linear),
}

slots!(Projection: Conv | Linear);

impl Projection {
    fn new(channels: usize, linear_projection: bool, device: &Device) -> Self {
        if linear_projection {
            Self::Linear(Linear::new(channels, channels, device))
        } else {
            Self::Conv(conv1x1(channels, channels, device))
        }
    }

    /// `[B, C, H, W]` → `[B, H·W, C]`, rows of the image after one another.
    fn tokens_from_image(&self, x: Tensor<4>) -> Tensor<3> {
        let flatten = |x: Tensor<4>| x.flatten::<3>(2, 3).swap_dims(1, 2);
        match self {
            Self::Conv(conv) => flatten(ops::conv2d(x, conv)),
            Self::Linear(linear) => ops::linear(flatten(x), linear),
        }
    }

    /// `[B, H·W, C]` → `[B, C, H, W]`, added to `residual`.
    fn image_from_tokens(&self, x: Tensor<3>, [h, w]: [usize; 2], residual: Tensor<4>) -> Tensor<4> {
        let [b, _, c] = x.dims();
        let unflatten = |x: Tensor<3>| x.swap_dims(1, 2).reshape([b, c, h, w]);
        match self {
            Self::Conv(conv) => ops::conv2d_add(unflatten(x), conv, residual),
            Self::Linear(linear) => ops::add(unflatten(ops::linear(x, linear)), residual),
        }
    }
}

/// Self-attention, cross-attention and feed-forward, each added to its input (`BasicTransformerBlock`).
#[derive(Debug, Clone)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

slots!(TransformerBlock { norm1, attn1, norm2, attn2, norm3, ff });

impl TransformerBlock {
    fn new(shape: TransformerShape, device: &Device) -> Self {
        let TransformerShape { channels, context_width, heads, .. } = shape;
        let norm = || LayerNormConfig::new(channels).init(device); // eps 1e-5
        Self {
            norm1: norm(),
            attn1: Attention::new(channels, channels, heads, device),
            norm2: norm(),
            attn2: Attention::new(channels, context_width, heads, device),
            norm3: norm(),
            ff: FeedForward::new(channels, device),
        }
    }

    /// x `[B, S, C]` → `[B, S, C]`
    fn forward(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let tokens = ops::layer_norm(x.clone(), &self.norm1);
        let x = self.attn1.forward(tokens.clone(), tokens, x);
        let tokens = ops::layer_norm(x.clone(), &self.norm2);
        let x = self.attn2.forward_context(tokens, context, x);
        let tokens = ops::layer_norm(x.clone(), &self.norm3);
        self.ff.forward(tokens, x)
    }
}

/// C → 4C → C with a gated GELU between (diffusers' `FeedForward`, a list called `net`).
#[derive(Debug, Clone)]
struct FeedForward {
    proj: Linear,
    out: Linear,
}

/// Position 1 of diffusers' list is a dropout, which has no parameters.
impl Slots for FeedForward {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        let Self { proj, out } = self;
        list.field("net.0.proj", proj);
        list.field("net.2", out);
    }
}

impl FeedForward {
    fn new(width: usize, device: &Device) -> Self {
        Self { proj: Linear::new(width, 8 * width, device), out: Linear::new(4 * width, width, device) }
    }

    /// x and residual `[B, S, C]` → `[B, S, C]`
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        ops::feed_forward(x, &self.proj, &self.out, residual)
    }
}
