//! Damage to `model.safetensors`: a length, a header of JSON, and the numbers.

use serde_json::{Map, Value, json};

pub struct Weights {
    pub header: Map<String, Value>,
    pub numbers: Vec<u8>,
}

impl Weights {
    pub fn parse(bytes: &[u8]) -> Self {
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
        Weights { header: serde_json::from_slice(header).unwrap(), numbers: numbers.to_vec() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).unwrap();
        [&(header.len() as u64).to_le_bytes(), &header[..], &self.numbers].concat()
    }

    /// A file with only the tensors of these names.
    pub fn only(&self, is_here: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut part = Weights { header: Map::new(), numbers: Vec::new() };
        for (name, entry) in self.header.iter().filter(|(name, _)| is_here(name)) {
            let end = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            let start = part.numbers.len();
            part.numbers.extend(&self.numbers[end(0)..end(1)]);
            let mut entry = entry.clone();
            entry["data_offsets"] = json!([start, part.numbers.len()]);
            part.header.insert(name.clone(), entry);
        }
        part.to_bytes()
    }

    /// Overwrites a field of a tensor's entry.
    pub fn set(mut self, tensor: &str, field: &str, value: Value) -> Vec<u8> {
        self.header[tensor][field] = value;
        self.to_bytes()
    }

    /// Puts a number in front of a tensor of f32.
    pub fn set_first(mut self, tensor: &str, number: f32) -> Vec<u8> {
        let start = self.header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        self.numbers[start..start + 4].copy_from_slice(&number.to_le_bytes());
        self.to_bytes()
    }

    pub fn rename(mut self, tensor: &str, name: &str) -> Vec<u8> {
        let entry = self.header.remove(tensor).unwrap();
        self.header.insert(name.to_string(), entry);
        self.to_bytes()
    }

    /// One more tensor, behind the others.
    pub fn add(mut self, name: &str) -> Vec<u8> {
        let end = self.numbers.len();
        let entry = json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
        self.header.insert(name.to_string(), entry);
        self.numbers.extend([0; 4]);
        self.to_bytes()
    }
}
