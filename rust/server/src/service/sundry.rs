//! Answers about things that a world without pictures has only in name: skeletons, sockets, recordings.

use carla_online_world::stage::actor::Body;
use carla_online_world::stage::pose::Transform;

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use crate::wire::layout::write_transform;

const BONES: &[&str] = &[
    "crl_root",
    "crl_hips__C",
    "crl_spine__C",
    "crl_neck__C",
    "crl_Head__C",
];
const SOCKETS: &[&str] = &["root"];

fn write_names(call: &mut Call<'_>, names: &[&str]) {
    call.out.array(names.len());
    names.iter().for_each(|name| call.out.text(name));
}

/// The one part that every actor has.
fn component(host: &Host, call: &mut Call<'_>) -> Result<&'static str, Refusal> {
    Ok(
        match host.session.stage.actor(call.arguments.number()?)?.body {
            Body::Vehicle(_) => "VehicleMesh",
            Body::Walker(_) => "CharacterMesh0",
            _ => "Mesh",
        },
    )
}

pub(super) fn component_names(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let name = component(host, call)?;
    write_names(call, &[name]);
    Ok(Done::Now)
}

fn component_pose(host: &Host, call: &mut Call<'_>) -> Result<Transform, Refusal> {
    let mut arguments = call.arguments;
    let name = component(host, call)?;
    let asked = call.arguments.text()?;
    if asked != name {
        return Err(Refusal(format!(
            "there is no component {:?}; there is {name}",
            asked.chars().take(80).collect::<String>()
        )));
    }
    Ok(host.session.stage.actor(arguments.number()?)?.pose)
}

pub(super) fn component_world_transform(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let pose = component_pose(host, call)?;
    write_transform(call.out, &pose);
    Ok(Done::Now)
}

pub(super) fn component_relative_transform(host: &mut Host, call: &mut Call<'_>) -> Answer {
    component_pose(host, call)?;
    write_transform(call.out, &Transform::default());
    Ok(Done::Now)
}

pub(super) fn bone_names(_: &mut Host, call: &mut Call<'_>) -> Answer {
    write_names(call, BONES);
    Ok(Done::Now)
}

pub(super) fn socket_names(_: &mut Host, call: &mut Call<'_>) -> Answer {
    write_names(call, SOCKETS);
    Ok(Done::Now)
}

fn repeat_pose(host: &Host, call: &mut Call<'_>, count: usize, is_relative: bool) -> Answer {
    let pose = host.session.stage.actor(call.arguments.number()?)?.pose;
    call.out.array(count);
    for _ in 0..count {
        write_transform(call.out, if is_relative { &ORIGIN } else { &pose });
    }
    Ok(Done::Now)
}

const ORIGIN: Transform = Transform {
    location: [0.0; 3],
    rotation: carla_online_world::stage::pose::Rotation {
        pitch_deg: 0.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
    },
};

pub(super) fn bone_world_transforms(host: &mut Host, call: &mut Call<'_>) -> Answer {
    repeat_pose(host, call, BONES.len(), false)
}

pub(super) fn bone_relative_transforms(host: &mut Host, call: &mut Call<'_>) -> Answer {
    repeat_pose(host, call, BONES.len(), true)
}

pub(super) fn socket_world_transforms(host: &mut Host, call: &mut Call<'_>) -> Answer {
    repeat_pose(host, call, SOCKETS.len(), false)
}

pub(super) fn socket_relative_transforms(host: &mut Host, call: &mut Call<'_>) -> Answer {
    repeat_pose(host, call, SOCKETS.len(), true)
}

/// `[[name, world, component, relative]...]` in a one-element array.
pub(super) fn bones(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let pose = host.session.stage.actor(call.arguments.number()?)?.pose;
    call.out.array(1);
    call.out.array(BONES.len());
    for name in BONES {
        call.out.array(4);
        call.out.text(name);
        write_transform(call.out, &pose);
        write_transform(call.out, &ORIGIN);
        write_transform(call.out, &ORIGIN);
    }
    Ok(Done::Now)
}

/// CARLA answers with the file's name, and scripts print it.
pub(super) fn start_recorder(_: &mut Host, call: &mut Call<'_>) -> Answer {
    let name = call.arguments.text()?;
    call.out.text(name);
    Ok(Done::Now)
}

pub(super) fn no_recorder(_: &mut Host, call: &mut Call<'_>) -> Answer {
    call.out.text("This server doesn't record yet.\n");
    Ok(Done::Now)
}
