//! Numbers from a seed.

/// A source of numbers that follows from a seed (splitmix64).
pub(super) struct SeededRandom(pub(super) u64);

impl SeededRandom {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns a number below an end.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}
