//! From bytes to rten's values and back: in place where they agree, by conversion where rten computes in another type.

use bytemuck::{Pod, pod_collect_to_vec, try_cast_slice};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::tensor::{DataType, TensorSpec, TensorView, byte_len};
use rten::{Value, ValueOrView, ValueView};
use rten_tensor::{AsView, Layout, Tensor};

/// An input as rten takes it. Bytes in shared memory are used where they lie unless they are not aligned.
pub(crate) fn input<'a>(spec: &TensorSpec, view: &TensorView<'a>) -> Result<ValueOrView<'a>, RunError> {
    let refuse = |what: &str| RunError::Inputs(format!("input {:?}: {what}", spec.name));
    if view.datatype != spec.datatype {
        return Err(refuse("another datatype than the model's"));
    }
    let misfit = || refuse(&format!("{} bytes do not make shape {:?}", view.bytes.len(), view.shape));
    if byte_len(view.datatype, view.shape) != Some(view.bytes.len()) {
        return Err(misfit());
    }
    let shape = dimensions(view.shape).ok_or_else(misfit)?;
    let value = match spec.datatype {
        DataType::Fp32 => in_place::<f32>(shape, view.bytes),
        DataType::Int32 => in_place::<i32>(shape, view.bytes),
        DataType::Int8 => in_place::<i8>(shape, view.bytes),
        DataType::Uint8 => in_place::<u8>(shape, view.bytes),
        DataType::Bool => owned(shape, view.bytes.iter().map(|&byte| i32::from(byte != 0)).collect()),
        DataType::Int64 => owned(shape, narrow(view.bytes).map_err(|what| refuse(&what))?),
        other => return Err(refuse(&format!("datatype {other} is not taken"))),
    };
    value.ok_or_else(misfit)
}

/// `None` for dimensions whose product rten could not compute, even those of an empty tensor.
fn dimensions(shape: &[i64]) -> Option<Vec<usize>> {
    let shape: Vec<_> = shape.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<_>>()?;
    let product =
        shape.iter().try_fold(1_isize, |product, &dim| product.checked_mul(dim.max(1).try_into().ok()?));
    product.map(|_| shape)
}

fn in_place<'a, T: Pod>(shape: Vec<usize>, bytes: &'a [u8]) -> Option<ValueOrView<'a>>
where
    ValueView<'a>: From<rten_tensor::TensorView<'a, T>>,
    Value: From<Tensor<T>>,
{
    match try_cast_slice(bytes) {
        Ok(elements) => Some(ValueView::from_shape(shape, elements).ok()?.into()),
        // A client's own memory may begin anywhere.
        Err(_) => owned(shape, pod_collect_to_vec(bytes)),
    }
}

fn owned<'a, T>(shape: Vec<usize>, elements: Vec<T>) -> Option<ValueOrView<'a>>
where
    Value: From<Tensor<T>>,
{
    Some(Value::from_shape(shape, elements).ok()?.into())
}

/// rten computes INT64 in 32 bits: what does not fit is refused rather than cut.
fn narrow(bytes: &[u8]) -> Result<Vec<i32>, String> {
    let narrow = |bytes: &[u8; 8]| {
        let element = i64::from_le_bytes(*bytes);
        i32::try_from(element)
            .map_err(|_| format!("{element} is outside the 32 bits that this runtime computes in"))
    };
    bytes.as_chunks::<8>().0.iter().map(narrow).collect()
}

/// Bytes of an output of the datatype that the file declares.
pub(crate) fn output_bytes(spec: &TensorSpec, value: &Value) -> usize {
    value.len() * spec.datatype.size().unwrap_or(0)
}

/// Writes an output as the datatype that the file declares. `buffer` must have [`output_bytes`] bytes.
pub(crate) fn output(spec: &TensorSpec, value: &Value, buffer: &mut [u8]) -> Result<(), RunError> {
    match (value, spec.datatype) {
        (Value::FloatTensor(tensor), DataType::Fp32) => copy(tensor, buffer),
        (Value::Int32Tensor(tensor), DataType::Int32) => copy(tensor, buffer),
        (Value::Int8Tensor(tensor), DataType::Int8) => copy(tensor, buffer),
        (Value::UInt8Tensor(tensor), DataType::Uint8) => copy(tensor, buffer),
        (Value::Int32Tensor(tensor), DataType::Int64) => {
            each(tensor, buffer, |element| i64::from(element).to_le_bytes());
        }
        (Value::Int32Tensor(tensor), DataType::Bool) => {
            each(tensor, buffer, |element| [u8::from(element != 0)])
        }
        (value, declared) => {
            let came = value.dtype();
            return Err(RunError::Failed(format!(
                "output {:?} is {came}, the file declares {declared}",
                spec.name
            )));
        }
    }
    Ok(())
}

