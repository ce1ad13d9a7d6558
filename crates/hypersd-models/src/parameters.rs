//! The names and shapes of a network's parameters, as weight files have them.

use hypersd_core::{SlotList, Slots};

/// Name and shape of every parameter, in the order of the fields: diffusers' names, and shapes as in a weight file,
/// whatever form the parameters are kept in. Reads no parameter, so it costs nothing on a network that is not loaded.
///
/// ```
/// use burn::tensor::Device;
/// use hypersd_models::{parameters, unet::{UNet, UNetConfig}};
///
/// let unet = UNet::new(&UNetConfig::sd15(), &Device::default())?;
/// let parameters = parameters(&unet);
/// assert_eq!(parameters.len(), 686);
/// assert_eq!(parameters[0], ("conv_in.weight".into(), vec![320, 4, 3, 3]));
/// # Ok::<(), hypersd_models::Error>(())
/// ```
#[must_use]
pub fn parameters<N: Slots + Clone>(network: &N) -> Vec<(String, Vec<usize>)> {
    // Only what is to be filled shows its slots; a clone shares the parameters.
    let mut network = network.clone();
    SlotList::of(&mut network).into_iter().map(|(name, slot)| (name, slot.shape())).collect()
}
