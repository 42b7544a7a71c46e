//! The fields of a row.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most fields in a schema.
pub const MAX_FIELDS: usize = 256;
/// Most dimensions of a field.
pub const MAX_DIMENSIONS: usize = 8;
/// Largest field, in bytes.
pub const MAX_FIELD_BYTES: usize = 1 << 30;

/// Element type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 16-bit float; the buffer only moves its bytes.
    F16,
    /// Unsigned byte.
    U8,
    /// Boolean, one byte.
    Bool,
    /// 16-bit unsigned integer (also for bfloat16 bits).
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::F16 | Self::U16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    /// The name used in `schema.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }
}

/// One named array of fixed shape in every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// An identifier, unique in the schema.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape without the batch dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// Whether the field has a next value (observations and what goes with them).
    #[serde(default)]
    pub linked: bool,
}

impl Field {
    /// A field.
    pub fn new(name: &str, dtype: Dtype, shape: &[usize], linked: bool) -> Self {
        Self {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            linked,
        }
    }

    /// Bytes of the field in a row; `None` on overflow.
    pub fn checked_size_bytes(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(self.dtype.size_bytes(), |size, &dimension| {
                size.checked_mul(dimension)
            })
    }

    fn describe(&self) -> String {
        let linked = if self.linked { " linked" } else { "" };
        format!("{}{:?}{linked}", self.dtype.name(), self.shape)
    }
}

/// The ordered fields of a row. Building one checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    fields: Vec<Field>,
}

/// Fields that every schema needs, with the type of each: n-step returns and the watermark read them.
const REQUIRED: [(&str, Dtype); 5] = [
    ("reward", Dtype::F32),
    ("terminated", Dtype::Bool),
    ("truncated", Dtype::Bool),
    ("episode_id", Dtype::U64),
    ("step_id", Dtype::U64),
];
/// Optional fields with a meaning for sampling: rows of weight 0 and quarantined rows are never drawn, and stratified
/// sampling tells rows apart by their slice.
const MEANINGFUL: [(&str, Dtype); 3] = [
    ("weight", Dtype::F32),
    ("quarantined", Dtype::Bool),
    ("slice_id", Dtype::U16),
];
/// Columns that a sampler adds to the fields.
const RESERVED: [&str; 7] = [
    "n_step_reward",
    "discount",
    "importance_weight",
    "row_index",
    "row_generation",
    "source",
    "valid",
];

impl Schema {
    /// Checks the fields and makes a schema of them.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for too many fields, a bad or repeated name, a huge field, a missing required field,
    /// a field with a meaning but another type, or a name that a sampler adds.
    pub fn new(fields: Vec<Field>) -> Result<Self> {
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            return Err(Error::Schema(format!(
                "{} fields; 1 to {MAX_FIELDS} are allowed",
                fields.len()
            )));
        }
        for (index, field) in fields.iter().enumerate() {
            check_field(field)?;
            if fields[..index].iter().any(|other| other.name == field.name) {
                return Err(Error::Schema(format!(
                    "field {:?} stands twice; names must be unique",
                    field.name
                )));
            }
        }
        let schema = Self { fields };
        for (name, dtype) in REQUIRED {
            schema.check_scalar(name, dtype, true)?;
        }
        for (name, dtype) in MEANINGFUL {
            schema.check_scalar(name, dtype, false)?;
        }
        schema.check_reserved_names()?;
        Ok(schema)
    }

    fn check_reserved_names(&self) -> Result<()> {
        let is_next = |name: &str| {
            let origin = name.strip_prefix("next_").and_then(|rest| self.field(rest));
            origin.is_some_and(|field| field.linked)
        };
        let clash = self
            .fields
            .iter()
            .find(|field| RESERVED.contains(&field.name.as_str()) || is_next(&field.name));
        clash.map_or(Ok(()), |field| {
            let name = &field.name;
            Err(Error::Schema(format!(
                "field name {name:?} is reserved for what a sampler adds; choose another"
            )))
        })
    }

    fn check_scalar(&self, name: &str, dtype: Dtype, is_required: bool) -> Result<()> {
        match self.field(name) {
            None if is_required => Err(Error::Schema(format!(
                "field {name:?} ({}) is missing; sampling needs it for returns and the watermark",
                dtype.name()
            ))),
            Some(field) if field.dtype != dtype || !field.shape.is_empty() || field.linked => {
                Err(Error::Schema(format!(
                    "field {name:?} is {}; it must be an unlinked {} scalar",
                    field.describe(),
                    dtype.name()
                )))
            }
            _ => Ok(()),
        }
    }

    /// A schema from the JSON list of its fields, as in `schema.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for text that isn't such a list, and as [`Schema::new`].
    pub fn from_json(text: &str) -> Result<Self> {
        Self::new(serde_json::from_str(text).map_err(|error| Error::Schema(error.to_string()))?)
    }

    /// The JSON list of the fields.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if the text can't be made, for want of memory.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(&self.fields).map_err(|error| Error::Schema(error.to_string()))
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// FNV-1a over the canonical text of the fields: tells schemas apart, proves nothing against an adversary.
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for field in &self.fields {
            for byte in format!("{}:{};", field.name, field.describe()).bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }

    /// Every difference to `expected`, one phrase each; `None` when equal.
    pub fn differences(&self, expected: &Self) -> Option<String> {
        if self == expected {
            return None;
        }
        let mut found = Vec::new();
        for field in &self.fields {
            match expected.field(&field.name) {
                None => found.push(format!("{} is stored but not expected", field.name)),
                Some(other) if other != field => {
                    found.push(format!(
                        "{} is stored as {}, expected {}",
                        field.name,
                        field.describe(),
                        other.describe()
                    ));
                }
                Some(_) => {}
            }
        }
        for field in &expected.fields {
            if self.field(&field.name).is_none() {
                found.push(format!(
                    "{} ({}) is expected but not stored",
                    field.name,
                    field.describe()
                ));
            }
        }
        if found.is_empty() {
            found.push("the order of the fields differs".into());
        }
        Some(found.join("; "))
    }
}

fn check_field(field: &Field) -> Result<()> {
    let name = &field.name;
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well
        || name.len() > 64
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Err(Error::Schema(format!(
            "field name {name:?} isn't an ASCII identifier of 1 to 64 characters"
        )));
    }
    if field.shape.len() > MAX_DIMENSIONS {
        return Err(Error::Schema(format!(
            "field {name:?} has {} dimensions, at most {MAX_DIMENSIONS}",
            field.shape.len()
        )));
    }
    match field.checked_size_bytes() {
        Some(0..=MAX_FIELD_BYTES) => Ok(()),
        _ => Err(Error::Schema(format!(
            "field {name:?} of shape {:?} is above 1 GiB",
            field.shape
        ))),
    }
}
