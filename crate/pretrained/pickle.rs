//! The pickles of `torch.save`, as far as a state dict needs them.
//!
//! A pickle is a program for a stack machine that may call whatever Python has. Here it can build
//! lists, dicts and tuples of numbers and text, and name the few things in [`NAMED`]: nothing is
//! called, and anything else is an error. All that is built lies in flat lists, each operation adds
//! a value or two at most: no pickle takes more memory than a multiple of its own length, and
//! none is too deep or a circle.

use std::collections::HashMap;

use safetensors::Dtype;

/// Far above any state dict; what a pickle of that length can take is no harm.
const LIMIT: usize = 8 << 20;

/// Why it cannot be read.
pub(super) type Read<T> = Result<T, String>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// None, and floating-point numbers, which tell us nothing.
    Other,
    /// Truth values, too.
    Number(i64),
    Text(&'a str),
    /// Also numbers beyond 64 bits.
    Bytes(&'a [u8]),
    /// A tuple or list: its place in [`Pickle::items`].
    List(usize),
    /// The same, keys and values in turn.
    Dict(usize),
    Named(Named),
    /// Its place in [`Pickle::storages`].
    Storage(usize),
    /// Its place in [`Pickle::views`].
    Tensor(usize),
}

/// The things of Python that a state dict is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Dtype),
}

const NAMED: [(&str, &str, Named); 15] = [
    ("collections", "OrderedDict", Named::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Named::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Named::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Named::RebuildParameter),
    ("torch", "Size", Named::Size),
    ("torch", "DoubleStorage", Named::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Named::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Named::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Named::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Named::Storage(Dtype::I64)),
    ("torch", "IntStorage", Named::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Named::Storage(Dtype::I16)),
    ("torch", "CharStorage", Named::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Named::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Named::Storage(Dtype::BOOL)),
];

/// Numbers of one type in a row, as the pickle announces them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    pub count: usize,
    /// The part that is meant; all of it but in the oldest files.
    pub start: usize,
    pub length: usize,
}

/// A tensor: where its numbers lie in a storage, in numbers.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub storage: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// What one pickle made.
#[derive(Default)]
pub(super) struct Pickle<'a> {
    pub items: Vec<Vec<Value<'a>>>,
    pub storages: Vec<Storage<'a>>,
    pub views: Vec<View>,
}

/// Runs the pickle at the start of `bytes`: what it made, its result, and where it ends.
pub(super) fn run(bytes: &[u8]) -> Read<(Pickle<'_>, Value<'_>, usize)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        made: Pickle::default(),
    };
    while machine.step()? {}
    let result = machine.pop()?;
    Ok((machine.made, result, machine.at))
}

impl<'a> Pickle<'a> {
    pub(super) fn list(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        if let Value::List(at) = value { Some(&self.items[at]) } else { None }
    }

    /// The entries of a dict whose keys are text.
    pub(super) fn entries(
        &self,
        value: Value<'a>,
    ) -> Option<impl Iterator<Item = (&'a str, Value<'a>)>> {
        let Value::Dict(at) = value else { return None };
        let pairs = self.items[at].chunks_exact(2);
        Some(pairs.filter_map(|pair| match pair[0] {
            Value::Text(key) => Some((key, pair[1])),
            _ => None,
        }))
    }

    /// Whole numbers that are not negative.
    fn sizes(&self, value: Value<'a>) -> Option<Vec<usize>> {
        self.list(value)?.iter().map(|value| value.size()).collect()
    }
}

impl Value<'_> {
    fn size(self) -> Option<usize> {
        if let Value::Number(number) = self { usize::try_from(number).ok() } else { None }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// How high the stack was at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    made: Pickle<'a>,
}

