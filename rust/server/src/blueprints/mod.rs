//! The blueprints: ids and attributes as CARLA documents them, sizes and physics where they are known.

mod props;
mod sensors;
mod vehicles;
mod walkers;

use std::collections::BTreeMap;

use carla_online_world::stage::actor::{Body, Bounds, Walker};
use carla_online_world::stage::vehicle::Vehicle;

use crate::msgpack::Packer;
use crate::wire::layout::{AttributeValue, Description};

/// CARLA's numbers for the types of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AttributeKind {
    /// `true` or `false`.
    Boolean = 1,
    /// A whole number.
    Integer = 2,
    /// A number.
    Float = 3,
    /// Text.
    Text = 4,
    /// `red,green,blue`.
    Colour = 5,
}

/// An attribute that a blueprint has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    id: &'static str,
    kind: AttributeKind,
    default: String,
    recommended: Vec<String>,
    is_modifiable: bool,
}

impl Attribute {
    fn new(id: &'static str, kind: AttributeKind, default: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            default: default.into(),
            recommended: Vec::new(),
            is_modifiable: true,
        }
    }

    fn fixed(id: &'static str, kind: AttributeKind, value: impl Into<String>) -> Self {
        Self {
            is_modifiable: false,
            ..Self::new(id, kind, value)
        }
    }

    fn recommending(self, values: &[&str]) -> Self {
        Self {
            recommended: values.iter().map(|value| (*value).to_owned()).collect(),
            ..self
        }
    }

    fn role() -> Self {
        Self::new("role_name", AttributeKind::Text, "default").recommending(&[
            "autopilot",
            "scenario",
            "ego_vehicle",
        ])
    }

    fn write(&self, out: &mut Packer) {
        out.array(6);
        out.text(self.id);
        out.unsigned(self.kind as u64);
        out.text(&self.default);
        out.array(self.recommended.len());
        self.recommended.iter().for_each(|value| out.text(value));
        out.boolean(self.is_modifiable);
        out.boolean(false);
    }
}

/// What a blueprint makes.
#[derive(Debug, Clone, PartialEq)]
enum Product {
    Vehicle(vehicles::Model),
    Walker,
    Prop(Bounds, bool),
    FrictionVolume,
    Sensor,
    Controller,
}

/// A blueprint.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    uid: u32,
    id: String,
    attributes: Vec<Attribute>,
    product: Product,
}

/// What is put on the stage for a description.
#[derive(Debug, Clone, PartialEq)]
pub struct Prototype {
    /// The description with every attribute of the blueprint.
    pub description: Description,
    /// The box.
    pub bounds: Bounds,
    /// What it is.
    pub body: Body,
    /// Semantic tags, CARLA's numbers.
    pub tags: &'static [u8],
    /// Whether it has a stream.
    pub is_sensor: bool,
}

impl Blueprint {
    fn new(id: impl Into<String>, product: Product, attributes: Vec<Attribute>) -> Self {
        Self {
            uid: 0,
            id: id.into(),
            attributes,
            product,
        }
    }

    fn write(&self, out: &mut Packer) {
        out.array(4);
        out.unsigned(self.uid.into());
        out.text(&self.id);
        out.text(&self.id.replace('.', ","));
        out.array(self.attributes.len());
        self.attributes
            .iter()
            .for_each(|attribute| attribute.write(out));
    }

    /// The asked-for values where they may be chosen, the blueprint's own otherwise.
    fn complete(&self, asked: &Description) -> Description {
        let attributes = self.attributes.iter().map(|attribute| {
            let chosen = asked
                .attribute(attribute.id)
                .filter(|_| attribute.is_modifiable);
            AttributeValue {
                id: attribute.id.to_owned(),
                kind: attribute.kind as u8,
                value: chosen.unwrap_or(&attribute.default).to_owned(),
            }
        });
        Description {
            uid: self.uid,
            id: self.id.clone(),
            attributes: attributes.collect(),
        }
    }
}

