//! What bringing a model's weights to the chip costs: measured, because the chip tells nobody.

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, Outputs};
use edgemux_runtime_api::tensor::{Signature, TensorSpec, TensorView, byte_len};
use edgemux_tflite_common::instance::{Interpreter, Shaped};

/// Longer inputs are not made up.
const BYTES_MAX: usize = 64 << 20;
/// Turns that two models take at a measurement. Tenants of the device wait meanwhile.
const TURNS: usize = 3;
/// A run weighs this much in the time that is usual. On this device one run takes as long as another.
const WEIGHT: f64 = 0.125;

/// How long a model runs whose weights are on the chip.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    usual_ns: Option<f64>,
}

impl Cost {
    /// A run took so long. Returns how much of that was for weights, if it waited for them.
    pub(crate) fn ran(&mut self, ns: u64, reloads: bool) -> u64 {
        match (reloads, self.usual_ns) {
            (true, Some(usual)) => ns.saturating_sub(usual as u64),
            (true, None) => 0,
            (false, usual) => {
                let usual = usual.unwrap_or(ns as f64);
                self.usual_ns = Some(usual + WEIGHT * (ns as f64 - usual));
                0
            }
        }
    }
}

/// Runs `mine` in turn with `other` and returns the median of what it waited for its weights; `None` if it never had to, or
/// if there is no other. Without another it only learns how long a run takes.
pub(crate) fn reload_ns<I: Interpreter>(
    mine: (&mut Shaped<I>, &Signature),
    other: Option<(Shaped<I>, &Signature)>,
) -> Result<Option<u64>, RunError> {
    let zeros = Zeros::of(mine.1);
    // The first run waits for more than weights: libraries set themselves up.
    zeros.run(&mut *mine.0, mine.1)?;
    zeros.run(&mut *mine.0, mine.1)?;
    let Some((mut other, signature)) = other else { return Ok(None) };
    let others = Zeros::of(signature);
    let mut waits = Vec::new();
    for _ in 0..TURNS {
        others.run(&mut other, signature)?;
        waits.push(zeros.run(&mut *mine.0, mine.1)?);
        zeros.run(&mut *mine.0, mine.1)?;
    }
    // The chip is the other's again, so that the daemon's own first request waits, and it learns of it from that.
    others.run(&mut other, signature)?;
    waits.sort_unstable();
    Ok(waits.get(TURNS / 2).copied().filter(|&ns| ns > 0))
}

/// Inputs of a model, all zero, open dimensions 1.
struct Zeros(Option<Vec<(Vec<i64>, Vec<u8>)>>);

impl Zeros {
    fn of(signature: &Signature) -> Self {
        let mut left = BYTES_MAX;
        let zero = |spec: &TensorSpec| {
            let shape: Vec<_> = spec.shape.iter().map(|&dim| if dim < 0 { 1 } else { dim }).collect();
            let bytes = byte_len(spec.datatype, &shape)?;
            left = left.checked_sub(bytes)?;
            Some((shape, vec![0; bytes]))
        };
        Self(signature.inputs.iter().map(zero).collect())
    }

    /// Returns what the run waited for weights, ns.
    fn run<I: Interpreter>(&self, on: &mut Shaped<I>, signature: &Signature) -> Result<u64, RunError> {
        let Some(zeros) = &self.0 else {
            return Err(RunError::Inputs("inputs are too large to make up".into()));
        };
        let views: Vec<_> = signature
            .inputs
            .iter()
            .zip(zeros)
            .map(|(spec, (shape, bytes))| TensorView { datatype: spec.datatype, shape, bytes })
            .collect();
        let (ran, _) = on.run(signature, &views, &mut Nobody, &Cancel::default());
        ran.map(|timing| timing.reload_ns)
    }
}

/// Wants no output.
struct Nobody;

impl Outputs for Nobody {
    fn buffer(&mut self, _: usize, _: &[i64], _: usize) -> Result<Option<&mut [u8]>, RunError> {
        Ok(None)
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_what_a_run_takes_beyond_the_usual() {
        let mut cost = Cost::default();
        assert_eq!(cost.ran(9_000, true), 0, "nothing is usual yet");
        for ns in [2_000, 2_000, 2_000] {
            assert_eq!(cost.ran(ns, false), 0);
        }
        assert_eq!(cost.ran(9_000, true), 7_000);
        assert_eq!(cost.ran(1_500, true), 0, "never less than nothing");
        assert_eq!(cost.ran(9_000, true), 7_000, "runs that waited do not change what is usual");
    }

    #[test]
    fn the_usual_follows_a_device_that_slows_down() {
        let mut cost = Cost::default();
        for _ in 0..100 {
            cost.ran(1_000, false);
        }
        for _ in 0..100 {
            cost.ran(3_000, false);
        }
        assert!((6_990..=7_010).contains(&cost.ran(10_000, true)));
    }
}
