//! `pytorch_model.bin`: what `torch.save` wrote, read from bytes in both homes.
//!
//! Two forms: a zip with a pickle and a file a storage, or, before torch 1.6, pickles and then the
//! storages in a row. No crate reads either from bytes and in a browser, so this one is ours;
//! `pickle.rs` says why it is safe.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, copy, sink};
use std::ops::Range;

use safetensors::Dtype;
use zip::read::ZipArchive;
use zip::{CompressionMethod, ZipReadOptions};

use super::pickle::{self, Pickle, Read, Storage, Value, View};
use super::weights::{HostTensor, floats_of};

/// What the first pickle of the older form is: a number by which torch knows it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Under what trainers keep the state dict among other things.
const NESTS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// The tensors of floating-point numbers; buffers of whole numbers are left out.
pub(super) fn read(bytes: &[u8]) -> Read<Vec<(String, HostTensor)>> {
    if bytes.starts_with(b"PK") { read_zip(bytes) } else { read_legacy(bytes) }
}

fn read_zip(bytes: &[u8]) -> Read<Vec<(String, HostTensor)>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let names = archive.file_names().filter_map(Result::ok);
    let folder = names.filter_map(|name| name.strip_suffix("data.pkl").map(String::from)).min();
    let folder = folder.ok_or("the zip holds no data.pkl")?;
    if let Some(order) = archive.index_for_name(&format!("{folder}byteorder"))
        && bytes[stored(&mut archive, order)?].starts_with(b"big")
    {
        return Err("its numbers are big-endian".into());
    }
    let index = archive.index_for_name(&format!("{folder}data.pkl")).expect("it was found");
    let (made, root, _) = pickle::run(&bytes[stored(&mut archive, index)?])?;
    tensors(bytes, &made, root, |storage| {
        let name = format!("{folder}data/{}", storage.key);
        let index = archive.index_for_name(&name).ok_or(format!("{name} is missing in the zip"))?;
        stored(&mut archive, index)
    })
}

/// Where an entry's bytes lie, whose checksum is right.
fn stored(archive: &mut ZipArchive<Cursor<&[u8]>>, index: usize) -> Read<Range<usize>> {
    let checksum = archive.by_index_raw(index).map_err(|e| e.to_string())?.crc32();
    // torch can leave checksums out; then they are 0.
    let options = ZipReadOptions::new().ignore_crc32(checksum == 0);
    let entry = archive.by_index_with_options(index, options);
    let mut entry = entry.map_err(|e| e.to_string())?;
    if entry.compression() != CompressionMethod::Stored {
        return Err("its zip is compressed, which torch's never is".into());
    }
    let length = copy(&mut entry, &mut sink()).map_err(|e| e.to_string())? as usize;
    let start = entry.data_start().ok_or("an entry of the zip has no place")? as usize;
    Ok(start..start + length)
}

fn read_legacy(bytes: &[u8]) -> Read<Vec<(String, HostTensor)>> {
    let mut at = 0;
    let mut next = || {
        let (made, root, length) = pickle::run(&bytes[at..])?;
        at += length;
        Ok::<_, String>((made, root, at))
    };
    let is_magic = matches!(next(), Ok((_, Value::Bytes(number), _)) if number == MAGIC);
    if !is_magic {
        return Err("it is no file of torch.save".into());
    }
    // The protocol's version.
    next()?;
    let (machine, facts, _) = next()?;
    let mut facts = machine.entries(facts).ok_or("it does not describe its machine")?;
    if facts.any(|(key, value)| key == "little_endian" && !matches!(value, Value::Number(1))) {
        return Err("its numbers are big-endian".into());
    }
    let (made, root, _) = next()?;
    let (list, keys, end) = next()?;
    let keys = list.list(keys).ok_or("it has no list of storages")?;
    let places = places(&made, keys, bytes, end)?;
    tensors(bytes, &made, root, |storage| {
        let place = places.get(storage.key).cloned();
        place.ok_or_else(|| format!("it has no storage {}", storage.key))
    })
}

/// The bytes of each storage of the older form, one after the other behind their counts.
fn places<'a>(
    made: &Pickle<'a>,
    keys: &[Value<'a>],
    bytes: &[u8],
    mut at: usize,
) -> Read<HashMap<&'a str, Range<usize>>> {
    let announced: HashMap<_, _> = made.storages.iter().map(|s| (s.key, s)).collect();
    let mut places = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("the name of a storage is no text".into()) };
        let storage = announced.get(key).ok_or("it lists a storage that no tensor uses")?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
        if count.map(u64::from_le_bytes) != Some(storage.count as u64) {
            return Err(format!("storage {key} has another length than the pickle says"));
        }
        let length = size_of(storage)?;
        let end = at.checked_add(8 + length).filter(|end| *end <= bytes.len());
        places.insert(*key, at + 8..end.ok_or("it is cut off")?);
        at += 8 + length;
    }
    Ok(places)
}

