//! Tensors in files: `.npy`, or the raw bytes of the protocol.

use std::fs;
use std::path::{Path, PathBuf};

use super::request::{check_shape, datatype_of, known_input};
use super::{Shapes, Tensor, TensorError, element_count, npy};
use crate::error::Error;
use crate::format;
use crate::model::{ModelInfo, TensorInfo};

/// Reads the file for one input and checks it against the model. A file that is no `.npy` holds raw little-endian bytes;
/// its shape is the chosen one, or the model's with one free dimension found from the file's size.
pub(crate) fn read_input(
    model: &ModelInfo,
    name: &str,
    path: &Path,
    shapes: &Shapes,
) -> Result<Tensor, TensorError> {
    let info = known_input(model, name)?;
    let file = fs::read(path).map_err(|cause| TensorError::Read { path: path.to_owned(), cause })?;
    if !npy::is_npy(&file) && path.extension().is_none_or(|extension| extension != "npy") {
        return raw_input(info, path, file, shapes);
    }
    let mut tensor = npy::read(&file).map_err(|cause| TensorError::Npy { path: path.to_owned(), cause })?;
    let wanted = datatype_of(info)?;
    if tensor.datatype != wanted {
        return Err(TensorError::DatatypeMismatch {
            name: name.to_owned(),
            path: path.to_owned(),
            wanted,
            held: tensor.datatype,
        });
    }
    if let Some(shape) = shapes.get(name) {
        let reshaped: Vec<usize> = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
        if element_count(&reshaped) != Some(tensor.elements()) {
            return Err(size_mismatch(info, path, tensor.data.len(), &reshaped)?);
        }
        tensor.shape = reshaped;
    }
    check_shape(info, &wire_shape(&tensor.shape))?;
    Ok(tensor)
}

fn raw_input(info: &TensorInfo, path: &Path, file: Vec<u8>, shapes: &Shapes) -> Result<Tensor, TensorError> {
    let datatype = datatype_of(info)?;
    let shape = match shapes.get(&info.name) {
        Some(shape) => shape.clone(),
        None => fill_free(info, datatype.size(), file.len()),
    };
    check_shape(info, &shape)?;
    let shape: Vec<usize> = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    let tensor = Tensor { datatype, shape, data: file.into() };
    let fits = match datatype.size() {
        Some(size) => {
            element_count(&tensor.shape).and_then(|n| n.checked_mul(size)) == Some(tensor.data.len())
        }
        None => tensor.strings().map(|strings| strings.len()) == element_count(&tensor.shape),
    };
    if fits { Ok(tensor) } else { Err(size_mismatch(info, path, tensor.data.len(), &tensor.shape)?) }
}

/// The model's shape; the first free dimension takes what the file's size leaves, further ones are 1.
fn fill_free(info: &TensorInfo, size: Option<usize>, bytes: usize) -> Vec<i64> {
    let mut shape: Vec<i64> = info.shape.clone();
    let fixed: i64 = shape.iter().filter(|&&dim| dim >= 0).product();
    let mut free = shape.iter_mut().filter(|dim| **dim < 0);
    if let Some(first) = free.next() {
        let of_one = size.unwrap_or(0) as i64 * fixed;
        *first = if of_one > 0 { bytes as i64 / of_one } else { 1 };
    }
    free.for_each(|dim| *dim = 1);
    shape
}

fn size_mismatch(
    info: &TensorInfo,
    path: &Path,
    held: usize,
    shape: &[usize],
) -> Result<TensorError, TensorError> {
    let datatype = datatype_of(info)?;
    Ok(TensorError::SizeMismatch {
        path: path.to_owned(),
        name: info.name.clone(),
        datatype,
        shape: format::shape(&wire_shape(shape)),
        held,
        wanted: element_count(shape).unwrap_or(usize::MAX).saturating_mul(datatype.size().unwrap_or(4)),
    })
}

fn wire_shape(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&dim| dim as i64).collect()
}

