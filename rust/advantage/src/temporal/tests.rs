//! What only Rust can see: lengths that don't fit, and the bits of chunks against single columns.

use super::{GaeInputs, GaeOutputs, NextValues, gae};
use crate::error::Error;

fn inputs<'a>(numbers: &'a [f32], flags: &'a [u8], columns: usize) -> GaeInputs<'a, f32> {
    GaeInputs {
        rewards: numbers,
        values: numbers,
        next_values: NextValues::Rows(numbers),
        terminated: flags,
        truncated: flags,
        mask: None,
        columns,
        gamma: 0.99,
        gae_lambda: 0.95,
    }
}

#[test]
fn sixteen_columns_at_once_give_the_bits_of_one() {
    let (rows, columns) = (9, 37);
    let numbers: Vec<f32> = (0..rows * columns)
        .map(|i| ((i * 7919) % 101) as f32 / 7.0)
        .collect();
    let flags: Vec<u8> = (0..rows * columns).map(|i| u8::from(i % 11 == 0)).collect();
    let (mut advantages, mut returns) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
    let mut outputs = GaeOutputs {
        advantages: &mut advantages,
        returns: &mut returns,
    };
    gae(inputs(&numbers, &flags, columns), &mut outputs, Some(1)).expect("finite");
    for column in 0..columns {
        let pick = |row: usize| row * columns + column;
        let one: Vec<f32> = (0..rows).map(|row| numbers[pick(row)]).collect();
        let ends: Vec<u8> = (0..rows).map(|row| flags[pick(row)]).collect();
        let (mut alone, mut rest) = (vec![0.0; rows], vec![0.0; rows]);
        let mut single = GaeOutputs {
            advantages: &mut alone,
            returns: &mut rest,
        };
        gae(inputs(&one, &ends, 1), &mut single, Some(1)).expect("finite");
        for row in 0..rows {
            assert_eq!(advantages[pick(row)].to_bits(), alone[row].to_bits());
            assert_eq!(returns[pick(row)].to_bits(), rest[row].to_bits());
        }
    }
}

#[test]
fn an_array_of_another_length_is_refused() {
    let (numbers, flags) = ([0.0_f32; 6], [0_u8; 6]);
    let (mut advantages, mut returns) = ([0.0; 6], [0.0; 6]);
    let mut outputs = GaeOutputs {
        advantages: &mut advantages,
        returns: &mut returns,
    };
    let mut short = inputs(&numbers, &flags, 2);
    short.values = &numbers[..5];
    let fault = gae(short, &mut outputs, None).unwrap_err();
    assert_eq!(
        fault,
        Error::Length {
            name: "values",
            expected: 6,
            seen: 5
        }
    );
    let ragged = inputs(&numbers, &flags, 4);
    assert!(matches!(
        gae(ragged, &mut outputs, None),
        Err(Error::Length { .. })
    ));
}
