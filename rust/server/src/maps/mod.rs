//! The maps that are served: our own by name, a directory of files, aliases, and whatever a client sends.

pub mod furniture;
mod navigation;
mod solids;
mod spawn_points;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use carla_online_roads::{MapKind, MapSpec, RoadMap};
use carla_online_world::network::Network;
use carla_online_world::stage::contact::Solid;
use carla_online_world::stage::pose::Transform;

use crate::error::Error;

/// The name under which CARLA serves a map that a client sent.
pub const SENT_MAP: &str = "OpenDriveMap";
/// Files larger than this aren't read.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// CARLA's towns exist twice: the second has layers that can be hidden.
const LAYERED: &str = "_Opt";

/// A map, ready to be played on.
#[derive(Debug)]
pub struct LoadedMap {
    /// The name it was asked for by.
    pub name: String,
    /// Its roads.
    pub roads: Arc<RoadMap>,
    /// Where vehicles may be put.
    pub spawn_points: Vec<Transform>,
    /// Traffic lights and signs.
    pub fixtures: Vec<furniture::Fixture>,
    /// Buildings and walls.
    pub solids: Arc<[Solid]>,
    /// Made when somebody asks for it.
    navigation: OnceLock<Vec<u8>>,
    network: OnceLock<Arc<Network>>,
}

impl LoadedMap {
    /// Where the client finds the navigation mesh; nowhere if there isn't any sidewalk. Clients keep files by name, so
    /// it names the map's text and the way in which meshes are made.
    pub fn navigation_file(&self, map_name: &str) -> Option<String> {
        let version = navigation::MESH_VERSION;
        let hash = self.roads.content_hash();
        self.roads
            .has_sidewalks()
            .then(|| format!("Nav/{map_name}-{hash:016x}-{version}.bin"))
    }

    /// What traffic of the world's own looks up.
    pub fn network(&self) -> Arc<Network> {
        let network = self
            .network
            .get_or_init(|| Arc::new(Network::new(Arc::clone(&self.roads))));
        Arc::clone(network)
    }

    /// The navigation mesh; empty if nobody can walk anywhere.
    pub fn navigation(&self) -> &[u8] {
        self.navigation
            .get_or_init(|| navigation::write(&self.roads.walk_polygons()))
    }
}

/// Where a map's text comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// One of ours.
    Own(&'static str),
    /// A file of the maps directory.
    File(PathBuf),
    /// A client sent it.
    Text(String),
}

/// All maps that can be asked for by name.
#[derive(Debug, Default)]
pub struct Library {
    sources: BTreeMap<String, Source>,
    aliases: BTreeMap<String, String>,
}

impl Library {
    /// Our own maps, the `.xodr` files of a directory (which win over ours of the same name), and aliases
    /// `(name, map that is served for it)`.
    ///
    /// # Errors
    ///
    /// A directory that can't be listed, or an alias of a map that isn't there.
    pub fn new(directory: Option<&Path>, aliases: &[(String, String)]) -> Result<Self, Error> {
        let mut sources: BTreeMap<String, Source> = OWN_MAPS
            .iter()
            .map(|own| (own.0.to_owned(), Source::Own(own.0)))
            .collect();
        if let Some(directory) = directory {
            let fault = |source| Error::Maps {
                path: directory.to_owned(),
                source,
            };
            for entry in fs::read_dir(directory).map_err(fault)? {
                let path = entry.map_err(fault)?.path();
                let is_map = path
                    .extension()
                    .is_some_and(|extension| extension == "xodr");
                if let Some(name) = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .filter(|_| is_map)
                {
                    sources.insert(name.to_owned(), Source::File(path));
                }
            }
        }
        let mut library = Self {
            sources,
            aliases: BTreeMap::new(),
        };
        for (name, target) in aliases {
            if library.find(target).is_none() {
                return Err(Error::UnknownMap {
                    name: target.clone(),
                    known: library.names(),
                });
            }
            library.aliases.insert(name.clone(), target.clone());
        }
        Ok(library)
    }

    /// Every name, without the layered twins.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .sources
            .keys()
            .chain(self.aliases.keys())
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Every name as CARLA lists it.
    pub fn paths(&self) -> Vec<String> {
        let with_twin = |name: String| {
            let twin = format!("{name}{LAYERED}");
            let has_own = self.sources.contains_key(&twin) || name.ends_with(LAYERED);
            [Some(name), (!has_own).then_some(twin)]
        };
        let names = self.names().into_iter().flat_map(with_twin).flatten();
        names
            .map(|name| format!("/Game/Carla/Maps/{name}"))
            .collect()
    }