/// A number of a description; `default` if it is missing or isn't one.
fn number(description: &Description, id: &str, default: f32) -> f32 {
    let value = description
        .attribute(id)
        .and_then(|value| value.parse::<f32>().ok());
    value.filter(|value| value.is_finite()).unwrap_or(default)
}

/// All blueprints.
#[derive(Debug)]
pub struct Blueprints {
    by_id: BTreeMap<String, Blueprint>,
}

impl Default for Blueprints {
    fn default() -> Self {
        let mut all = vehicles::blueprints();
        all.extend(walkers::blueprints());
        all.extend(props::blueprints());
        all.extend(sensors::blueprints());
        let numbered = (1..)
            .zip(all)
            .map(|(uid, blueprint)| (blueprint.id.clone(), Blueprint { uid, ..blueprint }));
        Self {
            by_id: numbered.collect(),
        }
    }
}

impl Blueprints {
    /// Writes every definition.
    pub fn write(&self, out: &mut Packer) {
        out.array(self.by_id.len());
        self.by_id
            .values()
            .for_each(|blueprint| blueprint.write(out));
    }

    /// What a description asks for; none if there is no such blueprint.
    pub fn make(&self, asked: &Description) -> Option<Prototype> {
        let blueprint = self.by_id.get(&asked.id)?;
        let description = blueprint.complete(asked);
        let (bounds, body, tags): (Bounds, Body, &'static [u8]) = match &blueprint.product {
            Product::Vehicle(model) => {
                let is_sticky = description.attribute("sticky_control") != Some("false");
                let [width, height] = model.chassis_m();
                let vehicle = Vehicle::new(model.physics(), width, height, is_sticky);
                (
                    model.bounds(),
                    Body::Vehicle(Box::new(vehicle)),
                    model.tags(),
                )
            }
            Product::Walker => (walkers::BOUNDS, Body::Walker(Walker::default()), &[12]),
            Product::Prop(bounds, is_solid) => (
                *bounds,
                Body::Prop {
                    is_solid: *is_solid,
                },
                &[20],
            ),
            Product::FrictionVolume => {
                let (bounds, friction) = props::friction_volume(&description);
                (bounds, Body::FrictionVolume { friction }, &[])
            }
            Product::Sensor => {
                let sensor = sensors::sensor(&description);
                (Bounds::default(), Body::Sensor(Box::new(sensor)), &[])
            }
            Product::Controller => (Bounds::default(), Body::Other, &[]),
        };
        let is_sensor = matches!(blueprint.product, Product::Sensor);
        Some(Prototype {
            description,
            bounds,
            body,
            tags,
            is_sensor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_three_parts_and_makes_an_actor_with_all_attributes() {
        let blueprints = Blueprints::default();
        assert!(blueprints.by_id.len() > 150, "{}", blueprints.by_id.len());
        for (id, blueprint) in &blueprints.by_id {
            assert_eq!(id.split('.').count(), 3, "{id}");
            let made = blueprints.make(&Description::named(id)).unwrap();
            assert_eq!(
                made.description.attributes.len(),
                blueprint.attributes.len(),
                "{id}"
            );
            if let Body::Vehicle(vehicle) = &made.body {
                assert!(vehicle.physics().wheels.len() >= 4, "{id}");
            }
        }
        assert!(
            blueprints
                .make(&Description::named("vehicle.no.such"))
                .is_none()
        );
    }

    #[test]
    fn fixed_attributes_stay_and_chosen_ones_are_kept() {
        let asked = Description {
            attributes: [
                ("role_name", "hero"),
                ("number_of_wheels", "17"),
                ("unknown", "x"),
            ]
            .map(|(id, value)| AttributeValue {
                id: id.into(),
                kind: 4,
                value: value.into(),
            })
            .into(),
            ..Description::named("vehicle.audi.tt")
        };
        let made = Blueprints::default().make(&asked).unwrap().description;
        assert_eq!(
            (
                made.attribute("role_name"),
                made.attribute("number_of_wheels")
            ),
            (Some("hero"), Some("4"))
        );
        assert_eq!(made.attribute("unknown"), None);
    }
}
