use proptest::prelude::*;

use super::{MAX_DEPTH, Packer, Reader, ScanFault, Scanner};

/// A value to write, and the independent oracle of what reading must give.
#[derive(Debug, Clone)]
enum Value {
    Nil,
    Boolean(bool),
    Integer(i64),
    Single(f32),
    Double(f64),
    Text(String),
    Binary(Vec<u8>),
    Array(Vec<Value>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (-300_i64..70_000).prop_map(Value::Integer),
        (-1e9_f32..1e9).prop_map(Value::Single),
        (-1e9_f64..1e9).prop_map(Value::Double),
        "[a-zA-Zäß0-9]{0,300}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop::collection::vec(inner, 0..20).prop_map(Value::Array)
    })
}

fn write(value: &Value, out: &mut Packer) {
    match value {
        Value::Nil => out.nil(),
        Value::Boolean(value) => out.boolean(*value),
        Value::Integer(value) => out.integer(*value),
        Value::Single(value) => out.single(*value),
        Value::Double(value) => out.double(*value),
        Value::Text(value) => out.text(value),
        Value::Binary(value) => out.binary(value),
        Value::Array(values) => {
            out.array(values.len());
            values.iter().for_each(|value| write(value, out));
        }
    }
}

fn check(value: &Value, reader: &mut Reader<'_>) {
    match value {
        Value::Nil | Value::Binary(_) => reader.skip().unwrap(),
        Value::Boolean(value) => assert_eq!(reader.boolean().unwrap(), *value),
        Value::Integer(value) => assert_eq!(reader.integer().unwrap(), *value),
        Value::Single(value) => assert_eq!(reader.single().unwrap(), *value),
        Value::Double(value) => assert_eq!(reader.float().unwrap(), *value),
        Value::Text(value) => assert_eq!(reader.text().unwrap(), value),
        Value::Array(values) => {
            assert_eq!(reader.array().unwrap(), values.len());
            values.iter().for_each(|value| check(value, reader));
        }
    }
}

/// Tries every way of reading at every place; only the absence of a panic matters.
fn read_everything(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    for _ in 0..=bytes.len() {
        let here = reader;
        let _ = { here }.integer();
        let _ = { here }.float();
        let _ = { here }.text().map(str::len);
        let _ = { here }.optional(Reader::boolean);
        let _ = { here }.list(8, Reader::skip);
        let _ = { here }.tuple(2, |inner| inner.single().and(inner.number::<u8>()));
        if reader.skip().is_err() && reader.array().is_err() {
            return;
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_its_length_found(value in value(), rest in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut out = Packer::default();
        write(&value, &mut out);
        check(&value, &mut Reader::new(out.bytes()));
        let length = out.len();
        out.raw(&rest);
        prop_assert_eq!(Scanner::default().advance(out.bytes()), Ok(Some(length)));
    }

    #[test]
    fn the_length_is_found_at_the_last_byte_however_the_bytes_arrive(value in value(), step in 1_usize..7) {
        let mut out = Packer::default();
        write(&value, &mut out);
        let mut scanner = Scanner::default();
        for end in (0..out.len()).step_by(step) {
            prop_assert_eq!(scanner.advance(&out.bytes()[..end]), Ok(None));
        }
        prop_assert_eq!(scanner.advance(out.bytes()), Ok(Some(out.len())));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Scanner::default().advance(&bytes);
        read_everything(&bytes);
    }
}

#[test]
fn nesting_and_announced_sizes_are_capped() {
    let deep = vec![0x91; MAX_DEPTH + 1];
    assert_eq!(Scanner::default().advance(&deep), Err(ScanFault::Deep));
    let shallow = [vec![0x91; MAX_DEPTH - 1], vec![0xc0]].concat();
    assert_eq!(Scanner::default().advance(&shallow), Ok(Some(MAX_DEPTH)));
    for head in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        assert_eq!(
            Scanner::default().advance(&[head, 0xff, 0xff, 0xff, 0xff]),
            Err(ScanFault::Large)
        );
    }
    assert_eq!(
        Scanner::default().advance(&[0xc1]),
        Err(ScanFault::Reserved)
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut out = Packer::default();
    out.single(f32::NAN);
    assert!(Reader::new(out.bytes()).single().is_err());
    let mut out = Packer::default();
    out.double(1e300);
    assert_eq!(Reader::new(out.bytes()).float(), Ok(1e300));
    assert!(Reader::new(out.bytes()).single().is_err());
}