fn copy<T: Pod>(tensor: &Tensor<T>, buffer: &mut [u8]) {
    match tensor.data() {
        Some(elements) => buffer.copy_from_slice(bytemuck::cast_slice(elements)),
        // Not in row-major order, as after a transposition.
        None => {
            for (bytes, element) in buffer.chunks_exact_mut(size_of::<T>()).zip(tensor.iter()) {
                bytes.copy_from_slice(bytemuck::bytes_of(element));
            }
        }
    }
}

fn each<const N: usize>(tensor: &Tensor<i32>, buffer: &mut [u8], convert: impl Fn(i32) -> [u8; N]) {
    for (bytes, &element) in buffer.as_chunks_mut::<N>().0.iter_mut().zip(tensor.iter()) {
        *bytes = convert(element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType) -> TensorSpec {
        TensorSpec { name: "x".into(), datatype, shape: vec![-1] }
    }

    fn view<'a>(datatype: DataType, shape: &'a [i64], bytes: &'a [u8]) -> TensorView<'a> {
        TensorView { datatype, shape, bytes }
    }

    #[test]
    fn aligned_inputs_are_used_in_place_and_others_copied() {
        let elements: Vec<f32> = (0..8).map(|n| n as f32).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&elements);
        let aligned = input(&spec(DataType::Fp32), &view(DataType::Fp32, &[8], bytes)).unwrap();
        assert!(matches!(aligned, ValueOrView::View(ValueView::FloatTensor(_))));
        let odd: Vec<u8> = [0].iter().chain(&bytes[..28]).copied().collect();
        let moved = input(&spec(DataType::Fp32), &view(DataType::Fp32, &[7], &odd[1..])).unwrap();
        let same = input(&spec(DataType::Fp32), &view(DataType::Fp32, &[7], &bytes[..28])).unwrap();
        let elements = |value: &ValueOrView<'_>| format!("{:?}", value.as_view().to_owned());
        assert_eq!(elements(&moved), elements(&same));
    }

    #[test]
    fn integers_that_do_not_fit_are_refused() {
        let bytes = |element: i64| element.to_le_bytes();
        for good in [i64::from(i32::MIN), -1, 0, i64::from(i32::MAX)] {
            assert!(input(&spec(DataType::Int64), &view(DataType::Int64, &[1], &bytes(good))).is_ok());
        }
        for bad in [i64::from(i32::MIN) - 1, i64::from(i32::MAX) + 1, i64::MAX] {
            let error = input(&spec(DataType::Int64), &view(DataType::Int64, &[1], &bytes(bad))).unwrap_err();
            assert!(matches!(&error, RunError::Inputs(said) if said.contains(&bad.to_string())), "{error}");
        }
    }

    #[test]
    fn lengths_and_datatypes_that_do_not_fit_are_refused() {
        for (datatype, shape, len) in [
            (DataType::Fp32, &[2_i64][..], 7),
            (DataType::Fp32, &[2], 4),
            (DataType::Fp32, &[-1], 4),
            (DataType::Int64, &[1], 9),
            (DataType::Bool, &[2], 1),
            (DataType::Uint8, &[i64::MAX, i64::MAX], 1),
            (DataType::Uint8, &[0, i64::MAX, i64::MAX], 0),
            (DataType::Fp64, &[1], 8),
        ] {
            let bytes = vec![0; len];
            let refused = input(&spec(datatype), &view(datatype, shape, &bytes));
            assert!(matches!(refused, Err(RunError::Inputs(_))), "{datatype} {shape:?} {len}");
        }
        assert!(input(&spec(DataType::Fp32), &view(DataType::Int32, &[1], &[0; 4])).is_err());
    }

    #[test]
    fn outputs_come_as_declared() {
        let value = Value::from_shape([2], vec![-1_i32, 7]).unwrap();
        let written = |datatype| {
            let mut buffer = vec![9; output_bytes(&spec(datatype), &value)];
            output(&spec(datatype), &value, &mut buffer).map(|()| buffer)
        };
        let wide: Vec<u8> = [-1_i64, 7].iter().flat_map(|element| element.to_le_bytes()).collect();
        assert_eq!(written(DataType::Int64).unwrap(), wide);
        assert_eq!(written(DataType::Bool).unwrap(), [1, 1]);
        assert_eq!(written(DataType::Int32).unwrap(), bytemuck::cast_slice::<i32, u8>(&[-1, 7]));
        assert!(matches!(written(DataType::Fp32), Err(RunError::Failed(_))));
    }

    #[test]
    fn an_output_that_lies_transposed_is_written_in_row_major_order() {
        let mut tensor = Tensor::from_data(&[2, 2], vec![1_i32, 2, 3, 4]);
        tensor.permute(&[1, 0]);
        let mut buffer = [0; 16];
        output(&spec(DataType::Int32), &tensor.into(), &mut buffer).unwrap();
        assert_eq!(buffer, *bytemuck::cast_slice::<i32, u8>(&[1, 3, 2, 4]));
    }
}
