//! Episodes: loading maps beside the work on other requests, and starting anew.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use crate::maps::{LoadedMap, SENT_MAP, Source, short_name};
use crate::msgpack::Packer;
use crate::net::{Event, LinkId};
use crate::wire::reply::{self, Shape};

/// Baked maps that are kept.
const MAX_CACHED: usize = 8;

/// A map that is being read, and who waits for it.
#[derive(Debug)]
pub struct Loading {
    link: LinkId,
    call: u32,
    is_async: bool,
    name: String,
    reset_settings: bool,
}

pub(super) fn load(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let path = call.arguments.text()?.to_owned();
    let reset_settings = call.arguments.boolean()?;
    if host.loading.is_some() {
        return Err("another map is being loaded; try again when that is done".into());
    }
    let name = short_name(&path).to_owned();
    if name.is_empty() {
        let (name, map) = (host.session.map_name.clone(), Arc::clone(&host.session.map));
        host.restart(name, map, reset_settings);
        return Ok(Done::Now);
    }
    let source = match &host.sent_map {
        Some(text) if name == SENT_MAP => Source::Text(text.clone()),
        _ => host.map_library.find(&name).cloned().ok_or_else(|| {
            Refusal(format!(
                "map '{name}' not found; there are {}",
                host.map_library.names().join(", ")
            ))
        })?,
    };
    if let Some(map) = host.cache.get(&source.key()).map(Arc::clone) {
        host.restart(name, map, reset_settings);
        return Ok(Done::Now);
    }
    let inbox = Arc::clone(&host.inbox);
    let key = source.key();
    // Reading a town takes a second; other clients are answered meanwhile.
    thread::Builder::new()
        .name("carla-online-map".into())
        .spawn(move || {
            let loaded = source
                .load(&key)
                .map(Arc::new)
                .map_err(|error| error.to_string());
            inbox.post(Event::Loaded(loaded));
        })
        .map_err(|error| Refusal(format!("the map can't be loaded now: {error}")))?;
    host.loading = Some(Loading {
        link: call.link,
        call: call.id,
        is_async: call.is_async,
        name,
        reset_settings,
    });
    Ok(Done::Later)
}

/// `generate_opendrive_world` sends the text first and loads it then.
pub(super) fn receive(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.sent_map = Some(call.arguments.text()?.to_owned());
    Ok(Done::Now)
}

impl Host {
    fn restart(&mut self, name: String, map: Arc<LoadedMap>, reset_settings: bool) {
        self.session.restart(name, map, reset_settings);
        self.populate();
        self.clock.hurry(Instant::now());
        self.send_state();
    }

    /// A map has been read, or not.
    pub(super) fn finish_loading(&mut self, result: Result<Arc<LoadedMap>, String>) {
        let Some(loading) = self.loading.take() else {
            return;
        };
        let refusal = match result {
            Ok(map) => {
                // A sent text may change under the same name, so it isn't kept.
                if !map.name.is_empty() {
                    if self.cache.len() >= MAX_CACHED {
                        self.cache.pop_first();
                    }
                    self.cache.insert(map.name.clone(), Arc::clone(&map));
                }
                self.restart(loading.name, map, loading.reset_settings);
                None
            }
            Err(message) => {
                self.journal
                    .write(&format!("map {}: {message}", loading.name));
                Some(message)
            }
        };
        let Some(link) = self.links.get(&loading.link) else {
            return;
        };
        let mut out = Packer::default();
        match refusal {
            _ if loading.is_async => reply::acknowledge(&mut out, loading.call),
            None => reply::begin(&mut out, loading.call, Shape::Void),
            Some(message) => reply::refuse(&mut out, loading.call, Shape::Void, &message),
        }
        link.send(out.bytes());
    }
}
