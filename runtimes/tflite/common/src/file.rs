//! What a `.tflite` file says of itself.

use std::path::Path;

use edgemux_runtime_api::tensor::DataType;

use crate::flatbuffer::{Malformed, Table, root};

/// The identifier that every version of the format since 2017 has.
const IDENTIFIER: &[u8; 4] = b"TFL3";
const VERSION: u32 = 3;

/// Numbers of fields in TensorFlow Lite's schema.
mod number {
    pub(super) const MODEL_VERSION: usize = 0;
    pub(super) const MODEL_OPERATOR_CODES: usize = 1;
    pub(super) const MODEL_SUBGRAPHS: usize = 2;
    pub(super) const MODEL_SIGNATURES: usize = 7;
    pub(super) const OPERATOR_CODE_CUSTOM: usize = 1;
    pub(super) const SUBGRAPH_TENSORS: usize = 0;
    pub(super) const SUBGRAPH_INPUTS: usize = 1;
    pub(super) const SUBGRAPH_OUTPUTS: usize = 2;
    pub(super) const SUBGRAPH_OPERATORS: usize = 3;
    pub(super) const OPERATOR_CODE: usize = 0;
    pub(super) const OPERATOR_CUSTOM_OPTIONS: usize = 5;
    pub(super) const TENSOR_SHAPE: usize = 0;
    pub(super) const TENSOR_TYPE: usize = 1;
    pub(super) const TENSOR_NAME: usize = 3;
    pub(super) const TENSOR_QUANTIZATION: usize = 4;
    pub(super) const TENSOR_SHAPE_SIGNATURE: usize = 7;
    pub(super) const QUANTIZATION_SCALE: usize = 2;
    pub(super) const QUANTIZATION_ZERO_POINT: usize = 3;
    pub(super) const QUANTIZATION_AXIS: usize = 6;
    pub(super) const SIGNATURE_INPUTS: usize = 0;
    pub(super) const SIGNATURE_OUTPUTS: usize = 1;
    pub(super) const SIGNATURE_SUBGRAPH: usize = 4;
    pub(super) const TENSOR_MAP_NAME: usize = 0;
    pub(super) const TENSOR_MAP_TENSOR: usize = 1;
}

/// Why a file's declarations cannot be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Another format.
    #[error("it is no TensorFlow Lite file")]
    Format,
    /// A format of the future.
    #[error("it is of version {0} of the format, this runtime reads version {VERSION}")]
    Version(u32),
    /// A part of the file leads nowhere.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nothing to run.
    #[error("it has no graph")]
    Graph,
    /// Nothing to answer.
    #[error("it has no outputs")]
    Outputs,
    /// A number of a tensor or an operator that there is not.
    #[error("{what} {number} is not in the file")]
    Number {
        /// What was looked for.
        what: &'static str,
        /// Its number.
        number: i64,
    },
    /// Strings, complex numbers, four-bit integers and resources have no place in a request.
    #[error(
        "{tensor:?} is of TensorFlow Lite's type {number}; this runtime takes FP16, BF16, FP32, FP64, BOOL and integers \
         of 8, 16, 32 and 64 bits"
    )]
    Datatype {
        /// Its name.
        tensor: String,
        /// The type's number in the schema.
        number: u8,
    },
    /// Requests name tensors.
    #[error("it has two {what} called {name:?}")]
    Twice {
        /// Inputs or outputs.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// TensorFlow Lite ends the process over such a scale.
    #[error("an integer of {tensor:?} is worth {scale}")]
    Scale {
        /// Its name.
        tensor: String,
        /// As declared.
        scale: f32,
    },
    /// No tensor has such a shape.
    #[error("{tensor:?} has shape {shape:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// As declared.
        shape: Vec<i64>,
    },
}

