//! Random tensors: values that any model takes, the same for the same seed.

use rand::Rng;

use super::{Datatype, Tensor, push_string};

/// Integers stay below this, so that they are fit to be indices too.
const INTEGER_END: u8 = 128;
const STRING_LENGTH_MAX: usize = 16;

/// A tensor of uniform values: floating point in [-1, 1), integers in [0, 128), bytes (`UINT8`) in [0, 256), strings of
/// 1 to 16 letters.
pub(crate) fn random_tensor(datatype: Datatype, shape: &[usize], random: &mut impl Rng) -> Tensor {
    let elements: usize = shape.iter().product();
    let mut data = Vec::with_capacity(elements * datatype.size().unwrap_or(4 + STRING_LENGTH_MAX));
    for _ in 0..elements {
        match datatype {
            Datatype::Fp32 => data.extend_from_slice(&random.random_range(-1.0f32..1.0).to_le_bytes()),
            Datatype::Fp64 => data.extend_from_slice(&random.random_range(-1.0f64..1.0).to_le_bytes()),
            Datatype::Fp16 => data.extend_from_slice(&half(random).to_le_bytes()),
            Datatype::Bf16 => {
                let wide = random.random_range(-1.0f32..1.0).to_bits();
                data.extend_from_slice(&wide.to_le_bytes()[2..]);
            }
            Datatype::Bool => data.push(random.random_range(0..2)),
            Datatype::Uint8 => data.push(random.random()),
            Datatype::Bytes => {
                let length = random.random_range(1..=STRING_LENGTH_MAX);
                let letters: Vec<u8> = (0..length).map(|_| random.random_range(b'a'..=b'z')).collect();
                push_string(&mut data, &letters);
            }
            integer => {
                let size = integer.size().unwrap_or(1);
                data.push(random.random_range(0..INTEGER_END));
                data.resize(data.len() + size - 1, 0);
            }
        }
    }
    Tensor { datatype, shape: shape.to_vec(), data: data.into() }
}

/// A binary16 in (-1, 1): a multiple of 2^-11, which it holds exactly.
fn half(random: &mut impl Rng) -> u16 {
    let value: u16 = random.random_range(0..2048);
    let sign = u16::from(random.random::<bool>()) << 15;
    match value.checked_ilog2() {
        None => sign,
        Some(power) => {
            let power = power as u16;
            sign | ((power + 4) << 10) | ((value << (10 - power)) & 0x3ff)
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn values_are_finite_spread_and_of_the_right_size() {
        let mut random = StdRng::seed_from_u64(3);
        for datatype in Datatype::ALL {
            let tensor = random_tensor(datatype, &[50, 40], &mut random);
            let Some(size) = datatype.size() else {
                let strings = tensor.strings().unwrap();
                assert_eq!(strings.len(), 2000);
                assert!(strings.iter().all(|string| (1..=STRING_LENGTH_MAX).contains(&string.len())));
                continue;
            };
            assert_eq!(tensor.data.len(), 2000 * size);
            let numbers: Vec<f64> =
                tensor.data.chunks(size).map(|element| datatype.number(element)).collect();
            let mean = numbers.iter().sum::<f64>() / 2000.0;
            let (low, high, middle) = match datatype {
                Datatype::Bool => (0.0, 1.0, 0.5),
                Datatype::Uint8 => (0.0, 255.0, 127.5),
                Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => (-1.0, 1.0, 0.0),
                _ => (0.0, 127.0, 63.5),
            };
            assert!(numbers.iter().all(|number| (low..=high).contains(number)), "{datatype}");
            assert!((mean - middle).abs() < (high - low) / 20.0, "{datatype} {mean}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_values_again() {
        let make = || random_tensor(Datatype::Fp32, &[9], &mut StdRng::seed_from_u64(7));
        assert_eq!(make(), make());
    }
}
