//! The map of an episode: a chain of road, or a network of streets.

use carla_online_roads::{JunctionControl, LightPlan, MapKind as Written, MapSpec};
use serde::{Deserialize, Serialize};

use super::Check;

/// What kind of map an episode has. All but `Chain` are street networks: routes are planned over
/// the lane graph, and traffic drives on all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// A one-way road without junctions, straight or with bends.
    Chain,
    /// A two-way street, straight.
    Straight,
    /// A two-way street with one bend.
    Curve,
    /// A one-way motorway.
    Highway,
    /// One junction of three arms.
    TJunction,
    /// One junction of four arms.
    FourWay,
    /// A town of blocks.
    Grid,
    /// The OpenDRIVE file of `xodr`.
    Xodr,
}

/// Who goes first at the junctions of a written map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JunctionRule {
    /// Whoever comes first.
    Uncontrolled,
    /// Traffic lights.
    Lights,
    /// Stop signs.
    Stop,
    /// Give-way signs.
    Yield,
    /// Lights or stop signs, drawn for each junction.
    Mixed,
}

/// Which approaches of a written junction have green together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LightTurns {
    /// Both arms of a street; left turns give way.
    Opposite,
    /// One arm after the other, as in CARLA's towns.
    Approach,
}

/// The map that is drawn for an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapConfig {
    /// Which kind of map.
    pub kind: MapKind,
    /// Driving lanes in each direction that there is.
    pub lanes: u8,
    /// Width of each lane, metres.
    pub lane_width_m: f64,
    /// Length of the route, metres, uniform between the two; where a network has no route of such a length, the
    /// nearest that was found.
    pub length_m: [f64; 2],
    /// Share of chains with bends, in [0, 1].
    pub curved_share: f64,
    /// Radius of a chain's bends, metres, uniform in curvature between the two.
    pub curve_radius_m: [f64; 2],
    /// Speed limit, m/s. A file has its own.
    pub speed_limit_mps: f64,
    /// Road before the start of a chain's route, metres; the faster vehicles start there.
    pub run_in_m: f64,
    /// Road behind a chain's finish, metres, so that the finish looks like any other place.
    pub run_out_m: f64,
    /// How many different maps there are. Each is baked once and kept (about 0.3 MB a kilometre of road); 0 draws a new
    /// one for every seed, which costs some milliseconds an episode. A file is one map.
    pub map_variants: u32,
    /// Length of a street, or of each arm of a junction, metres, uniform between the two.
    pub arm_m: [f64; 2],
    /// Blocks of a town along x.
    pub columns: u8,
    /// Blocks of a town along y.
    pub rows: u8,
    /// From street to street of a town, metres; each map adds up to a tenth.
    pub block_m: f64,
    /// Share of a network's routes that end in a lane beside the one that they would else end in, in [0, 1], where
    /// there is one: they change lanes on the way.
    pub lane_change_share: f64,
    /// Who goes first at junctions.
    pub control: JunctionRule,
    /// Which lights are green together.
    pub light_plan: LightTurns,
    /// Junctions have crosswalks on all arms.
    pub crosswalks: bool,
    /// How long lights are green, yellow, and red for all before the next turn, seconds.
    pub lights_s: [f64; 3],
    /// Path of an OpenDRIVE file, or its text (which begins with `<`); for the kind `xodr` only.
    pub xodr: String,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self {
            kind: MapKind::Chain,
            lanes: 3,
            lane_width_m: 3.5,
            length_m: [600.0, 1000.0],
            curved_share: 2.0 / 3.0,
            curve_radius_m: [130.0, 400.0],
            speed_limit_mps: 15.0,
            run_in_m: 80.0,
            run_out_m: 150.0,
            map_variants: 128,
            arm_m: [90.0, 140.0],
            columns: 3,
            rows: 3,
            block_m: 90.0,
            lane_change_share: 0.0,
            control: JunctionRule::Lights,
            light_plan: LightTurns::Opposite,
            crosswalks: true,
            lights_s: [10.0, 3.0, 2.0],
            xodr: String::new(),
        }
    }
}

impl MapConfig {
    /// Whether routes are planned over a lane graph.
    pub fn is_network(&self) -> bool {
        self.kind != MapKind::Chain
    }

