//! Real architectures answer as TensorFlow Lite's reference kernels do.
//!
//! The answers in `tests/models` are of another release of the library, without XNNPACK.

use edgemux_runtime_api::runtime::Runtime;

use crate::models;
use crate::runtime::{run, runtime};

/// The picture that `make.py` makes: sixteenths of a hash of each place, less a half.
fn sixteenths(count: usize) -> impl Iterator<Item = i8> {
    (0..count as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 28) as i8 - 8)
}

fn answers<T: std::str::FromStr>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(models::path(&format!("{name}.scores"))).unwrap();
    text.split_whitespace().map(|score| score.parse().ok().unwrap()).collect()
}

#[test]
fn networks_in_floating_point_answer_as_the_reference_does() {
    for (network, shape) in [("mobilenet_tiny", [2, 96, 96, 3]), ("keywords", [2, 49, 10, 1])] {
        let picture: Vec<u8> = sixteenths(shape.iter().product::<i64>() as usize)
            .flat_map(|n| (f32::from(n) / 16.0).to_le_bytes())
            .collect();
        let reference: Vec<f32> = answers(network);
        for options in ["", r#"{"xnnpack": false}"#] {
            for threads in [1, 2] {
                let model =
                    runtime(threads, options).load(&models::example(&format!("{network}.tflite"))).unwrap();
                let outputs = run(&model, &[(&shape, &picture)]).unwrap();
                let (elements, _) = outputs[0].1.as_chunks::<4>();
                let scores: Vec<_> = elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                assert_eq!(scores.len(), reference.len());
                let apart = scores.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-5, "{network} {options}: {apart} apart: {scores:?}");
            }
        }
    }
}

#[test]
fn networks_in_integers_answer_as_the_reference_does() {
    for (network, shape) in [("mobilenet_tiny_int8", [2, 96, 96, 3]), ("keywords_int8", [2, 49, 10, 1])] {
        let picture: Vec<u8> = sixteenths(shape.iter().product::<i64>() as usize).map(|n| n as u8).collect();
        let reference: Vec<i8> = answers(network);
        for options in ["", r#"{"xnnpack": false}"#] {
            let model = runtime(1, options).load(&models::example(&format!("{network}.tflite"))).unwrap();
            let outputs = run(&model, &[(&shape, &picture)]).unwrap();
            let scores: Vec<_> = outputs[0].1.iter().map(|&byte| byte as i8).collect();
            // XNNPACK rounds halves another way than the reference kernels do; of 30 layers that makes a little.
            let apart = scores.iter().zip(&reference).map(|(a, b)| a.abs_diff(*b)).max();
            assert_eq!(scores.len(), reference.len());
            println!("{network} {options}: at most {apart:?} of 256 apart");
            assert!(
                apart.is_some_and(|apart| apart <= 6),
                "{network} {options}: {scores:?} for {reference:?}"
            );
        }
    }
}