impl<'a> Machine<'a> {
    /// One operation; false after the last.
    fn step(&mut self) -> Read<bool> {
        let code = self.take(1)?[0];
        match code {
            // PROTO, FRAME
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.push(*self.stack.last().ok_or_else(short)?),
            b'N' => self.push(Value::Other),
            0x88 => self.push(Value::Number(1)),
            0x89 => self.push(Value::Number(0)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.number(code)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'X' | 0x8c | 0x8d => self.text(code)?,
            b'B' | b'C' | 0x8e => self.raw(code)?,
            b'c' | 0x93 => self.name(code)?,
            b')' => self.list(Vec::new(), Value::List),
            0x85..=0x87 => self.tuple(code - 0x84)?,
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.list(items, Value::List);
            }
            b']' => self.list(Vec::new(), Value::List),
            b'}' => self.list(Vec::new(), Value::Dict),
            b'a' | b'e' | b's' | b'u' | b'd' => self.add(code)?,
            b'q' | b'r' | 0x94 => self.remember(code)?,
            b'h' | b'j' => self.recall(code)?,
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.set_state()?,
            other => return Err(format!("the pickle's operation 0x{other:02x} is not known")),
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("the pickle is cut off")?;
        if end > LIMIT {
            return Err("the pickle is far longer than that of a state dict".into());
        }
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A length or index of so many bytes.
    fn unsigned(&mut self, bytes: usize) -> Read<usize> {
        let taken = self.take(bytes)?.iter().rev();
        let number = taken.fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| short())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Read<Value<'a>> {
        // What lies below a mark belongs to whoever set it.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor { self.stack.pop().ok_or_else(short) } else { Err(short()) }
    }

    fn pop_mark(&mut self) -> Read<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or_else(short)?;
        Ok(self.stack.split_off(mark))
    }

    /// BININT, BININT1, BININT2, LONG1, LONG4
    fn number(&mut self, code: u8) -> Read<()> {
        let (length, signed) = match code {
            b'J' => (4, true),
            b'K' => (1, false),
            b'M' => (2, false),
            0x8a => (self.unsigned(1)?, true),
            _ => (self.unsigned(4)?, true),
        };
        let bytes = self.take(length)?;
        if length > 8 {
            self.push(Value::Bytes(bytes));
            return Ok(());
        }
        let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..length].copy_from_slice(bytes);
        self.push(Value::Number(i64::from_le_bytes(all)));
        Ok(())
    }

    /// BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
    fn text(&mut self, code: u8) -> Read<()> {
        let length = self.unsigned(if code == b'X' { 4 } else { 1 << (3 * (code - 0x8c)) })?;
        let text = std::str::from_utf8(self.take(length)?);
        self.push(Value::Text(text.map_err(|_| "a text in the pickle is not UTF-8")?));
        Ok(())
    }

    /// BINBYTES, SHORT_BINBYTES, BINBYTES8
    fn raw(&mut self, code: u8) -> Read<()> {
        let length =
            self.unsigned(if code == b'B' { 4 } else { 1 + 7 * usize::from(code == 0x8e) })?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL
    fn name(&mut self, code: u8) -> Read<()> {
        let (module, name) = match code {
            b'c' => (self.line()?, self.line()?),
            _ => {
                let name = self.pop()?;
                let (Value::Text(module), Value::Text(name)) = (self.pop()?, name) else {
                    return Err("a name in the pickle is no text".into());
                };
                (module, name)
            }
        };
        let known = NAMED.iter().find(|known| (known.0, known.1) == (module, name));
        let Some((_, _, named)) = known else {
            let name = crate::error::excerpt(&format!("{module}.{name}"));
            return Err(format!(
                "it wants {name} of Python, which is no part of a state dict and was not run"
            ));
        };
        self.push(Value::Named(*named));
        Ok(())
    }

    fn line(&mut self) -> Read<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("the pickle is cut off")?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| "a name in the pickle is not UTF-8".into())
    }

    fn list(&mut self, items: Vec<Value<'a>>, kind: impl Fn(usize) -> Value<'a>) {
        self.made.items.push(items);
        self.push(kind(self.made.items.len() - 1));
    }

    /// TUPLE1 to TUPLE3
    fn tuple(&mut self, count: u8) -> Read<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Read<Vec<_>>>()?;
        items.reverse();
        self.list(items, Value::List);
        Ok(())
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS, DICT
    fn add(&mut self, code: u8) -> Read<()> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        if code == b'd' {
            self.list(Vec::new(), Value::Dict);
        }
        let pairs = !matches!(code, b'a' | b'e');
        match self.stack.last() {
            Some(Value::Dict(at)) if pairs && items.len().is_multiple_of(2) => {
                self.made.items[*at].extend(items);
            }
            Some(Value::List(at)) if !pairs => self.made.items[*at].extend(items),
            _ => return Err("the pickle adds to something that is no list and no dict".into()),
        }
        Ok(())
    }

    /// BINPUT, LONG_BINPUT, MEMOIZE
    fn remember(&mut self, code: u8) -> Read<()> {
        let place = match code {
            b'q' => self.unsigned(1)?,
            b'r' => self.unsigned(4)?,
            _ => self.memo.len(),
        };
        let value = *self.stack.last().ok_or_else(short)?;
        self.memo.insert(place as u32, value);
        Ok(())
    }

    /// BINGET, LONG_BINGET
    fn recall(&mut self, code: u8) -> Read<()> {
        let place = self.unsigned(if code == b'h' { 1 } else { 4 })?;
        let value = self.memo.get(&(place as u32)).copied();
        self.push(value.ok_or_else(|| format!("the pickle remembers nothing as {place}"))?);
        Ok(())
    }

    /// BINPERSID: `("storage", type, key, device, count[, (key of the part, start, length)])`
    fn storage(&mut self) -> Read<()> {
        let id = self.pop()?;
        let storage = self.storage_of(id).ok_or("a persistent id of the pickle is no storage")?;
        self.made.storages.push(storage);
        self.push(Value::Storage(self.made.storages.len() - 1));
        Ok(())
    }

    fn storage_of(&self, id: Value<'a>) -> Option<Storage<'a>> {
        let (id, part) = match *self.made.list(id)? {
            [ref id @ .., part] if id.len() == 5 => (id.to_vec(), part),
            ref id => (id.to_vec(), Value::Other),
        };
        let [Value::Text("storage"), Value::Named(Named::Storage(dtype)), key, _, count] = id[..]
        else {
            return None;
        };
        let (Value::Text(key), Some(count)) = (key, count.size()) else { return None };
        let (start, length) = match part {
            Value::Other => (0, count),
            part => match self.made.list(part)? {
                [_, start, length] => (start.size()?, length.size()?),
                _ => return None,
            },
        };
        let fits = start.checked_add(length).is_some_and(|end| end <= count);
        fits.then_some(Storage { key, dtype, count, start, length })
    }

    /// REDUCE
    fn call(&mut self) -> Read<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let arguments = self.made.list(arguments).unwrap_or_default();
        match (callee, arguments) {
            (Value::Named(Named::OrderedDict), []) => self.list(Vec::new(), Value::Dict),
            (Value::Named(Named::RebuildTensor), [Value::Storage(storage), rest @ ..]) => {
                let view = view(&self.made, *storage, rest);
                let view = view.ok_or("a tensor has a shape that its storage has no room for")?;
                self.made.views.push(view);
                self.push(Value::Tensor(self.made.views.len() - 1));
            }
            (Value::Named(Named::RebuildParameter), [tensor @ Value::Tensor(_), ..]) => {
                let tensor = *tensor;
                self.push(tensor);
            }
            (Value::Named(Named::Size), [sizes @ Value::List(_)]) => {
                let sizes = *sizes;
                self.push(sizes);
            }
            _ => return Err("the pickle calls something with arguments that do not fit it".into()),
        }
        Ok(())
    }

    /// BUILD: what a state dict remembers beside its tensors (`_metadata`) is of no use here.
    fn set_state(&mut self) -> Read<()> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err("the pickle holds an object that is no state dict".into()),
        }
    }
}

