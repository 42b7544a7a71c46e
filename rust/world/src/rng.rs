//! Counter-based random numbers: a draw is a function of (seed, purpose, lane, counter).
//!
//! There is no generator to share or to advance in the wrong order, so results can't depend on
//! threads or batch splits, and a snapshot only needs to keep counters.

/// What a stream is for. Streams of different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which map variant an episode gets.
    MapVariant = 1,
    /// The shape of a map.
    MapShape = 2,
    /// Where and how everyone starts.
    Spawn = 3,
    /// Lane changes of one vehicle.
    LaneChange = 4,
    /// Hard braking of one vehicle.
    HardBrake = 5,
    /// Weather of an episode.
    Weather = 6,
    /// Traits of the ego and density of the traffic.
    Conditions = 7,
    /// What haze does to the sight of one actor.
    Haze = 8,
    /// Start and destination of the ego on a network.
    Route = 9,
    /// Which ways one vehicle takes.
    Way = 10,
    /// One person on foot.
    Walker = 11,
    /// Where the lights of one group stand in their cycle.
    Lights = 12,
    /// Who behaves in which way.
    Manner = 13,
    /// Noise of one sensor.
    Sensor = 14,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64`: a bijection that passes avalanche tests.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
pub const fn mix(mut value: u64) -> u64 {
    value ^= value >> 30;
    value = value.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value ^= value >> 27;
    value = value.wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One stream of random numbers and a position in it.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream of (seed, purpose, index) at `counter` draws from its start.
    pub const fn new(seed: u64, purpose: Purpose, index: u64, counter: u64) -> Self {
        let key = mix(seed.wrapping_add(GOLDEN));
        let key = mix(key ^ (purpose as u64).wrapping_mul(GOLDEN));
        let key = mix(key ^ index.wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self { key, counter }
    }

    /// Draws so far, counted from the stream's start.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key ^ mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN))))
    }

    /// Uniform in [0, 1) with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, range: [f64; 2]) -> f64 {
        range[0] + (range[1] - range[0]) * self.unit()
    }

    /// Uniform in 0..count; 0 for an empty range. The bias is below `count / 2^32`.
    pub const fn below(&mut self, count: u32) -> u32 {
        (((self.next_u64() >> 32) * count as u64) >> 32) as u32
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_every_part_of_its_address_and_on_nothing_else() {
        let draw =
            |seed, purpose, index, counter| Stream::new(seed, purpose, index, counter).next_u64();
        let first = draw(1, Purpose::Spawn, 0, 0);
        assert_eq!(first, draw(1, Purpose::Spawn, 0, 0));
        assert_ne!(first, draw(2, Purpose::Spawn, 0, 0));
        assert_ne!(first, draw(1, Purpose::MapShape, 0, 0));
        assert_ne!(first, draw(1, Purpose::Spawn, 1, 0));
        assert_ne!(first, draw(1, Purpose::Spawn, 0, 1));
        let mut stream = Stream::new(1, Purpose::Spawn, 0, 0);
        stream.next_u64();
        assert_eq!(stream.next_u64(), draw(1, Purpose::Spawn, 0, 1));
    }

    #[test]
    fn neighbouring_seeds_give_uniform_and_uncorrelated_draws() {
        let count = 20_000_u64;
        let draws: Vec<f64> = (0..count)
            .map(|seed| Stream::new(seed, Purpose::Spawn, 3, 7).unit())
            .collect();
        let mean = draws.iter().sum::<f64>() / count as f64;
        let lagged = draws
            .windows(2)
            .map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5))
            .sum::<f64>();
        // Four standard errors of a uniform mean and of a product of two.
        assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12.0 / count as f64).sqrt());
        assert!((lagged / count as f64).abs() < 4.0 / 12.0 / (count as f64).sqrt());
    }

    #[test]
    fn below_stays_below_and_exponential_has_its_mean() {
        let mut stream = Stream::new(9, Purpose::LaneChange, 0, 0);
        assert!((0..1000).all(|_| stream.below(7) < 7));
        assert_eq!(stream.below(0), 0);
        let mean = (0..20_000).map(|_| stream.exponential(100.0)).sum::<f64>() / 20_000.0;
        assert!((mean - 100.0).abs() < 4.0, "{mean}");
    }
}
