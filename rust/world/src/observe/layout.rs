//! Where each value stands, what it means and by what it was divided.

/// Values in one observation.
pub const OBSERVATION_DIM: usize = 144;

/// The groups: name and first value. They follow one another without holes.
pub const GROUPS: [(&str, usize); 7] = [
    ("ego", EGO),
    ("lane_gaps", LANE_GAPS),
    ("route", ROUTE),
    ("lights", LIGHTS),
    ("vehicles", VEHICLES),
    ("walkers", WALKERS),
    ("weather", WEATHER),
];

pub(crate) const EGO: usize = 0;
pub(crate) const LANE_GAPS: usize = 24;
pub(crate) const ROUTE: usize = 36;
pub(crate) const LIGHTS: usize = 58;
pub(crate) const VEHICLES: usize = 66;
pub(crate) const WALKERS: usize = 122;
pub(crate) const WEATHER: usize = 142;

/// Distances of what isn't there, and the largest ones otherwise, in units of their scale.
pub(crate) const RELATIVE_CAP: f32 = 2.0;

pub(crate) const VEHICLE_SLOTS: usize = 8;
pub(crate) const WALKER_SLOTS: usize = 4;

pub(crate) const SPEED_MPS: f32 = 15.0;
pub(crate) const LATERAL_M: f32 = 1.75;
pub(crate) const HEADING_RAD: f32 = 0.5;
pub(crate) const YAW_RATE_RADPS: f32 = 0.5;
pub(crate) const ACCELERATION_MPS2: f32 = 5.0;
pub(crate) const GEAR: f32 = 6.0;
pub(crate) const WIDTH_M: f32 = 3.5;
pub(crate) const CURVATURE_PER_M: f32 = 0.02;
pub(crate) const REMAINING_M: f32 = 150.0;
pub(crate) const GAP_AHEAD_M: f32 = 40.0;
pub(crate) const GAP_BEHIND_M: f32 = 20.0;
pub(crate) const RELATIVE_MPS: f32 = 8.0;
pub(crate) const DISTANCE_M: f32 = 40.0;
pub(crate) const POINT_X_M: f32 = 40.0;
pub(crate) const POINT_Y_M: f32 = 20.0;
pub(crate) const ACTOR_X_M: f32 = 40.0;
pub(crate) const ACTOR_Y_M: f32 = 5.0;
pub(crate) const ACTOR_VX_MPS: f32 = 8.0;
pub(crate) const ACTOR_VY_MPS: f32 = 3.0;
pub(crate) const HALF_LENGTH_M: f32 = 5.0;
pub(crate) const WALKER_X_M: f32 = 20.0;
pub(crate) const WALKER_Y_M: f32 = 5.0;
pub(crate) const WALKER_MPS: f32 = 2.0;

/// How far ahead the curvature is given, metres.
pub(crate) const CURVATURE_AT_M: [f32; 4] = [0.0, 10.0, 25.0, 45.0];
/// How far ahead the route's points lie, metres.
pub(crate) const ROUTE_POINTS_AT_M: [f32; 7] = [2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0];

/// One or more values of equal meaning and scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// `group/name` or `group/slot/name`.
    pub name: String,
    /// First value.
    pub start: usize,
    /// How many.
    pub size: usize,
    /// Observation = quantity / scale.
    pub scale: f32,
    /// Unit of the quantity; `1` is a number, `bool` 0 or 1.
    pub unit: &'static str,
}

const EGO_FIELDS: [(&str, usize, f32, &str); 21] = [
    ("speed", 1, SPEED_MPS, "m/s"),
    ("limit_minus_speed", 1, SPEED_MPS, "m/s"),
    ("lateral_in_lane", 1, LATERAL_M, "m"),
    ("heading_error", 1, HEADING_RAD, "rad"),
    ("yaw_rate", 1, YAW_RATE_RADPS, "rad/s"),
    ("longitudinal_acceleration", 1, ACCELERATION_MPS2, "m/s2"),
    ("lateral_acceleration", 1, ACCELERATION_MPS2, "m/s2"),
    ("throttle_state", 1, 1.0, "1"),
    ("brake_state", 1, 1.0, "1"),
    ("last_steer", 1, 1.0, "1"),
    ("gear", 1, GEAR, "1"),
    ("lane_exists_left", 1, 1.0, "bool"),
    ("lane_exists_right", 1, 1.0, "bool"),
    ("change_allowed_left", 1, 1.0, "bool"),
    ("change_allowed_right", 1, 1.0, "bool"),
    ("lateral_on_carriageway", 1, 1.0, "1"),
    ("speed_limit", 1, SPEED_MPS, "m/s"),
    ("lane_width", 1, WIDTH_M, "m"),
    ("curvature_at_0_10_25_45_m", 4, CURVATURE_PER_M, "1/m"),
    ("friction", 1, 1.0, "1"),
    ("remaining_up_to_150_m", 1, REMAINING_M, "m"),
];

