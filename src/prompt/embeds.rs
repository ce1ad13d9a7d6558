//! What text encoders make of a prompt, as a value.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::Error;

/// The embeddings of a prompt (diffusers' `prompt_embeds` and `pooled_prompt_embeds`): what the UNet is told.
///
/// [`Pipeline::encode_prompt`](crate::Pipeline::encode_prompt) makes them, once for any number of pictures; they may as
/// well be of one's own. A clone is the same embeddings, and two are equal where they are the same in this sense, not where
/// their numbers are.
///
/// ```no_run
/// # fn example(pipeline: &hypersd::Pipeline) -> Result<(), hypersd::Error> {
/// use hypersd::Request;
///
/// let cat = pipeline.encode_prompt(&"a photo of a cat".into())?;
/// let dog = pipeline.encode_prompt(&"a photo of a dog".into())?;
/// for seed in 0..100 {
///     let between = cat.lerp(&dog, seed as f32 / 99.0)?;
///     let images = pipeline.generate(&Request { prompt: between.into(), seed, ..Request::default() })?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PromptEmbeds(Arc<States>);

#[derive(Debug)]
struct States {
    context: Tensor<3>,
    pooled: Option<Tensor<2>>,
    /// Those for a refiner.
    refiner: Option<PromptEmbeds>,
}

impl PromptEmbeds {
    /// Embeddings of one's own.
    ///
    /// # Shapes
    /// - context `[1, T, D]`, the states of the text encoders side by side; T is a multiple of 77, D 768 for SD1.5
    /// - pooled `[1, P]`, for SDXL, where P is 1280
    ///
    /// # Errors
    /// [`Error::Request`] for a batch other than 1, and for no states.
    pub fn new(context: Tensor<3>, pooled: Option<Tensor<2>>) -> Result<Self, Error> {
        let [batch, length, width] = context.dims();
        let rows = pooled.as_ref().map_or(1, |pooled| pooled.dims()[0]);
        if batch != 1 || rows != 1 || length == 0 || width == 0 {
            return Err(Error::Request {
                option: "prompt_embeds",
                expected: "one prompt: [1, T, D], and a pooled state [1, P]".into(),
                found: format!("{:?} and {:?}", context.dims(), pooled.map(|pooled| pooled.dims())),
            });
        }
        Ok(Self(Arc::new(States { context, pooled, refiner: None })))
    }

    /// The same with the embeddings of the same prompt for the pipeline's [refiner](crate::PipelineBuilder::refiner), whose
    /// text encoders are its own.
    #[must_use]
    pub fn with_refiner(self, embeds: Self) -> Self {
        Self(Arc::new(States { context: self.context(), pooled: self.pooled(), refiner: Some(embeds) }))
    }

    /// The embeddings for a refiner, where there are any.
    #[must_use]
    pub fn refiner(&self) -> Option<&Self> {
        self.0.refiner.as_ref()
    }

    /// The states, `[1, T, D]`.
    #[must_use]
    pub fn context(&self) -> Tensor<3> {
        self.0.context.clone()
    }

    /// The pooled state, `[1, P]`, where there is one.
    #[must_use]
    pub fn pooled(&self) -> Option<Tensor<2>> {
        self.0.pooled.clone()
    }

    /// The number of tokens T, padding included.
    pub(crate) fn length(&self) -> usize {
        self.0.context.dims()[1]
    }

    /// The embeddings between these (0) and others (1): `(1 − t) · these + t · others`.
    ///
    /// # Errors
    /// [`Error::Request`] for embeddings of other shapes.
    pub fn lerp(&self, other: &Self, t: f32) -> Result<Self, Error> {
        let (a, b) = (&self.0, &other.0);
        let shapes =
            |states: &States| (states.context.dims(), states.pooled.as_ref().map(|pooled| pooled.dims()));
        if shapes(a) != shapes(b) {
            return Err(Error::Request {
                option: "prompt_embeds",
                expected: format!("the shapes of the first, {:?}", shapes(a)),
                found: format!("{:?}", shapes(b)),
            });
        }
        let pooled = a.pooled.clone().zip(b.pooled.clone()).map(|(a, b)| lerp(a, b, t));
        let between = Self::new(lerp(a.context.clone(), b.context.clone(), t), pooled)?;
        match (&a.refiner, &b.refiner) {
            (Some(a), Some(b)) => Ok(between.with_refiner(a.lerp(b, t)?)),
            _ => Ok(between),
        }
    }

    /// As many states, all of them zero.
    pub(crate) fn zeros_like(&self) -> Self {
        let States { context, pooled, .. } = &*self.0;
        let pooled = pooled.as_ref().map(Tensor::zeros_like);
        Self(Arc::new(States { context: context.zeros_like(), pooled, refiner: None }))
    }
}

fn lerp<const D: usize>(a: Tensor<D>, b: Tensor<D>, t: f32) -> Tensor<D> {
    let b = b.to_device(&a.device()).cast(burn::tensor::FloatDType::from(a.dtype()));
    a.mul_scalar(1.0 - t) + b.mul_scalar(t)
}

impl PartialEq for PromptEmbeds {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
