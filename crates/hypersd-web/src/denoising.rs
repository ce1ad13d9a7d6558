//! Drawing a step at a time, so that a worker may look at its messages between two steps.

use std::sync::Arc;

use hypersd::{Denoised, Provenance, Request};
use js_sys::Error;
use self_cell::self_cell;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{Picture, error::js};

type Steps<'a> = hypersd::Denoising<'a>;

self_cell!(
    /// The library's iterator, with the pipeline that it borrows.
    struct Running {
        owner: Arc<hypersd::Pipeline>,
        #[not_covariant]
        dependent: Steps,
    }
);

/// A picture that is being drawn. To cancel is to take no more steps.
#[wasm_bindgen]
pub struct Denoising {
    running: Running,
    request: Request,
    provenance: Provenance,
    last: Option<Denoised>,
}

/// A step that was taken.
#[wasm_bindgen]
pub struct Step {
    pipeline: Arc<hypersd::Pipeline>,
    denoised: Denoised,
}

impl Denoising {
    pub(crate) fn begin(pipeline: Arc<hypersd::Pipeline>, request: Request) -> Result<Self, Error> {
        let provenance = pipeline.provenance(&request).map_err(js)?;
        let running = Running::try_new(pipeline, |pipeline| pipeline.denoise(&request)).map_err(js)?;
        Ok(Self { running, request, provenance, last: None })
    }
}

#[wasm_bindgen]
impl Denoising {
    /// Takes the next step; nothing after the last.
    ///
    /// # Errors
    /// A JavaScript `Error` for what goes wrong in it; no step follows.
    pub fn step(&mut self) -> Result<Option<Step>, Error> {
        let Some(denoised) = self.running.with_dependent_mut(|_, steps| steps.next()) else {
            return Ok(None);
        };
        let denoised = denoised.map_err(js)?;
        self.last = Some(denoised.clone());
        Ok(Some(Step { pipeline: self.running.borrow_owner().clone(), denoised }))
    }

    /// The picture of the last step that was taken.
    ///
    /// # Errors
    /// A JavaScript `Error` before the first step, and for latents that are not finite.
    pub fn picture(&self) -> Result<Picture, Error> {
        let Some(last) = &self.last else {
            return Err(Error::new("picture: expected a step before it, found none"));
        };
        let drawn = self.running.borrow_owner().decode(last.x.clone()).map_err(js)?;
        let drawn = self.request.start.paste(drawn).map_err(js)?;
        let [image] =
            <[_; 1]>::try_from(drawn).map_err(|_| Error::new("a page draws one picture at a time"))?;
        Ok(Picture::drawn(image, self.provenance.clone()))
    }
}

#[wasm_bindgen]
impl Step {
    /// Its place, from 1.
    #[must_use]
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> usize {
        self.denoised.index + 1
    }

    /// The number of steps.
    #[must_use]
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        self.denoised.steps
    }

    /// The picture as the model sees it at this step.
    ///
    /// # Errors
    /// A JavaScript `Error` for latents that are not finite.
    pub fn preview(&self) -> Result<Picture, Error> {
        let mut drawn = self.pipeline.decode(self.denoised.x0.clone()).map_err(js)?;
        drawn.truncate(1);
        drawn.pop().map(Picture::of).ok_or_else(|| Error::new("a step has a picture"))
    }
}

impl Step {
    pub(crate) fn is_last(&self) -> bool {
        self.step() == self.steps()
    }
}
