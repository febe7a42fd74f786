//! What a person wants to know of an output: its range, its first values, and the best classes.

use serde::Serialize;
use serde_json::Value;

use super::datatype::shortest;
use super::{Datatype, Tensor};

const FIRST: usize = 8;
const TOP: usize = 5;

/// One output in brief.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<usize>,
    /// Over the finite values; absent for `BYTES` and where there are none.
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) max: Option<f64>,
    /// How many values are NaN or infinite.
    pub(crate) not_finite: usize,
    /// The first eight values.
    pub(crate) first: Vec<Value>,
    /// The five largest values of a vector, largest first; empty for anything else.
    pub(crate) top: Vec<Ranked>,
}

/// One of a vector's largest values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ranked {
    pub(crate) index: usize,
    pub(crate) value: f64,
}

// === impl Summary ===

impl Summary {
    pub(crate) fn new(name: &str, tensor: &Tensor) -> Self {
        let mut made = Self {
            name: name.to_owned(),
            datatype: tensor.datatype.name(),
            shape: tensor.shape.clone(),
            min: None,
            mean: None,
            max: None,
            not_finite: 0,
            first: Vec::new(),
            top: Vec::new(),
        };
        match tensor.datatype.size() {
            Some(size) => made.numbers(tensor, size),
            None => {
                let strings = tensor.strings().unwrap_or_default();
                made.first = strings.iter().take(FIRST).map(|string| Datatype::Bytes.json(string)).collect();
            }
        }
        made
    }

    fn numbers(&mut self, tensor: &Tensor, size: usize) {
        let elements = tensor.data.chunks_exact(size);
        self.first = elements.clone().take(FIRST).map(|element| tensor.datatype.json(element)).collect();
        let narrow = size < 8;
        let numbers: Vec<f64> = elements.map(|element| tensor.datatype.number(element)).collect();
        let shown = |number: f64| if narrow { shortest(number) } else { number };
        let finite = || numbers.iter().copied().filter(|number| number.is_finite());
        let count = finite().count();
        self.not_finite = numbers.len() - count;
        if count > 0 {
            self.min = Some(shown(finite().fold(f64::INFINITY, f64::min)));
            self.max = Some(shown(finite().fold(f64::NEG_INFINITY, f64::max)));
            self.mean = Some(finite().sum::<f64>() / count as f64);
        }
        let is_vector = numbers.len() > 1 && tensor.shape.iter().filter(|&&dim| dim > 1).count() == 1;
        if is_vector && tensor.datatype != Datatype::Bool {
            let mut ranked: Vec<Ranked> = numbers
                .iter()
                .enumerate()
                .map(|(index, &value)| Ranked { index, value: shown(value) })
                .collect();
            ranked.retain(|ranked| !ranked.value.is_nan());
            ranked.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.index.cmp(&b.index)));
            ranked.truncate(TOP);
            self.top = ranked;
        }
    }

    /// The lines for people.
    pub(crate) fn text(&self) -> String {
        let dims: Vec<i64> = self.shape.iter().map(|&dim| dim as i64).collect();
        let mut text = format!("{}  {} {}", self.name, self.datatype, crate::format::shape(&dims));
        if let (Some(min), Some(mean), Some(max)) = (self.min, self.mean, self.max) {
            text.push_str(&format!("  min {min:.6}  mean {mean:.6}  max {max:.6}"));
        }
        if self.not_finite > 0 {
            text.push_str(&format!("  ({} NaN or infinite)", self.not_finite));
        }
        let first: Vec<String> = self.first.iter().map(Value::to_string).collect();
        let more = if self.shape.iter().product::<usize>() > self.first.len() { ", …" } else { "" };
        text.push_str(&format!("\n  first  {}{more}\n", first.join(", ")));
        if !self.top.is_empty() {
            let top: Vec<String> =
                self.top.iter().map(|top| format!("{}: {:.6}", top.index, top.value)).collect();
            text.push_str(&format!("  top {}  {}\n", self.top.len(), top.join("  ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize], values: &[f32]) -> Tensor {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { datatype: Datatype::Fp32, shape: shape.to_vec(), data: data.into() }
    }

    #[test]
    fn a_vector_shows_its_largest_values_first() {
        let summary = Summary::new("y", &floats(&[1, 6], &[0.1, 0.5, 0.3, 0.5, -1.0, 0.2]));
        let top: Vec<(usize, f64)> = summary.top.iter().map(|top| (top.index, top.value)).collect();
        assert_eq!(top, [(1, 0.5), (3, 0.5), (2, 0.3), (5, 0.2), (0, 0.1)]);
        assert_eq!((summary.min, summary.max), (Some(-1.0), Some(0.5)));
        assert!(summary.text().contains("top 5  1: 0.500000  3: 0.500000"));
    }

    #[test]
    fn a_matrix_has_no_ranking_and_nan_does_not_spoil_the_range() {
        let summary = Summary::new("y", &floats(&[2, 2], &[1.0, f32::NAN, 3.0, f32::INFINITY]));
        assert!(summary.top.is_empty());
        assert_eq!((summary.min, summary.mean, summary.max), (Some(1.0), Some(2.0), Some(3.0)));
        assert_eq!(summary.not_finite, 2);
    }

    #[test]
    fn strings_and_empty_tensors_have_no_range() {
        let data = vec![3, 0, 0, 0, b'c', b'a', b't'];
        let tensor = Tensor { datatype: Datatype::Bytes, shape: vec![1], data: data.into() };
        let summary = Summary::new("y", &tensor);
        assert_eq!(summary.first, [Value::from("cat")]);
        assert_eq!(summary.mean, None);
        assert_eq!(Summary::new("y", &floats(&[0], &[])).max, None);
    }
}