/// A model file's declarations. Of several graphs the first is the model.
#[derive(Clone, Debug, PartialEq)]
pub struct File<'a> {
    /// In the graph's order.
    pub inputs: Vec<Declared>,
    /// In the graph's order.
    pub outputs: Vec<Declared>,
    /// Operators of the graph that are TensorFlow Lite's own.
    pub builtin_operators: usize,
    /// Operators of the graph that are not.
    pub custom_operators: Vec<Custom<'a>>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// As the signature calls it; without a signature as the tensor is called.
    pub name: String,
    /// Element type.
    pub datatype: DataType,
    /// -1 where open.
    pub shape: Vec<i64>,
    /// What an integer of it is worth, if it says so.
    pub quantization: Option<Quantization>,
}

/// An integer is worth `scale * (integer - zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// One, or one for each place along `axis`.
    pub scale: Vec<f32>,
    /// As many.
    pub zero_point: Vec<i64>,
    /// The dimension along which they differ, if there are several.
    pub axis: i32,
}

/// What the edgeTPU's compiler calls the operator that stands for all that runs there.
pub const EDGETPU_OPERATOR: &str = "edgetpu-custom-op";

/// An operator that TensorFlow Lite does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom<'a> {
    /// What it is called.
    pub name: String,
    /// What only it understands.
    pub options: &'a [u8],
}

impl<'a> File<'a> {
    /// Reads what `bytes` declare.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let model = root(bytes, IDENTIFIER).ok_or(FileError::Format)??;
        let version = model.u32(number::MODEL_VERSION)?;
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let graph = *model.tables(number::MODEL_SUBGRAPHS)?.first().ok_or(FileError::Graph)?;
        let names = Names::read(&model)?;
        let tensors = graph.tables(number::SUBGRAPH_TENSORS)?;
        tensors.iter().try_for_each(check_scale)?;
        let inputs = declared("inputs", &tensors, &graph, number::SUBGRAPH_INPUTS, &names.inputs)?;
        let outputs = declared("outputs", &tensors, &graph, number::SUBGRAPH_OUTPUTS, &names.outputs)?;
        if outputs.is_empty() {
            return Err(FileError::Outputs);
        }
        let codes = model.tables(number::MODEL_OPERATOR_CODES)?;
        let operators = graph.tables(number::SUBGRAPH_OPERATORS)?;
        let mut custom_operators = Vec::new();
        for operator in &operators {
            let code = operator.u32(number::OPERATOR_CODE)?;
            let missing = FileError::Number { what: "operator code", number: code.into() };
            let code = codes.get(code as usize).ok_or(missing)?;
            let name = code.string(number::OPERATOR_CODE_CUSTOM)?;
            if !name.is_empty() {
                let options = operator.bytes(number::OPERATOR_CUSTOM_OPTIONS)?;
                custom_operators.push(Custom { name, options });
            }
        }
        let builtin_operators = operators.len() - custom_operators.len();
        Ok(Self { inputs, outputs, builtin_operators, custom_operators })
    }
}

fn check_scale(tensor: &Table<'_>) -> Result<(), FileError> {
    let Some(quantization) = tensor.table(number::TENSOR_QUANTIZATION)? else { return Ok(()) };
    for bytes in quantization.vector::<4>(number::QUANTIZATION_SCALE)? {
        let scale = f32::from_le_bytes(*bytes);
        if !(scale.is_finite() && scale >= 0.0) {
            return Err(FileError::Scale { tensor: tensor.string(number::TENSOR_NAME)?, scale });
        }
    }
    Ok(())
}