/// In bytes.
fn size_of(storage: &Storage) -> Read<usize> {
    let size = storage.count.checked_mul(storage.dtype.bitsize() / 8);
    let size = size.filter(|size| isize::try_from(*size).is_ok());
    size.ok_or_else(|| format!("storage {} is larger than any file", storage.key))
}

fn tensors<'a>(
    bytes: &[u8],
    made: &Pickle<'a>,
    root: Value<'a>,
    mut place: impl FnMut(&Storage) -> Read<Range<usize>>,
) -> Read<Vec<(String, HostTensor)>> {
    let views = state_dict(made, root)?;
    let is_float = |view: &View| {
        use Dtype::{BOOL, I8, I16, I32, I64, U8};
        !matches!(made.storages[view.storage].dtype, BOOL | I8 | I16 | I32 | I64 | U8)
    };
    // A storage is looked up once, however many tensors share it.
    let mut shared: BTreeMap<&str, Vec<(&str, &View)>> = BTreeMap::new();
    let (mut numbers, limit) = (0, bytes.len().saturating_mul(2));
    for (name, view) in views.into_iter().filter(|(_, view)| is_float(view)) {
        let count = view.count().filter(|count| *count <= limit - numbers);
        numbers += count.ok_or("it promises far more numbers than it holds")?;
        shared.entry(made.storages[view.storage].key).or_default().push((name, view));
    }
    let mut tensors = Vec::new();
    for views in shared.into_values() {
        let range = place(&made.storages[views[0].1.storage])?;
        for (name, view) in views {
            let storage = &made.storages[view.storage];
            if size_of(storage)? != range.len() {
                let key = storage.key;
                return Err(format!("storage {key} has another length than the pickle says"));
            }
            let tensor = tensor(name, &bytes[range.clone()], storage, view)?;
            tensors.push((name.to_string(), tensor));
        }
    }
    Ok(tensors)
}

/// The tensors of the first dict that has any: the root, or what a trainer keeps below it.
fn state_dict<'m, 'a>(made: &'m Pickle<'a>, root: Value<'a>) -> Read<BTreeMap<&'a str, &'m View>> {
    let mut dict = root;
    for _ in 0..NESTS.len() {
        let entries: HashMap<_, _> = made.entries(dict).ok_or("it holds no dict")?.collect();
        let tensors = entries.iter().filter_map(|(key, value)| match value {
            Value::Tensor(at) => Some((*key, &made.views[*at])),
            _ => None,
        });
        let tensors: BTreeMap<_, _> = tensors.collect();
        if !tensors.is_empty() {
            return Ok(tensors);
        }
        let nest = NESTS.iter().filter_map(|key| entries.get(key)).next();
        dict = *nest.ok_or("it holds no tensors, and no state_dict with some")?;
    }
    Err("it holds no tensors where a trainer keeps them".into())
}

fn tensor(name: &str, bytes: &[u8], storage: &Storage, view: &View) -> Read<HostTensor> {
    let (size, count) = (storage.dtype.bitsize() / 8, view.count().expect("it was counted"));
    if count == 0 {
        return Ok(HostTensor { shape: view.shape.clone(), values: Vec::new() });
    }
    let first = (storage.start + view.offset) * size;
    let values = match view.is_in_order() {
        true => floats_of(storage.dtype, &bytes[first..first + count * size]),
        false => floats_of(storage.dtype, &gathered(&bytes[first..], view, count, size)),
    };
    let values = values.ok_or_else(|| {
        format!("{name} is of type {:?}; supported are F32, F16 and BF16", storage.dtype)
    })?;
    Ok(HostTensor { shape: view.shape.clone(), values })
}

