//! What a client is told: `[1, id, error, result]`, where the result is CARLA's `Response`.

use crate::msgpack::Packer;

/// How a function's result is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `Response<T>`: `[[1, value]]`, or `[[0, [message]]]`.
    Value,
    /// `Response<void>`: `[[false]]`, or `[[true, [message]]]`.
    Void,
    /// As it is. Only `apply_batch` does that.
    Bare,
}

/// Starts an answer; the result, or nil, must follow.
fn head(out: &mut Packer, id: u32) {
    out.array(4);
    out.unsigned(1);
    out.unsigned(id.into());
    out.nil();
}

/// The answer to a call whose result nobody looks at.
pub fn acknowledge(out: &mut Packer, id: u32) {
    head(out, id);
    out.nil();
}

/// A result; the value that belongs into it must follow unless the shape is void.
pub fn begin(out: &mut Packer, id: u32, shape: Shape) {
    head(out, id);
    match shape {
        Shape::Value => {
            out.array(1);
            out.array(2);
            out.unsigned(1);
        }
        Shape::Void => {
            out.array(1);
            out.array(1);
            out.boolean(false);
        }
        Shape::Bare => {}
    }
}

/// An error inside the `Response`: the client raises, its threads survive.
pub fn refuse(out: &mut Packer, id: u32, shape: Shape, message: &str) {
    head(out, id);
    match shape {
        Shape::Value => {
            out.array(1);
            out.array(2);
            out.unsigned(0);
        }
        Shape::Void => {
            out.array(1);
            out.array(2);
            out.boolean(true);
        }
        // An empty list of results: the caller finds nothing for its commands.
        Shape::Bare => {
            out.array(0);
            return;
        }
    }
    out.array(1);
    out.text(message);
}

/// An error of the call itself: unknown function, wrong number of arguments. It kills client threads that
/// don't expect it, so nothing else is answered like this.
pub fn reject(out: &mut Packer, id: u32, message: &str) {
    out.array(4);
    out.unsigned(1);
    out.unsigned(id.into());
    out.text(message);
    out.nil();
}