fn declared(
    what: &'static str,
    tensors: &[Table<'_>],
    graph: &Table<'_>,
    field: usize,
    names: &[(u32, String)],
) -> Result<Vec<Declared>, FileError> {
    let mut all: Vec<Declared> = Vec::new();
    for number in graph.vector::<4>(field)? {
        let number = i32::from_le_bytes(*number);
        let place = usize::try_from(number).ok().and_then(|place| tensors.get(place));
        let tensor = place.ok_or(FileError::Number { what: "tensor", number: number.into() })?;
        let named = names.iter().find(|(of, _)| i64::from(*of) == i64::from(number));
        let name = match named {
            Some((_, name)) => name.clone(),
            None => tensor.string(number::TENSOR_NAME)?,
        };
        let name = if name.is_empty() { format!("tensor_{number}") } else { name };
        if all.iter().any(|before| before.name == name) {
            return Err(FileError::Twice { what, name });
        }
        all.push(Declared::read(name, tensor)?);
    }
    Ok(all)
}

impl Declared {
    fn read(name: String, tensor: &Table<'_>) -> Result<Self, FileError> {
        let type_number = tensor.u8(number::TENSOR_TYPE)?;
        let Some(datatype) = datatype(type_number) else {
            return Err(FileError::Datatype { tensor: name, number: type_number });
        };
        let dims = |field| -> Result<Vec<i64>, Malformed> {
            Ok(tensor.vector::<4>(field)?.iter().map(|dim| i64::from(i32::from_le_bytes(*dim))).collect())
        };
        let mut shape = dims(number::TENSOR_SHAPE)?;
        // Where both are there, the shape has what to begin with in place of what is open.
        let open = dims(number::TENSOR_SHAPE_SIGNATURE)?;
        if open.len() == shape.len() {
            shape = open;
        }
        if shape.iter().any(|&dim| dim < -1) {
            return Err(FileError::Shape { tensor: name, shape });
        }
        let quantization = tensor.table(number::TENSOR_QUANTIZATION)?;
        let quantization = quantization.map(|quantization| Quantization::read(&quantization)).transpose()?;
        Ok(Self { name, datatype, shape, quantization: quantization.flatten() })
    }
}

impl Quantization {
    fn read(table: &Table<'_>) -> Result<Option<Self>, Malformed> {
        let scale = table.vector::<4>(number::QUANTIZATION_SCALE)?;
        let zero_point = table.vector::<8>(number::QUANTIZATION_ZERO_POINT)?;
        // The table may be there for other things, such as the range seen in training.
        if scale.is_empty() {
            return Ok(None);
        }
        let mut zero_point: Vec<_> = zero_point.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        zero_point.resize(scale.len(), 0);
        Ok(Some(Self {
            scale: scale.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            zero_point,
            axis: table.i32(number::QUANTIZATION_AXIS)?,
        }))
    }
}

/// The names that a signature of the first graph gives to tensors. They are those of the model's author; the tensors' own
/// are often a converter's.
#[derive(Default)]
struct Names {
    inputs: Vec<(u32, String)>,
    outputs: Vec<(u32, String)>,
}

impl Names {
    fn read(model: &Table<'_>) -> Result<Self, Malformed> {
        for signature in model.tables(number::MODEL_SIGNATURES)? {
            if signature.u32(number::SIGNATURE_SUBGRAPH)? == 0 {
                let read = |field| -> Result<Vec<_>, Malformed> {
                    let entry = |entry: Table<'_>| {
                        Ok((entry.u32(number::TENSOR_MAP_TENSOR)?, entry.string(number::TENSOR_MAP_NAME)?))
                    };
                    signature.tables(field)?.into_iter().map(entry).collect()
                };
                return Ok(Self {
                    inputs: read(number::SIGNATURE_INPUTS)?,
                    outputs: read(number::SIGNATURE_OUTPUTS)?,
                });
            }
        }
        Ok(Self::default())
    }
}

/// The datatype with this number in the schema, if requests can hold it.
fn datatype(number: u8) -> Option<DataType> {
    Some(match number {
        0 => DataType::Fp32,
        1 => DataType::Fp16,
        2 => DataType::Int32,
        3 => DataType::Uint8,
        4 => DataType::Int64,
        6 => DataType::Bool,
        7 => DataType::Int16,
        9 => DataType::Int8,
        10 => DataType::Fp64,
        12 => DataType::Uint64,
        15 => DataType::Uint32,
        16 => DataType::Uint16,
        18 => DataType::Bf16,
        _ => return None,
    })
}

/// The bytes of a model file. Opening a pipe or a device instead could wait for ever.
///
/// # Errors
/// What the system says.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    std::fs::read(file).map_err(|error| error.to_string())
}
