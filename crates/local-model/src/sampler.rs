//! Picks the next token from the model's logits.

use providers::Sampling;

use crate::grammar::TokenMask;

/// How far back repetition is held against a token.
const REPETITION_WINDOW: usize = 64;
/// Small models fall into loops without it; 1 would be off.
const REPETITION_PENALTY: f32 = 1.1;
/// Tokens looked at when drawing; small models have a long tail of nonsense.
const TOP_K: usize = 40;

pub struct Sampler {
    /// 0 takes the likeliest token.
    temperature: f32,
    top_p: f32,
    presence: f32,
    frequency: f32,
    random: u64,
}

impl Sampler {
    /// Without a temperature the likeliest token is taken. `seed` is used when the request has none.
    pub fn new(sampling: &Sampling, seed: u64) -> Self {
        let finite = |value: Option<f32>| value.filter(|value| value.is_finite());
        Self {
            temperature: finite(sampling.temperature).unwrap_or(0.0).clamp(0.0, 2.0),
            top_p: finite(sampling.top_p).unwrap_or(1.0).clamp(0.0, 1.0),
            presence: finite(sampling.presence_penalty).unwrap_or(0.0).clamp(-2.0, 2.0),
            frequency: finite(sampling.frequency_penalty).unwrap_or(0.0).clamp(-2.0, 2.0),
            random: sampling.seed.map_or(seed, i64::cast_unsigned),
        }
    }

    /// Free text: tokens already written count against themselves. `written` is the answer so far.
    pub fn pick(&mut self, logits: &mut [f32], written: &[u32]) -> u32 {
        self.hold_against(logits, written);
        let candidates = (0_u32..).zip(logits.iter().copied());
        self.draw(candidates)
    }

    /// Under a grammar: only tokens of the mask and of `also`. `None` when nothing is allowed.
    /// Penalties are left out: quotes and braces have to repeat.
    pub fn pick_masked(&mut self, logits: &[f32], mask: &TokenMask, also: &[u32]) -> Option<u32> {
        let ids = mask.ids().chain(also.iter().copied());
        let mut candidates = ids.filter_map(|id| logits.get(id as usize).map(|logit| (id, *logit))).peekable();
        candidates.peek()?;
        Some(self.draw(candidates))
    }

    fn hold_against(&self, logits: &mut [f32], written: &[u32]) {
        let recent = &written[written.len().saturating_sub(REPETITION_WINDOW)..];
        for (place, id) in recent.iter().enumerate() {
            let Some(logit) = logits.get_mut(*id as usize) else { continue };
            if !recent[..place].contains(id) {
                *logit = if *logit > 0.0 { *logit / REPETITION_PENALTY } else { *logit * REPETITION_PENALTY };
                *logit -= self.presence;
            }
            *logit -= self.frequency;
        }
    }

    fn draw(&mut self, candidates: impl Iterator<Item = (u32, f32)>) -> u32 {
        let by_logit = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1);
        // NaN would sort above everything; it never wins here.
        let candidates = candidates.map(|(id, logit)| (id, if logit.is_nan() { f32::NEG_INFINITY } else { logit }));
        if self.temperature <= f32::EPSILON {
            return candidates.min_by(by_logit).map_or(0, |(id, _)| id);
        }
        let mut best: Vec<(u32, f32)> = candidates.collect();
        if best.len() > TOP_K {
            best.select_nth_unstable_by(TOP_K, by_logit);
            best.truncate(TOP_K);
        }
        best.sort_by(by_logit);
        let Some(top) = best.first().map(|(_, logit)| *logit) else { return 0 };
        let weights: Vec<f32> = best.iter().map(|(_, logit)| ((logit - top) / self.temperature).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut kept = 0;
        let mut mass = 0.0;
        while kept < weights.len() && (kept == 0 || mass < self.top_p * total) {
            mass += weights[kept];
            kept += 1;
        }
        let mut left = self.next() * mass;
        for (weight, (id, _)) in weights[..kept].iter().zip(&best) {
            left -= weight;
            if left <= 0.0 {
                return *id;
            }
        }
        best[kept - 1].0
    }

    /// Uniform in 0..1, by splitmix64: the same seed gives the same answer.
    #[allow(clippy::cast_precision_loss, reason = "24 bits are exact in a float")]
    fn next(&mut self) -> f32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / 16_777_216.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_temperature_the_likeliest_token_is_taken_and_repetition_costs() {
        let mut sampler = Sampler::new(&Sampling::default(), 1);
        assert_eq!(sampler.pick(&mut [1.0, 3.0, f32::NAN, 2.95], &[]), 1);
        assert_eq!(sampler.pick(&mut [1.0, 3.0, f32::NAN, 2.95], &[1]), 3);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens_and_a_narrow_top_p_only_the_best() {
        let draw = |seed, top_p| {
            let sampling =
                Sampling { temperature: Some(1.0), top_p: Some(top_p), seed: Some(seed), ..Sampling::default() };
            let mut sampler = Sampler::new(&sampling, 0);
            (0..50).map(|_| sampler.pick(&mut [1.0, 1.1, 0.9, 1.05], &[])).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1.0), draw(7, 1.0));
        assert_ne!(draw(7, 1.0), draw(8, 1.0));
        assert_eq!(draw(7, 0.1), vec![1; 50]);
    }
}
