//! The names of Python's that a pickle may mention. None is looked up: each stands for something that is known here.

use crate::host::Dtype;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// A mapping; what it is called with are its entries, or how to make a missing one.
    Mapping,
    /// A mapping whose entries are in the `_parameters` of its state.
    ParameterDict,
    /// A type of storage, all of whose elements are of a type; without one in torch's storages of bytes.
    Storage(Option<Dtype>),
    /// A type of elements, as `_rebuild_tensor_v3` is given it.
    Elements(Dtype),
    /// `(storage, offset, size, stride, …)`
    Tensor,
    /// `(storage, offset, size, stride, requires_grad, hooks, dtype, …)`
    TypedTensor,
    /// `(tensor, …)`
    Parameter,
    /// `(extents)`
    Size,
    /// Makes something that holds no weights.
    Opaque,
    /// Is mentioned where nobody calls it.
    Name,
}

/// The allowed names: those of PyTorch's `weights_only` unpickler that have to do with tensors, and what stands beside the
/// weights in the checkpoints that Stable Diffusion's trainers wrote.
const GLOBALS: &[(&str, &[(&str, Global)])] = &[
    (
        "collections",
        &[("OrderedDict", Global::Mapping), ("defaultdict", Global::Mapping), ("Counter", Global::Mapping)],
    ),
    (
        "torch._utils",
        &[
            ("_rebuild_tensor", Global::Tensor),
            ("_rebuild_tensor_v2", Global::Tensor),
            ("_rebuild_tensor_v3", Global::TypedTensor),
            ("_rebuild_parameter", Global::Parameter),
            ("_rebuild_parameter_with_state", Global::Parameter),
        ],
    ),
    ("torch._tensor", &[("_rebuild_from_type_v2", Global::Opaque)]),
    ("torch.nn.parameter", &[("Parameter", Global::Parameter)]),
    ("torch.nn.modules.container", &[("ParameterDict", Global::ParameterDict)]),
    ("torch.storage", &[("UntypedStorage", Global::Storage(None)), ("_load_from_bytes", Global::Name)]),
    (
        "torch",
        &[
            ("Size", Global::Size),
            ("device", Global::Opaque),
            ("FloatStorage", Global::Storage(Some(Dtype::F32))),
            ("HalfStorage", Global::Storage(Some(Dtype::F16))),
            ("BFloat16Storage", Global::Storage(Some(Dtype::BF16))),
            ("DoubleStorage", Global::Storage(Some(Dtype::F64))),
            ("LongStorage", Global::Storage(Some(Dtype::Integer("I64")))),
            ("IntStorage", Global::Storage(Some(Dtype::Integer("I32")))),
            ("ShortStorage", Global::Storage(Some(Dtype::Integer("I16")))),
            ("CharStorage", Global::Storage(Some(Dtype::Integer("I8")))),
            ("ByteStorage", Global::Storage(Some(Dtype::Integer("U8")))),
            ("BoolStorage", Global::Storage(Some(Dtype::Other("BOOL")))),
            ("Float8_e4m3fnStorage", Global::Storage(Some(Dtype::F8E4M3))),
            ("Float8_e5m2Storage", Global::Storage(Some(Dtype::F8E5M2))),
            ("float32", Global::Elements(Dtype::F32)),
            ("float16", Global::Elements(Dtype::F16)),
            ("bfloat16", Global::Elements(Dtype::BF16)),
            ("float64", Global::Elements(Dtype::F64)),
            ("int64", Global::Elements(Dtype::Integer("I64"))),
            ("int32", Global::Elements(Dtype::Integer("I32"))),
            ("int16", Global::Elements(Dtype::Integer("I16"))),
            ("int8", Global::Elements(Dtype::Integer("I8"))),
            ("uint8", Global::Elements(Dtype::Integer("U8"))),
            ("uint16", Global::Elements(Dtype::Integer("U16"))),
            ("uint32", Global::Elements(Dtype::Integer("U32"))),
            ("uint64", Global::Elements(Dtype::Integer("U64"))),
            ("bool", Global::Elements(Dtype::Other("BOOL"))),
            ("float8_e4m3fn", Global::Elements(Dtype::F8E4M3)),
            ("float8_e5m2", Global::Elements(Dtype::F8E5M2)),
        ],
    ),
    ("__builtin__", &[("set", Global::Opaque)]),
    ("builtins", &[("set", Global::Opaque)]),
    ("_codecs", &[("encode", Global::Opaque)]),
    ("numpy", &[("dtype", Global::Opaque), ("ndarray", Global::Name)]),
    ("numpy.core.multiarray", &[("scalar", Global::Opaque), ("_reconstruct", Global::Opaque)]),
    ("numpy._core.multiarray", &[("scalar", Global::Opaque), ("_reconstruct", Global::Opaque)]),
    ("pytorch_lightning.callbacks.model_checkpoint", &[("ModelCheckpoint", Global::Name)]),
];

impl Global {
    pub(super) fn of(module: &str, name: &str) -> Option<Self> {
        let (_, names) = GLOBALS.iter().find(|(known, _)| *known == module)?;
        names.iter().find(|(known, _)| *known == name).map(|(_, global)| *global)
    }
}
