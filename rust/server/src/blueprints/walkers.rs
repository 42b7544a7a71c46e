//! Pedestrians, and the controller that walks them from the client's side.

use carla_online_world::stage::actor::Bounds;

use super::AttributeKind::{Boolean, Float, Integer, Text};
use super::{Attribute, Blueprint, Product};

/// The capsule of an adult; the actor's origin is its centre.
pub const BOUNDS: Bounds = Bounds {
    center: [0.0; 3],
    half: [0.188, 0.188, 0.93],
};
const COUNT: u32 = 49;
/// Later ids are the second generation of CARLA's characters.
const FIRST_GENERATION: u32 = 14;

pub(super) fn blueprints() -> Vec<Blueprint> {
    let walker = |number: u32| {
        let generation = if number <= FIRST_GENERATION { "1" } else { "2" };
        let gender = if number.is_multiple_of(2) {
            "female"
        } else {
            "male"
        };
        let age = if (9..=14).contains(&number) {
            "child"
        } else {
            "adult"
        };
        let attributes = vec![
            Attribute::role(),
            Attribute::new("is_invincible", Boolean, "true"),
            Attribute::new("speed", Float, "0.0").recommending(&["0.0", "1.43", "2.7"]),
            Attribute::new("use_wheelchair", Boolean, "false"),
            Attribute::fixed("can_use_wheelchair", Boolean, "false"),
            Attribute::fixed("gender", Text, gender),
            Attribute::fixed("age", Text, age),
            Attribute::fixed("generation", Integer, generation),
        ];
        Blueprint::new(
            format!("walker.pedestrian.{number:04}"),
            Product::Walker,
            attributes,
        )
    };
    let controller = Blueprint::new(
        "controller.ai.walker",
        Product::Controller,
        vec![Attribute::role()],
    );
    (1..=COUNT).map(walker).chain([controller]).collect()
}
