//! The only source of random numbers in a world: all decisions of a seed come from here, in the order in
//! which they are requested.
//!
//! Not for secrets; nothing here creates any.

/// A generator of 64-bit numbers (SplitMix64): small, fast, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns a number from 0 up to, but not including, `end`, or 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let number = self.next();
        // The small bias of the multiplication is the same in each run and does no harm.
        u64::try_from((u128::from(number) * u128::from(end)) >> 64).unwrap_or(0)
    }

    /// Returns a number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Returns a number from 0 up to, but not including, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }

    /// Returns a number between two others; each magnitude is equally likely.
    pub(crate) fn log_uniform(&mut self, least: f64, most: f64) -> f64 {
        let (least, most) = (least.ln(), most.ln());
        (least + (most - least) * self.fraction()).exp()
    }

    /// Picks one of several values, or `None` of an empty slice.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let place = self.below(of.len() as u64);
        of.get(usize::try_from(place).unwrap_or(0))
    }

    /// Picks by weight: returns the index of one of the weights.
    pub(crate) fn pick_weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        0
    }

    /// Returns the microseconds until the next occurrence of something that happens `per_minute` times a
    /// minute.
    pub(crate) fn until_next(&mut self, per_minute: f64) -> u64 {
        let minutes = -(1.0 - self.fraction()).ln() / per_minute.max(1e-9);
        (minutes * 60e6).min(1e15) as u64
    }

    /// Returns 128 random bits.
    pub(crate) fn entropy(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// Creates a separate generator for a part of the world, so that the draws of one part do not affect
    /// another.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
