//! Calls about the session, the map and the settings.

use std::time::Instant;

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use crate::wire::VERSION;
use crate::wire::layout::{read_weather, write_transform};
use crate::wire::settings::Settings;
use crate::wire::stream::world_stream;
use crate::wire::token::token;

pub(super) fn version(_: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.text(VERSION);
    Ok(Done::Now)
}

pub(super) fn episode_info(host: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.array(2);
    call.out.unsigned(host.session.episode());
    call.out.array(1);
    let stream = world_stream(host.session.episode());
    call.out.binary(&token(stream, host.stream_port));
    Ok(Done::Now)
}

pub(super) fn sensor_token(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let stream = call.arguments.number()?;
    host.streams.expect(stream, Instant::now());
    call.out.array(1);
    call.out.binary(&token(stream, host.stream_port));
    Ok(Done::Now)
}

pub(super) fn settings(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.traffic_managers.has_asked(call.link, Instant::now());
    host.session.settings.write(call.out);
    Ok(Done::Now)
}

pub(super) fn set_settings(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.session.settings = Settings::read(&mut call.arguments)?;
    host.clock.hurry(Instant::now());
    call.out.unsigned(host.session.frame());
    Ok(Done::Now)
}

pub(super) fn tick(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.clock
        .ask(call.link, call.id, call.is_async, Instant::now());
    Ok(Done::Later)
}

pub(super) fn map_info(host: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.array(2);
    call.out
        .text(&format!("Carla/Maps/{}", host.session.map_name));
    let points = &host.session.map.spawn_points;
    call.out.array(points.len());
    points
        .iter()
        .for_each(|point| write_transform(call.out, point));
    Ok(Done::Now)
}

pub(super) fn map_data(host: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.text(host.session.map.roads.xodr());
    Ok(Done::Now)
}

pub(super) fn available_maps(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let paths = host.map_library.paths();
    call.out.array(paths.len());
    paths.iter().for_each(|path| call.out.text(path));
    Ok(Done::Now)
}

/// The files that a folder of a client's cache should have. Only the navigation mesh is one: road networks of Traffic
/// Manager are built by the client.
pub(super) fn required_files(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let folder = call.arguments.text()?;
    let is_asked = folder.is_empty() || folder.trim_matches('/').eq_ignore_ascii_case("nav");
    let session = &host.session;
    let file = session
        .map
        .navigation_file(&session.map_name)
        .filter(|_| is_asked);
    call.out.array(file.iter().len());
    file.iter().for_each(|path| call.out.text(path));
    Ok(Done::Now)
}

/// Nothing but the file that is told of can be had: a name never leads to the disk.
pub(super) fn request_file(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let path = call.arguments.text()?;
    let session = &host.session;
    let is_known = session
        .map
        .navigation_file(&session.map_name)
        .is_some_and(|file| file == path);
    if is_known {
        call.out.binary(session.map.navigation());
    } else {
        call.out.binary(&[]);
    }
    Ok(Done::Now)
}

pub(super) fn navigation_mesh(host: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.binary(host.session.map.navigation());
    Ok(Done::Now)
}

pub(super) fn definitions(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.blueprints.write(call.out);
    Ok(Done::Now)
}

pub(super) fn weather(host: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.array(host.session.weather.len());
    host.session
        .weather
        .iter()
        .for_each(|value| call.out.single(*value));
    Ok(Done::Now)
}

pub(super) fn set_weather(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.session.weather = read_weather(&mut call.arguments)?;
    Ok(Done::Now)
}

/// The one call that isn't CARLA's: `(name, value)`, documented with the server.
pub(super) fn control(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let (name, value) = (call.arguments.text()?, call.arguments.text()?);
    match name {
        "fault" => host
            .faults
            .add(value)
            .map_err(|error| Refusal(error.to_string()))?,
        "seed" => {
            host.residents.seed = value.trim().parse().map_err(|_| {
                Refusal(format!(
                    "seed {value:?} isn't a whole number from 0 to 2^64 - 1"
                ))
            })?;
            host.populate();
        }
        _ => {
            return Err(Refusal(format!(
                "there is no control {name:?}; there are: fault, seed"
            )));
        }
    }
    call.out.text("done");
    Ok(Done::Now)
}
