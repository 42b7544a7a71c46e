use super::*;
use crate::observe::{OBSERVATION_DIM, layout};
use proptest::prelude::*;

/// An observation of a free three-lane road at 10 m/s with some quantities changed.
fn observation(changes: &[(&str, f32)]) -> Observation {
    let mut quantities = vec![
        ("ego/speed", 10.0),
        ("ego/lane_exists_left", 1.0),
        ("ego/lane_exists_right", 1.0),
        ("ego/change_allowed_left", 1.0),
        ("ego/change_allowed_right", 1.0),
        ("ego/lane_width", 3.5),
        ("ego/friction", 1.0),
    ];
    for lane in ["left", "own", "right"] {
        let [ahead, behind] = match lane {
            "left" => ["lane_gaps/left/gap_ahead", "lane_gaps/left/gap_behind"],
            "own" => ["lane_gaps/own/gap_ahead", "lane_gaps/own/gap_behind"],
            _ => ["lane_gaps/right/gap_ahead", "lane_gaps/right/gap_behind"],
        };
        quantities.extend([(ahead, 80.0), (behind, 40.0)]);
    }
    quantities.extend(changes);
    let mut values = [0.0; OBSERVATION_DIM];
    for (name, quantity) in quantities {
        let field = layout()
            .into_iter()
            .find(|field| field.name == name)
            .unwrap();
        values[field.start] = quantity / field.scale;
    }
    values
}

fn once(changes: &[(&str, f32)], proposed: [f32; 2]) -> Decision {
    let mut memory = SafetyMemory {
        last: proposed,
        latch_s: 0.0,
    };
    decide(
        &SafetyConfig::default(),
        &observation(changes),
        proposed,
        &mut memory,
    )
}

#[test]
fn rss_distance_is_the_definition() {
    let config = SafetyConfig::default();
    // Reaction 10 x 0.3 + 0.5 x 1 x 0.09, stopping (10 + 0.3)^2 / 16, the leader's 8^2 / 16.
    let expected = 3.0 + 0.045 + 10.3 * 10.3 / 16.0 - 4.0;
    assert!((rss_distance_m(&config, 10.0, 8.0) - expected).abs() < 1e-12);
    assert_eq!(rss_distance_m(&config, 5.0, 30.0), 0.0);
}

#[test]
fn ordinary_driving_passes_bit_for_bit() {
    for proposed in [[0.0, 0.0], [0.013, 0.4], [-0.02, -0.3], [0.05, 1.0]] {
        let decision = once(&[("lane_gaps/own/gap_ahead", 40.0)], proposed);
        assert_eq!((decision.executed, decision.causes), (proposed, 0));
    }
}

#[test]
fn imminent_collisions_brake_fully_and_keep_braking_for_half_a_second() {
    let config = SafetyConfig::default();
    let danger = observation(&[
        ("lane_gaps/own/gap_ahead", 5.0),
        ("lane_gaps/own/relative_speed_ahead", -8.0),
    ]);
    let mut memory = SafetyMemory::default();
    let first = decide(&config, &danger, [0.0, 1.0], &mut memory);
    assert_eq!(first.executed[1], -1.0);
    assert!(first.causes & cause::TIME_TO_COLLISION > 0);
    let clear = observation(&[]);
    let braked = (0..10)
        .take_while(|_| decide(&config, &clear, [0.0, 0.0], &mut memory).executed[1] == -1.0)
        .count();
    assert_eq!(braked, 4);
}

#[test]
fn a_leader_bounds_the_pedal_the_more_the_nearer_it_is() {
    let pedal = |gap_m: f32| {
        let changes = [
            ("lane_gaps/own/gap_ahead", gap_m),
            ("lane_gaps/own/relative_speed_ahead", -3.0),
        ];
        once(&changes, [0.0, 1.0]).executed[1]
    };
    let pedals: Vec<f32> = [60.0, 20.0, 14.0, 10.0, 7.0, 4.0]
        .into_iter()
        .map(pedal)
        .collect();
    assert_eq!(pedals[0], 1.0);
    assert!(
        pedals.is_sorted_by(|nearer, farther| nearer >= farther),
        "{pedals:?}"
    );
    assert!(pedals[5] < -0.3, "{pedals:?}");
}

