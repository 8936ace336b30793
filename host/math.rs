//! Elementary functions without branches or calls, which compilers turn into vector code. Each is
//! good to a few units of the last place of an f32 around 1.

use serde::{Deserialize, Serialize};

/// The activations that ELECTRA models use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x Φ(x)`, by erf.
    #[serde(alias = "gelu_python")]
    Gelu,
    /// The tanh form of GELU.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    Relu,
    #[serde(alias = "swish")]
    Silu,
    Tanh,
}

/// `eˣ`; 0 below -87, and no more than e⁸⁸.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Added to a small number, it leaves the nearest whole one in the lowest bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³
    let bounded = if x < -87.0 { -87.0 } else { x };
    let bounded = if bounded > 88.0 { 88.0 } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    // ln 2 in two parts, of which the first times a power is exact.
    let rest = bounded - power * 0.693_359_4 + power * 2.121_944_4e-4;
    // The polynomial of Cephes' expf.
    let mut p = 1.987_569_1e-4 * rest + 1.398_199_9e-3;
    p = p * rest + 8.333_452e-3;
    p = p * rest + 4.166_579_6e-2;
    p = p * rest + 1.666_666_5e-1;
    p = p * rest + 0.5;
    p = p * rest * rest + rest + 1.0;
    let value = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < -87.0 { 0.0 } else { value }
}

/// `ln x` of a normal number above 0.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Between a half and 1, and then between √½ and √2.
    let half = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let small = half < std::f32::consts::FRAC_1_SQRT_2;
    let power = (bits >> 23) as i32 - if small { 127 } else { 126 };
    let power = power as f32;
    let m = if small { half + half - 1.0 } else { half - 1.0 };
    // The polynomial of Cephes' logf.
    let mut p = 7.037_683_6e-2 * m - 1.151_461e-1;
    p = p * m + 1.167_699_9e-1;
    p = p * m - 1.242_014_1e-1;
    p = p * m + 1.424_932_3e-1;
    p = p * m - 1.666_805_8e-1;
    p = p * m + 2.000_071_5e-1;
    p = p * m - 2.499_999_4e-1;
    p = p * m + 0.333_333_33;
    let square = m * m;
    let rest = p * m * square - power * 2.121_944_4e-4 - 0.5 * square;
    m + rest + power * 0.693_359_4
}

/// `x Φ(x)` and its slope `Φ(x) + x φ(x)`. Φ by Abramowitz and Stegun 7.1.26, to 1e-7; its
/// exponential is that of φ, too.
#[inline(always)]
pub fn gelu(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let e = exp(-z * z);
    let t = 1.0 / (0.327_591_1 * z + 1.0);
    let mut p = 1.061_405_4 * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    let tail = 0.5 * p * t * e;
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (x * cdf, cdf + x * 0.398_942_3 * e)
}

/// `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))` and its slope.
#[inline(always)]
pub fn gelu_new(x: f32) -> (f32, f32) {
    const SCALE: f32 = 0.797_884_6;
    let inner = ((x + 0.044_715 * x * x * x) * SCALE).tanh();
    let slope = (1.0 - inner * inner) * SCALE * (1.0 + 3.0 * 0.044_715 * x * x);
    (0.5 * x * (1.0 + inner), 0.5 * (1.0 + inner) + 0.5 * x * slope)
}

/// `max(x, 0)` and its slope.
#[inline(always)]
pub fn relu(x: f32) -> (f32, f32) {
    // Said so that what is no number stays none.
    if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) }
}

/// `x σ(x)` and its slope.
#[inline(always)]
pub fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    (x * sigmoid, sigmoid + x * sigmoid * (1.0 - sigmoid))
}

/// `tanh x` and its slope.
#[inline(always)]
pub fn tanh(x: f32) -> (f32, f32) {
    let y = x.tanh();
    (y, 1.0 - y * y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_good_to_a_few_units_of_the_last_place() {
        for i in -8700..8700 {
            let x = i as f32 * 0.01;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) / right - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(exp(-10_000.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_good_to_a_few_units_of_the_last_place() {
        for i in 1..100_000 {
            for x in [i as f32 * 1e-5, i as f32, i as f32 * 1e-30] {
                let right = f64::from(x).ln();
                assert!((f64::from(ln(x)) - right).abs() < 3e-7 * right.abs().max(0.3), "{x}");
            }
        }
        assert_eq!(ln(1.0), 0.0);
    }

    /// Φ in f64, by the series of erf.
    fn normal_cdf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / 2.0 / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        0.5 + sum / std::f64::consts::TAU.sqrt()
    }

    #[test]
    fn gelu_and_its_slope_are_exact() {
        for i in -500..500 {
            let x = i as f32 * 0.01;
            let (exact, cdf) = (f64::from(x), normal_cdf(f64::from(x)));
            let density = (-0.5 * exact * exact).exp() / std::f64::consts::TAU.sqrt();
            let (value, slope) = gelu(x);
            assert!((f64::from(value) - exact * cdf).abs() < 4e-7, "{x}");
            assert!((f64::from(slope) - cdf - exact * density).abs() < 4e-7, "{x}");
        }
    }

    #[test]
    fn slopes_are_slopes() {
        for f in [gelu, gelu_new, relu, silu, tanh] {
            for i in -40..40 {
                let x = i as f32 * 0.1 + 0.05;
                let step = 1e-2;
                let slope = (f(x + step).0 - f(x - step).0) / (2.0 * step);
                assert!((f(x).1 - slope).abs() < 2e-4, "{x}");
            }
            assert!(f(f32::NAN).0.is_nan());
        }
    }
}
