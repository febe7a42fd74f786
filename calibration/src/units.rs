//! Quantities with their unit and range in the type. A value that exists is finite and within its range.

use std::fmt;

/// A number outside a quantity's range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{value} is no {quantity}: {want}")]
pub struct RangeError {
    /// What was asked for.
    pub quantity: &'static str,
    /// The number given.
    pub value: f64,
    /// The range it has to be in.
    pub want: &'static str,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $text:literal, $range:expr, $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// Checks the range.
            ///
            /// # Errors
            /// A number outside the range, infinite or not a number.
            pub fn new(value: f64) -> Result<Self, RangeError> {
                let inside: fn(f64) -> bool = $range;
                // NaN compares as outside.
                if inside(value) {
                    // No negative zero.
                    Ok(Self(value + 0.0))
                } else {
                    Err(RangeError { quantity: $text, value, want: $want })
                }
            }

            /// The number, in the unit of the type.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl TryFrom<f64> for $name {
            type Error = RangeError;

            fn try_from(value: f64) -> Result<Self, RangeError> {
                Self::new(value)
            }
        }
    };
}

quantity!(
    /// A length of time in seconds, 0 to 10⁶ (eleven days).
    Seconds,
    "length of time",
    |s| (0.0..=1e6).contains(&s),
    "0 to 1000000 seconds"
);

quantity!(
    /// A rate in 1/s, above 0, 10⁻⁶ to 10⁶.
    Hertz,
    "rate",
    |hz| (1e-6..=1e6).contains(&hz),
    "0.000001 to 1000000 per second"
);

quantity!(
    /// A squared coefficient of variation (variance over squared mean), 0 to 10⁴.
    Scv,
    "squared coefficient of variation",
    |scv| (0.0..=1e4).contains(&scv),
    "0 to 10000"
);

quantity!(
    /// A probability strictly between 0 and 1 that names a quantile, 10⁻⁶ to 1 − 10⁻⁶.
    Quantile,
    "quantile",
    |q| (1e-6..=1.0 - 1e-6).contains(&q),
    "0.000001 to 0.999999"
);

impl Seconds {
    /// No time.
    pub const ZERO: Self = Self(0.0);

    /// From milliseconds.
    ///
    /// # Errors
    /// Outside 0 to 10⁹ ms.
    pub fn from_ms(ms: f64) -> Result<Self, RangeError> {
        Self::new(ms / 1e3)
    }

    /// The nearest within the range; 0 for what is not a number.
    #[must_use]
    pub fn clamped(seconds: f64) -> Self {
        Self(seconds.clamp(0.0, 1e6).max(0.0))
    }

    /// In milliseconds.
    #[must_use]
    pub fn ms(self) -> f64 {
        self.0 * 1e3
    }

    /// This time `factor` times over, kept within the range.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self::clamped(self.0 * factor)
    }
}

impl Scv {
    /// Of a constant, or of strictly periodic arrivals.
    pub const ZERO: Self = Self(0.0);
    /// Of an exponential time, or of Poisson arrivals.
    pub const ONE: Self = Self(1.0);
}

impl Quantile {
    /// The median.
    pub const P50: Self = Self(0.5);
    /// The 95th percentile.
    pub const P95: Self = Self(0.95);
    /// The 99th percentile.
    pub const P99: Self = Self(0.99);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_never_becomes_a_quantity() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-300, 1e300] {
            assert!(Seconds::new(bad).is_err(), "{bad}");
            assert!(Hertz::new(bad).is_err(), "{bad}");
            assert!(Scv::new(bad).is_err(), "{bad}");
            assert!(Quantile::new(bad).is_err(), "{bad}");
        }
        assert!(Hertz::new(0.0).is_err());
        assert!(Quantile::new(0.0).is_err());
        assert!(Quantile::new(1.0).is_err());
        assert!(Seconds::new(-0.0).unwrap().get().is_sign_positive());
        let error = Hertz::new(-3.0).unwrap_err().to_string();
        assert_eq!(error, "-3 is no rate: 0.000001 to 1000000 per second");
    }
}
