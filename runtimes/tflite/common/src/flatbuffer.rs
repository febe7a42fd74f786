//! Reading flatbuffers: tables, vectors and strings, where any offset may be wrong.
//!
//! A dozen fields of a schema of hundreds are wanted, from files that nobody vouches for. A generated reader would be
//! forty thousand lines, and safe only after a pass of verification; this one checks as it goes.

/// The buffer ends too soon, or leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is cut short or malformed at byte {0}")]
pub struct Malformed(usize);

type Read<T> = Result<T, Malformed>;

/// A table: fields by number, each of which may be absent.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    /// The table of its fields' places.
    places: usize,
    places_len: usize,
}

/// The root of `buffer`, if its file identifier is `identifier`.
pub fn root<'a>(buffer: &'a [u8], identifier: &[u8; 4]) -> Option<Read<Table<'a>>> {
    (buffer.get(4..8)? == identifier).then(|| Table::at(buffer, follow(buffer, 0)?))
}

/// The root of `buffer`, whose identifier is no matter.
pub fn bare_root(buffer: &[u8]) -> Read<Table<'_>> {
    Table::at(buffer, follow(buffer, 0)?)
}

fn take<const N: usize>(buffer: &[u8], at: usize) -> Read<[u8; N]> {
    buffer.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed(at))
}

fn plus(at: usize, offset: usize) -> Read<usize> {
    at.checked_add(offset).ok_or(Malformed(at))
}

/// Where the offset that lies at `at` leads.
fn follow(buffer: &[u8], at: usize) -> Read<usize> {
    plus(at, u32::from_le_bytes(take(buffer, at)?) as usize)
}

impl<'a> Table<'a> {
    fn at(buffer: &'a [u8], at: usize) -> Read<Self> {
        let back = i32::from_le_bytes(take(buffer, at)?);
        let places = at.checked_add_signed(-(back as isize)).ok_or(Malformed(at))?;
        let places_len = usize::from(u16::from_le_bytes(take(buffer, places)?));
        Ok(Self { buffer, at, places, places_len })
    }

    /// Where field `number` is, if it is there.
    fn field(&self, number: usize) -> Read<Option<usize>> {
        let entry = 4 + 2 * number;
        if entry + 2 > self.places_len {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(take(self.buffer, plus(self.places, entry)?)?));
        if offset == 0 { Ok(None) } else { Ok(Some(plus(self.at, offset)?)) }
    }

    fn scalar<const N: usize>(&self, number: usize) -> Read<[u8; N]> {
        self.field(number)?.map_or(Ok([0; N]), |at| take(self.buffer, at))
    }

    /// A byte; 0 if absent.
    pub fn u8(&self, number: usize) -> Read<u8> {
        Ok(u8::from_le_bytes(self.scalar(number)?))
    }

    /// 0 if absent.
    pub fn i16(&self, number: usize) -> Read<i16> {
        Ok(i16::from_le_bytes(self.scalar(number)?))
    }

    /// 0 if absent.
    pub fn i32(&self, number: usize) -> Read<i32> {
        Ok(i32::from_le_bytes(self.scalar(number)?))
    }

    /// 0 if absent.
    pub fn u32(&self, number: usize) -> Read<u32> {
        Ok(u32::from_le_bytes(self.scalar(number)?))
    }

    /// 0 if absent.
    pub fn u64(&self, number: usize) -> Read<u64> {
        Ok(u64::from_le_bytes(self.scalar(number)?))
    }

    /// A table within this one.
    pub fn table(&self, number: usize) -> Read<Option<Table<'a>>> {
        self.field(number)?.map(|at| Table::at(self.buffer, follow(self.buffer, at)?)).transpose()
    }

    /// The elements of a vector, `N` bytes each; none if absent.
    pub fn vector<const N: usize>(&self, number: usize) -> Read<&'a [[u8; N]]> {
        let Some(at) = self.field(number)? else { return Ok(&[]) };
        Ok(vector::<N>(self.buffer, follow(self.buffer, at)?)?.1)
    }

    /// The bytes of a vector of bytes, or of a string.
    pub fn bytes(&self, number: usize) -> Read<&'a [u8]> {
        Ok(self.vector::<1>(number)?.as_flattened())
    }

    /// A string; bytes that are no text are replaced.
    pub fn string(&self, number: usize) -> Read<String> {
        Ok(String::from_utf8_lossy(self.bytes(number)?).into_owned())
    }

    /// A vector of tables.
    pub fn tables(&self, number: usize) -> Read<Vec<Table<'a>>> {
        self.places_of(number)?.into_iter().map(|at| Table::at(self.buffer, at)).collect()
    }

    /// A vector of strings, as bytes.
    pub fn strings(&self, number: usize) -> Read<Vec<&'a [u8]>> {
        let string = |at| Ok(vector::<1>(self.buffer, at)?.1.as_flattened());
        self.places_of(number)?.into_iter().map(string).collect()
    }

    /// Where the offsets of a vector lead.
    fn places_of(&self, number: usize) -> Read<Vec<usize>> {
        let Some(at) = self.field(number)? else { return Ok(Vec::new()) };
        let (first, offsets) = vector::<4>(self.buffer, follow(self.buffer, at)?)?;
        let place = |(index, offset): (usize, &[u8; 4])| {
            plus(first + 4 * index, u32::from_le_bytes(*offset) as usize)
        };
        offsets.iter().enumerate().map(place).collect()
    }
}

/// The vector at `at`: where its elements begin, and they themselves.
fn vector<const N: usize>(buffer: &[u8], at: usize) -> Read<(usize, &[[u8; N]])> {
    let len = u32::from_le_bytes(take(buffer, at)?) as usize;
    let first = plus(at, 4)?;
    let end = len.checked_mul(N).and_then(|bytes| first.checked_add(bytes)).ok_or(Malformed(at))?;
    let bytes = buffer.get(first..end).ok_or(Malformed(at))?;
    Ok((first, bytes.as_chunks::<N>().0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A root of one field: a string.
    const HELLO: &[u8] = &[
        16, 0, 0, 0, b'T', b'E', b'S', b'T', // the root's offset, the identifier
        0, 0, 6, 0, 8, 0, 4, 0, // padding; the places: 6 bytes long, a table of 8, field 0 at 4
        6, 0, 0, 0, 4, 0, 0, 0, // the table: its places 6 bytes before it; the string 4 bytes on
        5, 0, 0, 0, b'h', b'e', b'l', b'l', b'o', 0, 0, 0,
    ];

    #[test]
    fn a_field_is_found_and_an_absent_one_is_empty() {
        let table = root(HELLO, b"TEST").unwrap().unwrap();
        assert_eq!(table.string(0).unwrap(), "hello");
        assert_eq!((table.string(1).unwrap().as_str(), table.u64(2).unwrap()), ("", 0));
        assert!(table.tables(7).unwrap().is_empty() && table.table(8).unwrap().is_none());
    }

    #[test]
    fn another_identifier_is_another_format() {
        assert!(root(HELLO, b"TFL3").is_none());
        assert!(root(b"", b"TFL3").is_none());
    }

    #[test]
    fn a_cut_buffer_is_an_error_wherever_it_is_cut() {
        for len in 8..HELLO.len() - 3 {
            let read = root(&HELLO[..len], b"TEST").unwrap().and_then(|table| table.string(0));
            assert!(read.is_err(), "{len} bytes: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(table) = bare_root(&bytes) {
                for number in 0..4 {
                    let _ = (table.string(number), table.u64(number), table.vector::<8>(number));
                    let _ = (table.tables(number), table.strings(number), table.table(number));
                }
            }
        }
    }
}
