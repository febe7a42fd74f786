//! A file's declarations in the words of the seam.

use edgemux_runtime_api::tensor::{Signature, TensorSpec};

use crate::file::{Declared, File, Quantization};

/// What the model takes and gives.
pub fn signature(file: &File<'_>) -> Signature {
    let spec = |declared: &Declared| TensorSpec {
        name: declared.name.clone(),
        datatype: declared.datatype,
        shape: declared.shape.clone(),
    };
    Signature {
        inputs: file.inputs.iter().map(spec).collect(),
        outputs: file.outputs.iter().map(spec).collect(),
        decoupled: false,
    }
}

/// What an integer of each input and output is worth, as parameters of the model: `image.scale` and `image.zero_point`
/// with `image.axis` where they differ along a dimension, in which case there are several with commas between them.
pub fn quantization(file: &File<'_>) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for declared in file.inputs.iter().chain(&file.outputs) {
        let Some(Quantization { scale, zero_point, axis }) = &declared.quantization else { continue };
        let mut parameter = |what: &str, value: String| {
            parameters.push((format!("{}.{what}", declared.name), value));
        };
        parameter("scale", joined(scale));
        parameter("zero_point", joined(zero_point));
        if scale.len() > 1 {
            parameter("axis", axis.to_string());
        }
    }
    parameters
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use edgemux_runtime_api::tensor::DataType;

    use super::*;

    #[test]
    fn a_scale_is_written_so_that_it_is_read_back_as_it_was() {
        let scale = vec![0.1_f32, 1.0 / 255.0, 3.0e-12, 7.0];
        let declared = Declared {
            name: "x".into(),
            datatype: DataType::Int8,
            shape: vec![1, 4],
            quantization: Some(Quantization {
                scale: scale.clone(),
                zero_point: vec![0, -128, 127, 3],
                axis: 1,
            }),
        };
        let file =
            File { inputs: vec![declared], outputs: vec![], builtin_operators: 0, custom_operators: vec![] };
        let parameters = quantization(&file);
        let value = |name: &str| &parameters.iter().find(|(key, _)| key == name).unwrap().1;
        let read: Vec<f32> = value("x.scale").split(',').map(|scale| scale.parse().unwrap()).collect();
        assert_eq!(read, scale);
        assert_eq!((value("x.zero_point").as_str(), value("x.axis").as_str()), ("0,-128,127,3", "1"));
    }
}
