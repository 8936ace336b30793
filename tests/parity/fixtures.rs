//! Fixture files, and how a result is compared with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use electra::model::Inputs;
use electra::pretrained::HostTensor;
use safetensors::{Dtype, SafeTensors};

pub type Tensors = BTreeMap<String, HostTensor>;

/// How far a tensor may be from PyTorch's: the larger of the two counts.
#[derive(Clone, Copy)]
pub struct Tolerance {
    pub absolute: f32,
    /// Of the largest value in the tensor.
    pub relative: f32,
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> HostTensor {
    let shape = tensor.dims().to_vec();
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    HostTensor { shape, values: data.try_into_vec().unwrap() }
}

/// The folders of a kind; their number is given so that a lost one is noticed.
pub fn folders(kind: &str, prefix: &str, count: usize) -> Vec<PathBuf> {
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
    let entries = std::fs::read_dir(parity).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    let mut folders: Vec<PathBuf> = entries.filter(named).collect();
    folders.sort();
    assert_eq!(folders.len(), count, "folders of fixtures called {prefix}*");
    folders
}

/// The named tensors of one file.
pub struct Fixture {
    pub floats: Tensors,
    pub integers: BTreeMap<String, Integers>,
}

#[derive(Clone)]
pub struct Integers {
    pub shape: Vec<usize>,
    pub values: Vec<i32>,
}

impl Fixture {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut fixture = Fixture { floats: BTreeMap::new(), integers: BTreeMap::new() };
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
            let shape = view.shape().to_vec();
            let words = view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            if view.dtype() == Dtype::I32 {
                let values = words.map(i32::from_le_bytes).collect();
                fixture.integers.insert(name, Integers { shape, values });
            } else {
                assert_eq!(view.dtype(), Dtype::F32, "{name}");
                let values = words.map(f32::from_le_bytes).collect();
                fixture.floats.insert(name, HostTensor { shape, values });
            }
        }
        fixture
    }

    pub fn inputs(&self, device: &Device) -> Inputs {
        let integers = |name: &str| self.integers[name].clone();
        let ids = |name: &str| Tensor::from_data(integers(name).data(), device);
        let mask = integers("attention_mask");
        let values: Vec<f32> = mask.values.iter().map(|value| *value as f32).collect();
        Inputs {
            input_ids: ids("input_ids"),
            token_type_ids: ids("token_type_ids"),
            attention_mask: Tensor::from_data(TensorData::new(values, mask.shape), device),
        }
    }

    /// One of the batches that are stacked along the first dimension.
    pub fn nth(&self, index: usize) -> Fixture {
        let part = |(name, all): (&String, &Integers)| (name.clone(), all.nth(index));
        let integers = self.integers.iter().map(part).collect();
        Fixture { floats: BTreeMap::new(), integers }
    }
}

impl Integers {
    pub fn data(self) -> TensorData {
        TensorData::new(self.values, self.shape)
    }

    pub fn nth(&self, index: usize) -> Integers {
        let shape = self.shape[1..].to_vec();
        let size: usize = shape.iter().product();
        Integers { shape, values: self.values[index * size..(index + 1) * size].to_vec() }
    }
}

// ---------------------------------------------------------------------------------------------
// Comparison

/// Every tensor that is missing, too many, of another shape, or too far off.
pub fn compare(
    folder: &Path,
    found: &Tensors,
    expected: &Tensors,
    tolerance: Tolerance,
) -> Vec<String> {
    let place = folder.file_name().unwrap().to_string_lossy();
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let check = |name: &&String| {
        let problem = difference(found.get(*name), expected.get(*name), tolerance)?;
        Some(format!("{place}: {name} {problem}"))
    };
    names.iter().filter_map(check).collect()
}

fn difference(
    found: Option<&HostTensor>,
    expected: Option<&HostTensor>,
    tolerance: Tolerance,
) -> Option<String> {
    let (Some(found), Some(expected)) = (found, expected) else {
        return Some(format!("is in {} only", if found.is_some() { "ours" } else { "PyTorch's" }));
    };
    if found.shape != expected.shape {
        return Some(format!("has shape {:?}, expected {:?}", found.shape, expected.shape));
    }
    let largest = expected.values.iter().fold(0f32, |max, value| max.max(value.abs()));
    let allowed = tolerance.absolute.max(tolerance.relative * largest);
    let pairs = found.values.iter().zip(&expected.values);
    // Not a number counts as infinitely far off.
    let far = |a: &f32, b: &f32| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    let off = pairs.map(|(a, b)| far(a, b)).fold(0f32, f32::max);
    (off > allowed).then(|| format!("is off by {off:.1e}, allowed are {allowed:.1e}"))
}

pub fn report(problems: impl Iterator<Item = String>) {
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
