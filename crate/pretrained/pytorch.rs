//! `pytorch_model.bin`: what `torch.save` wrote, read from bytes in both homes.
//!
//! Two forms: a zip with a pickle and a file a storage, or, before torch 1.6, pickles and then the
//! storages in a row. No crate reads either from bytes and in a browser, so this one is ours;
//! `pickle.rs` says why it is safe.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Seek};
use std::ops::Range;

use safetensors::Dtype;
use zip::ZipReadOptions;
use zip::read::ZipArchive;

use super::folder::place_of;
use super::pickle::{self, Pickle, Read, Storage, Value, View};
use super::pieces::{Pieces, stream};
use super::weights::{HostTensor, Unread, extend_floats, is_supported, read_floats};

/// What the first pickle of the older form is: a number by which torch knows it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Under what trainers keep the state dict among other things.
const NESTS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// The pickles in front of the older form's storages: two that are not tiny, neither of them longer
/// than is allowed.
const HEAD: usize = 17 << 20;

type Found<'a> = Vec<(String, Unread<'a>)>;

/// The tensors of floating-point numbers; buffers of whole numbers are left out.
pub(super) fn read(file: &dyn Pieces) -> Read<Found<'_>> {
    let start = piece(file, 0..file.length().min(2))?;
    if *start == *b"PK" { read_zip(file) } else { read_legacy(file) }
}

fn piece(file: &dyn Pieces, range: Range<usize>) -> Read<Cow<'_, [u8]>> {
    if range.end > file.length() {
        return Err("it is cut off".into());
    }
    file.read(range).map_err(|e| e.to_string())
}

fn read_zip(file: &dyn Pieces) -> Read<Found<'_>> {
    let mut archive = ZipArchive::new(stream(file)).map_err(|e| e.to_string())?;
    let names = archive.file_names().filter_map(Result::ok);
    let folder = names.filter_map(|name| name.strip_suffix("data.pkl").map(String::from)).min();
    let folder = folder.ok_or("the zip holds no data.pkl")?;
    if let Some(order) = archive.index_for_name(&format!("{folder}byteorder"))
        && piece(file, stored(&mut archive, order)?)?.starts_with(b"big")
    {
        return Err("its numbers are big-endian".into());
    }
    let index = archive.index_for_name(&format!("{folder}data.pkl")).expect("it was found");
    let pickle = piece(file, stored(&mut archive, index)?)?;
    let (made, root, _) = pickle::run(&pickle)?;
    tensors(file, &made, root, |storage| {
        let name = format!("{folder}data/{}", storage.key);
        let index = archive.index_for_name(&name).ok_or(format!("{name} is missing in the zip"))?;
        stored(&mut archive, index)
    })
}

/// Where an entry's bytes lie, whose checksum is right.
fn stored<R: BufRead + Seek>(archive: &mut ZipArchive<R>, index: usize) -> Read<Range<usize>> {
    let checksum = archive.by_index_raw(index).map_err(|e| e.to_string())?.crc32();
    // torch can leave checksums out; then they are 0.
    let options = ZipReadOptions::new().ignore_crc32(checksum == 0);
    let entry = archive.by_index_with_options(index, options);
    let mut entry = entry.map_err(|e| e.to_string())?;
    let place = place_of(&mut entry, u64::MAX - 1).map_err(|e| e.to_string())?;
    place.ok_or_else(|| "its zip is compressed, which torch's never is".into())
}

fn read_legacy(file: &dyn Pieces) -> Read<Found<'_>> {
    let head = piece(file, 0..file.length().min(HEAD))?;
    let mut at = 0;
    let mut next = || {
        let (made, root, length) = pickle::run(&head[at..])?;
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
    let places = places(&made, keys, file, end)?;
    tensors(file, &made, root, |storage| {
        let place = places.get(storage.key).cloned();
        place.ok_or_else(|| format!("it has no storage {}", storage.key))
    })
}

/// The bytes of each storage of the older form, one after the other behind their counts.
fn places<'a>(
    made: &Pickle<'a>,
    keys: &[Value<'a>],
    file: &dyn Pieces,
    mut at: usize,
) -> Read<HashMap<&'a str, Range<usize>>> {
    let announced: HashMap<_, _> = made.storages.iter().map(|s| (s.key, s)).collect();
    let mut places = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("the name of a storage is no text".into()) };
        let storage = announced.get(key).ok_or("it lists a storage that no tensor uses")?;
        let count = piece(file, at..at.saturating_add(8)).ok();
        let count = count.and_then(|bytes| bytes.first_chunk().copied());
        if count.map(u64::from_le_bytes) != Some(storage.count as u64) {
            return Err(format!("storage {key} has another length than the pickle says"));
        }
        let length = size_of(storage)?;
        let end = at.checked_add(8 + length).filter(|end| *end <= file.length());
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

fn tensors<'a, 'f>(
    file: &'f dyn Pieces,
    made: &Pickle<'a>,
    root: Value<'a>,
    mut place: impl FnMut(&Storage) -> Read<Range<usize>>,
) -> Read<Found<'f>> {
    let views = state_dict(made, root)?;
    let is_float = |view: &View| {
        use Dtype::{BOOL, I8, I16, I32, I64, U8};
        !matches!(made.storages[view.storage].dtype, BOOL | I8 | I16 | I32 | I64 | U8)
    };
    // A storage is looked up once, however many tensors share it.
    let mut shared: BTreeMap<&str, Vec<(&str, &View)>> = BTreeMap::new();
    let (mut numbers, limit) = (0, file.length().saturating_mul(2));
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
            tensors.push((name.to_string(), tensor(name, file, range.start, storage, view)?));
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

/// `at`: where its storage begins.
fn tensor<'f>(
    name: &str,
    file: &'f dyn Pieces,
    at: usize,
    storage: &Storage,
    view: &View,
) -> Read<Unread<'f>> {
    let (dtype, shape) = (storage.dtype, view.shape.clone());
    let (size, count) = (dtype.bitsize() / 8, view.count().expect("it was counted"));
    if !is_supported(dtype) {
        let supported = "supported are F32, F16 and BF16";
        return Err(format!("{name} is of type {dtype:?}; {supported}"));
    }
    if count == 0 {
        return Ok(HostTensor { shape, values: Vec::new() }.into());
    }
    let first = at + (storage.start + view.offset) * size;
    let last = view.last().expect("it has room in its storage");
    let (view, end) = (view.clone(), first + (last - view.offset + 1) * size);
    let read = move || {
        if view.is_in_order() {
            return read_floats(file, first..end, dtype).map_err(|e| e.to_string());
        }
        let mut values = Vec::with_capacity(count);
        let bytes = gathered(&piece(file, first..end)?, &view, count, size);
        extend_floats(&mut values, dtype, &bytes);
        Ok(values)
    };
    Ok(Unread { shape, read: Box::new(read) })
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
    use std::io::{Cursor, Write};
    use std::path::Path;

    use zip::CompressionMethod;
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

    /// With the values of all.
    fn read(bytes: &[u8]) -> Read<Vec<(String, HostTensor)>> {
        let tensors = super::read(&bytes)?.into_iter();
        tensors.map(|(name, tensor)| Ok((name, tensor.read()?))).collect()
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