const GAP_FIELDS: [(&str, usize, f32, &str); 4] = [
    ("gap_ahead", 1, GAP_AHEAD_M, "m"),
    ("relative_speed_ahead", 1, RELATIVE_MPS, "m/s"),
    ("gap_behind", 1, GAP_BEHIND_M, "m"),
    ("relative_speed_behind", 1, RELATIVE_MPS, "m/s"),
];

const LIGHT_FIELDS: [(&str, usize, f32, &str); 8] = [
    ("none", 1, 1.0, "bool"),
    ("red", 1, 1.0, "bool"),
    ("yellow", 1, 1.0, "bool"),
    ("green", 1, 1.0, "bool"),
    ("stop_line_distance", 1, DISTANCE_M, "m"),
    ("stop_sign_ahead", 1, 1.0, "bool"),
    ("stop_sign_distance", 1, DISTANCE_M, "m"),
    ("in_junction", 1, 1.0, "bool"),
];

const VEHICLE_FIELDS: [(&str, usize, f32, &str); 7] = [
    ("mask", 1, 1.0, "bool"),
    ("dx", 1, ACTOR_X_M, "m"),
    ("dy", 1, ACTOR_Y_M, "m"),
    ("dvx", 1, ACTOR_VX_MPS, "m/s"),
    ("dvy", 1, ACTOR_VY_MPS, "m/s"),
    ("heading_difference", 1, std::f32::consts::PI, "rad"),
    ("half_length", 1, HALF_LENGTH_M, "m"),
];

const WALKER_FIELDS: [(&str, usize, f32, &str); 5] = [
    ("mask", 1, 1.0, "bool"),
    ("dx", 1, WALKER_X_M, "m"),
    ("dy", 1, WALKER_Y_M, "m"),
    ("vx", 1, WALKER_MPS, "m/s"),
    ("vy", 1, WALKER_MPS, "m/s"),
];

/// The layout of an observation, in order and without holes.
pub fn layout() -> Vec<Field> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut push = |name: String, size: usize, scale: f32, unit: &'static str| {
        fields.push(Field {
            name,
            start,
            size,
            scale,
            unit,
        });
        start += size;
    };
    for (name, size, scale, unit) in EGO_FIELDS {
        push(format!("ego/{name}"), size, scale, unit);
    }
    for lane in ["left", "own", "right"] {
        for (name, size, scale, unit) in GAP_FIELDS {
            push(format!("lane_gaps/{lane}/{name}"), size, scale, unit);
        }
    }
    for option in [
        "lane_follow",
        "left",
        "right",
        "straight",
        "change_left",
        "change_right",
    ] {
        push(format!("route/{option}"), 1, 1.0, "bool");
    }
    push("route/manoeuvre_distance".into(), 1, DISTANCE_M, "m");
    push("route/lane_change_direction".into(), 1, 1.0, "1");
    for distance_m in ROUTE_POINTS_AT_M {
        push(format!("route/point_{distance_m}_m/x"), 1, POINT_X_M, "m");
        push(format!("route/point_{distance_m}_m/y"), 1, POINT_Y_M, "m");
    }
    for (name, size, scale, unit) in LIGHT_FIELDS {
        push(format!("lights/{name}"), size, scale, unit);
    }
    for slot in 0..VEHICLE_SLOTS {
        for (name, size, scale, unit) in VEHICLE_FIELDS {
            push(format!("vehicles/{slot}/{name}"), size, scale, unit);
        }
    }
    for slot in 0..WALKER_SLOTS {
        for (name, size, scale, unit) in WALKER_FIELDS {
            push(format!("walkers/{slot}/{name}"), size, scale, unit);
        }
    }
    push("weather/haze".into(), 1, 1.0, "1");
    push("weather/wetness".into(), 1, 1.0, "1");
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_one_another_and_groups_start_where_they_say() {
        let fields = layout();
        let mut next = 0;
        for field in &fields {
            assert_eq!(field.start, next, "{}", field.name);
            assert!(field.scale > 0.0);
            next += field.size;
        }
        assert_eq!(next, OBSERVATION_DIM);
        for (group, start) in GROUPS {
            let first = fields
                .iter()
                .find(|field| field.name.starts_with(&format!("{group}/")))
                .unwrap();
            assert_eq!(first.start, start, "{group}");
        }
        let mut names: Vec<_> = fields.iter().map(|field| &field.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), fields.len());
    }
}
