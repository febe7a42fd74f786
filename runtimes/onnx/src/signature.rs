//! A model's signature: what the file declares, and where it says nothing, what rten finds out.

use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use rten::{Dimension, Model, NodeId, Value, ValueType};
use rten_onnx::onnx::{self, TypeProto, TypeProtoTensor, ValueInfoProto};
use rten_tensor::Layout;

use crate::header::Header;

/// Works out the signature; the error says which declaration cannot be served.
pub(crate) fn signature(header: &Header, model: &Model) -> Result<Signature, String> {
    if model.output_ids().is_empty() {
        return Err("it has no outputs".into());
    }
    if header.outputs.len() != model.output_ids().len() {
        return Err("its outputs are not those that rten found".into());
    }
    let inputs =
        model.input_ids().iter().map(|&id| input(header, model, id)).collect::<Result<Vec<_>, _>>()?;
    let mut outputs = Vec::with_capacity(header.outputs.len());
    for (declared, &id) in header.outputs.iter().zip(model.output_ids()) {
        let spec = output(declared, &inputs, model, id)?;
        if outputs.iter().any(|before: &TensorSpec| before.name == spec.name) {
            return Err(format!("output {:?} is declared twice", spec.name));
        }
        outputs.push(spec);
    }
    Ok(Signature { inputs, outputs, decoupled: false })
}

fn input(header: &Header, model: &Model, id: NodeId) -> Result<TensorSpec, String> {
    let name = model.node_info(id).and_then(|node| node.name()).unwrap_or_default();
    let declared = header.inputs.iter().find(|input| input.name.as_deref() == Some(name));
    let Some(tensor) = declared.and_then(tensor_type) else {
        return Err(format!("input {name:?} is no tensor"));
    };
    let datatype = tensor
        .elem_type
        .ok_or_else(|| "an undeclared datatype".into())
        .and_then(datatype)
        .map_err(|what| format!("input {name:?} has {what}"))?;
    let shape = declared_shape(tensor).ok_or_else(|| format!("input {name:?} has an undeclared shape"))?;
    Ok(TensorSpec { name: name.to_owned(), datatype, shape })
}

fn output(
    declared: &ValueInfoProto,
    inputs: &[TensorSpec],
    model: &Model,
    id: NodeId,
) -> Result<TensorSpec, String> {
    let name = declared.name.clone().unwrap_or_default();
    let tensor = match (&declared.r#type, tensor_type(declared)) {
        (Some(_), None) => return Err(format!("output {name:?} is no tensor")),
        (_, tensor) => tensor,
    };
    let datatype = match tensor.and_then(|tensor| tensor.elem_type) {
        Some(declared) => datatype(declared),
        None => inferred_datatype(model, id),
    }
    .map_err(|what| format!("output {name:?} has {what}"))?;
    let shape = tensor
        .and_then(declared_shape)
        .or_else(|| inferred_shape(model, id))
        // The file says nothing and neither does inference: one run tells at least how many dimensions there are.
        .or_else(|| probed_rank(model, inputs, id).map(|rank| vec![-1; rank]))
        .ok_or_else(|| format!("output {name:?} has an undeclared shape, and a trial run failed"))?;
    Ok(TensorSpec { name, datatype, shape })
}

fn tensor_type(value: &ValueInfoProto) -> Option<&TypeProtoTensor> {
    let TypeProto { tensor_type, .. } = value.r#type.as_ref()?;
    tensor_type.as_ref()
}

/// `None` if even the number of dimensions is open.
fn declared_shape(tensor: &TypeProtoTensor) -> Option<Vec<i64>> {
    let shape = tensor.shape.as_ref()?;
    Some(shape.dim.iter().map(|dim| dim.dim_value.filter(|&size| size >= 0).unwrap_or(-1)).collect())
}

/// The datatypes that can be brought to rten and back without loss of what a client may rely on. FP64 would be computed
/// in FP32, so it is not offered.
fn datatype(declared: onnx::DataType) -> Result<DataType, String> {
    Ok(match declared {
        onnx::DataType::FLOAT => DataType::Fp32,
        onnx::DataType::INT32 => DataType::Int32,
        onnx::DataType::INT64 => DataType::Int64,
        onnx::DataType::INT8 => DataType::Int8,
        onnx::DataType::UINT8 => DataType::Uint8,
        onnx::DataType::BOOL => DataType::Bool,
        other => {
            let takes = "this runtime takes FP32, INT32, INT64, INT8, UINT8 and BOOL";
            return Err(format!("ONNX datatype {}; {takes}", other.0));
        }
    })
}

fn inferred_datatype(model: &Model, id: NodeId) -> Result<DataType, String> {
    Ok(match model.node_info(id).and_then(|node| node.dtype()) {
        Some(ValueType::Tensor(rten::DataType::Float)) => DataType::Fp32,
        Some(ValueType::Tensor(rten::DataType::Int32)) => DataType::Int32,
        Some(ValueType::Tensor(rten::DataType::Int8)) => DataType::Int8,
        Some(ValueType::Tensor(rten::DataType::UInt8)) => DataType::Uint8,
        _ => return Err("an undeclared datatype".into()),
    })
}

fn inferred_shape(model: &Model, id: NodeId) -> Option<Vec<i64>> {
    let shape = model.node_info(id)?.shape()?;
    let size = |dim: &Dimension| match dim {
        Dimension::Fixed(size) => i64::try_from(*size).unwrap_or(-1),
        Dimension::Symbolic(_) => -1,
    };
    Some(shape.iter().map(size).collect())
}

/// Runs the model once on zeros, open dimensions being 2: a 1 would be squeezed out by some operators.
fn probed_rank(model: &Model, inputs: &[TensorSpec], output: NodeId) -> Option<usize> {
    let values = inputs.iter().zip(model.input_ids()).map(|(spec, &id)| {
        let shape: Vec<_> = spec.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(2)).collect();
        let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
        let value = match spec.datatype {
            DataType::Fp32 => Value::from_shape(shape, vec![0.0_f32; len]).ok(),
            DataType::Int8 => Value::from_shape(shape, vec![0_i8; len]).ok(),
            DataType::Uint8 => Value::from_shape(shape, vec![0_u8; len]).ok(),
            _ => Value::from_shape(shape, vec![0_i32; len]).ok(),
        };
        Some((id, value?.into()))
    });
    let [value] = model.run_n(values.collect::<Option<_>>()?, [output], None).ok()?;
    Some(value.ndim())
}
