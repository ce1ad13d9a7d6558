//! One error type for the crate.

/// What can go wrong while preparing or running a ControlNet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that no ControlNet can be built from, or an input that does not fit the network.
    #[error(transparent)]
    Network(#[from] hypersd_models::Error),
    /// Files and arguments.
    #[error(transparent)]
    Core(#[from] hypersd_core::Error),
    /// A picture, or the size that one shall have.
    #[error(transparent)]
    Image(#[from] hypersd_core::ImageError),
    /// The ControlNet was made for another UNet than the one it shall guide.
    #[error(
        "the ControlNet does not fit the UNet: its {what} is {controlnet}, the UNet's {unet}; \
         take a ControlNet that was trained for this model's family"
    )]
    OtherFamily {
        /// In what the two differ.
        what: &'static str,
        /// What the ControlNet has.
        controlnet: String,
        /// What the UNet has.
        unet: String,
    },
}

impl Error {
    /// A configuration that is refused for one field.
    pub(crate) fn config(field: &str, found: impl std::fmt::Debug, expected: &str) -> Self {
        let (field, expected, found) = (field.to_string(), expected.to_string(), format!("{found:?}"));
        hypersd_models::Error::Config { network: "ControlNet", field, expected, found }.into()
    }

    /// A tensor of another shape than the network takes.
    pub(crate) fn shape(argument: &'static str, expected: String, found: &[usize]) -> Self {
        hypersd_models::Error::Shape { argument, expected, found: found.to_vec() }.into()
    }

    /// An argument that cannot be right.
    pub(crate) fn argument(
        argument: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        let (expected, found) = (expected.into(), found.to_string());
        hypersd_core::Error::Argument { argument, expected, found }.into()
    }
}