    /// The source of a name: the last part of a path, an alias, a layered twin. A name never leads to a file that
    /// wasn't listed at the start.
    pub fn find(&self, path: &str) -> Option<&Source> {
        let name = short_name(path);
        let plain = name.strip_suffix(LAYERED).unwrap_or(name);
        [name, plain].into_iter().find_map(|name| {
            let target = self
                .aliases
                .get(name)
                .map_or(name, |target| short_name(target));
            let plain = target.strip_suffix(LAYERED).unwrap_or(target);
            self.sources.get(target).or_else(|| self.sources.get(plain))
        })
    }
}

/// The last part of a path.
pub fn short_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Source {
    /// Names a baked map: sources of the same text share one, whatever they are asked for by. Empty for what isn't
    /// kept, because it may change under the same name.
    pub fn key(&self) -> String {
        match self {
            Self::Own(name) => (*name).to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => String::new(),
        }
    }

    /// Reads, bakes and furnishes the map. Takes up to seconds for a town.
    ///
    /// # Errors
    ///
    /// A file that can't be read, a text that isn't a map.
    pub fn load(&self, name: &str) -> Result<LoadedMap, Error> {
        let text = match self {
            Self::Own(own) => own_map(own)?,
            Self::File(path) => read_file(path)?,
            Self::Text(text) => text.clone(),
        };
        let roads = RoadMap::parse(&text).map_err(|source| Error::Map {
            name: name.to_owned(),
            source,
        })?;
        let solids = match self {
            Self::File(path) => solids::read(&path.with_extension("solids.txt"))?,
            Self::Own(_) | Self::Text(_) => Vec::new(),
        };
        Ok(LoadedMap {
            name: name.to_owned(),
            spawn_points: spawn_points::find(&roads, matches!(self, Self::Text(_))),
            fixtures: furniture::find(&roads),
            roads: Arc::new(roads),
            solids: solids.into(),
            navigation: OnceLock::new(),
            network: OnceLock::new(),
        })
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    let fault = |source| Error::Maps {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(fault)?.len() > MAX_FILE_BYTES {
        return Err(fault(std::io::Error::other(
            "the file is larger than 64 MiB",
        )));
    }
    fs::read_to_string(path).map_err(fault)
}

/// Our own maps: name, kind, seed.
const OWN_MAPS: [(&str, MapKind, u64); 5] = [
    ("FourWay", MapKind::FourWay, 0),
    ("GridTown", MapKind::Grid, 0),
    ("Highway", MapKind::Highway, 0),
    ("Straight", MapKind::Straight, 0),
    ("TJunction", MapKind::TJunction, 0),
];
/// Of the straight road: tests drive far.
const STRAIGHT_M: f64 = 800.37;

fn own_map(name: &'static str) -> Result<String, Error> {
    // Sources are made from this list alone.
    let (_, kind, seed) = OWN_MAPS
        .into_iter()
        .find(|own| own.0 == name)
        .unwrap_or(OWN_MAPS[0]);
    let mut spec = MapSpec::new(kind, seed);
    if kind == MapKind::Straight {
        (spec.length_m, spec.lanes) = (Some(STRAIGHT_M), Some(2));
    }
    spec.to_xodr().map_err(|source| Error::Map {
        name: name.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> Library {
        Library::new(None, &[("Town03".into(), "Straight".into())]).unwrap()
    }

    #[test]
    fn a_name_is_found_by_path_alias_and_layered_twin() {
        let library = library();
        let straight = Some(&Source::Own("Straight"));
        for name in [
            "Straight",
            "Straight_Opt",
            "/Game/Carla/Maps/Town03",
            "Town03_Opt",
            "Carla/Maps/Straight",
        ] {
            assert_eq!(library.find(name), straight, "{name}");
        }
        assert_eq!(library.find("Town04"), None);
        assert_eq!(library.find("../Straight.xodr"), None);
    }

    #[test]
    fn every_listed_name_is_found() {
        let library = library();
        assert!(
            library
                .paths()
                .contains(&"/Game/Carla/Maps/Town03_Opt".to_owned())
        );
        assert!(
            library
                .paths()
                .iter()
                .all(|path| library.find(path).is_some())
        );
    }

    #[test]
    fn an_alias_of_nothing_is_an_error_that_lists_what_there_is() {
        let error = Library::new(None, &[("Town03".into(), "Nowhere".into())]).unwrap_err();
        assert!(error.to_string().contains("Straight"), "{error}");
    }

    #[test]
    fn our_maps_load_with_spawn_points_on_lanes() {
        for (name, _, _) in OWN_MAPS {
            let map = Source::Own(name).load(name).unwrap();
            assert!(
                map.spawn_points.len() >= 8,
                "{name}: {}",
                map.spawn_points.len()
            );
            for point in &map.spawn_points {
                let [x, y, z] = point.location;
                let place = map.roads.locate(x, y, z, None).unwrap();
                assert!(place.lateral_m.abs() < 0.01, "{name} {point:?}");
            }
        }
    }
}