    /// What the road layer is asked to write; `None` for a chain and for a file.
    pub(crate) fn spec(&self, seed: u64, arm_m: f64) -> Option<MapSpec> {
        let kind = match self.kind {
            MapKind::Chain | MapKind::Xodr => return None,
            MapKind::Straight => Written::Straight,
            MapKind::Curve => Written::Curve,
            MapKind::Highway => Written::Highway,
            MapKind::TJunction => Written::TJunction,
            MapKind::FourWay => Written::FourWay,
            MapKind::Grid => Written::Grid,
        };
        let mut spec = MapSpec::new(kind, seed);
        (spec.lanes, spec.lane_width_m) = (Some(self.lanes), Some(self.lane_width_m));
        spec.speed_limit_mps = Some(self.speed_limit_mps);
        if kind == Written::Grid {
            (spec.columns, spec.rows) = (Some(self.columns), Some(self.rows));
            spec.block_m = Some(self.block_m);
        } else {
            spec.length_m = Some(arm_m);
        }
        if matches!(kind, Written::Grid | Written::TJunction | Written::FourWay) {
            spec.control = Some(match self.control {
                JunctionRule::Uncontrolled => JunctionControl::Uncontrolled,
                JunctionRule::Lights => JunctionControl::Lights,
                JunctionRule::Stop => JunctionControl::Stop,
                JunctionRule::Yield => JunctionControl::Yield,
                JunctionRule::Mixed => JunctionControl::Mixed,
            });
            spec.light_plan = Some(match self.light_plan {
                LightTurns::Opposite => LightPlan::Opposite,
                LightTurns::Approach => LightPlan::Approach,
            });
            spec.has_crosswalks = Some(self.crosswalks);
        }
        Some(spec)
    }

    pub(super) fn check(&self, check: &mut Check) {
        check.value("map.lane_width_m", self.lane_width_m, 2.5, 5.0);
        check.value("map.curved_share", self.curved_share, 0.0, 1.0);
        check.value("map.lane_change_share", self.lane_change_share, 0.0, 1.0);
        check.value("map.speed_limit_mps", self.speed_limit_mps, 1.0, 60.0);
        check.value("map.run_in_m", self.run_in_m, 10.0, 500.0);
        check.value("map.run_out_m", self.run_out_m, 90.0, 500.0);
        check.count("map.map_variants", self.map_variants, 0, 4096);
        check.value("map.lights_s[0]", self.lights_s[0], 1.0, 300.0);
        check.value("map.lights_s[1]", self.lights_s[1], 1.0, 20.0);
        check.value("map.lights_s[2]", self.lights_s[2], 0.5, 60.0);
        check.range("map.arm_m", self.arm_m, 60.0, 2000.0);
        if self.is_network() {
            self.check_network(check);
            return;
        }
        check.count("map.lanes", u32::from(self.lanes), 1, 6);
        check.range("map.length_m", self.length_m, 50.0, 5000.0);
        // The inside of a bend must stay wider than a turning circle.
        let tightest = 20.0 + f64::from(self.lanes) * self.lane_width_m;
        check.range(
            "map.curve_radius_m",
            self.curve_radius_m,
            tightest,
            10_000.0,
        );
        check.holds(
            "map.xodr",
            self.xodr.is_empty(),
            "belongs to the kind xodr; leave it out, or set map.kind",
        );
    }

    fn check_network(&self, check: &mut Check) {
        let has_junctions = matches!(
            self.kind,
            MapKind::TJunction | MapKind::FourWay | MapKind::Grid
        );
        check.count(
            "map.lanes",
            u32::from(self.lanes),
            1,
            if has_junctions { 3 } else { 6 },
        );
        check.range("map.length_m", self.length_m, 20.0, 20_000.0);
        check.count("map.columns", u32::from(self.columns), 1, 20);
        check.count("map.rows", u32::from(self.rows), 1, 20);
        let is_file = self.kind == MapKind::Xodr;
        let rule = if is_file {
            "is empty; give the path of an OpenDRIVE file, or its text"
        } else {
            "belongs to the kind xodr; leave it out, or set map.kind"
        };
        check.holds("map.xodr", self.xodr.is_empty() != is_file, rule);
        // Streets and junctions must fit between two blocks: the road layer knows its own limits.
        if let Some(spec) = self
            .spec(0, self.arm_m[0])
            .filter(|_| !check.has_problems())
            && let Err(reason) = spec.to_xodr()
        {
            check.holds("map", false, &format!("can't be written: {reason}"));
        }
    }
}
