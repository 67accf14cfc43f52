//! Latency histograms and the figures the tools print.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies in nanoseconds, three significant digits, 100 ns to 10 minutes.
pub struct Latency {
    hist: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    pub fn new() -> Self {
        Latency { hist: Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are constants") }
    }

    pub fn record(&mut self, ns: u64) {
        self.hist.saturating_record(ns.max(100));
    }

    pub fn clear(&mut self) {
        self.hist.reset();
    }

    pub fn merge(&mut self, other: &Latency) {
        self.hist.add(&other.hist).expect("every histogram has the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.hist.len()
    }

    /// The value at quantile `q` in microseconds.
    pub fn us(&self, q: f64) -> f64 {
        if self.hist.is_empty() {
            return 0.0;
        }
        self.hist.value_at_quantile(q) as f64 / 1000.0
    }

    /// All figures in microseconds.
    pub fn to_json(&self) -> Value {
        if self.hist.is_empty() {
            return json!({ "count": 0 });
        }
        json!({
            "count": self.hist.len(),
            "mean": round1(self.hist.mean() / 1000.0),
            "min": round1(self.hist.min() as f64 / 1000.0),
            "p50": round1(self.us(0.50)),
            "p90": round1(self.us(0.90)),
            "p99": round1(self.us(0.99)),
            "p999": round1(self.us(0.999)),
            "max": round1(self.hist.max() as f64 / 1000.0),
        })
    }
}

pub fn round1(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// Median, lowest and highest of several runs.
pub fn spread(values: &[f64]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mid = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[mid] } else { (sorted[mid - 1] + sorted[mid]) / 2.0 };
    json!({
        "median": round1(median),
        "min": round1(sorted[0]),
        "max": round1(sorted[sorted.len() - 1]),
        "runs": sorted.len(),
    })
}
