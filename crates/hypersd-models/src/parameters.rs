//! The names and shapes of a network's parameters, as weight files have them.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

/// Name and shape of every parameter, in the order of the fields: diffusers' names, and shapes as in a weight file,
/// with a dense layer's weight `[out, in]`. Reads no parameter, so it costs nothing on a network that is not loaded. Of one
/// that was loaded in another order than Burn's ([`weight_order`](crate::weight_order)) some shapes are those of that
/// order.
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
pub fn parameters<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.parameters
}

#[derive(Default)]
struct Collector {
    /// Name of each module on the way, and the kind of module that holds it.
    path: Vec<(String, String)>,
    parameters: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.into(), container.into()));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut shape = param.lazy_shape().to_vec();
        let Some((field, holder)) = self.path.last() else { return };
        // Burn holds a dense layer's weight as [in, out] and calls the scale and shift of norms otherwise.
        let field = match (holder.as_str(), field.as_str()) {
            ("Struct:Linear", "weight") => {
                shape.reverse();
                "weight"
            }
            ("Struct:GroupNorm" | "Struct:LayerNorm", "gamma") => "weight",
            ("Struct:GroupNorm" | "Struct:LayerNorm", "beta") => "bias",
            (_, field) => field,
        };
        // The variant of an enum is not part of a name.
        let modules = self.path[..self.path.len() - 1].iter();
        let modules = modules.filter(|(_, container)| !container.starts_with("Enum:"));
        let name: Vec<&str> = modules.map(|(name, _)| name.as_str()).chain([field]).collect();
        self.parameters.push((name.join("."), shape));
    }
}
