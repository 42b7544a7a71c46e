//! The rules of the doctor. What they say of libcarla was seen on CARLA 0.9.16.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// CARLA, or this package, drives wrongly or not at all.
    Fault,
    /// Something silently missing or misleading.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The severity as a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

pub(super) struct Rule {
    pub name: &'static str,
    pub severity: Severity,
    pub message: &'static str,
    pub cure: &'static str,
}

macro_rules! rules {
    ($($ident:ident $name:literal $severity:ident: $message:literal => $cure:literal;)*) => {
        $(pub(super) static $ident: Rule = Rule {
            name: $name,
            severity: Severity::$severity,
            message: $message,
            cure: $cure,
        };)*
    };
}

rules! {
    UNREADABLE "unreadable" Fault:
        "the map can't be read" => "mend the place that the message names";
    SHARED_ID "shared-id" Fault:
        "a junction has the id of a road: libcarla takes it for that road and all turns vanish"
        => "number junctions apart from roads";
    CONSTANT_SPIRAL "constant-spiral" Fault:
        "a spiral of constant curvature: libcarla computes NaN for it and get_waypoint raises"
        => "write it as <arc> or <line>";
    LEFT_HAND "left-hand" Fault:
        "a road with left-hand traffic is driven on the right, here and in CARLA 0.9.16"
        => "mirror the map, or do without";
    SIDEWALK_DRIVEN "sidewalk-driven" Fault:
        "a lane that isn't for driving continues as a driving lane of a junction"
        => "give the junction's lane the type of the lane before it, or leave it out";
    GAP "gap" Fault:
        "a lane doesn't end where its successor begins (0.3 m or 15 degrees apart)"
        => "mend the geometry or the link";
    SIGNAL_UNKNOWN "signal-unknown" Fault:
        "a reference or controller names a signal that doesn't exist; CARLA may crash on it"
        => "add the signal, or drop the reference";
    TWO_WAY_CONNECTION "two-way-connection" Warning:
        "a connecting road is driven both ways: waypoint.next() lists its lanes twice"
        => "write one-way connecting roads, one for each movement";
    REPEATED_CONNECTION "repeated-connection" Warning:
        "a junction lists the same lane link twice: waypoint.next() gives its lane twice"
        => "write each link once";
    NO_ROAD_MARK "no-road-mark" Warning:
        "a driving lane, or the centre beside one, has no <roadMark>: waypoint.left_lane_marking or \
         right_lane_marking is None, which breaks careless agents"
        => "write a mark for every lane and the centre, of type none if need be";
    NO_LANE_CHANGE "no-lane-change" Warning:
        "a road mark has no laneChange: CARLA permits changes to both sides whatever is painted"
        => "write laneChange=\"none\" or \"both\" on every mark";
    ONE_SIDED_CHANGE "one-sided-change" Warning:
        "laneChange is increase or decrease, which libcarla reads the wrong way on some lanes"
        => "write both or none";
    FAR_AWAY "far-away" Warning:
        "the map lies more than 10 km from the origin: it looks empty in CARLA, and positions lose millimetres"
        => "move it to the origin";
    WRAPPED_OUTLINE "wrapped-outline" Warning:
        "a crosswalk has its outline inside <outlines>: libcarla finds none"
        => "write a bare <outline>";
    CROSSWALK_TYPE "crosswalk-type" Warning:
        "an object is named a crosswalk but has another type: neither CARLA nor this package sees one"
        => "write type=\"crosswalk\"";
    OPEN_OUTLINE "open-outline" Warning:
        "a crosswalk's outline isn't closed: CARLA's list of corners can't be cut into polygons"
        => "repeat the first corner at the end: five corners for a rectangle";
    NO_CONTROLLER "no-controller" Warning:
        "a traffic light belongs to no controller of a junction: CARLA's server lets it switch on its own"
        => "write a <controller> and name it in the <junction>";
    GOVERNS_NOTHING "governs-nothing" Warning:
        "a traffic light, stop or yield sign governs no driving lane"
        => "name its lanes in <validity>, or refer to it from the connecting roads";
    NO_VALIDITY "no-validity" Warning:
        "a light, stop or yield sign names no lanes: libcarla takes the positive ones for orientation +, \
         against the standard"
        => "write <validity fromLane=.. toLane=../>";
    NO_TOPOLOGY "no-topology" Warning:
        "no driving lane leads to another: CARLA's get_topology() is empty and its route planner finds nothing"
        => "link roads, or drive it by waypoints alone";
    ROUND_LENGTH "round-length" Note:
        "a lane section's length is a multiple of half a metre: next_until_lane_end() raises for steps that divide it"
        => "choose lengths that aren't round, 100.37 instead of 100";
    NO_GEO_REFERENCE "no-geo-reference" Note:
        "the header has no <geoReference>: CARLA warns at each load and puts the map at 0, 0"
        => "write a projection such as +proj=tmerc";
    NO_SPEED "no-speed" Note:
        "a road with driving lanes has no speed limit: 13.9 m/s is taken"
        => "write <type><speed max=.. unit=../></type>";
    SUPERELEVATION "superelevation" Note:
        "superelevation is ignored, here and in libcarla"
        => "nothing; know that lanes are level across";
    DEAD_END "dead-end" Note:
        "a driving lane ends without successor: CARLA's Traffic Manager removes vehicles there"
        => "close the road into a loop, if traffic shall last";
    PARTLY_LIT "partly-lit" Note:
        "a junction has approaches with a light and approaches without"
        => "check that the others yield or stop";
}
