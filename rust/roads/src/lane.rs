//! The values that a map hands out.

/// Index of a lane in [`RoadMap::lanes`](crate::RoadMap::lanes).
pub type LaneIndex = u32;

/// A place and heading in CARLA coordinates: x forward, y to the right, z up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// Metres.
    pub x: f32,
    /// Metres, to the right of x.
    pub y: f32,
    /// Metres, up.
    pub z: f32,
    /// Clockwise seen from above, normalised to (-pi, pi].
    pub yaw_rad: f32,
}

/// The centre of a lane at one place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LaneSample {
    /// Centre of the lane, heading along the driving direction.
    pub pose: Pose,
    /// Change of yaw per metre along the driving direction: positive bends right.
    pub curvature_per_m: f32,
    /// Width of the lane.
    pub width_m: f32,
}

/// A place relative to a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanePoint {
    /// The lane.
    pub lane: LaneIndex,
    /// Metres along the driving direction from the lane's start, measured on the lane's own
    /// centre line in the ground plane.
    pub s_m: f32,
    /// Metres from the lane's centre, positive to the right as the driver sees it.
    pub lateral_m: f32,
}

/// What a lane is for (`type` of an OpenDRIVE lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LaneKind {
    /// Ordinary traffic. The only kind that the map queries treat as a place to drive.
    Driving,
    /// Hard or soft shoulder.
    Shoulder,
    /// Pavement for people on foot.
    Sidewalk,
    /// Cycle lane.
    Biking,
    /// Parking bay.
    Parking,
    /// Lane for emergency stops.
    Stop,
    /// Strip that separates directions.
    Median,
    /// Hard border.
    Border,
    /// Not to be driven on.
    Restricted,
    /// Two directions share the lane.
    Bidirectional,
    /// A named kind that this crate gives no meaning to.
    Other,
    /// Explicitly nothing.
    None,
}

impl LaneKind {
    /// Reads an OpenDRIVE lane type; an unknown name is [`LaneKind::Other`].
    pub fn from_name(name: &str) -> Self {
        match name {
            "driving" => Self::Driving,
            "shoulder" => Self::Shoulder,
            "sidewalk" | "walking" => Self::Sidewalk,
            "biking" => Self::Biking,
            "parking" => Self::Parking,
            "stop" => Self::Stop,
            "median" => Self::Median,
            "border" => Self::Border,
            "restricted" => Self::Restricted,
            "bidirectional" => Self::Bidirectional,
            "none" => Self::None,
            _ => Self::Other,
        }
    }

    /// The name of the kind, as OpenDRIVE writes it (`other` for what it doesn't name).
    pub fn name(self) -> &'static str {
        match self {
            Self::Driving => "driving",
            Self::Shoulder => "shoulder",
            Self::Sidewalk => "sidewalk",
            Self::Biking => "biking",
            Self::Parking => "parking",
            Self::Stop => "stop",
            Self::Median => "median",
            Self::Border => "border",
            Self::Restricted => "restricted",
            Self::Bidirectional => "bidirectional",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

/// What is painted or built on the edge of a lane (`type` of an OpenDRIVE road mark).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MarkKind {
    /// Nothing.
    #[default]
    None,
    /// One solid line.
    Solid,
    /// One broken line.
    Broken,
    /// Two solid lines.
    SolidSolid,
    /// Solid inside, broken outside.
    SolidBroken,
    /// Broken inside, solid outside.
    BrokenSolid,
    /// Two broken lines.
    BrokenBroken,
    /// Raised pavement markers.
    BottsDots,
    /// A kerb.
    Curb,
    /// The edge of grass.
    Grass,
    /// A named kind that this crate gives no meaning to.
    Other,
}

impl MarkKind {
    /// Reads an OpenDRIVE road mark type; an unknown name is [`MarkKind::Other`].
    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "solid" => Self::Solid,
            "broken" => Self::Broken,
            "solid solid" => Self::SolidSolid,
            "solid broken" => Self::SolidBroken,
            "broken solid" => Self::BrokenSolid,
            "broken broken" => Self::BrokenBroken,
            "botts dots" => Self::BottsDots,
            "curb" => Self::Curb,
            "grass" => Self::Grass,
            _ => Self::Other,
        }
    }

    /// The name of the kind, as OpenDRIVE writes it (`other` for what it doesn't name).
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Solid => "solid",
            Self::Broken => "broken",
            Self::SolidSolid => "solid solid",
            Self::SolidBroken => "solid broken",
            Self::BrokenSolid => "broken solid",
            Self::BrokenBroken => "broken broken",
            Self::BottsDots => "botts dots",
            Self::Curb => "curb",
            Self::Grass => "grass",
            Self::Other => "other",
        }
    }
}

/// The marks on both edges of a lane at one place, as the driver sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Markings {
    /// Mark on the left edge.
    pub left: MarkKind,
    /// Mark on the right edge.
    pub right: MarkKind,
    /// Whether the left mark permits crossing it, whatever lies beyond.
    pub left_permits_change: bool,
    /// Whether the right mark permits crossing it, whatever lies beyond.
    pub right_permits_change: bool,
}

/// One lane of one lane section: the node of the lane graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// OpenDRIVE road id.
    pub road_id: u32,
    /// Index of the lane section within the road.
    pub section: u16,
    /// OpenDRIVE lane id with its sign: negative lanes run with the road, positive against it.
    pub lane_id: i32,
    /// What the lane is for.
    pub kind: LaneKind,
    /// The limit at the lane's driving start.
    pub speed_limit_mps: f32,
    /// The junction that the road belongs to.
    pub junction: Option<u32>,
    /// Length of the lane's own centre line in the ground plane.
    pub length_m: f32,
    /// The neighbouring driving lane of the same direction on the left, as the driver sees it.
    pub left: Option<LaneIndex>,
    /// The neighbouring driving lane of the same direction on the right.
    pub right: Option<LaneIndex>,
    /// There is a left neighbour and the mark at the lane's driving start permits the change.
    pub may_change_left: bool,
    /// There is a right neighbour and the mark at the lane's driving start permits the change.
    pub may_change_right: bool,
    /// Mark on the left edge at the lane's driving start; see
    /// [`RoadMap::markings`](crate::RoadMap::markings) for the places behind it.
    pub left_mark: MarkKind,
    /// Mark on the right edge at the lane's driving start.
    pub right_mark: MarkKind,
    /// Lanes that continue this one, in the order of the file.
    pub successors: Vec<LaneIndex>,
    /// Lanes that this one continues.
    pub predecessors: Vec<LaneIndex>,
    /// Road station (metres along the road's reference line) where the lane section begins.
    pub section_start_m: f32,
    /// Road station where the lane section ends.
    pub section_end_m: f32,
}

impl Lane {
    /// Whether the lane is driven in the direction of its road's reference line.
    pub fn runs_with_road(&self) -> bool {
        self.lane_id < 0
    }
}