/// Writes one output: `.npy` into a folder or where the file's name ends so, raw bytes into any other file. Returns the
/// file's path.
pub(crate) fn write_output(
    to: &Path,
    into_folder: bool,
    name: &str,
    tensor: &Tensor,
) -> Result<PathBuf, Error> {
    let path = if into_folder { to.join(format!("{}.npy", file_name(name))) } else { to.to_owned() };
    let content = if path.extension().is_some_and(|extension| extension == "npy") {
        let what = "it cannot be written as .npy";
        npy::write(tensor).ok_or_else(|| TensorError::Output { name: name.to_owned(), what })?
    } else {
        tensor.data.to_vec()
    };
    fs::write(&path, content).map_err(|cause| Error::Write { path: path.clone(), cause })?;
    Ok(path)
}

/// A tensor's name comes from the server and may hold anything; a file's name may not.
fn file_name(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.chars().map(kept).collect();
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Datatype;

    fn model(datatype: &str, shape: &[i64]) -> ModelInfo {
        let input = TensorInfo { name: "x".into(), datatype: datatype.into(), shape: shape.to_vec() };
        ModelInfo {
            name: "m".into(),
            version: "1".into(),
            platform: String::new(),
            inputs: vec![input],
            outputs: vec![],
        }
    }

    fn read(
        model: &ModelInfo,
        file: &str,
        content: &[u8],
        shape: Option<&[i64]>,
    ) -> Result<Tensor, TensorError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::write(&path, content).unwrap();
        let shapes = shape.map(|shape| ("x".to_owned(), shape.to_vec())).into_iter().collect();
        read_input(model, "x", &path, &shapes)
    }

    #[test]
    fn a_raw_file_fills_the_free_dimension() {
        let model = model("FP32", &[-1, 2]);
        assert_eq!(read(&model, "x.bin", &[0; 24], None).unwrap().shape, [3, 2]);
        assert_eq!(read(&model, "x.bin", &[0; 16], Some(&[2, 2])).unwrap().shape, [2, 2]);
        let error = read(&model, "x.bin", &[0; 25], None).unwrap_err().to_string();
        assert!(error.contains("holds 25 bytes, but `x` of FP32 [3,2] takes 24"), "{error}");
        assert!(read(&model, "x.bin", &[0; 16], Some(&[1, 2])).is_err());
    }

    #[test]
    fn an_npy_file_must_fit_the_model() {
        let data = bytes::Bytes::from_static(&[0; 12]);
        let file = npy::write(&Tensor { datatype: Datatype::Int32, shape: vec![3], data }).unwrap();
        assert_eq!(read(&model("INT32", &[-1]), "x.npy", &file, None).unwrap().shape, [3]);
        assert_eq!(read(&model("INT32", &[1, 3]), "x.npy", &file, Some(&[1, 3])).unwrap().shape, [1, 3]);
        let error = read(&model("FP32", &[3]), "x.npy", &file, None).unwrap_err().to_string();
        assert!(error.contains("takes FP32") && error.contains("holds INT32"), "{error}");
        let error = read(&model("INT32", &[4]), "x.npy", &file, None).unwrap_err().to_string();
        assert!(error.contains("takes shape [4], not [3]"), "{error}");
        assert!(read(&model("INT32", &[3]), "x.npy", b"no npy", None).is_err());
    }

    #[test]
    fn outputs_are_written_where_they_are_wanted_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let tensor =
            Tensor { datatype: Datatype::Uint8, shape: vec![2], data: bytes::Bytes::from_static(&[7, 8]) };
        let path = write_output(folder.path(), true, "../up/y:0", &tensor).unwrap();
        assert_eq!(path, folder.path().join("_.._up_y_0.npy"));
        assert_eq!(npy::read(&fs::read(path).unwrap()).unwrap(), tensor);
        let path = write_output(&folder.path().join("y.bin"), false, "y", &tensor).unwrap();
        assert_eq!(fs::read(path).unwrap(), [7, 8]);
    }
}
