//! Rays that a client sends through the world, and what CARLA would call the things they meet.

use carla_online_world::stage::contact::Other;
use carla_online_world::stage::rays::{Hit, Target};

use super::Host;
use super::call::{Answer, Call, Done};
use super::session::Session;
use crate::wire::layout::{read_vector, write_vector};

/// CARLA's semantic tags, `CityObjectLabel` of its client.
const NO_LABEL: u8 = 0;
const ROAD_LABEL: u8 = 1;
const STATIC_LABEL: u8 = 20;
/// Of the map's solids, by their kind's last word.
const SOLID_LABELS: [(&str, u8); 8] = [
    ("building", 3),
    ("wall", 4),
    ("fence", 5),
    ("pole", 6),
    ("trafficsign", 8),
    ("vegetation", 9),
    ("bridge", 26),
    ("guardrail", 28),
];

/// The first thing along a ray.
pub(super) fn project_point(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let from = read_vector(&mut call.arguments)?;
    let direction = read_vector(&mut call.arguments)?;
    let reach_m = call.arguments.single()?;
    let hits = host.session.stage.cast(from, direction, reach_m);
    call.out.array(2);
    call.out.boolean(!hits.is_empty());
    match hits.first() {
        Some(hit) => write_labelled(&host.session, call, hit),
        None => write_point(call, [0.0; 3], NO_LABEL),
    }
    Ok(Done::Now)
}

/// Everything between two places, the nearest first.
pub(super) fn cast_ray(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let from = read_vector(&mut call.arguments)?;
    let to = read_vector(&mut call.arguments)?;
    let way: [f32; 3] = std::array::from_fn(|i| to[i] - from[i]);
    let reach_m = way.iter().map(|value| value * value).sum::<f32>().sqrt();
    let hits = host.session.stage.cast(from, way, reach_m);
    call.out.array(hits.len());
    hits.iter()
        .for_each(|hit| write_labelled(&host.session, call, hit));
    Ok(Done::Now)
}

fn write_labelled(session: &Session, call: &mut Call<'_>, hit: &Hit) {
    let label = match hit.target {
        Target::Ground => ROAD_LABEL,
        Target::Box(Other::Actor(id)) => session
            .record(id)
            .and_then(|record| record.tags.first().copied())
            .unwrap_or(NO_LABEL),
        Target::Box(Other::Solid(index)) => solid_label(&session.stage.solids()[index].kind),
    };
    write_point(call, hit.location, label);
}

fn write_point(call: &mut Call<'_>, location: [f32; 3], label: u8) {
    call.out.array(2);
    write_vector(call.out, location);
    call.out.unsigned(label.into());
}

fn solid_label(kind: &str) -> u8 {
    let word = kind.rsplit('.').next().unwrap_or_default();
    SOLID_LABELS
        .iter()
        .find(|(name, _)| *name == word)
        .map_or(STATIC_LABEL, |(_, label)| *label)
}
