//! The little of protobuf's encoding that etcd's values need: fields of varints and of bytes, borrowed and not copied.

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number; signed ones are in two's complement.
    Number(u64),
    /// Bytes, text, or another message.
    Bytes(&'a [u8]),
    /// A fixed-width field, which no message here has; passed over.
    Fixed,
}

/// The fields of a message, in the order in which they were written. Ends with `None` where the encoding is broken.
pub(crate) struct Fields<'a>(Option<&'a [u8]>);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(Some(message))
    }

    fn read(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        let rest = self.0.as_mut()?;
        if rest.is_empty() {
            return Some(None);
        }
        let tag = varint(rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(rest)?),
            1 => take(rest, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(varint(rest)?).ok()?;
                Value::Bytes(take(rest, length)?)
            }
            5 => take(rest, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        // Number 0 is no field's.
        (tag >> 3 > 0).then_some(Some((tag >> 3, value)))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0?;
        match self.read() {
            Some(Some(field)) => Some(Some(field)),
            Some(None) => {
                self.0 = None;
                None
            }
            None => {
                self.0 = None;
                Some(None)
            }
        }
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let message = [0x0a, 2, b'h', b'i', 0x10, 0xac, 0x02, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Vec<_> = Fields::of(&message).collect::<Option<_>>().unwrap();
        let expected = [(1, Value::Bytes(&b"hi"[..])), (2, Value::Number(300)), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(fields, expected);
    }

    #[test]
    fn broken_ones_end() {
        for message in [&[0x0a][..], &[0x0a, 5, 1], &[0x80], &[0x10], &[0x0b], &[0x02, 0], &[0x1d, 1], &[0x10; 1]] {
            assert!(Fields::of(message).any(|field| field.is_none()), "{message:?}");
        }
        let endless = [[0x10].as_slice(), &[0xff; 12]].concat();
        assert_eq!(Fields::of(&endless).collect::<Vec<_>>(), [None]);
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Fields::of(&huge).collect::<Vec<_>>(), [None]);
    }
}
