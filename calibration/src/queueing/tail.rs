//! From transforms to tails: P(X > t) on a grid by a fast cosine transform.
//!
//! The complement of a waiting time's distribution, f(t) = P(W > t), is continuous for t > 0, so the coefficients of its
//! cosine series over \[0, L\], aₖ = (2/L)·Re f̂(ikπ/L), fall with k², and one fast Fourier transform gives f on the whole
//! grid. The series repeats f with the period 2L: L is chosen so far out that nothing is left there. (Dubner and Abate,
//! *Journal of the ACM* 15(1), 1968, without damping.) Beyond the grid, and where f is smaller than the series' own error,
//! the exponential decay at the transform's dominant pole is used.

use std::f64::consts::PI;
use std::sync::Arc;

use num_complex::Complex64;
use rustfft::{Fft, FftPlanner};

/// P(X > t) for t ≥ 0 of a variable X ≥ 0, perhaps defective: P(X > t, some event).
#[derive(Clone, Debug)]
pub struct Tail {
    /// P(event).
    mass: f64,
    step: f64,
    /// At 0⁺, step, 2·step, …
    above: Vec<f64>,
    decay: Option<Decay>,
}

/// P(X > t) ≈ `factor`·e^{−`rate`·t} for large t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// 1/s.
    pub rate: f64,
    /// Probability.
    pub factor: f64,
}

/// Plans of the transforms, made once.
pub struct Inverter {
    fft: Arc<dyn Fft<f64>>,
    points: usize,
    buffer: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

/// Below this the series' own error shows.
const SERIES_ERROR: f64 = 3e-4;

impl Tail {
    /// A variable that is always 0.
    #[must_use]
    pub fn zero(mass: f64) -> Self {
        Self { mass, step: 1.0, above: vec![0.0; 2], decay: None }
    }

    /// P(X > t, event).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within the grid"
    )]
    pub fn above(&self, t: f64) -> f64 {
        if t < 0.0 {
            return self.mass;
        }
        let place = t / self.step;
        let last = self.above.len() - 1;
        let decay = |decay: Decay| decay.factor * (-decay.rate * t).exp();
        if place >= last as f64 {
            return self.decay.map_or(0.0, decay).clamp(0.0, self.above[last].max(0.0));
        }
        let at = place as usize;
        let part = place - at as f64;
        let value = self.above[at] + (self.above[at + 1] - self.above[at]) * part;
        match self.decay {
            Some(tail) if value < SERIES_ERROR * self.mass => {
                decay(tail).clamp(0.0, SERIES_ERROR * self.mass)
            }
            _ => value,
        }
    }

    /// The same variable `factor` times as large.
    #[must_use]
    pub fn stretched(&self, factor: f64) -> Self {
        Self {
            step: self.step * factor,
            decay: self.decay.map(|d| Decay { rate: d.rate / factor, ..d }),
            ..self.clone()
        }
    }

    /// ∫₀ˣ (x − t)·P(X > t) dt by the trapezium rule on the grid.
    #[must_use]
    pub fn weighted_integral(&self, x: f64) -> f64 {
        const STEPS: u32 = 512;
        let h = x / f64::from(STEPS);
        let value = |i: u32| {
            let t = h * f64::from(i);
            (x - t) * self.above(t)
        };
        h * ((value(0) + value(STEPS)) / 2.0 + (1..STEPS).map(value).sum::<f64>())
    }
}

impl Inverter {
    /// An inverter with `points` points per tail (rounded up to a power of two, at least 64).
    #[must_use]
    pub fn new(points: usize) -> Self {
        let points = points.clamp(64, 1 << 20).next_power_of_two();
        let fft = FftPlanner::new().plan_fft_forward(2 * points);
        let scratch = vec![Complex64::default(); fft.get_inplace_scratch_len()];
        Self { fft, points, buffer: vec![Complex64::default(); 2 * points], scratch }
    }

    /// Points per tail.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// The frequencies, 1/s, at which a tail over \[0, `length`\] wants its transform: k·π/length.
    #[must_use]
    pub fn frequency(&self, k: usize, length: f64) -> f64 {
        PI * k as f64 / length
    }

    /// The tails over \[0, `length`\] of these spectra, two by each transform.
    pub fn invert_all(&mut self, length: f64, spectra: &[Spectrum]) -> Vec<Tail> {
        let mut tails = Vec::with_capacity(spectra.len());
        for pair in spectra.chunks(2) {
            self.transform(length, &pair[0], pair.get(1));
            tails.push(self.tail(length, &pair[0], |z| z.re));
            if let Some(second) = pair.get(1) {
                tails.push(self.tail(length, second, |z| z.im));
            }
        }
        tails
    }

    /// An even spectrum has a real transform: two of them go together as real and imaginary part.
    fn transform(&mut self, length: f64, first: &Spectrum, second: Option<&Spectrum>) {
        let size = 2 * self.points;
        self.buffer.fill(Complex64::default());
        for (k, &re) in first.transform.iter().enumerate().take(self.points) {
            let im = second.and_then(|s| s.transform.get(k)).copied().unwrap_or(0.0);
            // Lanczos' factor: a series cut off here rings at every jump, this one hardly.
            let x = PI * k as f64 / self.points as f64;
            let sigma = if k == 0 { 1.0 } else { x.sin() / x };
            let value = Complex64::new(re, im) * (sigma / length);
            self.buffer[k] = value;
            if k > 0 {
                self.buffer[size - k] = value;
            }
        }
        self.fft.process_with_scratch(&mut self.buffer, &mut self.scratch);
    }

    fn tail(&self, length: f64, spectrum: &Spectrum, part: fn(&Complex64) -> f64) -> Tail {
        let step = length / self.points as f64;
        let above = descending(self.buffer[..=self.points].iter().map(part), spectrum.mass);
        let decay = spectrum.decay.or_else(|| fitted(&above, step, spectrum.mass));
        Tail { mass: spectrum.mass, step, above, decay }
    }
}

/// What is known of a tail before inversion: Re f̂(iω) of f(t) = P(X > t, event).
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Re f̂(iω) at the frequencies, f̂ being the transform of P(X > t, event).
    pub transform: Vec<f64>,
    /// P(event).
    pub mass: f64,
    /// For large t; fitted to the tail itself where it is not known.
    pub decay: Option<Decay>,
}

/// The exponential through the points where 1 % and 0.1 % are left.
fn fitted(above: &[f64], step: f64, mass: f64) -> Option<Decay> {
    let place = |part: f64| above.iter().position(|&value| value < part * mass).filter(|&at| above[at] > 0.0);
    let (first, second) = (place(1e-2)?, place(1e-3)?);
    let rate = (above[first] / above[second]).ln() / ((second - first) as f64 * step);
    let factor = above[second] * (rate * second as f64 * step).exp();
    (rate > 0.0 && rate.is_finite() && factor.is_finite()).then_some(Decay { rate, factor })
}

/// Without what is left of the series' ripples: a tail never rises, and is a probability. Midway between the highest and
/// the lowest that does not.
fn descending(values: impl Iterator<Item = f64>, mass: f64) -> Vec<f64> {
    let values: Vec<f64> = values.map(|value| value.clamp(0.0, mass)).collect();
    let mut above: Vec<f64> = values.clone();
    let mut most = 0.0_f64;
    for value in above.iter_mut().rev() {
        most = most.max(*value);
        *value = most;
    }
    let mut least = mass;
    for (above, value) in above.iter_mut().zip(values) {
        least = least.min(value);
        *above = f64::midpoint(*above, least);
    }
    above
}