#[test]
fn a_lane_without_room_isnt_entered() {
    let turn = |changes: &[(&str, f32)]| once(changes, [-0.1, 0.0]).executed[0];
    assert_eq!(turn(&[]), -0.1);
    // Somebody alongside; a fast one from behind; a slow one close ahead.
    let edge = ("ego/lateral_in_lane", -0.5);
    for blocked in [
        [
            edge,
            ("lane_gaps/left/gap_behind", 0.0),
            ("lane_gaps/left/gap_ahead", 60.0),
        ],
        [
            edge,
            ("lane_gaps/left/gap_behind", 6.0),
            ("lane_gaps/left/relative_speed_behind", 5.0),
        ],
        [
            edge,
            ("lane_gaps/left/gap_ahead", 5.0),
            ("lane_gaps/left/relative_speed_ahead", -6.0),
        ],
    ] {
        assert!(turn(&blocked) > -0.05, "{blocked:?}");
        let decision = once(&blocked, [-0.1, 0.0]);
        assert!(decision.causes & cause::LANE_CHANGE > 0);
    }
    // Well behind at the same speed is room enough.
    let free = [edge, ("lane_gaps/left/gap_behind", 15.0)];
    assert_eq!(turn(&free), -0.1);
}

#[test]
fn the_roads_edge_bounds_the_steer_on_its_side_only() {
    let edge = [
        ("ego/lane_exists_right", 0.0),
        ("ego/change_allowed_right", 0.0),
        ("lane_gaps/right/gap_ahead", 0.0),
        ("lane_gaps/right/gap_behind", 0.0),
        ("ego/lateral_in_lane", 0.9),
        ("ego/heading_error", 0.1),
    ];
    let right = once(&edge, [0.1, 0.0]);
    assert!(right.executed[0] < 0.0 && right.causes & cause::ROAD_EDGE > 0);
    // Steering back less than the drift asks for is not enough, steering back more is left alone.
    let weak = once(&edge, [-0.01, 0.0]);
    assert!(weak.executed[0] < -0.01 && weak.causes & cause::ROAD_EDGE > 0);
    assert_eq!(once(&edge, [-0.2, 0.0]).executed[0], -0.2);
}

#[test]
fn settings_out_of_range_and_unknown_ones_are_refused() {
    let text = r#"{"braking_mps2": 0, "grip_share": 2}"#;
    let message = SafetyConfig::from_json(text).unwrap_err().to_string();
    assert!(
        message.contains("safety.braking_mps2 is 0") && message.contains("safety.grip_share is 2")
    );
    assert!(SafetyConfig::from_json(r#"{"braking": 3}"#).is_err());
    let config = SafetyConfig::default();
    assert_eq!(SafetyConfig::from_json(&config.to_json()).unwrap(), config);
}

proptest! {
    /// Whatever is observed and proposed: a legal action, unchanged where nothing objects, and the same again when
    /// it is proposed itself (a projection).
    #[test]
    fn decisions_are_legal_and_stable(
        values in prop::collection::vec(-10.0_f32..10.0, OBSERVATION_DIM),
        proposed in (-1.5_f32..1.5, -1.5_f32..1.5),
        last in (-1.0_f32..1.0, -1.0_f32..1.0),
        latch_s in prop::sample::select(vec![0.0_f32, 0.3]),
    ) {
        let config = SafetyConfig::default();
        let observation: Observation = values.try_into().unwrap();
        let before = SafetyMemory { last: [last.0, last.1], latch_s };
        let mut memory = before;
        let decision = decide(&config, &observation, [proposed.0, proposed.1], &mut memory);
        prop_assert!(decision.executed.iter().all(|value| (-1.0..=1.0).contains(value)));
        prop_assert_eq!(memory.last, decision.executed);
        if decision.causes == 0 {
            prop_assert_eq!(decision.executed, [proposed.0, proposed.1]);
        }
        let mut memory = before;
        let again = decide(&config, &observation, decision.executed, &mut memory);
        for axis in 0..2 {
            prop_assert!((again.executed[axis] - decision.executed[axis]).abs() < 1e-5);
        }
    }
}
