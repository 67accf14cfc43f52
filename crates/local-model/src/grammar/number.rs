//! Numbers inside bounds, digit by digit: `-?int(.frac)?`, no exponent, at most 15 digits before the point
//! (so that every value is exact as a double) and six after it.

const DIGITS_MAX: u8 = 15;
const FRACTION_DIGITS_MAX: u8 = 6;
const MAGNITUDE_MAX: i64 = 999_999_999_999_999;

/// What a number may be. The integers `low..=high` are never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberRule {
    low: i64,
    high: i64,
    /// The real interval that a value with a fraction must stay in; `None` for integers only.
    real: Option<Interval>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Interval {
    low: f64,
    high: f64,
    low_open: bool,
}

/// The bounds as a schema gives them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    pub minimum: Option<f64>,
    pub exclusive_minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: Option<f64>,
}

/// How far a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NumberState {
    negative: bool,
    digits: u8,
    value: u64,
    /// 0 without a point, else 1 + the digits after it.
    fraction: u8,
}

impl Bounds {
    fn low(self) -> f64 {
        self.minimum.unwrap_or(f64::NEG_INFINITY).max(self.exclusive_minimum.unwrap_or(f64::NEG_INFINITY))
    }

    fn high(self) -> f64 {
        self.maximum.unwrap_or(f64::INFINITY).min(self.exclusive_maximum.unwrap_or(f64::INFINITY))
    }

    fn low_open(self) -> bool {
        self.exclusive_minimum.is_some_and(|bound| bound >= self.minimum.unwrap_or(f64::NEG_INFINITY))
    }

    fn high_open(self) -> bool {
        self.exclusive_maximum.is_some_and(|bound| bound <= self.maximum.unwrap_or(f64::INFINITY))
    }

    /// The middle of a narrow interval that holds no integer, `None` when it is empty.
    pub fn middle(self) -> Option<f64> {
        let (low, high) = (self.low(), self.high());
        let middle = low + (high - low) / 2.0;
        let above = if self.low_open() { middle > low } else { middle >= low };
        let below = if self.high_open() { middle < high } else { middle <= high };
        (middle.is_finite() && above && below).then_some(middle)
    }
}

impl NumberRule {
    pub fn free() -> Self {
        Self::number(Bounds::default()).expect("without bounds there are integers")
    }

    /// `None` when no integer lies inside.
    pub fn integer(bounds: Bounds) -> Option<Self> {
        let (low, high) = integers_inside(bounds)?;
        Some(Self { low, high, real: None })
    }

    /// `None` when no integer lies inside; the caller then falls back to [`Bounds::middle`].
    pub fn number(bounds: Bounds) -> Option<Self> {
        let (low, high) = integers_inside(bounds)?;
        let real = Interval { low: bounds.low(), high: bounds.high(), low_open: bounds.low_open() };
        Some(Self { low, high, real: Some(real) })
    }

    pub fn shortest(&self) -> Vec<u8> {
        let nearest = 0.clamp(self.low, self.high);
        nearest.to_string().into_bytes()
    }

    /// The state after `byte` at the start of a number.
    pub fn begin(&self, byte: u8) -> Option<NumberState> {
        if byte == b'-' {
            let state = NumberState { negative: true, ..NumberState::default() };
            return (self.magnitudes(true).is_some() || self.may_have_fraction(true, 0)).then_some(state);
        }
        self.advance(NumberState::default(), byte)
    }

    pub fn advance(&self, state: NumberState, byte: u8) -> Option<NumberState> {
        match byte {
            b'0'..=b'9' if state.fraction > 0 => {
                (state.fraction <= FRACTION_DIGITS_MAX).then(|| NumberState { fraction: state.fraction + 1, ..state })
            }
            b'0'..=b'9' => {
                let leading_zero = state.digits > 0 && state.value == 0;
                if leading_zero || state.digits == DIGITS_MAX {
                    return None;
                }
                let value = state.value * 10 + u64::from(byte - b'0');
                let next = NumberState { value, digits: state.digits + 1, ..state };
                (self.closing(next).is_some()).then_some(next)
            }
            b'.' => {
                let legal =
                    state.fraction == 0 && state.digits > 0 && self.may_have_fraction(state.negative, state.value);
                legal.then_some(NumberState { fraction: 1, ..state })
            }
            _ => None,
        }
    }

    pub fn may_end(&self, state: NumberState) -> bool {
        match state.fraction {
            0 => state.digits > 0 && self.holds(state.negative, state.value),
            fraction => fraction > 1,
        }
    }

    /// The shortest rest; `None` when no number inside the bounds starts like this.
    pub fn closing(&self, state: NumberState) -> Option<Vec<u8>> {
        if self.may_end(state) {
            return Some(Vec::new());
        }
        if state.fraction > 0 {
            return Some(b"0".to_vec());
        }
        if state.digits > 0 && state.value == 0 {
            return self.may_have_fraction(state.negative, 0).then(|| b".0".to_vec());
        }
        let Some((least, most)) = self.magnitudes(state.negative) else {
            let zero_only = state.digits == 0 && self.may_have_fraction(state.negative, 0);
            return zero_only.then(|| b"0.0".to_vec());
        };
        if state.digits == 0 {
            return Some(least.to_string().into_bytes());
        }
        let (mut from, mut to) = (state.value, state.value);
        for _ in state.digits..DIGITS_MAX {
            (from, to) = (from * 10, to * 10 + 9);
            let candidate = from.max(least);
            if candidate <= to.min(most) {
                let written = state.value.to_string().len();
                return Some(candidate.to_string().into_bytes()[written..].to_vec());
            }
        }
        None
    }

    /// Whether the integer itself is inside; minus zero is not written.
    fn holds(&self, negative: bool, value: u64) -> bool {
        self.magnitudes(negative).is_some_and(|(least, most)| (least..=most).contains(&value))
    }

    /// Absolute values of the integers of one sign.
    fn magnitudes(&self, negative: bool) -> Option<(u64, u64)> {
        let (least, most) = if negative { ((-self.high).max(1), -self.low) } else { (self.low.max(0), self.high) };
        (least <= most && most >= 0).then(|| (least.unsigned_abs(), most.unsigned_abs()))
    }

    /// Whether every value from the integer up to the next one away from zero is inside.
    #[allow(clippy::cast_precision_loss, reason = "fifteen digits are exact in a double")]
    fn may_have_fraction(&self, negative: bool, value: u64) -> bool {
        let Some(real) = self.real else { return false };
        let near = value as f64;
        let far = near + 1.0;
        let (low, high) = if negative { (-far, -near) } else { (near, far) };
        let above = if real.low_open { low > real.low } else { low >= real.low };
        above && if negative { high < real.high } else { high <= real.high }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "clamped to fifteen digits first")]
fn integers_inside(bounds: Bounds) -> Option<(i64, i64)> {
    let limit = MAGNITUDE_MAX as f64;
    let mut low = bounds.low().clamp(-limit, limit).ceil();
    let mut high = bounds.high().clamp(-limit, limit).floor();
    if bounds.low_open() && low <= bounds.low() {
        low += 1.0;
    }
    if bounds.high_open() && high >= bounds.high() {
        high -= 1.0;
    }
    (low <= high && bounds.low() <= limit && bounds.high() >= -limit).then_some((low as i64, high as i64))
}
