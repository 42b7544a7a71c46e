//! Cubic polynomials and the piecewise functions that OpenDRIVE builds from them.

/// `a + b x + c x^2 + d x^3`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cubic {
    pub a: f64,
    pub b: f64,
    pub c: f64,
    pub d: f64,
}

impl Cubic {
    pub fn value(&self, x: f64) -> f64 {
        self.a + x * (self.b + x * (self.c + x * self.d))
    }

    pub fn slope(&self, x: f64) -> f64 {
        self.b + x * (2.0 * self.c + x * 3.0 * self.d)
    }

    pub fn second(&self, x: f64) -> f64 {
        2.0 * self.c + 6.0 * self.d * x
    }
}

/// Value, first and second derivative of a function of the road station.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Jet {
    pub value: f64,
    pub slope: f64,
    pub second: f64,
}

impl Jet {
    pub fn plus_scaled(self, other: Jet, factor: f64) -> Jet {
        Jet {
            value: self.value + factor * other.value,
            slope: self.slope + factor * other.slope,
            second: self.second + factor * other.second,
        }
    }
}

/// Cubic pieces, each valid from its start station to the next one's; zero where there is none.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Piecewise {
    pieces: Vec<(f64, Cubic)>,
}

impl Piecewise {
    /// Takes pieces in any order; of two that start at one station the later one counts.
    pub fn new(mut pieces: Vec<(f64, Cubic)>) -> Self {
        pieces.sort_by(|left, right| left.0.total_cmp(&right.0));
        Self { pieces }
    }

    /// Evaluates at a station. Before the first piece, the first piece holds.
    pub fn at(&self, station: f64) -> Jet {
        let behind = self.pieces.partition_point(|piece| piece.0 <= station);
        let Some((start, cubic)) = self.pieces.get(behind.saturating_sub(1)) else {
            return Jet::default();
        };
        let x = station - start;
        Jet {
            value: cubic.value(x),
            slope: cubic.slope(x),
            second: cubic.second(x),
        }
    }

    /// Stations where a piece starts.
    pub fn starts(&self) -> impl Iterator<Item = f64> + '_ {
        self.pieces.iter().map(|piece| piece.0)
    }
}
