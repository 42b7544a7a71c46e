//! Traffic and people that the server itself brings along.

use carla_online_world::stage::population::{Look, Population};

use super::Host;
use super::session::Record;
use crate::blueprints::AttributeKind;
use crate::wire::layout::{AttributeValue, Description};

/// Blueprints of the cars, in the order of the world's models.
const CARS: [&str; 4] = [
    "vehicle.lincoln.mkz_2017",
    "vehicle.lincoln.mkz_2020",
    "vehicle.tesla.model3",
    "vehicle.nissan.patrol",
];
const ROLE: &str = "resident";
/// People that look differently.
const PEOPLE: u32 = 49;

/// How many there shall be in each episode, and from which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Residents {
    /// Vehicles, as far as there is room.
    pub vehicles: usize,
    /// People on foot; a map without crosswalks has none.
    pub walkers: usize,
    /// Where they start, where they go.
    pub seed: u64,
}

impl Host {
    /// Puts the residents on the stage anew, from their seed.
    pub(super) fn populate(&mut self) {
        if let Some(old) = self.session.population.take() {
            for id in old.ids() {
                // A client may have destroyed it.
                let _ = self.session.destroy(*id);
            }
        }
        let Residents {
            vehicles,
            walkers,
            seed,
        } = self.residents;
        if vehicles + walkers == 0 {
            return;
        }
        let network = self.session.map.network();
        let mut population = Population::draw(network, vehicles, walkers, seed);
        let blueprints = &self.blueprints;
        let mut records = Vec::new();
        population.enter(&mut self.session.stage, |stage, look, mut pose| {
            let made = blueprints.make(&description(look))?;
            if let Look::Person(_) = look {
                pose.location[2] += made.bounds.half[2];
            }
            let id = stage.spawn(pose, None, made.bounds, made.body).ok()?;
            let record = Record {
                description: made.description,
                tags: made.tags,
                stream: 0,
            };
            records.push((id, record));
            Some(id)
        });
        for (id, record) in records {
            self.session.register(id, record, false);
        }
        let present = population.ids().len();
        if present < vehicles + walkers {
            self.journal.write(&format!(
                "{present} of {} residents found room on {}",
                vehicles + walkers,
                self.session.map_name
            ));
        }
        self.session.population = Some(population);
    }
}

fn description(look: Look) -> Description {
    let id = match look {
        Look::Car(model) => CARS[usize::from(model) % CARS.len()].to_owned(),
        Look::Person(number) => format!("walker.pedestrian.{:04}", 1 + number % PEOPLE),
    };
    let mut description = Description::named(&id);
    description.attributes.push(AttributeValue {
        id: "role_name".into(),
        kind: AttributeKind::Text as u8,
        value: ROLE.into(),
    });
    description
}
