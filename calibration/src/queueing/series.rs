//! Power series up to the third order: moments without differentiating by hand.

use crate::service::ServiceTime;

/// c₀ + c₁u + c₂u² + c₃u³ of a transform E\[e^{uX}\], so that cₖ = E\[Xᵏ\]/k!.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Series(pub(crate) [f64; 4]);

impl Series {
    pub(crate) const ZERO: Self = Self([0.0; 4]);

    pub(crate) const fn constant(value: f64) -> Self {
        Self([value, 0.0, 0.0, 0.0])
    }

    pub(crate) fn of(service: &ServiceTime) -> Self {
        let [m1, m2, m3] = service.moments();
        Self([1.0, m1, m2 / 2.0, m3 / 6.0])
    }

    /// e^{u·value}.
    pub(crate) fn exponential(value: f64) -> Self {
        Self([1.0, value, value * value / 2.0, value.powi(3) / 6.0])
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self(self.0.map(|c| c * factor))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (c, o) in sum.iter_mut().zip(other.0) {
            *c += o;
        }
        Self(sum)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.plus(other.scaled(-1.0))
    }

    pub(crate) fn times(self, other: Self) -> Self {
        let mut product = [0.0; 4];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate().take(4 - i) {
                product[i + j] += a * b;
            }
        }
        Self(product)
    }

    /// `self / other`; other's first coefficient is not 0.
    pub(crate) fn over(self, other: Self) -> Self {
        let mut quotient = [0.0; 4];
        for i in 0..4 {
            let known: f64 = (0..i).map(|j| quotient[j] * other.0[i - j]).sum();
            quotient[i] = (self.0[i] - known) / other.0[0];
        }
        Self(quotient)
    }

    /// This series at `inner(u)`, whose first coefficient is 0.
    pub(crate) fn at(self, inner: Self) -> Self {
        let [c0, c1, c2, c3] = self.0;
        let square = inner.times(inner);
        Self::constant(c0).plus(inner.scaled(c1)).plus(square.scaled(c2)).plus(square.times(inner).scaled(c3))
    }

    /// Divided by u; the first coefficient has to be 0, the last of the result is unknown and set to 0.
    pub(crate) fn shifted(self) -> Self {
        Self([self.0[1], self.0[2], self.0[3], 0.0])
    }

    /// First moment.
    pub(crate) fn mean(self) -> f64 {
        self.0[1]
    }

    /// Second raw moment.
    pub(crate) fn second(self) -> f64 {
        2.0 * self.0[2]
    }
}
