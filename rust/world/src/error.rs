//! The one error type of this crate.

/// What can go wrong in the driving world. Every message names the value seen and the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not valid JSON, or has an unknown key or a value of the wrong type.
    #[error("the world's configuration can't be read at `{key}`: {source}")]
    ConfigSyntax {
        /// Where in the configuration.
        key: String,
        /// The reader's reason.
        source: serde_json::Error,
    },
    /// Values of the configuration are out of range; one sentence for each.
    #[error("the world's configuration is out of range: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The road layer refused a generated map.
    #[error("the road of seed {seed} can't be built: {source}")]
    Map {
        /// The episode's seed.
        seed: u64,
        /// The road layer's reason.
        source: carla_online_roads::Error,
    },
    /// The file of a map can't be read.
    #[error("map.xodr: {path:?} can't be read: {source}; give the path of an OpenDRIVE file")]
    MapFile {
        /// The path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file of a map can be read, but isn't a map.
    #[error("map.xodr isn't a usable map: {source}; `carla-online doctor map FILE` looks it over")]
    MapText {
        /// The road layer's reason.
        source: carla_online_roads::Error,
    },
    /// A network without any route.
    #[error(
        "no route was found for seed {seed} on a map with {places} places to start; it needs driving lanes of 12 m and \
         more outside of junctions that lead somewhere"
    )]
    Route {
        /// The episode's seed.
        seed: u64,
        /// Places at which a route may start or end.
        places: usize,
    },
    /// Places that were given make no route.
    #[error("place {place} of the route, at x {:.1} and y {:.1}, {reason}; give places on driving lanes, in their order and with their lanes' heading", .at[0], .at[1])]
    Course {
        /// Its number.
        place: usize,
        /// Where it is, metres.
        at: [f32; 2],
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The road layer gave another number of driving lanes than was asked for.
    #[error("the road of seed {seed} has {seen} driving lanes abreast, expected {expected}")]
    Lanes {
        /// The episode's seed.
        seed: u64,
        /// Lanes found.
        seen: usize,
        /// Lanes asked for.
        expected: usize,
    },
    /// An action is NaN or infinite.
    #[error(
        "action[{env}, {column}] is {value}; send finite values (those beyond [-1, 1] are clipped)"
    )]
    Action {
        /// Environment.
        env: usize,
        /// 0 = steer, 1 = throttle/brake.
        column: usize,
        /// The value seen.
        value: f32,
    },
    /// An environment was stepped, observed or saved before its first reset.
    #[error("environment {env} was never reset; call reset first")]
    NotReset {
        /// Environment.
        env: usize,
    },
    /// An environment was stepped after its episode had ended.
    #[error("the episode of environment {env} has ended; reset it, or leave it out with the mask")]
    Ended {
        /// Environment.
        env: usize,
    },
    /// No such environment.
    #[error("environment {env} doesn't exist; this batch has {num_envs}")]
    EnvIndex {
        /// The index seen.
        env: usize,
        /// The batch's size.
        num_envs: usize,
    },
    /// A caller's buffer has the wrong length.
    #[error("{name} has {seen} elements, expected {expected}")]
    Length {
        /// The argument.
        name: &'static str,
        /// Elements seen.
        seen: usize,
        /// Elements expected.
        expected: usize,
    },
    /// A map covers too much ground, or none, to be painted.
    #[error(
        "a map of {:.0} m x {:.0} m can't be painted; the bird's-eye view takes up to 16 km along a side",
        .extent_m[0], .extent_m[1]
    )]
    RasterSize {
        /// Extent along x and y.
        extent_m: [f32; 2],
    },
    /// A batch of no or of too many environments, or no or too many threads.
    #[error("{name} is {seen}, must lie in 1..={limit}")]
    Count {
        /// The argument.
        name: &'static str,
        /// The value seen.
        seen: usize,
        /// The largest value allowed.
        limit: usize,
    },
    /// Worlds that were held by another batch.
    #[error("the worlds were held by another batch; go back to what this one has held")]
    Foreign,
    /// A thread of the batch panicked: a bug of this crate, contained.
    #[error("a stepping thread failed; the environments of this batch must be reset")]
    Thread,
    /// Bytes given to `restore` aren't a usable snapshot.
    #[error("the snapshot can't be restored: {0}")]
    Snapshot(#[from] SnapshotError),
}

/// Why a snapshot was refused. Nothing was changed when it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Fewer bytes than the header or a field needs.
    #[error("it ends after {seen} bytes, inside {field}; take a new one")]
    Truncated {
        /// Bytes there were.
        seen: usize,
        /// What was being read.
        field: &'static str,
    },
    /// The first bytes aren't a snapshot's.
    #[error("it doesn't start as a snapshot of this world does")]
    Magic,
    /// Another format.
    #[error("its format is version {seen}, this build reads {expected}")]
    Version {
        /// Version seen.
        seen: u32,
        /// Version of this build.
        expected: u32,
    },
    /// Another build: the continuation would not be bit-equal.
    #[error(
        "it was taken by build {seen:016x}, this is {expected:016x}; continuation would not be exact"
    )]
    Build {
        /// Build seen.
        seen: u64,
        /// This build.
        expected: u64,
    },
    /// Another configuration.
    #[error("it belongs to configuration {seen:016x}, this batch has {expected:016x}")]
    Config {
        /// Hash seen.
        seen: u64,
        /// This batch's.
        expected: u64,
    },
    /// The map drawn from its seed is another one.
    #[error("its map has hash {seen:016x}, seed and configuration give {expected:016x}")]
    Map {
        /// Hash seen.
        seen: u64,
        /// Hash of the map drawn here.
        expected: u64,
    },
    /// Damaged.
    #[error("its checksum is {seen:016x}, its bytes give {expected:016x}: it is damaged")]
    Checksum {
        /// Checksum seen.
        seen: u64,
        /// Checksum of the bytes.
        expected: u64,
    },
    /// A field holds what no world writes.
    #[error("its field `{field}` holds an impossible value")]
    Value {
        /// The field.
        field: &'static str,
    },
    /// Bytes behind the end.
    #[error("{extra} bytes follow its end")]
    Trailing {
        /// How many.
        extra: usize,
    },
}
