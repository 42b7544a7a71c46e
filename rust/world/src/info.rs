//! The info row of an environment: the same columns after a reset and after every step.

macro_rules! info {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Names of the info columns, in order.
        pub const INFO: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        /// One info row with names.
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        pub struct Info {
            $($(#[$doc])* pub $name: f64,)*
        }

        impl Info {
            /// The row, in the order of [`INFO`].
            pub const fn row(&self) -> [f64; INFO.len()] {
                [$(self.$name),*]
            }
        }
    };
}

info! {
    /// Metres along the route in the last decision.
    progress_m,
    /// Share of the route driven, [0, 1].
    route_completion,
    /// Leaderboard 2.1 driving score so far, 0 to 100.
    driving_score,
    /// The same with the time factor.
    timed_driving_score,
    /// The factor by which infractions lower the score.
    infraction_score,
    /// Simulated time, seconds.
    sim_time_s,
    /// Simulation steps.
    frame,
    /// Reference time of the route, seconds.
    reference_time_s,
    /// Time limit, seconds.
    time_limit_s,
    /// Length of the route, metres.
    route_length_m,
    /// Distance travelled, metres.
    distance_m,
    /// Speed, m/s.
    speed_mps,
    /// 1 if the ego has collided.
    collision,
    /// 1 if the route was driven to its end.
    finished,
    /// 1 if the road was left.
    off_road,
    /// 1 if the ego stood too long.
    blocked,
    /// 1 if the time was over.
    timed_out,
    /// 1 if an infraction ended the episode that the configuration ends it on.
    infraction,
    /// Lane changes so far.
    lane_changes,
    /// Mean speed of the traffic near the ego so far, m/s; 0 if there was none.
    near_traffic_speed_mps,
    /// Own mean speed over the traffic's, at most 1; 1 if there was none.
    min_speed_share,
    /// 1 if the route was left too far.
    deviated,
    /// Share of the distance driven outside of the route's lanes.
    outside_lanes_share,
    /// Leaderboard 1.0 driving score so far, 0 to 100.
    driving_score_1_0,
    /// Leaderboard 2.0 driving score so far, 0 to 100.
    driving_score_2_0,
    /// Least time to collision so far, seconds, 100 at most.
    least_ttc_s,
    /// How often the time to collision fell below 1 s.
    short_ttc_events,
    /// How often an acceleration became uncomfortable.
    discomfort_events,
}