fn short() -> String {
    "the pickle is damaged".into()
}

/// `offset, shape, stride, ..`, all within the storage.
fn view<'a>(made: &Pickle<'a>, storage: usize, arguments: &[Value<'a>]) -> Option<View> {
    let [offset, shape, stride, ..] = arguments else { return None };
    let offset = offset.size()?;
    let (shape, stride) = (made.sizes(*shape)?, made.sizes(*stride)?);
    if shape.len() != stride.len() {
        return None;
    }
    let view = View { storage, offset, shape, stride };
    let length = made.storages[storage].length;
    let fits = if view.shape.contains(&0) { offset <= length } else { view.last()? < length };
    fits.then_some(view)
}

impl View {
    /// How many numbers; None beyond what can be counted.
    pub(super) fn count(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))
    }

    /// Where the last number of one that is not empty lies.
    pub(super) fn last(&self) -> Option<usize> {
        let mut steps = self.shape.iter().zip(&self.stride);
        steps.try_fold(self.offset, |last, (size, step)| {
            last.checked_add((size - 1).checked_mul(*step)?)
        })
    }

    /// Do the numbers lie in a row?
    pub(super) fn is_in_order(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(size, step)| {
            let fits = *size == 1 || *step == expected;
            expected *= size;
            fits
        })
    }
}
