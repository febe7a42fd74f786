//! A response's outputs as tensors, whether they came raw or typed.

use bytes::Bytes;
use edgemux_proto::inference::{InferTensorContents, ModelInferResponse};

use super::{Datatype, Tensor, TensorError, element_count, push_string};

/// Every output with its name, in the response's order.
pub(crate) fn outputs_of(response: ModelInferResponse) -> Result<Vec<(String, Tensor)>, TensorError> {
    let mut raw = response.raw_output_contents.into_iter();
    response
        .outputs
        .into_iter()
        .map(|output| {
            let broken = |what| TensorError::Output { name: output.name.clone(), what };
            let datatype: Datatype = output.datatype.parse().map_err(|()| TensorError::UnknownDatatype {
                name: output.name.clone(),
                datatype: output.datatype.clone(),
            })?;
            let shape: Result<Vec<usize>, _> = output.shape.iter().map(|&dim| usize::try_from(dim)).collect();
            let shape = shape.map_err(|_| broken("its shape has a negative dimension"))?;
            let elements = element_count(&shape).ok_or_else(|| broken("its shape is too large"))?;
            let data = match &output.contents {
                Some(contents) => packed(datatype, contents),
                None => raw.next().ok_or_else(|| broken("the server sent no contents"))?,
            };
            let tensor = Tensor { datatype, shape, data };
            let whole = match datatype.size() {
                Some(size) => elements.checked_mul(size) == Some(tensor.data.len()),
                None => tensor.strings().is_some_and(|strings| strings.len() == elements),
            };
            if !whole {
                return Err(broken("its contents do not fill its shape"));
            }
            Ok((output.name, tensor))
        })
        .collect()
}

/// Typed contents as raw ones.
fn packed(datatype: Datatype, contents: &InferTensorContents) -> Bytes {
    /// The bytes of each value, cut to the size of the datatype: the protocol widens small integers.
    fn cut<const N: usize>(values: impl Iterator<Item = [u8; N]>, size: usize) -> Vec<u8> {
        values.flat_map(|value| value.into_iter().take(size)).collect()
    }
    let size = datatype.size().unwrap_or(0);
    let data = match datatype {
        Datatype::Bool => contents.bool_contents.iter().map(|&value| u8::from(value)).collect(),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            cut(contents.int_contents.iter().map(|value| value.to_le_bytes()), size)
        }
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            cut(contents.uint_contents.iter().map(|value| value.to_le_bytes()), size)
        }
        Datatype::Int64 => cut(contents.int64_contents.iter().map(|value| value.to_le_bytes()), size),
        Datatype::Uint64 => cut(contents.uint64_contents.iter().map(|value| value.to_le_bytes()), size),
        Datatype::Fp32 => cut(contents.fp32_contents.iter().map(|value| value.to_le_bytes()), size),
        Datatype::Fp64 => cut(contents.fp64_contents.iter().map(|value| value.to_le_bytes()), size),
        Datatype::Fp16 | Datatype::Bf16 => Vec::new(),
        Datatype::Bytes => {
            let mut data = Vec::new();
            for element in &contents.bytes_contents {
                push_string(&mut data, element);
            }
            data
        }
    };
    data.into()
}

#[cfg(test)]
mod tests {
    use edgemux_proto::inference::model_infer_response::InferOutputTensor;

    use super::*;

    fn output(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferOutputTensor {
        let (name, datatype) = ("y".to_owned(), datatype.to_owned());
        InferOutputTensor { name, datatype, shape: shape.to_vec(), contents, ..Default::default() }
    }

    #[test]
    fn typed_and_raw_contents_give_the_same_tensor() {
        let typed = InferTensorContents { int_contents: vec![-1, 300], ..Default::default() };
        let typed =
            ModelInferResponse { outputs: vec![output("INT16", &[2], Some(typed))], ..Default::default() };
        let raw = ModelInferResponse {
            outputs: vec![output("INT16", &[2], None)],
            raw_output_contents: vec![Bytes::from_static(&[0xff, 0xff, 0x2c, 0x01])],
            ..Default::default()
        };
        assert_eq!(outputs_of(typed).unwrap(), outputs_of(raw).unwrap());
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_an_error() {
        for (datatype, shape, raw) in [
            ("FP32", &[2][..], vec![Bytes::from_static(&[0; 4])]),
            ("FP32", &[-1], vec![Bytes::from_static(&[0; 4])]),
            ("FP32", &[1], vec![]),
            ("BYTES", &[1], vec![Bytes::from_static(&[9, 0, 0, 0, b'a'])]),
            ("FP32", &[i64::MAX, i64::MAX], vec![Bytes::new()]),
        ] {
            let outputs = vec![output(datatype, shape, None)];
            let response = ModelInferResponse { outputs, raw_output_contents: raw, ..Default::default() };
            assert!(outputs_of(response).is_err(), "{datatype} {shape:?}");
        }
    }
}