/// The numbers of a view, each of `size` bytes, in order.
fn gathered(bytes: &[u8], view: &View, count: usize, size: usize) -> Vec<u8> {
    let mut gathered = Vec::with_capacity(count * size);
    let (mut index, mut place) = (vec![0; view.shape.len()], 0);
    for _ in 0..count {
        gathered.extend_from_slice(&bytes[place * size..(place + 1) * size]);
        // One further, and where a row is over, back to the start of the next.
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            place += view.stride[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            place -= view.stride[axis] * view.shape[axis];
            index[axis] = 0;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use zip::write::SimpleFileOptions;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn number(number: i64) -> Vec<u8> {
        [&b"\x8a\x08"[..], &number.to_le_bytes()].concat()
    }

    fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(", &items.concat()[..], b"t"].concat()
    }

    fn numbers(numbers: &[i64]) -> Vec<u8> {
        tuple(&numbers.iter().copied().map(number).collect::<Vec<_>>())
    }

    /// A tensor of that storage, which has `count` numbers.
    fn view(kind: &str, count: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
        let kind = format!("ctorch\n{kind}\n").into_bytes();
        let id = tuple(&[text("storage"), kind, text("0"), text("cpu"), number(count)]);
        let arguments =
            tuple(&[[&id[..], b"Q"].concat(), number(offset), numbers(shape), numbers(stride)]);
        [&b"ctorch._utils\n_rebuild_tensor_v2\n"[..], &arguments, b"R"].concat()
    }

    /// `{"a": value}`
    fn dict(value: &[u8]) -> Vec<u8> {
        [&b"}"[..], &text("a"), value, b"s"].concat()
    }

    /// A file of the older form with that state dict; where it has a tensor, with six numbers.
    fn legacy(state: &[u8]) -> Vec<u8> {
        let pickle = |body: &[u8]| [b"\x80\x02", body, b"."].concat();
        let magic = pickle(&[b"\x8a\x0a", &MAGIC[..]].concat());
        let has_tensor = state.windows(7).any(|word| word == b"storage");
        let key = if has_tensor { [&text("0")[..], b"a"].concat() } else { Vec::new() };
        let keys = pickle(&[b"]", &key[..]].concat());
        let storage: Vec<u8> = (1..=6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
        let machine = pickle(b"}");
        let rest = [&6u64.to_le_bytes()[..], &storage].concat();
        [magic, pickle(&number(1001)), machine, pickle(state), keys, rest].concat()
    }

    fn zip(files: &[(&str, &[u8])], compressed: bool) -> Vec<u8> {
        let method =
            if compressed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).expect_err("it must not be read")
    }

    #[test]
    fn a_view_is_read_by_its_strides() {
        let values = |offset, shape: &[i64], stride: &[i64]| {
            let state = dict(&view("FloatStorage", 6, offset, shape, stride));
            read(&legacy(&state)).unwrap().remove(0).1.values
        };
        assert_eq!(values(0, &[2, 3], &[3, 1]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(values(0, &[3, 2], &[1, 3]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(values(1, &[2, 2], &[2, 1]), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values(5, &[2, 2], &[0, 0]), [6.0; 4]);
        assert_eq!(values(5, &[], &[]), [6.0]);
        assert_eq!(values(6, &[0, 1 << 62], &[1, 1]), [0.0; 0]);
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        let problem = |count, offset, shape: &[i64], stride: &[i64]| {
            problem(&legacy(&dict(&view("FloatStorage", count, offset, shape, stride))))
        };
        for (offset, shape, stride) in [
            (0, &[7][..], &[1][..]),
            (4, &[3], &[1]),
            (0, &[2, 2], &[5, 1]),
            (0, &[3], &[-1]),
            (-1, &[3], &[1]),
            (0, &[1 << 62, 1 << 62], &[1 << 62, 1 << 62]),
            (7, &[0], &[1]),
            (0, &[6], &[1, 1]),
        ] {
            let problem = problem(6, offset, shape, stride);
            assert!(problem.contains("no room"), "{offset} {shape:?} {stride:?}: {problem}");
        }
        // As many as one likes, all the same.
        for shape in [&[1 << 40][..], &[1 << 31, 1 << 31], &[1 << 62, 1 << 62]] {
            let stride = vec![0; shape.len()];
            let problem = problem(6, 0, shape, &stride);
            assert!(problem.contains("more numbers"), "{shape:?}: {problem}");
        }
        for count in [7, 1 << 40, i64::MAX] {
            let problem = problem(count, 0, &[6], &[1]);
            assert!(problem.contains("another length"), "{count}: {problem}");
        }
    }

    #[test]
    fn nothing_is_run() {
        for (module, name) in [("os", "system"), ("builtins", "eval"), ("torch", "load")] {
            let call = format!("c{module}\n{name}\n").into_bytes();
            let call = [&call[..], &tuple(&[text("true")]), b"R"].concat();
            let stacked =
                [&text(module)[..], &text(name), b"\x93", &tuple(&[text("true")]), b"R"].concat();
            for state in [call, stacked] {
                let problem = problem(&legacy(&dict(&state)));
                assert!(problem.contains(&format!("{module}.{name}")), "{problem}");
            }
        }
        let size = [&b"ctorch\nSize\n"[..], &tuple(&[text("true")]), b"R"].concat();
        assert!(problem(&legacy(&dict(&size))).contains("do not fit"));
        assert!(problem(&legacy(b"}}\x81")).contains("0x81"));
    }

    #[test]
    fn other_types_are_left_out_or_named() {
        let of = |kind: &str| {
            let state = [b"\x80\x02", &dict(&view(kind, 1, 0, &[1], &[1]))[..], b"."].concat();
            read(&zip(&[("m/data.pkl", &state), ("m/data/0", &[0; 8])], false))
        };
        assert!(of("LongStorage").unwrap().is_empty());
        assert!(of("DoubleStorage").unwrap_err().contains("F64"));
        assert!(of("ComplexFloatStorage").unwrap_err().contains("torch.ComplexFloatStorage"));
    }

    #[test]
    fn what_is_no_state_dict_is_said() {
        for (state, words) in [
            (&b"N"[..], "no dict"),
            (b"}", "no tensors"),
            (&dict(b"N"), "no tensors"),
            (b"0", "damaged"),
            (b"h\x05", "remembers nothing"),
            (b"K\x01K\x02a", "adds to something"),
            (b"NNb", "no state dict"),
            (b"NQ", "no storage"),
            (b"(1(1", "damaged"),
        ] {
            let problem = problem(&legacy(state));
            assert!(problem.contains(words), "{state:?}: {problem}");
        }
        assert!(problem(b"").contains("torch.save"));
        assert!(problem(b"\x80\x02N.").contains("torch.save"));
    }

    /// Deep, circular, or doubling with every few bytes: none takes memory or a stack.
    #[test]
    fn bombs_do_not_go_off() {
        let deep = [&b"]"[..], &b"q\0]h\0a".repeat(1_000_000)].concat();
        let circle = b"]q\0h\0a}q\0X\x05\0\0\0modelh\0s";
        let doubling = [&b")"[..], &b"q\0h\0\x86".repeat(1_000_000)].concat();
        let marks = b"(".repeat(1_000_000);
        for state in [&deep[..], circle, &doubling, &marks] {
            assert!(problem(&legacy(state)).len() > 5);
        }
        let endless = [&b"X\xff\xff\xff\xff"[..], b"a"].concat();
        assert!(problem(&legacy(&endless)).contains("cut off"));
        let longer = b"]".repeat(9 << 20);
        assert!(problem(&legacy(&longer)).contains("longer"));
    }

    #[test]
    fn a_zip_is_what_torch_writes() {
        let state =
            [b"\x80\x02", &dict(&view("FloatStorage", 1, 0, &[1], &[1]))[..], b"."].concat();
        let one = 1f32.to_le_bytes();
        let data = ("m/data.pkl", &state[..]);
        let whole = zip(&[data, ("m/data/0", &one)], false);
        assert_eq!(read(&whole).unwrap()[0].1.values, [1.0]);
        assert!(problem(&zip(&[data], false)).contains("m/data/0 is missing"));
        assert!(problem(&zip(&[("m/data/0", &one)], false)).contains("no data.pkl"));
        assert!(problem(&zip(&[data, ("m/data/0", &one[..2])], false)).contains("another length"));
        assert!(problem(&zip(&[data, ("m/data/0", &[0; 999])], true)).contains("compressed"));
        let big = zip(&[data, ("m/data/0", &one), ("m/byteorder", b"big")], false);
        assert!(problem(&big).contains("big-endian"));
        let at = whole.windows(4).position(|bytes| bytes == one).unwrap();
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(problem(&changed).to_lowercase().contains("checksum"));
    }

    #[test]
    fn damage_is_an_error_or_other_numbers_and_never_a_panic() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
        for name in ["format_bin", "format_bin_2020", "format_bin_trainer"] {
            let whole = std::fs::read(fixtures.join(name).join("pytorch_model.bin")).unwrap();
            assert!(read(&whole).is_ok());
            for at in (0..whole.len()).step_by(61) {
                assert!(read(&whole[..at]).is_err(), "{name} cut at {at}");
                let mut changed = whole.clone();
                changed[at] = changed[at].wrapping_add(1 + (at % 255) as u8);
                let _ = read(&changed);
            }
        }
    }
}
