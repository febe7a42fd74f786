//! Building a request: shapes resolved against the model's, tensors in the model's order.

use std::collections::BTreeMap;

use edgemux_proto::inference::ModelInferRequest;
use edgemux_proto::inference::model_infer_request::InferInputTensor;
use rand::Rng;

use super::{Datatype, TENSOR_BYTES_MAX, Tensor, TensorError, element_count, random_tensor};
use crate::format;
use crate::model::{self, ModelInfo, TensorInfo};

/// Shapes chosen on the command line, by input name.
pub(crate) type Shapes = BTreeMap<String, Vec<i64>>;

/// Reads `NAME=1,3,224,224`; `NAME=` is a scalar.
pub(crate) fn named_shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let usage = || format!("`{text}` is no NAME=1,3,224,224");
    let (name, dims) = text.split_once('=').ok_or_else(usage)?;
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims: Result<Vec<i64>, ()> =
        dims.map(|dim| dim.parse().ok().filter(|dim| *dim >= 0).ok_or(())).collect();
    Ok((name.to_owned(), dims.map_err(|()| usage())?))
}

/// The shapes by name, each of which must be an input of the model.
pub(crate) fn shapes_of(model: &ModelInfo, shapes: &[(String, Vec<i64>)]) -> Result<Shapes, TensorError> {
    for (name, _) in shapes {
        known_input(model, name)?;
    }
    Ok(shapes.iter().cloned().collect())
}

/// The model's input of that name.
pub(super) fn known_input<'a>(model: &'a ModelInfo, name: &str) -> Result<&'a TensorInfo, TensorError> {
    model.inputs.iter().find(|input| input.name == name).ok_or_else(|| TensorError::UnknownInput {
        model: model.name.clone(),
        name: name.to_owned(),
        inputs: model::tensors(&model.inputs),
    })
}

/// The datatype of a model's tensor.
pub(super) fn datatype_of(info: &TensorInfo) -> Result<Datatype, TensorError> {
    info.datatype.parse().map_err(|()| TensorError::UnknownDatatype {
        name: info.name.clone(),
        datatype: info.datatype.clone(),
    })
}

/// Whether a shape is one that the model takes.
pub(super) fn check_shape(info: &TensorInfo, given: &[i64]) -> Result<(), TensorError> {
    let fits = |(&wanted, &given): (&i64, &i64)| wanted < 0 || wanted == given;
    if info.shape.len() == given.len() && info.shape.iter().zip(given).all(fits) {
        return Ok(());
    }
    Err(TensorError::ShapeMismatch {
        name: info.name.clone(),
        wanted: format::shape(&info.shape),
        given: format::shape(given),
    })
}

/// The shape that was chosen, or the model's with 1 for every free dimension.
fn resolve(info: &TensorInfo, shapes: &Shapes) -> Result<Vec<usize>, TensorError> {
    let Some(given) = shapes.get(&info.name) else {
        return Ok(info.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(1)).collect());
    };
    check_shape(info, given)?;
    Ok(given.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect())
}

/// Random tensors for every input, by name.
pub(crate) fn random_inputs<'a>(
    inputs: impl IntoIterator<Item = &'a TensorInfo>,
    shapes: &Shapes,
    random: &mut impl Rng,
) -> Result<BTreeMap<String, Tensor>, TensorError> {
    let mut made = BTreeMap::new();
    for info in inputs {
        let (datatype, shape) = (datatype_of(info)?, resolve(info, shapes)?);
        let bytes = element_count(&shape).and_then(|count| count.checked_mul(datatype.size().unwrap_or(20)));
        if bytes.is_none_or(|bytes| bytes > TENSOR_BYTES_MAX) {
            let shape = format::shape(&shape.iter().map(|&dim| dim as i64).collect::<Vec<_>>());
            return Err(TensorError::TooLarge { name: info.name.clone(), datatype, shape });
        }
        made.insert(info.name.clone(), random_tensor(datatype, &shape, random));
    }
    Ok(made)
}

/// A request of random tensors.
pub(crate) fn random_request(
    model: &ModelInfo,
    shapes: &Shapes,
    random: &mut impl Rng,
) -> Result<ModelInferRequest, TensorError> {
    infer_request(model, random_inputs(&model.inputs, shapes, random)?)
}

/// A request of these tensors, in the order in which the model names them.
pub(crate) fn infer_request(
    model: &ModelInfo,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<ModelInferRequest, TensorError> {
    let mut request = ModelInferRequest {
        model_name: model.name.clone(),
        model_version: model.version.clone(),
        ..Default::default()
    };
    for info in &model.inputs {
        let tensor = tensors.remove(&info.name).ok_or_else(|| TensorError::MissingInput {
            model: model.name.clone(),
            name: info.name.clone(),
        })?;
        request.inputs.push(InferInputTensor {
            name: info.name.clone(),
            datatype: tensor.datatype.name().to_owned(),
            shape: tensor.shape.iter().map(|&dim| dim as i64).collect(),
            ..Default::default()
        });
        request.raw_input_contents.push(tensor.data);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn model(inputs: &[(&str, &str, &[i64])]) -> ModelInfo {
        let input = |&(name, datatype, shape): &(&str, &str, &[i64])| TensorInfo {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
        };
        ModelInfo {
            name: "m".into(),
            version: "1".into(),
            platform: String::new(),
            inputs: inputs.iter().map(input).collect(),
            outputs: vec![],
        }
    }

    fn request(inputs: &[(&str, &str, &[i64])], shapes: &[&str]) -> Result<ModelInferRequest, TensorError> {
        let model = model(inputs);
        let shapes: Vec<_> = shapes.iter().map(|text| named_shape(text).unwrap()).collect();
        random_request(&model, &shapes_of(&model, &shapes)?, &mut StdRng::seed_from_u64(1))
    }

    #[test]
    fn free_dimensions_are_one_unless_chosen() {
        let inputs: &[(&str, &str, &[i64])] = &[("x", "FP32", &[-1, 3, -1]), ("s", "INT64", &[])];
        let made = request(inputs, &["x=2,3,5"]).unwrap();
        assert_eq!(made.inputs[0].shape, [2, 3, 5]);
        assert_eq!(made.raw_input_contents[0].len(), 120);
        assert_eq!(made.inputs[1].shape, [0i64; 0]);
        assert_eq!(made.raw_input_contents[1].len(), 8);
        assert_eq!(request(inputs, &[]).unwrap().inputs[0].shape, [1, 3, 1]);
    }

    #[test]
    fn shapes_that_the_model_does_not_take_are_refused_before_anything_is_sent() {
        let inputs: &[(&str, &str, &[i64])] = &[("x", "FP32", &[-1, 3])];
        for (shape, said) in [
            ("x=2,4", "takes shape [-1,3], not [2,4]"),
            ("x=3", "not [3]"),
            ("y=2,3", "has no input `y`: its inputs are x FP32 [-1,3]"),
            ("x=99999999999,3", "larger than"),
            ("x=9223372036854775807,3", "larger than"),
        ] {
            let error = request(inputs, &[shape]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(request(&[("x", "FP8", &[1])], &[]).unwrap_err().to_string().contains("FP8"));
    }
}
