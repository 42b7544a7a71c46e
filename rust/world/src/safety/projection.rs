//! The nearest action that keeps linear constraints, exactly.

/// Two constraints whose normals differ by less than this (sine of the angle) have no corner of use.
const PARALLEL: f64 = 1e-9;
/// How far a candidate may exceed a bound by rounding.
const SLACK: f64 = 1e-9;

/// `gradient . action <= bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfPlane {
    /// What an action adds.
    pub gradient: [f64; 2],
    /// The most it may add up to.
    pub bound: f64,
}

impl HalfPlane {
    /// Lower or upper bound of one coordinate: `sign * action[axis] <= sign * limit`.
    pub fn limit(axis: usize, sign: f64, limit: f64) -> Self {
        let mut gradient = [0.0; 2];
        gradient[axis] = sign;
        Self {
            gradient,
            bound: sign * limit,
        }
    }

    /// How far an action is beyond the bound, in units of the gradient's length; not positive if it keeps it.
    pub fn excess(&self, action: [f64; 2]) -> f64 {
        let [x, y] = self.gradient;
        let length = (x * x + y * y).sqrt();
        if length > 0.0 {
            (x * action[0] + y * action[1] - self.bound) / length
        } else {
            -self.bound
        }
    }
}

/// The action nearest to `proposed` that keeps as many constraints as can be kept together.
///
/// Constraints come in falling order of importance: while they contradict each other the last one is left out.
/// An action of two coordinates is fixed by at most two active constraints, so trying every set of none, one and
/// two is exact; there are `1 + m + m (m - 1) / 2`. With one active constraint this is the closed form of the source.
///
/// Source: Dalal et al., "Safe exploration in continuous action spaces", <https://arxiv.org/abs/1801.08757>,
/// equation 6, extended to several active constraints.
pub fn project(proposed: [f64; 2], constraints: &[HalfPlane]) -> [f64; 2] {
    for kept in (0..=constraints.len()).rev() {
        if let Some(action) = nearest(proposed, &constraints[..kept]) {
            return action;
        }
    }
    proposed
}

fn nearest(proposed: [f64; 2], constraints: &[HalfPlane]) -> Option<[f64; 2]> {
    let keeps_all = |action: [f64; 2]| constraints.iter().all(|one| one.excess(action) <= SLACK);
    if keeps_all(proposed) {
        return Some(proposed);
    }
    let mut best: Option<([f64; 2], f64)> = None;
    let mut consider = |action: [f64; 2]| {
        let (x, y) = (action[0] - proposed[0], action[1] - proposed[1]);
        let distance = x * x + y * y;
        if best.is_none_or(|(_, least)| distance < least) && keeps_all(action) {
            best = Some((action, distance));
        }
    };
    for (index, first) in constraints.iter().enumerate() {
        if let Some(action) = foot(proposed, first) {
            consider(action);
        }
        for second in &constraints[index + 1..] {
            if let Some(action) = corner(first, second) {
                consider(action);
            }
        }
    }
    best.map(|(action, _)| action)
}

/// The point of a constraint's border nearest to an action that is beyond it.
fn foot(action: [f64; 2], constraint: &HalfPlane) -> Option<[f64; 2]> {
    let [x, y] = constraint.gradient;
    let square = x * x + y * y;
    let beyond = x * action[0] + y * action[1] - constraint.bound;
    (square > 0.0 && beyond > 0.0).then(|| {
        let multiplier = beyond / square;
        [action[0] - multiplier * x, action[1] - multiplier * y]
    })
}

fn corner(first: &HalfPlane, second: &HalfPlane) -> Option<[f64; 2]> {
    let ([a, b], [c, d]) = (first.gradient, second.gradient);
    let determinant = a * d - b * c;
    let size = ((a * a + b * b) * (c * c + d * d)).sqrt();
    (determinant.abs() > PARALLEL * size).then(|| {
        [
            (first.bound * d - second.bound * b) / determinant,
            (a * second.bound - c * first.bound) / determinant,
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half_planes(most: usize) -> impl Strategy<Value = Vec<HalfPlane>> {
        let one =
            (-3.0_f64..3.0, -3.0_f64..3.0, -1.0_f64..2.0).prop_map(|(x, y, bound)| HalfPlane {
                gradient: [x, y],
                bound,
            });
        prop::collection::vec(one, 1..=most)
    }

    proptest! {
        /// Oracle: Dykstra's alternating projections, which know nothing of active sets.
        #[test]
        fn agrees_with_alternating_projections(
            proposed in (-2.0_f64..2.0, -2.0_f64..2.0), constraints in half_planes(4),
        ) {
            // Bounds of zero and more: the origin keeps all of them.
            let constraints: Vec<HalfPlane> = constraints
                .into_iter()
                .map(|one| HalfPlane { bound: one.bound.abs() + 0.05, ..one })
                .filter(|one| one.gradient[0].abs() + one.gradient[1].abs() > 0.2)
                .collect();
            let proposed = [proposed.0, proposed.1];
            let found = project(proposed, &constraints);
            let mut action = proposed;
            let mut corrections = vec![[0.0; 2]; constraints.len()];
            for _ in 0..20_000 {
                for (one, correction) in constraints.iter().zip(&mut corrections) {
                    let shifted = [action[0] + correction[0], action[1] + correction[1]];
                    action = foot(shifted, one).unwrap_or(shifted);
                    *correction = [shifted[0] - action[0], shifted[1] - action[1]];
                }
            }
            prop_assert!(constraints.iter().all(|one| one.excess(found) <= 1e-8));
            let distance = |to: [f64; 2]| (to[0] - proposed[0]).hypot(to[1] - proposed[1]);
            prop_assert!(distance(found) <= distance(action) + 1e-4, "{found:?} {action:?}");
        }

        #[test]
        fn contradictions_give_up_the_least_important(
            proposed in (-1.0_f64..1.0, -1.0_f64..1.0), limit in -0.9_f64..0.9,
        ) {
            let first = HalfPlane::limit(1, 1.0, limit);
            let against = HalfPlane::limit(1, -1.0, limit + 0.05);
            let action = project([proposed.0, proposed.1], &[first, against]);
            prop_assert!(first.excess(action) <= 1e-9);
            prop_assert_eq!(action[0], proposed.0);
        }
    }

    #[test]
    fn one_active_constraint_is_the_closed_form() {
        let constraint = HalfPlane {
            gradient: [2.0, 1.0],
            bound: 0.5,
        };
        // lambda = (g . mu - C) / (g . g) = (2.5 - 0.5) / 5.
        let action = project([1.0, 0.5], &[constraint]);
        assert!((action[0] - 0.2).abs() < 1e-12 && (action[1] - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_constraint_without_gradient_changes_nothing() {
        for bound in [-1.0, 0.0, 1.0] {
            let empty = HalfPlane {
                gradient: [0.0; 2],
                bound,
            };
            assert_eq!(project([0.3, -0.7], &[empty]), [0.3, -0.7]);
        }
    }
}
